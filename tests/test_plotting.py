"""Figures: the same bytes, a stamp that can be read back, and no training library."""

import json
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from matplotlib.figure import Figure
from PIL import Image

from retrograd import plotting

STAMP = {
    "paper": "someone2020_topic",
    "figure": "fig1",
    "scale": "smoke",
    "caption": "α → β",
}


def save(folder: Path) -> dict[str, Path]:
    paths = {ending: folder / f"fig1.{ending}" for ending in ("svg", "png")}
    with plotting.style():
        figure = Figure()
        axes = figure.add_subplot()
        axes.plot([1, 2, 3], label="η")
        axes.fill_between([0, 1], [0, 1])
        axes.legend()
        plotting.save(figure, paths, STAMP)
    return paths


def test_same_figure_same_bytes(tmp_path: Path) -> None:
    first, second = save(tmp_path / "a"), save(tmp_path / "b")
    for ending, path in first.items():
        assert path.read_bytes() == second[ending].read_bytes()


def test_the_stamp_can_be_read_from_a_lone_file(tmp_path: Path) -> None:
    paths = save(tmp_path)
    with Image.open(paths["png"]) as image:
        assert json.loads(image.info["Description"]) == STAMP
    described = ElementTree.parse(paths["svg"]).find(
        ".//{http://purl.org/dc/elements/1.1/}description"
    )
    assert described is not None
    assert json.loads(described.text or "") == STAMP


def test_the_users_own_style_changes_nothing(tmp_path: Path) -> None:
    import matplotlib as mpl

    first = save(tmp_path / "a")
    with mpl.rc_context({"lines.linewidth": 9, "font.size": 30}):
        second = save(tmp_path / "b")
    assert first["svg"].read_bytes() == second["svg"].read_bytes()


def test_drawing_imports_no_torch_and_planning_nothing_heavy() -> None:
    paper = "retrograd.papers.goldt2019_teacher_student"
    for modules, heavy in (
        (f"retrograd.jobs, retrograd.plotting, {paper}.figures, {paper}.claims", {"torch"}),
        (
            f"retrograd.graph, retrograd.jobs, retrograd.cli, {paper}.params",
            {"torch", "xarray", "pandas", "numpy", "matplotlib"},
        ),
    ):
        code = f"import sys, {modules}; print(sorted({heavy!r} & set(sys.modules)))"
        run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert run.stdout.strip() == "[]", run.stdout + run.stderr
