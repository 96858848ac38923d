"""The only writer of pins: from checked results to dvc.yaml, dvc.lock and a remote."""

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from retrograd import pins, products, staleness, stamps
from retrograd.artifacts import Artifact
from retrograd.errors import RetrogradError, check_known
from retrograd.files import md5, write_text
from retrograd.graph import Graph
from retrograd.pins import LOCK, STAGES, Pin
from retrograd.store import Store

EMBEDDED = "embedded"  # the remote in git, which must stay small
FILE_BUDGET = 500_000  # bytes
TOTAL_BUDGET = 25_000_000  # bytes
_HEADER = """\
# What is pinned: one stage per paper and scale. Written by `retrograd pin`, which alone
# changes it; beside each artifact is the recipe it was made by (see retrograd.pins).
"""


def pin(graph: Graph, remote: str) -> dict[str, Any]:
    """Pin everything that a graph makes: check it, commit it to DVC, push it.

    Args:
        graph: of the papers and the scale to pin, in mode build.
        remote: DVC remote that the bytes go to.

    Returns:
        The number of artifacts that are new, changed and unchanged, and bytes.

    Raises:
        RetrogradError: something is missing, stale or corrupt (all of it is named), is
            over the budget of the embedded remote, or DVC or the remote failed; then no
            pin changed.
        UsageError: there is no such remote.
    """
    store = Store()
    check_known("--remote", remote, store.remotes, "remote of DVC")
    scale = graph.config.scale
    artifacts = [a for slug in graph.papers for a in graph.artifacts(slug, scale)]
    problems = [problem for a in artifacts for problem in _problems(graph, a)]
    if problems:
        raise RetrogradError(
            "nothing was pinned:\n  "
            + "\n  ".join(problems)
            + "\nmake what is missing or stale, then pin again: snakemake --cores 1 "
            f"--config mode=build scale={scale}"
        )
    before = pins.read()
    after = _pinned(graph, artifacts, remote)
    if remote == EMBEDDED:
        _check_budget(after)
    stages = [pins.stage_name(slug, scale) for slug in graph.papers]
    with _restored_on_failure(), _dates_kept(after):
        write_text(STAGES, _HEADER + _stages(graph, after))
        _dvc("commit", "--force", *stages)
        store.push(after.values(), remote)
    changed = [p for p in after if p in before and before[p].md5 != after[p].md5]
    return {
        "papers": list(graph.papers),
        "scale": scale,
        "remote": remote,
        "new": sorted(after.keys() - before.keys()),
        "changed": changed,
        "unchanged": sorted(after.keys() & before.keys() - set(changed)),
        "bytes": sum(p.size for p in after.values()),
    }


def text(report: dict[str, Any]) -> str:
    counts = {key: len(report[key]) for key in ("new", "changed", "unchanged")}
    lines = [f"  {key}: {path}" for key in ("new", "changed") for path in report[key]]
    lines.append(
        f"{', '.join(report['papers'])} ({report['scale']}): "
        + ", ".join(f"{count} {key}" for key, count in counts.items())
        + f"; {report['bytes'] / 1e6:.2f} MB in the remote '{report['remote']}'"
    )
    if counts["new"] or counts["changed"]:
        where = "pinned" if report["remote"] == EMBEDDED else ".dvc/config"
        lines.append(f"now commit: git add dvc.yaml dvc.lock {where} && git commit")
    return "\n".join(lines)


def _problems(graph: Graph, artifact: Artifact) -> Iterator[str]:
    """Why an artifact cannot be pinned."""
    for path in map(Path, artifact.paths):
        if not path.exists():
            yield f"{path}: missing"
            continue
        known = staleness.known_recipe(graph, artifact, str(path))
        if known is None:
            yield f"{path}: of unknown origin, or changed since it was made"
        elif known != graph.recipe(*artifact):
            yield f"{path}: stale: code or config changed since it was made"
        try:
            if artifact.kind == "product":
                products.read(path)
            drawn_from = stamps.read(path)["inputs"]
        except RetrogradError as error:
            yield str(error)
            continue
        for need in map(Path, graph.inputs(*artifact)):
            if need.exists() and drawn_from.get(need.stem) != md5(need):
                yield f"{path}: stale: made from another {need}"


def _pinned(graph: Graph, artifacts: Sequence[Artifact], remote: str) -> dict[str, Pin]:
    """The pins of the results as they are now."""
    found = {}
    for artifact in artifacts:
        for path in artifact.paths:
            recipe, size = graph.recipe(*artifact), Path(path).stat().st_size
            found[path] = Pin(path, md5(Path(path)), size, recipe, "", remote)
    pinned = Graph(graph.config.model_copy(update={"mode": "pinned"}), graph.papers)
    pinned.pins = graph.pins | found
    for artifact in artifacts:
        if artifact.kind != "product":
            recipe = pinned.recipe(*artifact)
            for path in artifact.paths:
                found[path] = replace(found[path], recipe_from_pins=recipe)
    return found


def _check_budget(after: dict[str, Pin]) -> None:
    objects = Path("pinned").glob("files/md5/*/*")
    held = {path.parent.name + path.name: path.stat().st_size for path in objects}
    held |= {pin.md5: pin.size for pin in after.values()}
    over = [
        f"{pin.path} ({pin.size / 1e3:.0f} kB)"
        for pin in after.values()
        if pin.size > FILE_BUDGET
    ]
    if sum(held.values()) > TOTAL_BUDGET:
        over.append(f"all of pinned/ together ({sum(held.values()) / 1e6:.1f} MB)")
    if over:
        raise RetrogradError(
            "the embedded remote is in git and must stay small: "
            f"{FILE_BUDGET / 1e3:.0f} kB a file, {TOTAL_BUDGET / 1e6:.0f} MB in all. Over "
            f"it: {', '.join(over)}. Record less, or pin to a remote of your own: "
            "retrograd pin --remote NAME"
        )


def _stages(graph: Graph, after: dict[str, Pin]) -> str:
    """The text of dvc.yaml: the stages there are, and those of the graph anew."""
    there = yaml.safe_load(STAGES.read_text(encoding="utf-8")) if STAGES.exists() else None
    stages: dict[str, Any] = (there or {}).get("stages") or {}
    scale = graph.config.scale
    for slug, paper in graph.papers.items():
        asked = f"papers='[\"{slug}\"]' scale={scale}"
        outs = [
            {path: _out(after[path])}
            for artifact in graph.artifacts(slug, scale)
            for path in artifact.paths
        ]
        stages[pins.stage_name(slug, scale)] = {
            "desc": paper.title,
            "cmd": f"snakemake --cores 1 --config {asked}",
            "frozen": True,  # Snakemake decides what runs
            "outs": outs,
        }
    ordered = {"stages": dict(sorted(stages.items()))}
    return yaml.safe_dump(ordered, sort_keys=False, allow_unicode=True, width=1000)


def _out(pin: Pin) -> dict[str, Any]:
    meta = {"recipe": pin.recipe}
    if pin.recipe_from_pins:
        meta["recipe_from_pins"] = pin.recipe_from_pins
    return {"meta": meta} | ({} if pin.remote == EMBEDDED else {"remote": pin.remote})


def _dvc(*arguments: str) -> None:
    command = [sys.executable, "-m", "dvc", "--wait-for-lock", *arguments]
    run = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if run.returncode:
        said = (run.stderr or run.stdout).strip()
        raise RetrogradError(f"dvc {arguments[0]} failed, no pin changed: {said}")


@contextmanager
def _restored_on_failure() -> Iterator[None]:
    """Put dvc.yaml and dvc.lock back as they were if the block fails."""
    saved = {path: path.read_bytes() if path.exists() else None for path in (STAGES, LOCK)}
    try:
        yield
    except BaseException:
        for path, content in saved.items():
            if content is None:
                path.unlink(missing_ok=True)
            else:
                path.write_bytes(content)
        raise


@contextmanager
def _dates_kept(paths: dict[str, Pin]) -> Iterator[None]:
    """DVC gives new dates to what it commits; Snakemake would draw figures again."""
    dates = {path: Path(path).stat() for path in paths}
    try:
        yield
    finally:
        for path, stat in dates.items():
            with suppress(OSError):
                os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
