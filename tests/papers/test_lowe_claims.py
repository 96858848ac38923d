"""Löwe et al. 2024: the statistics of the claims and their verdicts."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import xarray as xr

import judging
from lowe_setup import CPU, SLUG, Array, one_condition, study, task
from retrograd.claims import Verdict
from retrograd.errors import RetrogradError
from retrograd.papers.lowe2023_insight import claims, train

# Products made so that the statistic is known; the thresholds are those of the config.

SEEDS, NETWORKS = 2, 40
INSIGHT = np.arange(NETWORKS) % 2 == 0  # half of them


def judge(
    name: str, products: Mapping[str, xr.Dataset]
) -> tuple[Verdict, dict[str, Array]]:
    found = judging.entry(SLUG, name, products)
    return found["verdict"], judging.statistics(found)


def split(insight: Any, others: Any) -> Array:
    """(seed, network) with one value for insights and one for the others."""
    values: Array = np.broadcast_to(np.where(INSIGHT, insight, others), (SEEDS, NETWORKS))
    return values.astype(np.float32)


def main(**of_network: Array) -> xr.Dataset:
    """What a main product has, such that all claims hold but for `of_network`."""
    spread = np.where(np.arange(NETWORKS) // 2 % 2, 1, -1) * 100.0
    usual = {
        "delay": split(175 + spread, 0),
        "jump": split(0.3, 0.01),
        "free_slope": split(0.2, 0.0),
        "width": split(90, 200),
        "w_c_onset": split(-1.2, 0.2),
        "g_c_onset": np.where(np.arange(NETWORKS) % 8, 0, 0.02) * np.ones((SEEDS, 1)),
        "g_c_end": split(-0.7, 0.05),
        "g_m_end": split(0.1, 0.5),
        "right_before": split(0.58, 0.62),
        "right_after": split(0.82, 0.62),
    } | of_network
    score = np.stack([split(0.6, 0), split(0, 0)], axis=1)
    dims = ("seed", "network")
    kind = ("seed", "kind")
    return xr.Dataset(
        {name: (dims, values) for name, values in usual.items()}
        | {
            "score": (("seed", "group", "network"), score),
            "group_slope": (kind, np.full((SEEDS, 2), 0.07)),
            "group_width": (kind, np.full((SEEDS, 2), 250.0)),
            "learning_rate": ("bin", np.full(12, 0.6)),
        },
        {"group": ["test", "control"], "kind": ["insight", "others"]},
    )


@pytest.mark.parametrize(
    ("claim", "changes", "expected"),
    [
        ("I1", {}, {"insight_fraction": 0.5, "false_positives": 0}),
        ("I2", {"delay": split(250, 0)}, {"delay_mean": 250, "delay_sd": 0}),
        ("I3", {"jump": split(0.1, 0.0)}, {"jump_insight": 0.1, "jump_others": 0}),
        ("I3", {"free_slope": split(0.1, 0.0)}, {"slope_over_group": 0.1 / 0.07}),
        ("I3b", {"width": split(200, 0)}, {"width_over_group": 0.8}),
        ("I4", {"w_c_onset": split(0.3, -0.2)}, {"weight_ratio": 1.5}),
        ("I4", {"w_c_onset": split(0.2, -0.3)}, {"area_under_curve": 0}),
        ("I5", {"g_c_onset": split(-0.04, 0)}, {"gate_size": 0.02, "gate_at_zero": 0.5}),
        ("I5", {"right_before": split(0.63, 0.62)}, {"accuracy_difference": 0.01}),
        ("I6", {"w_c_onset": split(1.0, -1.2)}, {"given_large": 0}),
        ("I12", {"g_c_end": split(0.4, 0.3)}, {"colour_insight": 0.4}),
        ("I12", {"g_m_end": split(0.3, 0.3)}, {"motion_others": 0.3}),
        ("I13", {"right_after": split(0.7, 0.65)}, {"accuracy_difference": 0.05}),
        ("I14", {"jump": split(0.1, 0.0)}, {"learning_rate_range": 0, "jump_insight": 0.1}),
    ],
)
def test_claims_about_networks_hold_and_can_fail(
    claim: str, changes: dict[str, Array], expected: dict[str, float]
) -> None:
    assert judge(claim, {"main": main()})[0] == "REPRODUCED"
    verdict, statistics = judge(claim, {"main": main(**changes)})
    assert verdict == ("NOT_REPRODUCED" if changes else "REPRODUCED")
    for name, value in expected.items():
        np.testing.assert_allclose(statistics[name], [[value]] * SEEDS, atol=1e-6)


def test_every_population_must_show_it() -> None:
    products = main()
    products["score"][1, 0] = 0.0  # no insight in the second one
    assert judge("I1", {"main": products})[0] == "NOT_REPRODUCED"
    assert judge("I13", {"main": products})[0] == "NOT_REPRODUCED"


def test_controls_that_pass_are_false_positives() -> None:
    products = main()
    products["score"][:, 1, :10] = 0.3
    verdict, statistics = judge("I1", {"main": products})
    assert verdict == "NOT_REPRODUCED"
    assert (statistics["false_positives"] == 0.25).all()


def test_i14_fails_if_the_learning_rate_changes() -> None:
    products = main()
    products["learning_rate"][3] = 0.5
    verdict, statistics = judge("I14", {"main": products})
    assert verdict == "NOT_REPRODUCED"
    assert statistics["learning_rate_range"] == pytest.approx(0.1)


@pytest.mark.parametrize(("count", "verdict"), [(46, "REPRODUCED"), (80, "NOT_REPRODUCED")])
def test_i1b_is_the_mean_over_batches(count: int, verdict: str) -> None:
    batches = xr.Dataset({"published": ("seed", [count - 8, count + 8])})
    found, statistics = judge("I1b", {"batches": batches})
    assert found == verdict
    assert statistics["mean_count"] == count


def conditions(names: Any, fraction: Any, delay: Any = 0.0, **more: Any) -> xr.Dataset:
    """A product of conditions, two populations of 100 around the given means."""
    around = np.array([-0.01, 0.01])
    fraction = np.broadcast_to(fraction, len(names))[:, None] + around
    fraction = np.maximum(fraction, 0)
    values = {"insight_fraction": fraction, "insights": 100 * fraction}
    for name, value in ({"delay": delay} | more).items():
        mean = np.broadcast_to(value, len(names)).astype(float)
        values[name] = np.repeat(mean[:, None], 2, axis=1)
    dims = ("condition", "seed")
    return xr.Dataset({n: (dims, v) for n, v in values.items()}, {"condition": list(names)})


NOISE = {"σ=0": 0.0, "σ=0.01": 0.01, "σ=0.03": 0.03, "default": 0.05, "σ=0.1": 0.1}
PENALTY = {"λ=0.01": 0.01, "λ=0.03": 0.03, "λ=0.05": 0.05, "λ=0.1": 0.1}


def sweeps(noise: Any, penalty: Any, delay: Any = (100, 140, 155, 190)) -> xr.Dataset:
    """Fractions over NOISE and over PENALTY; the default has a delay of 170."""
    names = [*NOISE, *PENALTY]
    found = conditions(names, [*noise, *penalty], [0, 0, 0, 170, 0, *delay])
    found["insight_fraction"][0] = noise[0]
    sigma = [*NOISE.values()] + [0.05] * len(PENALTY)
    lam = [0.07] * len(NOISE) + [*PENALTY.values()]
    return found.assign_coords(sigma_xi=("condition", sigma), lam=("condition", lam))


GROWING, FALLING = (0.0, 0.06, 0.3, 0.5, 0.8), (0.97, 0.8, 0.6, 0.4)


@pytest.mark.parametrize(
    ("noise", "verdict"),
    [
        (GROWING, "REPRODUCED"),
        ((0.01, 0.06, 0.3, 0.5, 0.8), "NOT_REPRODUCED"),  # without any noise
        ((0.0, 0.06, 0.5, 0.5, 0.8), "NOT_REPRODUCED"),  # not strictly
        ((0.0, 0.06, 0.3, 0.5, 0.65), "NOT_REPRODUCED"),  # too few at the end
    ],
)
def test_i7_needs_noise_and_more_with_more(noise: Any, verdict: str) -> None:
    found, statistics = judge("I7", {"sweeps": sweeps(noise, FALLING)})
    assert found == verdict
    np.testing.assert_allclose(statistics["at_0_1"], noise[-1])


@pytest.mark.parametrize(
    ("penalty", "delay", "verdict"),
    [
        (FALLING, (100, 140, 155, 190), "REPRODUCED"),
        ((0.8, 0.97, 0.6, 0.4), (100, 140, 155, 190), "NOT_REPRODUCED"),
        (FALLING, (100, 140, 155, 160), "NOT_REPRODUCED"),  # the default has 170
    ],
)
def test_i9_orders_the_penalties(penalty: Any, delay: Any, verdict: str) -> None:
    assert judge("I9", {"sweeps": sweeps(GROWING, penalty, delay)})[0] == verdict


@pytest.mark.parametrize(("off", "verdict"), [(0.1, "REPRODUCED"), (0.3, "NOT_REPRODUCED")])
def test_i15_compares_seven_conditions_by_name(off: float, verdict: str) -> None:
    measured = sweeps((0, 0.3, 0.3, 0.5, 0.5), (0.5, 0.5, 0.5, 0.5))
    escape = conditions([*reversed([*NOISE, *PENALTY])], 0.5 - off)
    measured["insight_fraction"][:] = 0.5
    found, statistics = judge("I15", {"sweeps": measured, "escape": escape})
    assert found == verdict
    np.testing.assert_allclose(statistics["deviation"], np.full((1, 7), off))


NAMES = ["L1", "L2", "no penalty", "no gates", "noise on weights", "noise on gates"]
FRACTION = np.array([0.5, 0.97, 0.98, 0.97, 0.5, 0.02])
DELAY = np.array([175, 115, 66, 68, 175, 100.0])
GATE = np.array([0.002, 0.036, 0.75, 1, 0, 0.002])


def variants(**changes: tuple[int, float]) -> xr.Dataset:
    """All as measured, but for {statistic: (variant, value)}."""
    values = {"fraction": FRACTION.copy(), "delay": DELAY.copy(), "gate": GATE.copy()}
    for name, (variant, value) in changes.items():
        values[name][variant] = value
    return conditions(NAMES, values["fraction"], values["delay"], g_c_onset=values["gate"])


@pytest.mark.parametrize(
    ("claim", "changes"),
    [
        ("I8", {"fraction": (4, 0.3)}),
        ("I8", {"fraction": (5, 0.1)}),
        ("I10", {"fraction": (2, 0.9)}),
        ("I10", {"delay": (2, 100)}),
        ("I10", {"gate": (2, 0.3)}),
        ("I10", {"fraction": (3, 0.9)}),
        ("I10", {"delay": (3, 100)}),
        ("I11", {"fraction": (1, 0.9)}),
        ("I11", {"delay": (1, 150)}),
        ("I11", {"gate": (1, 0.01)}),
    ],
)
def test_claims_about_variants_hold_and_can_fail(
    claim: str, changes: dict[str, tuple[int, float]]
) -> None:
    assert judge(claim, {"variants": variants()})[0] == "REPRODUCED"
    assert judge(claim, {"variants": variants(**changes)})[0] == "NOT_REPRODUCED"


@pytest.mark.parametrize(
    ("fraction", "delay", "verdict"),
    [
        (0.96, 95, "REPRODUCED"),
        (0.6, 95, "NOT_REPRODUCED"),
        (0.96, 150, "NOT_REPRODUCED"),
    ],
)
def test_i17_is_about_the_printed_rule(fraction: float, delay: float, verdict: str) -> None:
    printed = conditions(["as printed"], fraction, delay)
    found, statistics = judge("I17", {"printed": printed})
    assert found == verdict
    np.testing.assert_allclose(statistics["delay"], delay)


def test_a_mean_delay_weighs_populations_by_their_insights() -> None:
    printed = conditions(["as printed"], 0.95, 0)
    printed["delay"][:] = [[60.0, 120.0]]
    printed["insights"][:] = [[90, 30]]
    np.testing.assert_allclose(judge("I17", {"printed": printed})[1]["delay"], 75)


@pytest.mark.parametrize(
    ("ratio", "verdict"), [(1.0, "REPRODUCED"), (1.67, "NOT_REPRODUCED")]
)
def test_i16_is_the_spread_over_that_of_the_walk(ratio: float, verdict: str) -> None:
    walk = xr.Dataset({"w_c_sd": ("trial", [0, 0.95])})
    spread = ratio * split(0.95, -0.95)
    found, statistics = judge("I16", {"main": main(w_c_onset=spread), "walk": walk})
    assert found == verdict
    assert statistics["sd_ratio"] == pytest.approx(ratio)


@pytest.mark.parametrize("claim", [claims.i18, claims.i19])
def test_what_is_not_built_says_so(claim: Any) -> None:
    with pytest.raises(RetrogradError, match=r"I18 is about|I19 is out"):
        claim({})


def test_the_claims_read_what_the_simulation_writes() -> None:
    params = one_condition(task=task(), seeds=1, networks=60)
    found = train.train(params, {}, CPU)
    verdict, statistics = judge("I13", {"main": found})
    assert verdict == "REPRODUCED"
    record = found["right_after"].where(found["score"].sel(group="test") > 0.2)
    assert statistics["accuracy_difference"] < float(record.mean())
    batches = study(task=task(), seeds=2, networks=40)
    counts = train.batches(one_condition(**batches.model_dump()), {}, CPU)
    fraction = train.conditions(batches, {}, CPU)["insights"]
    np.testing.assert_array_equal(counts["robust"], fraction.sel(condition="default"))
    assert (counts["threshold"] > 0).all()
