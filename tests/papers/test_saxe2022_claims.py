"""Saxe et al. 2022: the statistics of the claims and their verdicts.

Products made so that the statistic is known; the thresholds are those of the config.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
import xarray as xr

import judging
from retrograd.claims import Verdict
from retrograd.config import load_paper
from retrograd.papers.saxe2022_neural_race import claims, data
from retrograd.papers.saxe2022_neural_race.figures import COLORS

SLUG = "saxe2022_neural_race"


def judge(
    name: str, products: Mapping[str, xr.Dataset]
) -> tuple[Verdict, dict[str, np.ndarray], set[str]]:
    """Verdict, statistics {name: values}, and the names of those that do not hold."""
    found = judging.entry(SLUG, name, products)
    failing = {s["name"] for s in found["statistics"] if not s["holds"]}
    return found["verdict"], judging.statistics(found), failing


def expect(name: str, products: Mapping[str, xr.Dataset], *failing: str) -> None:
    """The claim fails in exactly these statistics; without any it is reproduced."""
    verdict, _, found = judge(name, products)
    assert found == set(failing)
    assert verdict == ("NOT_REPRODUCED" if failing else "REPRODUCED")


# ---- XoR and the contextual task: C1 to C5 ---------------------------------------------

EPOCHS = np.arange(0, 141)


def falling(half: float, width: float = 3) -> np.ndarray:
    """From ½ to 0, at ¼ at `half`."""
    fall: np.ndarray = 0.5 / (1 + np.exp((EPOCHS - half) / width))
    return fall


def gating(
    relu: Sequence[np.ndarray],
    gated_end: float = 1e-9,
    linear_end: float = 0.5,
    contextual: tuple[float, float] = (0.0, 1 / 12),
    alignment: float = 0.999,
) -> xr.Dataset:
    loss = np.full((len(relu), 3, len(EPOCHS)), 0.5)
    loss[:, 0], loss[:, 1, -1], loss[:, 2, -1] = relu, gated_end, linear_end
    return xr.Dataset(
        {
            "xor_loss": (("seed", "network", "epoch"), loss),
            "alignment": ("seed", np.full(len(relu), alignment)),
            "contextual_loss": (
                ("paths", "contextual_epoch"),
                np.array([[0.1, contextual[0]], [0.1, contextual[1]]]),
            ),
        },
        {
            "epoch": EPOCHS,
            "network": list(data.XOR_NETWORKS),
            "paths": list(data.CONTEXTUAL_PATHS),
        },
    )


def two_seeds(half: float = 69) -> list[np.ndarray]:
    return [falling(half), falling(half)]


def test_c1_is_the_loss_of_the_worst_seed() -> None:
    expect("C1", {"gating": gating(two_seeds())})
    expect("C1", {"gating": gating(two_seeds(), gated_end=1e-5)}, "gated")
    expect("C1", {"gating": gating(two_seeds(), linear_end=0.498)}, "linear")
    stuck = gating([falling(69), np.full(len(EPOCHS), 0.25)])
    expect("C1", {"gating": stuck}, "relu")


def test_c2_is_the_loss_at_the_end() -> None:
    expect("C2", {"gating": gating(two_seeds())})
    expect("C2", {"gating": gating(two_seeds(), contextual=(2e-4, 1 / 12))}, "gated")
    expect("C2", {"gating": gating(two_seeds(), contextual=(0, 0.0845))}, "linear")


def test_c3_compares_the_mean_and_every_seed_with_the_closed_form() -> None:
    theory = gating([falling(69)]).isel(seed=0)
    spread = gating([falling(68), falling(70)])  # the mean is closer than any seed
    expect("C3", {"gating": gating(two_seeds()), "gating_theory": theory})
    _, values, failing = judge("C3", {"gating": spread, "gating_theory": theory})
    assert failing == set()
    assert values["mean_deviation"] < 0.01 < values["largest_deviation"].min()
    wide = gating([falling(66.5), falling(71.5)])
    expect("C3", {"gating": wide, "gating_theory": theory}, "largest_deviation")
    late = gating(two_seeds(71))
    both = ("mean_deviation", "largest_deviation")
    expect("C3", {"gating": late, "gating_theory": theory}, *both)


@pytest.mark.parametrize(("half", "failing"), [(69, ()), (65, ("half_loss_epoch",))])
def test_c4_is_the_mean_half_loss_epoch(half: float, failing: tuple[str, ...]) -> None:
    products = {"gating": gating(two_seeds(half))}
    expect("C4", products, *failing)
    assert judge("C4", products)[1]["half_loss_epoch"] == pytest.approx(half, abs=0.01)


def test_c5_asks_every_seed_for_its_alignment() -> None:
    expect("C5", {"gating": gating(two_seeds())})
    expect("C5", {"gating": gating(two_seeds(), alignment=0.98)}, "alignment")


# ---- the routing network and its theory: C6 to C12 -------------------------------------


def decoupled() -> xr.Dataset:
    values = (("sub_network", "mode", "sv_epoch"), np.full((2, 4, 3), 2.0))
    return xr.Dataset(
        {
            "loss": (("network", "epoch"), [[100.0, 1e-3, 1e-20]]),
            "sv_in": values,
            "sv_hidden": values,
            "sv_out": values,
        },
        {"epoch": [0, 1, 2], "network": ["a"]},
    )


def test_c6_is_the_largest_relative_difference() -> None:
    theory = decoupled()
    expect("C6", {"decoupled": theory, "decoupled_theory": theory})
    moved = theory.copy(deep=True)
    moved["sv_hidden"][1, 2, 1] *= 1 + 2e-9
    expect("C6", {"decoupled": moved, "decoupled_theory": theory}, "singular_values")
    moved = theory.copy(deep=True)
    moved["loss"][0, 1] *= 1 + 2e-9
    expect("C6", {"decoupled": moved, "decoupled_theory": theory}, "loss")
    # Rounding alone decides a loss that is 1e-22 of its start.
    moved = theory.copy(deep=True)
    moved["loss"][0, 2] *= 3
    expect("C6", {"decoupled": moved, "decoupled_theory": theory})


def routing_theory(order: float = 1) -> xr.Dataset:
    flow = np.array([244.0, 58.8, 17.9])
    deviation = np.array([0, 10.0, 5])
    small = [flow + deviation / n**order for n in (4, 16)]
    return xr.Dataset(
        {
            "loss": ("epoch", flow),
            "loss_flow": ("epoch", flow),
            "loss_small_steps": (("divisor", "epoch"), small),
        },
        {"epoch": [0, 110, 200], "divisor": [4, 16]},
    )


@pytest.mark.parametrize(("order", "failing"), [(1, ()), (2, ("deviation_ratio",))])
def test_c7_is_the_ratio_of_deviations(order: float, failing: tuple[str, ...]) -> None:
    products = {"routing_theory": routing_theory(order)}
    expect("C7", products, *failing)
    assert judge("C7", products)[1]["deviation_ratio"] == pytest.approx(4.0**order)


def routing(**changes: Any) -> xr.Dataset:
    """Two seeds, M = 7."""
    usual = {
        "off": [0.0, 0.0],
        "ratio": 7**0.5,
        "share": [0.95, 0.97],
        "error": [0.01, 0.02],
    }
    of = usual | changes
    loss = routing_theory()["loss"].values + np.multiply.outer(of["off"], [0, 244.0, 244])
    run = ("seed", "condition")
    values = np.ones((2, 1, 4, 2))
    return xr.Dataset(
        {
            "loss": ((*run, "epoch"), loss[:, None]),
            "sv_in": ((*run, "mode", "sv_epoch"), values),
            "sv_hidden": ((*run, "mode", "sv_epoch"), of["ratio"] * values),
            "share_index": (run, np.array(of["share"])[:, None]),
            "untrained_error": (run, np.array(of["error"])[:, None]),
            "mask": (("in", "out"), np.ones((7, 7))),
        },
        {"epoch": [0, 110, 200], "fraction": ("condition", [4 / 7])},
    )


def test_c8_asks_every_seed_for_its_mean_deviation() -> None:
    theory = routing_theory()
    expect("C8", {"routing": routing(off=[0.03, -0.04]), "routing_theory": theory})
    far = {"routing": routing(off=[0.0, -0.06]), "routing_theory": theory}
    expect("C8", far, "mean_deviation")
    np.testing.assert_allclose(judge("C8", far)[1]["mean_deviation"], [[0, 0.04]])


def test_c9_is_the_ratio_over_root_m() -> None:
    exact = decoupled()
    exact["sv_hidden"] = 7**0.5 * exact["sv_hidden"]
    expect("C9", {"routing": routing(ratio=0.98 * 7**0.5), "decoupled": exact})
    expect("C9", {"routing": routing(ratio=2.5), "decoupled": exact}, "random")
    exact["sv_hidden"] = 0.99 * exact["sv_hidden"]
    expect("C9", {"routing": routing(), "decoupled": exact}, "decoupled")


def test_c10_reads_the_plateaus_of_the_theory() -> None:
    expect("C10", {"routing_theory": routing_theory()})
    moved = routing_theory()
    moved["loss"] = moved["loss"] + 1.5
    expect("C10", {"routing_theory": moved}, "first_plateau", "second_plateau")


def test_c11_and_c12_ask_every_seed() -> None:
    expect("C11", {"routing": routing()})
    expect("C11", {"routing": routing(share=[0.99, 0.92])}, "share_index")
    expect("C12", {"routing": routing()})
    expect("C12", {"routing": routing(error=[0.01, 0.06])}, "untrained_error")


# ---- sharing, fractions and scales: C13 to C17 -----------------------------------------


def sharing(
    half: Sequence[float] = (242, 95, 26.7, 10), winner: float = 0.998
) -> xr.Dataset:
    shares = np.array([[0.1, 0.0], [0.1, 0], [0.1, 0], [0.1, winner]])
    return xr.Dataset(
        {"half_time": ("root", list(half)), "share": (("root", "step"), shares)},
        {"root": [1, 2, 5, 10], "step": [0, 1]},
    )


def test_c13_and_c14_are_half_times_and_the_winners_share() -> None:
    expect("C13", {"sharing_theory": sharing()})
    expect("C13", {"sharing_theory": sharing((242, 90, 26.7, 10))}, "P_4")
    everything_alike = sharing((10, 10, 10, 10))
    expect("C13", {"sharing_theory": everything_alike}, "P_1", "P_4", "P_25")
    expect("C14", {"sharing_theory": sharing()})
    expect("C14", {"sharing_theory": sharing(winner=0.9)}, "share")


def fractions(errors: Sequence[float], trained: float = 0.01) -> xr.Dataset:
    """Two seeds with errors a third above and below, at M = 10; all trained at the end."""
    K = [1, 2, 3, 4, 5, 7, 10]
    mean = np.array([*errors, 0.0, -1.0])
    error = np.stack([mean * 4 / 3, mean * 2 / 3])
    error[:, -1] = -1  # no untrained pair
    run = ("seed", "condition")
    return xr.Dataset(
        {"untrained_error": (run, error), "trained_error": (run, np.full((2, 7), trained))},
        {"condition": range(7), "fraction": ("condition", np.array(K) / 10)},
    )


def test_c15_is_the_mean_error_by_k() -> None:
    good = (208.0, 91.0, 9.6, 0.26, 0.005)
    expect("C15", {"fractions": fractions(good)})
    _, values, _ = judge("C15", {"fractions": fractions(good)})
    assert values["K_1"] == pytest.approx(208)
    assert values["K_2_over_K_3"] == pytest.approx(91 / 9.6)
    assert values["K_5"] == pytest.approx(0.005)
    expect("C15", {"fractions": fractions((208, 9, 91, 0.26, 0.005))}, "K_2_over_K_3")
    expect(
        "C15", {"fractions": fractions((208, 91, 9.6, 10, 5))}, "K_3_over_K_4", "K_4", "K_5"
    )
    expect("C15", {"fractions": fractions(good, trained=0.2)}, "trained")


def scales(
    errors: Sequence[float] = (0.001, 0.3, 4.2, 21, 56, 104),
    steepest: Sequence[int] = (142, 60, 10, 3, 1, 0),
) -> xr.Dataset:
    run, half = ("seed", "condition"), [143, 100, 50, 30, 20, 10]
    return xr.Dataset(
        {
            "untrained_error": (run, [errors, errors]),
            "trained_error": (run, np.full((2, 6), 1e-3)),
            "steepest_epoch": (run, [steepest, steepest]),
            "half_loss_epoch": (run, [half, half]),
        },
        {
            "condition": range(6),
            "fraction": ("condition", np.full(6, 4 / 7)),
            "sigma_0": ("condition", [0.2, 0.66, 1.12, 1.58, 2.04, 2.5]),
        },
    )


def test_c16_rises_with_the_scale() -> None:
    expect("C16", {"scales": scales()})
    expect("C16", {"scales": scales((0.001, 0.3, 21, 4.2, 56, 104))}, "least_rise")
    flat = scales((0.001, 0.002, 0.003, 0.004, 0.005, 0.006))
    expect("C16", {"scales": flat}, "largest_scale")


def test_c17_is_when_the_loss_falls_most() -> None:
    expect("C17", {"scales": scales()})
    expect("C17", {"scales": scales(steepest=(142, 60, 10, 3, 1, 5))}, "lazy")
    expect("C17", {"scales": scales(steepest=(20, 60, 10, 3, 1, 0))}, "rich")
    never = scales()
    never["half_loss_epoch"][:, 0] = -1  # a run that never halved its loss
    expect("C17", {"scales": never}, "rich")


# ---- images: C18 to C22 ----------------------------------------------------------------


def images(
    rows: Sequence[tuple[float, float, int, float, float]], seeds: int = 3
) -> xr.Dataset:
    """Networks (fraction, gain, leaky, untrained, trained accuracy), all seeds alike."""
    fraction, gain, leaky, untrained, trained = zip(*rows, strict=True)
    run = ("seed", "condition")
    return xr.Dataset(
        {
            "untrained_accuracy": (run, [untrained] * seeds),
            "trained_accuracy": (run, [trained] * seeds),
        },
        {
            "condition": range(len(rows)),
            "fraction": ("condition", list(fraction)),
            "gain": ("condition", list(gain)),
            "leaky": ("condition", list(leaky)),
        },
    )


def digits(quarter: float = 0.48, half: float = 0.93, large: float = 0.31) -> xr.Dataset:
    return images(
        [
            (0.125, 0.1, 0, 0.22, 0.96),
            (0.25, 0.1, 0, quarter, 0.95),
            (0.375, 0.1, 0, 0.91, 0.94),
            (0.5, 0.1, 0, half, 0.94),
            (0.375, 1.0, 0, 0.64, 0.96),
            (0.375, 10.0, 0, large, 0.93),
            (0.125, 0.1, 1, 0.99, 0.5),
            (0.25, 0.1, 1, 0.99, 0.5),
            (0.375, 0.1, 1, 0.0, 0.5),
        ]
    )


def test_c18_reads_the_linear_networks_of_small_gain() -> None:
    expect("C18", {"images": digits()})
    expect("C18", {"images": digits(quarter=0.9)}, "a_quarter")
    expect("C18", {"images": digits(half=0.87)}, "half", "gap_at_half")
    expect("C18", {"images": digits(half=0.9)}, "gap_at_half")


def test_c19_reads_the_linear_networks_at_three_eighths() -> None:
    expect("C19", {"images": digits()})
    expect("C19", {"images": digits(large=0.8)}, "gain_10")
    _, values, _ = judge("C19", {"images": digits()})
    np.testing.assert_allclose(values["trained"], [[0.94, 0.96, 0.93]])


def relaxed(linear: float, leaky: float, trained: float = 0.97) -> xr.Dataset:
    rows = [(0.25, 0.1, 0, linear, 0.95), (0.25, 0.1, 1, leaky, trained)]
    return images(rows)


def test_c20_compares_leaky_with_linear_units() -> None:
    expect("C20", {"relaxed": relaxed(0.6, 0.7)})
    expect("C20", {"relaxed": relaxed(0.6, 0.58)}, "leaky_minus_linear")
    expect("C20", {"relaxed": relaxed(0.4, 0.5)}, "leaky")


def published(**changes: float) -> dict[str, xr.Dataset]:
    of = {"leaky": 0.96, "mnist": 0.89, "cifar": 0.61, "gap": 0.01} | changes
    large = [(0.1, 0.29), (0.2, 0.55), (0.3, of["mnist"]), (0.4, 0.92)]
    natural = [(0.125, 0.21), (0.25, 0.45), (0.375, of["cifar"])]
    return {
        "relaxed": relaxed(0.6, of["leaky"]),
        "images_large": images([(f, 0.1, 0, a, 0.92) for f, a in large]),
        "images_natural": images([(f, 0.1, 0, a, 0.66) for f, a in natural]),
        "images_rotated": images(
            [(0.125, 0.1, 0, 0.3, 0.9), (0.5, 0.1, 0, 0.9 - of["gap"], 0.9)]
        ),
    }


def test_c21_reads_the_published_sizes() -> None:
    expect("C21", published())
    expect("C21", published(leaky=0.8), "leaky_untrained_over_trained")
    expect("C21", published(mnist=0.5), "images_large_30")
    expect("C21", published(cifar=0.3), "images_natural_37_5")
    expect("C21", published(gap=0.2), "rotated_gap_at_half")


def test_c22_has_no_statistic_and_is_tested_nowhere() -> None:
    paper = load_paper(SLUG, seed=0)
    assert claims.c22({}) == {}
    for scale in ("smoke", "laptop", "published"):
        assert paper.reason_not_tested("C22", scale)


def test_images_are_judged_at_the_scale_whose_data_set_has_the_thresholds() -> None:
    paper = load_paper(SLUG, seed=0)
    for name in ("C18", "C19", "C20"):
        assert paper.reason_not_tested(name, "published")
        assert not paper.reason_not_tested(name, "laptop")
    assert paper.reason_not_tested("C21", "laptop")
    assert not paper.reason_not_tested("C21", "published")


def test_zero_has_the_middle_colour() -> None:
    # An odd number of colours, so that zero is white in maps of similarity and outputs.
    assert COLORS.N % 2 == 1
    np.testing.assert_allclose(COLORS(0.5)[:3], [0.97] * 3, atol=0.02)
