"""Goldt et al. 2019: the statistics of the claims and their verdicts."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import xarray as xr

import judging
from goldt2019_setup import (
    ORDER_PARAMETERS,
    ode,
    sweep,
    training,
)
from retrograd.claims import Verdict
from retrograd.comparison import rms_deviation
from retrograd.gaussian import Activation, Array
from retrograd.papers.goldt2019_teacher_student import data, theory
from retrograd.papers.goldt2019_teacher_student.params import (
    FinalError,
    Training,
)

# ---- claims ----------------------------------------------------------------------------
#
# Products made so that the statistic is known; the thresholds are those of the config.


def judge(
    name: str, products: Mapping[str, xr.Dataset]
) -> tuple[Verdict, dict[str, Array]]:
    """Verdict and statistics, {name: values}, with groups of seeds as configured."""
    found = judging.entry("goldt2019_teacher_student", name, products)
    return found["verdict"], judging.statistics(found)


def product(
    params: Training | FinalError, **variables: tuple[tuple[str, ...], Any]
) -> xr.Dataset:
    conditions = params.conditions()
    return xr.Dataset(variables, data.condition_coordinates(conditions))


def final(params: Training, eg: Any) -> xr.Dataset:
    """A product whose final errors are `eg` per condition, for every seed."""
    values = np.broadcast_to(eg, (params.seeds, len(params.conditions())))
    return product(params, eg_final=(("seed", "condition"), values))


def first_layer(activation: Activation = "erf") -> Training:
    return training(activation=activation, layers=["first"], K=[2, 3, 4, 6], v_star=1)


def both_layers(activation: Activation, seeds: int) -> Training:
    return training(activation=activation, layers=["both"], K=[2, 4, 8], seeds=seeds)


def test_g1_is_the_rms_of_the_log_ratio() -> None:
    params, dims = training(), ("seed", "condition", "time")
    eg = np.random.default_rng(0).uniform(0.1, 1, (2, 4, 10))
    sign = np.where(np.arange(10) % 2, 1, -1)
    for deviation, verdict in ((0.05, "REPRODUCED"), (0.07, "NOT_REPRODUCED")):
        products = {
            "traj_ode": product(params, eg=(dims, eg)),
            "traj_sgd": product(params, eg=(dims, eg * np.exp(sign * deviation))),
        }
        found, statistics = judge("G1", products)
        assert found == verdict
        for values in statistics.values():
            assert values == pytest.approx(deviation)


@pytest.mark.parametrize(
    ("exponent", "verdict"), [(-0.5, "REPRODUCED"), (-0.25, "NOT_REPRODUCED")]
)
def test_g2_fits_the_exponent_of_the_deviation(exponent: float, verdict: str) -> None:
    params = sweep(layers=["both"], K=[3])
    predicted = ode(params)
    peak = xr.where(predicted["time"] == predicted["time"][3], 1.0, 0.5)
    offset = 0.2 * peak * predicted["size"] ** exponent
    moved = {name: predicted[name] + offset for name in ORDER_PARAMETERS}
    found, statistics = judge(
        "G2", {"nscale_sgd": predicted.assign(moved), "nscale_ode": predicted}
    )
    assert found == verdict
    assert statistics["slope"] == pytest.approx(exponent)
    scaled = 0.2 * np.array([params.N]) ** (exponent + 0.5)
    np.testing.assert_allclose(statistics["scaled_deviation"], scaled)


def test_the_deviation_pools_all_entries_of_all_order_parameters() -> None:
    # One entry of 9 + 6 + 3 is off by 1.
    params = training(K=[3])
    zero = ode(params) * 0
    moved = zero.copy(deep=True)
    moved["R"][..., 2, 1] = 1.0
    found = rms_deviation(
        moved, zero, ORDER_PARAMETERS, ("student", "other_student", "teacher")
    )
    assert found.dims == ("seed", "condition", "time")
    np.testing.assert_allclose(found, 1 / np.sqrt(18))


@pytest.mark.parametrize(
    ("claim", "name", "law"),
    [
        ("G3", "scm_erf", "eg_final"),
        ("G5", "scm_lin", "eg_final"),
        ("G8b", "denoiser", "eg_first_order"),
    ],
)
def test_g3_g5_and_g8b_are_ratios_to_theory(claim: str, name: str, law: str) -> None:
    params = first_layer()
    eg = np.array([1.0, 2.0, 3.0, 5.0])
    for factors, verdict in (
        ([0.95, 1.05, 1, 1], "REPRODUCED"),
        ([1, 1, 1, 1.2], "NOT_REPRODUCED"),
    ):
        products = {
            f"{name}_sgd": final(params, eg * factors),
            f"{name}_theory": product(params, **{law: ("condition", eg)}),
        }
        found, statistics = judge(claim, products)
        assert found == verdict
        (values,) = statistics.values()
        np.testing.assert_allclose(values, [factors])


@pytest.mark.parametrize(
    ("factor", "verdict"),
    [(1.0, "REPRODUCED"), (1.25, "REPRODUCED"), (1.5, "NOT_REPRODUCED")],
)
def test_g4_is_the_slope_over_that_of_the_law(factor: float, verdict: str) -> None:
    params = first_layer()
    law = np.array([theory.scm_erf(0.1, 0.3, 1.0, 2, K) for K in params.K])
    products = {
        "scm_erf_sgd": final(params, factor * law + 1.0),  # an offset has no slope
        "scm_erf_theory": product(params, eg_first_order=("condition", law)),
    }
    found, statistics = judge("G4", products)
    # A slope of exactly 1 is on the threshold, so the last bit may decide.
    assert found == verdict or factor == 1.0
    assert statistics["slope_over_law"] == pytest.approx(factor)


def final_error(**changes: Any) -> FinalError:
    usual: dict[str, Any] = {
        "M": 2,
        "K": [2, 3],
        "activation": "erf",
        "layers": ["first"],
        "v_star": 1,
        "init": "informed",
        "eta": [0.1],
        "sigma": [0.1],
    }
    return FinalError(**(usual | changes))


@pytest.mark.parametrize(("power", "verdict"), [(1, "REPRODUCED"), (2, "NOT_REPRODUCED")])
def test_g4b_is_the_excess_and_how_it_shrinks(power: int, verdict: str) -> None:
    params = final_error(eta=[0.02, 0.01])
    law = np.array([1.0, 2.0, 3.0, 4.0])
    eta = np.array([c.eta for c in params.conditions()])
    exact = law * (1 + 0.02 * (eta / 0.02) ** power)
    products = product(
        params, eg_final=("condition", exact), eg_first_order=("condition", law)
    )
    found, statistics = judge("G4b", {"small_eta_theory": products})
    assert found == verdict
    np.testing.assert_allclose(statistics["fixed_point_over_law"], 1.02)
    np.testing.assert_allclose(statistics["excess_when_eta_halves"], 0.5**power)


@pytest.mark.parametrize(("power", "verdict"), [(2, "REPRODUCED"), (1, "NOT_REPRODUCED")])
def test_g4c_is_the_ratio_as_the_noise_halves(power: int, verdict: str) -> None:
    params = final_error(sigma=[0.1, 0.05])
    sigma = np.array([c.sigma for c in params.conditions()])
    eg = product(params, eg_final=("condition", sigma**power))
    found, statistics = judge("G4c", {"small_sigma_theory": eg})
    assert found == verdict
    np.testing.assert_allclose(statistics["error_ratio"], 2.0**power)


@pytest.mark.parametrize(
    ("factor", "verdict"), [(1.1, "REPRODUCED"), (0.9, "NOT_REPRODUCED")]
)
def test_g6_is_the_ratio_at_the_smallest_k_and_the_growth(
    factor: float, verdict: str
) -> None:
    params = first_layer("relu")
    law = np.array(params.K) / 80
    products = {
        "scm_relu_sgd": final(params, law * [factor, 2, 2, 2]),
        "scm_relu_theory": product(params, eg_final=("condition", law)),
    }
    found, statistics = judge("G6", products)
    assert found == verdict
    assert statistics["sgd_over_law"] == pytest.approx(factor)
    assert statistics["growth"] == pytest.approx(3 * 2 / factor)


def test_g7_is_the_decrease_with_k_in_every_group_of_seeds() -> None:
    params = both_layers("erf", seeds=8)
    falling = 1 / np.array(params.K)
    found, statistics = judge("G7", {"both_erf_sgd": final(params, falling)})
    assert found == "REPRODUCED"
    np.testing.assert_allclose(statistics["largest_over_smallest"], [[1 / 4]] * 2)
    np.testing.assert_allclose(statistics["second_over_smallest"], [[1 / 2]] * 2)
    mixed = np.array([falling] * 4 + [[1, 1, 1]] * 4)
    assert judge("G7", {"both_erf_sgd": final(params, mixed)})[0] == "NOT_REPRODUCED"


def test_g8_is_the_ratio_of_fixed_point_and_law() -> None:
    params = final_error(layers=["both"], init="denoiser")
    for ratio, verdict in ((1.005, "REPRODUCED"), (1.02, "NOT_REPRODUCED")):
        products = product(
            params,
            eg_final=("condition", [1.0, 2 * ratio]),
            eg_first_order=("condition", [1.0, 2.0]),
        )
        found, statistics = judge("G8", {"denoiser_ode": products})
        assert found == verdict
        np.testing.assert_allclose(statistics["fixed_point_over_law"], [[1, ratio]])


def test_g9_is_flat_in_the_median_and_close_to_the_law() -> None:
    params = both_layers("lin", seeds=3)
    # One run in three ends badly: the median does not care.
    flat = np.array([[1.0, 1, 1], [1.0, 1, 1], [1.0, 1, 50]])
    law = product(params, eg_final=(("seed", "condition"), flat / 1.05))
    for eg, verdict in ((flat, "REPRODUCED"), (flat * [1, 2, 4], "NOT_REPRODUCED")):
        found, statistics = judge(
            "G9", {"both_lin_sgd": final(params, eg), "both_lin_theory": law}
        )
        assert found == verdict
    assert statistics["largest_over_smallest"] == pytest.approx(4)
    first = judge("G9", {"both_lin_sgd": final(params, flat), "both_lin_theory": law})[1]
    assert first["law_deviation_median"] == pytest.approx(0.05)


def test_g10_asks_only_runs_that_can_reach_the_solution() -> None:
    params = both_layers("relu", seeds=3)
    eg = np.full((3, 3), 1e-4)
    eg[2, 1] = 0.1
    sgd_runs = final(params, eg)
    for positive, verdict in ((1, "REPRODUCED"), (2, "NOT_REPRODUCED")):
        # Run (2, 1) starts with so many units of the teacher's sign, M = 2 are needed.
        v = np.ones((3, 3, 8))
        v[2, 1, positive:] = -1
        teacher = {"teacher": [0, 1], "v_start": (("seed", "condition", "student"), v)}
        found, _ = judge("G10", {"both_relu_sgd": sgd_runs.assign(teacher)})
        assert found == verdict
    assert judge("G10b", {"both_relu_sgd": sgd_runs})[0] == "NOT_REPRODUCED"


def end_state(params: Training, teacher: Array, v: Array, angle: float = 0) -> xr.Dataset:
    """Units of overlap ±cos(angle) with one teacher unit and sin(angle) with the next."""
    lead = (params.seeds, len(params.conditions()))
    norm = np.linspace(0.5, 2, len(v))  # of no consequence
    along = np.sign(v) * norm
    R = along[:, None] * (
        np.cos(angle) * np.eye(params.M)[teacher]
        + np.sin(angle) * np.eye(params.M)[(teacher + 1) % params.M]
    )
    Q, R, v = (np.broadcast_to(a, (*lead, *a.shape)) for a in (np.diag(norm**2), R, v))
    rho = data.normalised_overlaps(Q, R, np.stack([np.eye(params.M)] * params.seeds))
    run = ("seed", "condition", "student")
    return product(params, rho_end=((*run, "teacher"), rho), v_end=(run, v))


def test_g11_is_one_for_specialised_units() -> None:
    specialised, spread = {}, {}
    for name in ("erf", "lin", "relu"):
        params = both_layers(name, seeds=2)
        teacher, v = np.arange(8) % 2, np.array([1, 2, 3, 4, -1, -2, -3, -4.0])
        specialised[name] = end_state(params, teacher, v)
        spread[name] = end_state(params, teacher, v, angle=np.pi / 4)
    s, half = 1.0, np.sqrt(0.5)
    for lin, verdict in ((spread, "NOT_REPRODUCED"), (specialised, "NOT_REPRODUCED")):
        products = {
            "both_erf_sgd": specialised["erf"],
            "both_lin_sgd": lin["lin"],
            "both_relu_sgd": specialised["relu"],
        }
        found, statistics = judge("G11", products)
        assert statistics["erf_least"] == pytest.approx(s)
        assert statistics["relu_median"] == pytest.approx(s)
        assert statistics["lin_largest"] == pytest.approx(half if lin is spread else s)
        assert found == verdict  # √½ = 0.707 exceeds 0.7: with M = 2 it cannot hold


@pytest.mark.parametrize(
    ("copies", "verdict"), [(4, "REPRODUCED"), (2, "REPRODUCED"), (1, "NOT_REPRODUCED")]
)
def test_g12_counts_the_copies_of_a_teacher_unit(copies: int, verdict: str) -> None:
    params = both_layers("erf", seeds=2)
    v = np.where(np.arange(8) < 2 * copies, 1.0 / copies, 0.0)
    v[::3] *= -1  # erf is odd: (−w, −v) is a copy too
    products = {"both_erf_sgd": end_state(params, np.arange(8) % 2, v)}
    found, statistics = judge("G12", products)
    assert found == verdict
    assert statistics["copies_per_teacher_unit"] == pytest.approx(copies)


def g13_products(finite: float, erf_both: float) -> dict[str, xr.Dataset]:
    """Final errors ∝ K with one layer, flat with both; of the finite set and of erf."""
    scm = {
        name: final(first_layer(name), first_layer().K) for name in ("erf", "lin", "relu")
    }
    flat = {name: final(both_layers(name, 2), 1.0) for name in ("lin", "relu")}
    K = np.array([2, 4, 8])
    return (
        {f"scm_{name}_sgd": runs for name, runs in scm.items()}
        | {f"both_{name}_sgd": runs for name, runs in flat.items()}
        | {"both_erf_sgd": final(both_layers("erf", 2), (K / 2) ** erf_both)}
        | {"finite_sgd": final(first_layer(), finite * np.array(first_layer().K))}
    )


@pytest.mark.parametrize(
    ("finite", "erf_both", "verdict"),
    [
        (10, -1, "REPRODUCED"),
        (2, -1, "NOT_REPRODUCED"),
        (10, 1, "NOT_REPRODUCED"),
    ],
)
def test_g13_compares_architectures_and_data_sets(
    finite: float, erf_both: float, verdict: str
) -> None:
    found, statistics = judge("G13", g13_products(finite, erf_both))
    assert found == verdict
    np.testing.assert_allclose(statistics["first_layer_growth"], [[3, 3, 3]])
    assert statistics["both_layers_erf"] == pytest.approx(4.0**erf_both)
    assert statistics["finite_over_online"] == pytest.approx(finite)


@pytest.mark.parametrize(
    ("eg", "verdict"), [(0.02, "REPRODUCED"), (0.001, "NOT_REPRODUCED")]
)
def test_g14_looks_at_the_end_of_the_smallest_student(eg: float, verdict: str) -> None:
    params, dims = training(K=[1, 4]), ("seed", "condition", "time")
    values = np.full((2, 4, 3), 1e-6)
    values[:, ::2, -1] = eg
    products = {
        "traj_sgd": product(params, eg=(dims, values)),
        "traj_ode": product(params, eg=(dims, 1.02 * values)),
    }
    found, statistics = judge("G14", products)
    assert found == verdict
    assert statistics["error_at_end"] == pytest.approx(eg)
    np.testing.assert_allclose(statistics["ode_over_sgd"], 1.02)


@pytest.mark.parametrize(("power", "verdict"), [(1, "REPRODUCED"), (0, "NOT_REPRODUCED")])
def test_p1_and_p1b_are_the_decrease_with_k_after_a_tail(power: int, verdict: str) -> None:
    params = both_layers("erf", seeds=2)
    falling = 1.0 / np.array(params.K) ** power
    eg = np.broadcast_to(falling[:, None] * [100.0, 20.0, 1.0], (2, 3, 3))
    tail = product(params, eg=(("seed", "condition", "time"), eg))
    tail = tail.assign_coords(time=[0.0, 2000.0, 1e5])
    found, statistics = judge("P1", {"tail_ode": tail})
    assert found == verdict
    np.testing.assert_allclose(statistics["error_at_2000_over_final"], 20)
    assert judge("P1b", {"both_erf_sgd": final(params, falling)})[0] == verdict
