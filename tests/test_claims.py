"""Verdicts: within the thresholds for every group and label, or not."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from retrograd import claims
from retrograd.claims import Verdict
from retrograd.errors import RetrogradError

RUNS = xr.Dataset({"eg": ("seed", np.array([1.0, 2.0, 3.0, 4.0]))})


def claim(**changes: Any) -> dict[str, Any]:
    return {
        "sentence": "it holds",
        "need": ["runs"],
        "thresholds": {"mean": {"min": 1.0, "max": 3.0}},
        "seeds_per_group": None,
        "not_tested": None,
    } | changes


def mean(products: claims.Products) -> claims.Statistics:
    return {"mean": float(products["runs"]["eg"].mean())}


def judge(statistic: Any = mean, **changes: Any) -> dict[str, Any]:
    return claims.evaluate("C1", claim(**changes), statistic, {"runs": RUNS})


def test_thresholds_are_closed_intervals() -> None:
    for threshold, verdict in (
        ({"min": 2.5, "max": 2.5}, Verdict.REPRODUCED),
        ({"min": 2.5, "max": None}, Verdict.REPRODUCED),
        ({"min": None, "max": 2.4}, Verdict.NOT_REPRODUCED),
        ({"min": 2.6, "max": None}, Verdict.NOT_REPRODUCED),
    ):
        assert judge(thresholds={"mean": threshold})["verdict"] == verdict


def test_every_group_of_seeds_must_hold() -> None:
    entry = judge(seeds_per_group=2)
    (statistic,) = entry["statistics"]
    assert statistic["groups"] == [
        {"seeds": [0, 1], "values": {"": 1.5}},
        {"seeds": [2, 3], "values": {"": 3.5}},
    ]
    assert entry["verdict"] == Verdict.NOT_REPRODUCED
    assert judge()["verdict"] == Verdict.REPRODUCED


def test_every_label_must_hold() -> None:
    def per_K(_: claims.Products) -> claims.Statistics:
        return {"mean": xr.DataArray([1.0, 9.0], coords={"K": [2, 4]}, dims="K")}

    entry = judge(per_K)
    assert entry["statistics"][0]["groups"][0]["values"] == {"K=2": 1.0, "K=4": 9.0}
    assert entry["verdict"] == Verdict.NOT_REPRODUCED


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_statistic_that_failed_never_holds(value: float, tmp_path: Path) -> None:
    entry = judge(lambda _: {"mean": value}, thresholds={"mean": {"min": None, "max": 3}})
    assert entry["verdict"] == Verdict.NOT_REPRODUCED
    claims.write(tmp_path / "claims.json", {"claims": [entry]})
    report = claims.read(tmp_path / "claims.json")
    assert "not finite" in claims.table([report])


def test_a_claim_that_is_not_tested_gives_its_reason_and_computes_nothing() -> None:
    def never(_: claims.Products) -> claims.Statistics:
        raise AssertionError

    entry = judge(never, not_tested="published scale only")
    assert (entry["verdict"], entry["reason"]) == (
        Verdict.NOT_TESTED,
        "published scale only",
    )


def test_statistics_without_a_threshold_or_the_other_way_are_refused() -> None:
    with pytest.raises(RetrogradError, match=r"C1: the statistics are \['median'\]"):
        judge(lambda _: {"median": 1.0})


def test_groups_must_divide_the_seeds() -> None:
    with pytest.raises(RetrogradError, match="seeds_per_group: 3 does not divide"):
        judge(seeds_per_group=3)


def test_groups_are_disjoint_and_whole() -> None:
    other = xr.Dataset({"T": ("teacher", np.ones(2))})
    groups = list(claims.seed_groups({"runs": RUNS, "other": other}, 2))
    values = np.concatenate([products["runs"]["eg"] for _, products in groups])
    np.testing.assert_array_equal(values, RUNS["eg"])
    assert all(products["other"] is other for _, products in groups)


def test_the_table_shows_range_threshold_and_verdict(tmp_path: Path) -> None:
    report = {"claims": [judge(seeds_per_group=2), judge(not_tested="too long")]}
    lines = claims.table([report]).splitlines()
    assert lines[2] == "| C1 | it holds | mean: 1.5 to 3.5 (1 to 3) | NOT_REPRODUCED |"
    assert lines[3] == "| C1 | it holds | too long | NOT_TESTED |"


def test_a_report_that_is_no_json_is_named(tmp_path: Path) -> None:
    (tmp_path / "claims.json").write_text("{")
    with pytest.raises(RetrogradError, match=r"claims\.json: cannot read it"):
        claims.read(tmp_path / "claims.json")
