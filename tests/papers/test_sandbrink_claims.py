"""Sandbrink et al. 2024: the statistics of the claims and their verdicts.

Products made so that the statistic is known; the thresholds are those of the config.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import xarray as xr

import judging
from retrograd.claims import Verdict
from retrograd.papers.sandbrink2024_flexible_task_abstractions import data
from sandbrink_setup import SLUG

REPRODUCED, NOT = Verdict.REPRODUCED, Verdict.NOT_REPRODUCED
REGIMES = ["flexible", "forgetful"]


def judge(
    name: str, products: Mapping[str, xr.Dataset]
) -> tuple[Verdict, dict[str, list[float]]]:
    """Verdict and statistics, {name: values}."""
    found = judging.entry(SLUG, name, products)
    values = judging.statistics(found)
    return found["verdict"], {name: v.ravel().tolist() for name, v in values.items()}


def main(seeds: int = 10, blocks: int = 20, **variables: Any) -> dict[str, xr.Dataset]:
    """The main product; variables are flexible and forgetful, each (seed, block, ...)."""
    dims = ("seed", "condition", "block", "path")
    arrays = {}
    for name, (flexible, forgetful) in variables.items():
        of_block = {"block": np.arange(blocks)}
        shape = (seeds, blocks, 2) if name == "c_end" else (seeds, blocks)
        values = [np.broadcast_to(v, shape) for v in (flexible, forgetful)]
        arrays[name] = (dims[: len(shape) + 1], np.stack(values, axis=1))
    coords = {"condition": REGIMES, "seed": np.arange(seeds), **of_block}
    return {"main_train": xr.Dataset(arrays, coords)}


def test_c1_counts_the_runs_that_specialise() -> None:
    for specialised, forgetful, verdict in (
        (8, 0.7, REPRODUCED), (7, 0.7, NOT), (10, 0.76, NOT),
    ):  # fmt: skip
        alignment = np.where(np.arange(10) < specialised, 0.99, 0.6)[:, None]
        found, values = judge("C1", main(alignment=(alignment, forgetful)))
        assert found == verdict
        assert values["flexible_share_above_0_95"] == [pytest.approx(specialised / 10)]


def one_hot(seeds: int = 10, larger: float = 1.0, smaller: float = 0.0) -> Any:
    """Path 0 open in even blocks."""
    even = np.arange(20) % 2 == 0
    of_path_0 = np.where(even, larger, smaller)
    gates = np.stack([of_path_0, np.where(even, smaller, larger)], axis=-1)
    return np.broadcast_to(gates, (seeds, 20, 2)).copy()


def test_c2_asks_for_a_one_hot_code_of_specialised_runs() -> None:
    alignment = np.where(np.arange(10) < 8, 0.99, 0.6)[:, None]
    same = one_hot()
    same[8:] = 0.5  # runs that did not specialise do not count
    wandering = one_hot()
    wandering[3, -1] = wandering[3, -1, ::-1].copy()
    stuck = one_hot()
    stuck[3, -4:] = [1, 0]
    for gates, verdict in (
        (same, REPRODUCED),
        (wandering, NOT),
        (stuck, NOT),
        (one_hot(larger=0.8), NOT),
        (one_hot(smaller=-0.2), NOT),
    ):
        found, _ = judge("C2", main(c_end=(gates, 0.6), alignment=(alignment, 0.6)))
        assert found == verdict
    found, _ = judge("C2", main(c_end=(same, 0.6), alignment=(0.6, 0.6)))
    assert found == NOT  # none has specialised


def test_c3_and_c4_ask_for_acceleration_in_the_flexible_regime_alone() -> None:
    block = np.arange(20)
    faster = np.maximum(1 - block / 15, 0.06) - 1e-4 * block
    for flexible, forgetful, c3, c4 in (
        (faster, 0.6, REPRODUCED, REPRODUCED),
        (0.6 - 1e-9 * block, 0.6, NOT, NOT),
        (faster, 0.3, REPRODUCED, NOT),
        (faster[::-1], 0.6, NOT, NOT),
    ):
        run = main(t_cross=(flexible, forgetful))
        assert judge("C3", run)[0] == c3
        assert judge("C4", run)[0] == c4
    # One late run in ten moves the mean, not the median.
    late = np.broadcast_to(faster, (10, 20)).copy()
    late[0, -3:] = 1
    _, values = judge("C3", main(t_cross=(late, 0.6)))
    assert values["late_mean"][0] > 0.14
    assert values["late_median"][0] < 0.07


def reduced(loss: float, within: float, gates: float) -> dict[str, xr.Dataset]:
    """Largest deviations: of the loss, of that without the rest, and of the gates."""
    coords = {"condition": ["flexible, random init", "flexible, span init"]}
    shape, dims = (3, 2, 4), ("seed", "condition", "time")
    zero = np.zeros(shape)
    at_one_time = zero + np.array([0, 0, 1, 0])
    c = xr.DataArray(np.zeros((*shape, 2)), dims=(*dims, "path"))
    full = xr.Dataset({"loss": (dims, zero), "c": c}, coords)
    theory = xr.Dataset(
        {
            "loss": (dims, loss * at_one_time),
            "loss_within": (dims, within * at_one_time),
            "c": (c.dims, gates * np.stack([at_one_time, zero], -1)),
        },
        coords,
    )
    return {"reduced_train": full, "reduced_theory": theory}


def test_c5_c6_and_c6b_are_largest_deviations() -> None:
    exact = 1e-14
    for deviations, c5, c6 in (
        ((exact, 0.03, exact), REPRODUCED, REPRODUCED),
        ((exact, 0.05, exact), REPRODUCED, NOT),
        ((1e-8, 0.03, exact), NOT, REPRODUCED),
        ((exact, 0.03, 1e-8), NOT, REPRODUCED),
    ):
        products = reduced(*deviations)
        assert judge("C5", products)[0] == judge("C6b", products)[0] == c5
        found, values = judge("C6", products)
        assert found == c6
        np.testing.assert_allclose(values["loss_deviation"], [deviations[1]] * 3)


def test_c5_looks_at_runs_within_the_span_and_c6b_at_random_ones() -> None:
    products = reduced(0, 0, 0)
    products["reduced_theory"]["loss"][:, 0] = 1.0
    assert judge("C5", products)[0] == REPRODUCED
    assert judge("C6b", products)[0] == NOT


def toy(**variables: Any) -> dict[str, xr.Dataset]:
    return {"toy_theory": xr.Dataset(variables)}


def test_c7_and_c9_are_read_off_the_switches() -> None:
    for deviation, verdict in ((1e-3, REPRODUCED), (3e-3, NOT)):
        assert judge("C7", toy(law_deviation=("tau_c", [1e-4, deviation])))[0] == verdict
    for w_min, verdict in (([0.97, 0.9, 0.71], REPRODUCED), ([0.97, 0.9, 0.8], NOT)):
        assert judge("C9", toy(w_min=("tau_c", w_min)))[0] == verdict


def test_c8_ranks_gate_speeds_by_the_alignment_before_them() -> None:
    block = np.arange(20)
    alignment = np.where(np.arange(10) < 8, 1.0, 0.7)[:, None] - 0.01 * (19 - block)
    follows = np.roll(alignment, 1, axis=1)  # speed of block b + 1 as alignment of b
    follows[:, 0] = 99.0
    found, values = judge("C8", main(alignment=(alignment, 0), gate_speed=(follows, 0)))
    assert found == REPRODUCED
    np.testing.assert_allclose(values["rank_correlation"], 1)
    follows[9] = follows[9, ::-1]  # a run that has not specialised
    products = main(alignment=(alignment, 0), gate_speed=(follows, 0))
    assert judge("C8", products)[0] == NOT
    found, values = judge("C8b", products)
    assert found == REPRODUCED
    assert len(values["rank_correlation"]) == 8
    follows[0] = follows[0, ::-1]
    products = main(alignment=(alignment, 0), gate_speed=(follows, 0))
    assert judge("C8b", products)[0] == NOT


def block_lengths(t_cross: list[float], alignment: list[float]) -> dict[str, xr.Dataset]:
    names = list("abcd")
    run = xr.Dataset(
        {
            "t_cross": (("seed", "condition"), [t_cross, t_cross]),
            "alignment": (("seed", "condition"), [alignment, alignment]),
        },
        {"condition": names, "tau_B": ("condition", [0.2, 0.5, 1, 2])},
    )
    return {"block_length_train": run}


def test_c10_and_c10b_compare_block_lengths() -> None:
    aligned = [0.74, 0.9, 1, 1]
    for t_cross, alignment, c10, c10b in (
        ([0.2, 0.17, 0.06, 0.05], aligned, REPRODUCED, REPRODUCED),
        ([0.2, 0.24, 0.06, 0.05], aligned, NOT, REPRODUCED),  # the cap lifts the second
        ([0.2, 0.17, 0.06, 0.07], aligned, NOT, REPRODUCED),
        ([0.2, 0.5, 1.0, 2.0], aligned, NOT, NOT),  # no switch ends
        ([0.2, 0.17, 0.06, 0.05], [0.9, 0.9, 1, 1], NOT, REPRODUCED),
        ([0.1, 0.09, 0.06, 0.05], aligned, NOT, REPRODUCED),
    ):
        products = block_lengths(t_cross, alignment)
        assert judge("C10", products)[0] == c10
        assert judge("C10b", products)[0] == c10b


def test_c11_and_c12_are_read_off_the_long_runs() -> None:
    for w, verdict in (([0.03, 0.02, 0.5, 0.7], REPRODUCED), ([0.03, 0.2, 0.5, 0.7], NOT)):
        assert judge("C11", toy(specialisation=("tau_B", w)))[0] == verdict
    for distance, end, verdict in (
        ([1.0, 0.001], 0.99, REPRODUCED), ([0.001, 1.0], 0.99, NOT), ([1, 0.001], 0.9, NOT),
    ):  # fmt: skip
        products = toy(cycle_distance=("later_block", distance), cycle_end=((), end))
        assert judge("C12", products)[0] == verdict


def composites(flexible: float, forgetful: float, name: str) -> xr.Dataset:
    """29 blocks; what counts is in the last five."""
    values = np.full((4, 2, 29), 9.0)
    values[:, :, 24:] = np.array([flexible, forgetful])[:, None]
    dims = ("seed", "condition", "block")
    return xr.Dataset({name: (dims, values)}, {"condition": REGIMES})


@pytest.mark.parametrize(
    ("claim", "product", "name", "good", "bad"),
    [
        ("C13", "composition_train", "block_loss", (0.0014, 0.006), (0.003, 0.02)),
        ("C13", "composition_train", "block_loss", (0.0014, 0.006), (0.0014, 0.004)),
        ("C14", "composition_train", "time_to_tenth", (0.04, 0.19), (0.1, 0.19)),
        ("C14", "composition_train", "time_to_tenth", (0.04, 0.19), (0.04, 0.1)),
        ("C15", "subtasks_train", "block_loss", (0.0046, 0.04), (0.0046, 0.016)),
    ],
)
def test_c13_to_c15_average_over_the_new_tasks(
    claim: str, product: str, name: str, good: Any, bad: Any
) -> None:
    for values, verdict in ((good, REPRODUCED), (bad, NOT)):
        found, _ = judge(claim, {product: composites(*values, name)})
        assert found == verdict


def grid(**alignment: float) -> dict[str, xr.Dataset]:
    """Total alignment 1 with blocks of 1, but where said; 0.3 with blocks of 0.1."""
    names = ["f1", "f2", "f3", "slow", "slowest", "r0", "r1", "r2"]
    tau_c = [0.0025, 0.005, 0.01, 0.02, 0.1, 0.005, 0.005, 0.005]
    strength = [0.3] * 5 + [0, 0.1, 0.2]
    usual = {"slow": 0.52, "slowest": 0.5, "r0": 0.5} | alignment
    values = [usual.get(name, 1.0) for name in names] + [0.3] * len(names)
    run = xr.Dataset(
        {"alignment": (("seed", "condition"), [values, values])},
        {
            "condition": [*names, *(f"{name}, short" for name in names)],
            "tau_B": ("condition", [1] * 8 + [0.1] * 8),
            "tau_c": ("condition", tau_c * 2),
            "strength": ("condition", strength * 2),
        },
    )
    return {"grid_train": run}


def test_c16_and_c17_read_the_grid_at_unit_blocks() -> None:
    for changed, c16, c17 in (
        ({}, REPRODUCED, REPRODUCED),
        ({"r0": 0.7}, NOT, REPRODUCED),
        ({"r1": 0.8}, NOT, REPRODUCED),
        ({"f3": 0.9}, REPRODUCED, NOT),
        ({"slow": 0.8}, REPRODUCED, NOT),
        ({"slowest": 0.65}, REPRODUCED, NOT),
    ):
        products = grid(**changed)
        assert judge("C16", products)[0] == c16
        assert judge("C17", products)[0] == c17


def two_layers(**variables: Any) -> dict[str, xr.Dataset]:
    coords = {"condition": REGIMES, "task": [0, 1], "on": [0, 1]}
    run = xr.Dataset(variables)
    used = {name: values for name, values in coords.items() if name in run.dims}
    return {"two_layer_train": run.assign_coords(used)}


def test_c18_to_c20_read_the_two_layer_network() -> None:
    run = ("seed", "condition")
    for worst, forgetful, verdict in (
        (0.8, 0.3, REPRODUCED),
        (0.7, 0.3, NOT),
        (0.8, 0.6, NOT),
    ):
        values = [[0.9, 0.3], [worst, forgetful]]
        assert judge("C18", two_layers(alignment=(run, values)))[0] == verdict
    for own, other, verdict in (
        (0.28, 0.04, REPRODUCED),
        (0.28, 0.2, NOT),
        (0.1, 0.04, NOT),
    ):
        gate = np.zeros((3, 2, 2, 2))
        gate[:, 0] = np.where(np.eye(2), [[own, 0], [0, 0.3]], other)
        gate[:, 1] = 0.1
        products = two_layers(gate=((*run, "task", "on"), gate))
        found, values = judge("C19", products)
        assert found == verdict
        np.testing.assert_allclose(values["on"], [own, 0.3])
    for flexible, forgetful, verdict in ((0.02, 0.07, REPRODUCED), (0.04, 0.07, NOT)):
        loss = np.full((3, 2, 30), 9.0)
        loss[:, :, 25:] = np.array([flexible, forgetful])[:, None]
        assert judge("C20", two_layers(block_loss=((*run, "block"), loss)))[0] == verdict


def test_c21_reads_the_third_step_after_a_switch() -> None:
    block, step = np.arange(12)[:, None], np.arange(6)
    time = (block + 0.01 * step).ravel()
    rising = np.linspace(0.1, 0.23, 12)
    for late, forgetful, verdict in (
        (0.03, rising, REPRODUCED), (0.06, rising, NOT), (0.03, rising[::-1], NOT),
        (0.03, 0.8 * rising, NOT),
    ):  # fmt: skip
        loss = np.full((2, 12, 6), 0.5)
        loss[0, 4:, 3] = late
        loss[1, :, 3] = forgetful
        run = xr.Dataset(
            {"loss": (("condition", "time"), loss.reshape(2, -1))},
            {"condition": REGIMES, "time": time},
        )
        assert judge("C21", {"switching_train": run})[0] == verdict


def test_c22_and_c23_read_the_last_block() -> None:
    def images(flexible: float, forgetful: float) -> xr.Dataset:
        steps = np.full((4, 2, 10), 500.0)
        steps[:, :, -1] = [flexible, forgetful]
        dims = ("seed", "condition", "block")
        return xr.Dataset({"steps_to_accuracy": (dims, steps)}, {"condition": REGIMES})

    for found, verdict in (((10, 130), REPRODUCED), ((50, 130), NOT), ((10, 70), NOT)):
        assert judge("C22", {"digits_train": images(*found)})[0] == verdict
        both = {"mnist_train": images(10, 700), "fashion_train": images(*found)}
        assert judge("C23", both)[0] == verdict


def test_standard_errors_are_of_the_mean_over_seeds() -> None:
    values = np.array([[1.0, 2.0], [3.0, 2.0]])
    np.testing.assert_allclose(data.standard_error(values), [1, 0])
    assert (data.standard_error(values[:1]) == 0).all()
