"""Singh et al. 2023: the statistics of the claims, and figures from tiny products.

Products made so that the statistic is known; the thresholds are those of the config.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import xarray as xr
from numpy.typing import NDArray

import judging
from retrograd.config import load_paper
from retrograd.papers.singh2023_transient_icl import figures, reading, theory, train
from retrograd.papers.singh2023_transient_icl.params import Training
from singh2023_setup import CPU, SLUG, product

Array = NDArray[np.float64]
EITHER = pytest.mark.parametrize("holds", [True, False])
FIVE = [{"delta": 0.007, "seeds": [0, 1, 2, 3, 4]}]
REGULARISED: list[dict[str, Any]] = [
    *({"delta": 0.007, "l2": l2, "seeds": [0, 1]} for l2 in (1e-5, 3e-5, 1e-4)),
    {"delta": 0, "seeds": [0, 1]},
]


def judge(
    name: str, products: Mapping[str, xr.Dataset]
) -> tuple[bool, dict[str, NDArray[Any]]]:
    """Whether the claim is reproduced, and its statistics."""
    found = judging.entry(SLUG, name, products)
    return found["verdict"] == "REPRODUCED", judging.statistics(found)


def rise_and_fall(peak: Any, end: Any, start: float = 0.5) -> Array:
    """(..., 24): from start to peak (records 6 to 10), and down to the end (20 to 23)."""
    peak, end = np.broadcast_arrays(np.asarray(peak, float), np.asarray(end, float))
    places, at = np.arange(24), [0, 6, 10, 20, 23]
    corners = np.stack([np.full_like(peak, start), peak, peak, end, end], -1)
    curves = [np.interp(places, at, c) for c in corners.reshape(-1, 5)]
    return np.array(curves).reshape(*peak.shape, 24)


def main(**curves: Any) -> xr.Dataset:
    return product(FIVE, **curves)


# ---- reading -----------------------------------------------------------------------------


def test_peaks_are_smoothed_and_ends_are_means_of_four() -> None:
    curve = rise_and_fall(0.8, 0.6)
    curve[15] = 3.0  # a record of its own does not make a peak of 3
    curve[-1] = 1.0
    icl = reading.accuracy(main(icl=curve), "icl")
    np.testing.assert_allclose(reading.peak(icl), curve[13:16].mean(), rtol=1e-6)
    np.testing.assert_allclose(reading.final(icl), 0.7, rtol=1e-6)
    assert (reading.peak_step(icl) == 14).all()


def test_accuracies_are_within_the_context_where_it_matters() -> None:
    made = main()
    made["acc"][:], made["ctx_acc"][:] = 0.1, 0.9
    for name, expected in (("train", 0.1), ("iwl", 0.1), ("icl", 0.9), ("ciwl", 0.9)):
        assert (reading.accuracy(made, name) == expected).all()


def test_runs_are_selected_by_their_condition() -> None:
    made = product(REGULARISED)
    assert reading.select(made, l2=3e-5)["run"].values.tolist() == [2, 3]
    assert reading.select(made, delta=0, l2=0, seed=1)["run"].values.tolist() == [7]


# ---- the transient -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("peaks", "start", "holds"),
    [
        ([0.8, 0.85, 0.8, 0.8, 0.8], 0.5, True),
        ([0.8, 0.75, 0.8, 0.8, 0.8], 0.5, False),  # every seed counts
        ([0.8, 0.8, 0.8, 0.8, 0.8], 0.6, False),
        ([0.8, 0.8, 0.8, 0.8, 0.8], 0.4, False),
    ],
)
def test_c1_is_the_peak_of_every_seed(
    peaks: list[float], start: float, holds: bool
) -> None:
    found, statistics = judge("c1", {"main": main(icl=rise_and_fall(peaks, 0.6, start))})
    assert found is holds
    np.testing.assert_allclose(statistics["peak"][0], peaks, rtol=1e-6)
    np.testing.assert_allclose(statistics["start"], start, rtol=1e-6)


@pytest.mark.parametrize(
    ("ends", "flip", "holds"),
    [
        ([0.6, 0.6, 0.6, 0.74, 0.6], 0.2, True),
        ([0.6, 0.6, 0.6, 0.78, 0.6], 0.2, False),  # one that stays
        ([0.73, 0.73, 0.73, 0.73, 0.73], 0.2, False),  # the mean
        ([0.6, 0.6, 0.6, 0.6, 0.6], 0.5, False),
    ],
)
def test_c2_is_what_is_lost_since_the_peak(
    ends: list[float], flip: float, holds: bool
) -> None:
    made = main(icl=rise_and_fall(0.8, ends), flip=rise_and_fall(0.75, flip))
    found, statistics = judge("c2", {"main": made})
    assert found is holds
    np.testing.assert_allclose(statistics["icl"][0], 0.8 - np.array(ends), atol=1e-6)
    assert statistics["mean_icl"] == pytest.approx(0.8 - np.mean(ends))
    np.testing.assert_allclose(statistics["flip"], 0.75 - flip, atol=1e-6)


@pytest.mark.parametrize(
    ("before", "end", "holds"), [(0.5, 0.9, True), (0.8, 0.9, False), (0.5, 0.8, False)]
)
def test_c3_is_the_rise_since_the_peak_of_flip(
    before: float, end: float, holds: bool
) -> None:
    ciwl = np.where(np.arange(24) < 12, before, end)
    made = main(flip=rise_and_fall(0.75, 0.1), ciwl=ciwl)
    found, statistics = judge("c3", {"main": made})
    assert found is holds
    np.testing.assert_allclose(statistics["rise"], end - before, atol=1e-6)


@pytest.mark.parametrize(
    ("shape", "holds"), [("falls", True), ("little", False), ("rises", False)]
)
def test_c4_is_the_loss_since_the_peak_of_flip(shape: str, holds: bool) -> None:
    later = np.arange(24) - 7.0
    loss = {
        "falls": np.exp(-later / 5),
        "little": np.exp(-later / 50),
        "rises": np.where(later < 1, 1, 0.1 + later / 500),  # low, but not falling
    }[shape]
    made = main(flip=rise_and_fall(0.75, 0.1), train_run=loss)
    found, statistics = judge("c4", {"main": made})
    assert found is holds
    if shape != "rises":
        np.testing.assert_allclose(statistics["ratio"], loss[-4:].mean() / loss[7])
        np.testing.assert_allclose(statistics["rank_correlation"], -1)


# ---- L2 ----------------------------------------------------------------------------------


def regularised(icl: list[float], flip: list[float], peak: float = 0.9) -> xr.Dataset:
    """Ends at 1e-5, 3e-5, 1e-4 and of the control, the same for both seeds."""
    ends = [np.repeat(e, 2) for e in (icl, flip)]
    return product(
        REGULARISED,
        icl=rise_and_fall(np.maximum(peak, ends[0]), ends[0]),
        flip=rise_and_fall(0.95, ends[1]),
    )


@pytest.mark.parametrize(
    ("icl", "flip", "without", "holds"),
    [
        ([0.7, 0.8, 0.92, 0.9], [0.3, 0.5, 0.9, 0.9], 0.1, True),
        ([0.7, 0.8, 0.92, 0.9], [0.5, 0.3, 0.9, 0.9], 0.1, False),  # not in order
        ([0.7, 0.8, 0.92, 0.9], [0.3, 0.5, 0.8, 0.9], 0.1, False),
        ([0.7, 0.8, 0.80, 0.9], [0.3, 0.5, 0.9, 0.9], 0.1, False),
        ([0.7, 0.8, 0.92, 0.9], [0.4, 0.5, 0.9, 0.9], 0.4, False),
    ],
)
def test_c5_is_flip_and_icl_at_every_lambda(
    icl: list[float], flip: list[float], without: float, holds: bool
) -> None:
    # Seeds that were not regularised do not count.
    ends = [without, without, 1, 1, 1]
    pair = {
        "main": main(flip=rise_and_fall(0.95, ends)),
        "controls": regularised(icl, flip),
    }
    found, statistics = judge("c5", pair)
    assert found is holds
    assert statistics["flip_without"] == pytest.approx(without)
    assert statistics["flip_strongest"] == pytest.approx(flip[2])
    assert statistics["icl_strongest"] == pytest.approx(icl[2])
    steps = np.diff([without, *flip[:3]])
    assert statistics["least_increase_of_flip"] == pytest.approx(steps.min())


def test_c5_fails_where_icl_fades_in_spite_of_l2() -> None:
    made = regularised([0.7, 0.8, 0.9, 0.9], [0.3, 0.5, 0.9, 0.9], peak=0.97)
    pair = {"main": main(flip=rise_and_fall(0.9, 0.1)), "controls": made}
    found, statistics = judge("c5", pair)
    assert not found
    assert statistics["transience_strongest"] == pytest.approx(0.07)


@EITHER
def test_c6_is_the_growth_of_the_loss_with_lambda(holds: bool) -> None:
    losses = np.repeat([0.06, 0.11, 0.24, 0.3] if holds else [0.06, 0.05, 0.24, 0.3], 2)
    pair = {
        "main": main(train_run=np.full(24, 0.04)),
        "controls": product(REGULARISED, train_run=losses[:, None] * np.ones(24)),
    }
    found, statistics = judge("c6", pair)
    assert found is holds
    assert statistics["least_ratio"] == pytest.approx(1.5 if holds else 5 / 6)


@EITHER
def test_c9_is_the_control_without_an_in_weights_route(holds: bool) -> None:
    # What is regularised may fade: only δ = 0 without λ counts.
    icl = [0.5, 0.5, 0.5, 0.9 if holds else 0.84]
    made = regularised(icl, [0.1, 0.1, 0.1, 0.9])
    found, statistics = judge("c9", {"controls": made})
    assert found is holds
    np.testing.assert_allclose(statistics["icl"], icl[-1], rtol=1e-6)
    np.testing.assert_allclose(statistics["transience"], 0.9 - icl[-1], atol=1e-6)


@pytest.mark.parametrize(
    ("end", "control", "holds"),
    [([0.5] * 5, 1.0, True), ([0.5] * 4 + [0.8], 1.0, False), ([0.5] * 5, 0.9, False)],
)
def test_c10_is_the_induction_strength_left(
    end: list[float], control: float, holds: bool
) -> None:
    runs = np.repeat([0.5, 0.5, 0.5, control], 2)
    pair = {
        "main": main(ih=2 * rise_and_fall(1, end, 0)),
        "controls": product(REGULARISED, ih=rise_and_fall(1, runs, 0)),
    }
    found, statistics = judge("c10", pair)
    assert found is holds
    np.testing.assert_allclose(statistics["transient"][0], end, rtol=1e-6)
    np.testing.assert_allclose(statistics["control"], control, rtol=1e-6)


# ---- other networks, data and speeds -----------------------------------------------------


@pytest.mark.parametrize(
    ("wide", "narrow", "holds"),
    [
        ((0.6, 0.1), ([0.6, 0.7], [0.1, 0.5]), True),
        ((0.7, 0.1), ([0.6, 0.7], [0.1, 0.5]), False),
        ((0.6, 0.4), ([0.6, 0.7], [0.1, 0.5]), False),
        ((0.6, 0.1), ([0.6, 0.78], [0.1, 0.5]), False),
        ((0.6, 0.1), ([0.6, 0.7], [0.4, 0.5]), False),
    ],
)
def test_c7_is_the_transience_at_two_widths(wide: Any, narrow: Any, holds: bool) -> None:
    def made(seeds: list[int], icl: Any, flip: Any) -> xr.Dataset:
        runs = [{"delta": 0.01, "seeds": seeds}]
        curves = {"icl": rise_and_fall(0.8, icl), "flip": rise_and_fall(0.75, flip)}
        return product(runs, **curves)

    pair = {"wide": made([0], *wide), "narrow": made([0, 1], *narrow)}
    found, statistics = judge("c7", pair)
    assert found is holds
    assert statistics["narrow_mean_flip"] == pytest.approx(0.75 - np.mean(narrow[1]))


@pytest.mark.parametrize("name", ["c8", "natural"])
@pytest.mark.parametrize(
    ("icl", "flip", "holds"),
    [([0.6, 0.75], 0.1, True), ([0.7, 0.75], 0.1, False), ([0.6, 0.6], 0.5, False)],
)
def test_c8_and_natural_are_means_over_seeds(
    name: str, icl: list[float], flip: float, holds: bool
) -> None:
    curves = {"icl": rise_and_fall(0.8, icl), "flip": rise_and_fall(0.75, flip)}
    made = product([{"delta": 0.012, "seeds": [0, 1]}], **curves)
    found, statistics = judge(name, {"alt" if name == "c8" else "natural": made})
    assert found is holds
    assert statistics["icl"] == pytest.approx(0.8 - np.mean(icl))


SPEEDS = {0.0035: (0.9, 0.88), 0.014: (0.5, 0.05), 0.028: (0.5, 0.05)}


@pytest.mark.parametrize(
    ("changes", "holds"),
    [
        ({}, True),
        ({0.0035: (0.9, 0.7)}, False),
        ({0.014: (0.6, 0.05)}, False),
        ({0.028: (0.5, 0.2)}, False),
        ({0.007: (0.6, 0.1)}, False),
        ({0.007: (0.8, 0.4)}, False),
        ({0.0: (0.9, 0.7)}, False),
    ],
)
def test_c13_is_peak_and_end_at_every_speed(
    changes: dict[float, tuple[float, float]], holds: bool
) -> None:
    ends = {0.0: (0.92, 0.9), 0.007: (0.8, 0.1)} | SPEEDS | changes

    def curve(delta: float) -> Array:
        return rise_and_fall(*ends[delta], start=0.4)

    # Other seeds, and what is regularised, do not count.
    control = np.full((11, 24), 0.3)
    control[6] = curve(0.0)
    control[8:] = [curve(delta) for delta in SPEEDS]
    transient = np.full((5, 24), 0.3)
    transient[0] = curve(0.007)
    others = [{"delta": delta, "seeds": [0]} for delta in SPEEDS]
    made = {
        "main": main(flip=transient),
        "controls": product(REGULARISED + others, flip=control),
    }
    found, statistics = judge("c13", made)
    assert found is holds
    slow = [ends[0.0][1], ends[0.0035][1]]
    np.testing.assert_allclose(statistics["slow_final"][0], slow, rtol=1e-6)
    assert statistics["middle_peak"] == pytest.approx(ends[0.007][0])


@pytest.mark.parametrize(("power", "holds"), [(1, True), (0.5, False), (1.5, False)])
def test_t4_is_the_exponent_of_the_time_of_ciwl(power: float, holds: bool) -> None:
    def curve(delta: float) -> Array:
        return np.where(np.arange(24) >= 20 * (0.004 / delta) ** power, 0.9, 0.5)

    others = [{"delta": delta, "seeds": [0]} for delta in (0.004, 0.02)]
    control = np.full((10, 24), 0.5)  # without δ it never comes
    control[8:] = [curve(0.004), curve(0.02)]
    made = {
        "main": product([{"delta": 0.01, "seeds": [0]}], ciwl=curve(0.01)),
        "controls": product(REGULARISED + others, ciwl=control),
    }
    found, statistics = judge("T4", made)
    assert found is holds
    assert statistics["exponent"] == pytest.approx(-power, abs=0.1)


def test_t4_fails_where_nothing_comes() -> None:
    made = {"main": main(), "controls": product(REGULARISED)}
    assert not judge("T4", made)[0]


# ---- the toy, and the rest ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("lost", "falls", "holds"), [(6, True, True), (5, True, False), (6, False, False)]
)
def test_c11_counts_what_is_learnt_and_lost(lost: int, falls: bool, holds: bool) -> None:
    params = load_paper(SLUG, seed=0).scales["smoke"].toy
    params = params.model_copy(update={"seeds": 10, "steps": 40, "records": 5})
    made = train.toy(params, {}, CPU)
    records = made.sizes["iteration"]
    made["L"][:] = np.linspace(1, 0, records)
    # Learnt and lost; learnt and kept; never learnt.
    made["l1"][:] = 0.3
    made["l1"][:8, records // 2] = 0.01
    made["l1"][lost:8, -1] = 0.01
    if not falls:
        made["L"][3, -1] = 1
    found, statistics = judge("c11", {"toy": made})
    assert found is holds
    assert statistics["learnt_and_lost"] == pytest.approx(lost / 10)
    assert statistics["falling"] == pytest.approx(1 if falls else 0.9)


@EITHER
def test_c12_is_iwl_over_chance(holds: bool) -> None:
    ends = np.array([0.5 if holds else 0.2, 1.0])  # the second is regularised
    made = product(
        [{"seeds": [0]}, {"l2": 1e-6, "seeds": [0]}], iwl=rise_and_fall(ends, ends, 0)
    )
    found, statistics = judge("c12", {"deep": made})
    assert found is holds
    assert statistics["over_chance"] == pytest.approx(32 * ends[0])


@EITHER
def test_l1_is_the_end_of_iwl(holds: bool) -> None:
    ends = [0.01] * 4 + [0.01 if holds else 0.05]
    assert judge("L1", {"main": main(iwl=rise_and_fall(ends, ends))})[0] is holds


@EITHER
def test_l2_is_the_distance_from_a_perfect_matcher(holds: bool) -> None:
    params = load_paper(SLUG, seed=0).scales["laptop"].ceiling
    ceiling = theory.ceiling(params.model_copy(update={"samples": 2000}), {})
    icl = [0.5, 0.5, 0.5, 0.92 if holds else 0.98]
    found, statistics = judge(
        "L2", {"controls": regularised(icl, [0.9] * 4), "ceiling": ceiling}
    )
    assert found is holds
    best = float(ceiling["repeated"][0])
    np.testing.assert_allclose(statistics["below_ceiling"], best - icl[-1], rtol=1e-5)


def test_every_figure_can_be_drawn_from_smoke_products() -> None:
    paper = load_paper(SLUG, seed=0)
    made: dict[str, xr.Dataset] = {}
    for name, spec in paper.products.items():
        params = paper.parameters(name, "smoke")
        if params is None:
            continue
        if isinstance(params, Training):
            short = params.adam.model_copy(update={"steps": 40})
            params = params.model_copy(
                update={"adam": short, "record_every": 5, "evaluated": 20}
            )
        inputs = {need: made[need] for need in spec.need}
        if spec.step == "theory":
            made[name] = getattr(theory, spec.maker)(params, inputs)
        else:
            made[name] = getattr(train, spec.maker)(params, inputs, CPU)
    for name, figure in paper.figures.items():
        drawn = getattr(figures, paper.function_of("figures", name))(
            {need: made[need] for need in figure.need}
        )
        assert drawn.axes
        drawn.draw_without_rendering()
