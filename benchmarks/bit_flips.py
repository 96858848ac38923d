"""Flip single bits of pinned objects: is each one found, and is a figure ever wrong?

In a fresh clone of this repository, with everything pulled, one random bit at a time is
flipped in the workspace, in DVC's cache or in the embedded remote; the same bits for the
same seed. Then `retrograd fsck` must name the object, and a pinned run of what needs it
must refuse, or give the pinned bytes. After each flip the clone is as it was.

    python benchmarks/bit_flips.py [--flips 100] [--seed 0]
"""

import argparse
import os
import random
import shutil
import tempfile
import time
from collections import Counter
from pathlib import Path

import clones
from clones import run
from retrograd.files import md5
from retrograd.graph import Graph
from retrograd.pins import Pin

PLACES = {"workspace": "results", "cache": ".dvc/cache", "remote": "pinned"}
PINNED = ("--profile", "workflow/profiles/pinned")


def located(clone: Path, place: str, pin: Pin) -> Path:
    if place == "workspace":
        return clone / pin.path
    return clone / PLACES[place] / "files" / "md5" / pin.md5[:2] / pin.md5[2:]


def flip(path: Path, bit: int) -> None:
    content = bytearray(path.read_bytes())
    content[bit // 8] ^= 1 << bit % 8
    path.chmod(0o644)
    path.write_bytes(content)


def one_flip(clone: Path, graph: Graph, place: str, pin: Pin, bit: int) -> Counter[str]:
    """Flip a bit of one object, look who sees it; a figure with other bytes is wrong."""
    flip(located(clone, place, pin), bit)
    seen_by_fsck = pin.md5 in run(clone, "retrograd", "fsck").stdout
    needs_it = [
        target
        for target in graph.target_artifacts()
        if pin.path in (*target.paths, *graph.inputs(*target))
    ]
    target = needs_it[0] if needs_it else graph.artifact(pin.path)
    for path in target.paths:  # to be drawn again, unless it is what was flipped
        if place != "workspace" or path != pin.path:
            (clone / path).unlink()
    if place != "workspace":  # to be fetched again, from where the bit was flipped
        (clone / pin.path).unlink(missing_ok=True)
        if place == "remote":
            located(clone, "cache", pin).unlink()
    made = run(clone, "snakemake", "--cores", "2", *PINNED, target.paths[0])
    there = [path for path in target.paths if (clone / path).exists()]
    wrong = any(md5(clone / path) != graph.pins[path].md5 for path in there)
    seen_by_run = made.returncode != 0 or ((clone / pin.path).exists() and not wrong)
    return Counter(
        flips=1,
        seen_by_fsck=seen_by_fsck,
        refused_or_mended_by_run=seen_by_run,
        seen_by_either=seen_by_fsck or seen_by_run,
        wrong_figures=wrong,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--flips", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    draw, started = random.Random(options.seed), time.monotonic()
    total: dict[str, Counter[str]] = {place: Counter() for place in PLACES}
    with tempfile.TemporaryDirectory() as folder:
        clean, clone = Path(folder, "clean"), Path(folder, "clone")
        clones.clone(clean)
        run(clean, "dvc", "pull").check_returncode()
        os.chdir(clean)
        graph = Graph.here(mode="pinned")
        for _ in range(options.flips):
            place = draw.choice(list(PLACES))
            pin = draw.choice(sorted(graph.pins.values(), key=lambda pin: pin.path))
            shutil.copytree(clean, clone)
            bit = draw.randrange(8 * pin.size)
            total[place] += one_flip(clone, graph, place, pin, bit)
            shutil.rmtree(clone)
        os.chdir(clones.ROOT)
    for place, counts in [*total.items(), ("all", sum(total.values(), Counter()))]:
        print(f"{place:<10}", ", ".join(f"{k}: {counts[k]}" for k in KEYS))
    print(f"{time.monotonic() - started:.0f} s")


KEYS = (
    "flips",
    "seen_by_fsck",
    "refused_or_mended_by_run",
    "seen_by_either",
    "wrong_figures",
)

if __name__ == "__main__":
    main()
