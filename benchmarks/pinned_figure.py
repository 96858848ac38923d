"""How long a reviewer waits for one figure from pins, as a whole process.

In fresh clones of this repository, without and with the figure's products:

    python benchmarks/pinned_figure.py [--figure PAPER/FIGURE] [--runs 5]
"""

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

import clones
from clones import ROOT, run
from retrograd.graph import Graph


def timed(clone: Path, figure: str) -> float:
    started = time.monotonic()
    run(clone, "retrograd", "figure", figure, "--cores", "2").check_returncode()
    return time.monotonic() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--figure", default="goldt2019_teacher_student/fig2")
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    os.chdir(ROOT)
    (target,) = Graph.here(mode="build").selected([options.figure])
    seconds: dict[str, list[float]] = {"no results": [], "products present": []}
    for _ in range(options.runs):
        with tempfile.TemporaryDirectory() as folder:
            clone = clones.clone(Path(folder, "clone"))
            seconds["no results"].append(timed(clone, options.figure))
            for path in target.paths:
                (clone / path).unlink()
            seconds["products present"].append(timed(clone, options.figure))
    for case, values in seconds.items():
        print(
            f"{options.figure}, {case}: min {min(values):.1f} s, "
            f"median {statistics.median(values):.1f} s, max {max(values):.1f} s"
        )


if __name__ == "__main__":
    main()
