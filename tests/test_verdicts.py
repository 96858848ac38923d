"""Verdicts on rebuilt files: each kind, and the place of the worst difference."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from matplotlib.figure import Figure

from retrograd import claims, plotting, products
from retrograd.products import variable
from retrograd.verdicts import Verdict, compare

STAMP: dict[str, Any] = {
    "paper": "someone2020_topic",
    "scale": "smoke",
    "inputs": {},
    "parameters": {"N": 3},
}


def product(path: Path, eg: Any, tolerance: float | None = 1e-6, **stamp: Any) -> Path:
    dataset = xr.Dataset(
        {"eg": variable(("seed", "time"), eg, "error", tolerance=tolerance)},
        {
            "seed": variable("seed", np.arange(2), "run"),
            "time": variable("time", [0.0, 0.5, 2.0], "time"),
        },
    )
    products.write(dataset, path, STAMP | {"product": "traj"} | stamp)
    return path


EG = np.arange(1.0, 7.0).reshape(2, 3)


def off_by(deviation: float) -> Any:
    eg = EG.copy()
    eg[1, 1] += deviation * 6  # the largest magnitude is 6
    return eg


def test_the_same_bytes_are_the_same(tmp_path: Path) -> None:
    pinned, rebuilt = (product(tmp_path / f"{name}.nc", EG) for name in "ab")
    assert compare(rebuilt, pinned).verdict == Verdict.SAME_BYTES


@pytest.mark.parametrize(
    ("deviation", "tolerance", "verdict"),
    [
        (0.9e-6, 1e-6, "SAME_NUMBERS"),
        (1.1e-6, 1e-6, "DIFFERENT"),
        (1.1e-6, 1e-5, "SAME_NUMBERS"),
        (0.9e-9, None, "SAME_NUMBERS"),
        (1.1e-9, None, "DIFFERENT"),
    ],
)
def test_numbers_are_judged_by_the_tolerance_that_the_variable_declares(
    tmp_path: Path, deviation: float, tolerance: float | None, verdict: str
) -> None:
    pinned = product(tmp_path / "a.nc", EG, tolerance)
    rebuilt = product(tmp_path / "b.nc", off_by(deviation), tolerance)
    found = compare(rebuilt, pinned)
    assert found.verdict == verdict
    (row,) = [row for row in found.variables if row["name"] == "eg"]
    assert row["deviation"] == pytest.approx(deviation, rel=1e-3)
    assert "at seed=1, time=0.5" in row["reason"]
    assert f"{EG[1, 1]:.10g}" in row["reason"]
    others = {row["verdict"] for row in found.variables if row["name"] != "eg"}
    assert others == {Verdict.SAME_BYTES}


def test_the_pinned_tolerance_counts_not_the_rebuilt_one(tmp_path: Path) -> None:
    pinned = product(tmp_path / "a.nc", EG, 1e-9)
    rebuilt = product(tmp_path / "b.nc", off_by(1e-3), 1.0)
    assert compare(rebuilt, pinned).verdict == Verdict.DIFFERENT


def test_another_question_or_shape_is_different_and_a_device_is_not(tmp_path: Path) -> None:
    pinned = product(tmp_path / "a.nc", EG, device="cpu")
    other = product(tmp_path / "b.nc", EG, parameters={"N": 4}, device="cpu")
    found = compare(other, pinned)
    assert found.verdict == Verdict.DIFFERENT
    assert found.reason == "another parameters was asked for"
    on_gpu = product(tmp_path / "c.nc", EG, device="cuda")
    assert compare(on_gpu, pinned).verdict == Verdict.SAME_NUMBERS
    dataset = products.read(pinned).isel(time=slice(2))
    dataset = dataset.assign(extra=variable("seed", [1, 2], "more"))
    products.write(dataset.drop_attrs(deep=False), tmp_path / "d.nc", dict(dataset.attrs))
    reasons = {
        row["name"]: row["reason"] for row in compare(tmp_path / "d.nc", pinned).variables
    }
    assert "another shape" in reasons["eg"]
    assert reasons["extra"] == "only in the rebuilt file"


def test_a_damaged_file_is_different(tmp_path: Path) -> None:
    pinned, rebuilt = (product(tmp_path / f"{name}.nc", EG) for name in "ab")
    content = bytearray(rebuilt.read_bytes())
    content[content.index(np.float64(5).tobytes())] ^= 1
    rebuilt.write_bytes(content)
    assert compare(rebuilt, pinned).verdict == Verdict.DIFFERENT


def drawing(folder: Path, points: list[float], text: str = "η", **stamp: Any) -> Path:
    figure = Figure(figsize=(3, 2))
    axes = figure.add_subplot()
    axes.plot(points, label=text)
    axes.set_ylim(0, 4)
    axes.legend(loc="upper left")
    paths = {format: folder / f"fig1.{format}" for format in ("svg", "png")}
    with plotting.style():
        plotting.save(figure, paths, STAMP | {"figure": "fig1", "caption": "c"} | stamp)
    return folder


@pytest.mark.parametrize("format", ["svg", "png"])
@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ({}, "SAME_BYTES"),
        ({"inputs": {"traj": "other digest, same numbers"}}, "SAME_NUMBERS"),
        ({"points": [1, 2.0002, 3]}, "SAME_NUMBERS"),
        ({"points": [1, 2.3, 3]}, "DIFFERENT"),
        ({"text": "a longer label"}, "DIFFERENT"),
        ({"caption": "another"}, "DIFFERENT"),
    ],
)
def test_figures_are_judged_by_what_they_show(
    tmp_path: Path, format: str, changes: dict[str, Any], verdict: str
) -> None:
    usual: dict[str, Any] = {"points": [1, 2, 3]}
    pinned = drawing(tmp_path / "a", **usual) / f"fig1.{format}"
    rebuilt = drawing(tmp_path / "b", **(usual | changes)) / f"fig1.{format}"
    found = compare(rebuilt, pinned)
    if verdict == "SAME_NUMBERS" and found.verdict == Verdict.SAME_BYTES:
        assert rebuilt.read_bytes() == pinned.read_bytes()  # a pixel rounds away 0.0002
    else:
        assert found.verdict == verdict, found.reason


def report(path: Path, value: float, verdict: str = "REPRODUCED") -> Path:
    statistic = {"name": "slope", "groups": [{"seeds": [0], "values": {"K=2": value}}]}
    entry = {"id": "G1", "verdict": verdict, "statistics": [statistic]}
    claims.write(path, STAMP | {"claims": [entry]})
    return path


@pytest.mark.parametrize(
    ("value", "verdict", "expected"),
    [
        (0.5, "REPRODUCED", "SAME_BYTES"),
        (0.5 * (1 + 1e-7), "REPRODUCED", "SAME_NUMBERS"),
        (0.5 * (1 + 1e-5), "REPRODUCED", "DIFFERENT"),
        (0.5, "NOT_REPRODUCED", "DIFFERENT"),
    ],
)
def test_claims_are_judged_by_verdicts_and_statistics(
    tmp_path: Path, value: float, verdict: str, expected: str
) -> None:
    pinned = report(tmp_path / "a.json", 0.5)
    found = compare(report(tmp_path / "b.json", value, verdict), pinned)
    assert found.verdict == expected
    if expected == "DIFFERENT":
        assert "claims.G1." in found.reason
        assert json.dumps(0.5) in found.reason or "REPRODUCED" in found.reason
