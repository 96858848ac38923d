"""Carrasco-Davis et al. 2023: the statistics of the claims and their verdicts.

`good` are products made up so that every claim holds; each test spoils one thing that a
claim is about. The thresholds are those of the config.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import xarray as xr

import judging
from retrograd.claims import Verdict
from retrograd.config import load_paper
from retrograd.errors import RetrogradError
from retrograd.papers.carrasco_davis2023_learning_effort import claims

SLUG = "carrasco_davis2023_learning_effort"
PAPER = load_paper(SLUG, seed=0)
Products = dict[str, xr.Dataset]


def array(values: Any, **coords: Any) -> xr.DataArray:
    return xr.DataArray(np.array(values, float), coords=coords, dims=list(coords))


def per_seed(values: xr.DataArray) -> xr.DataArray:
    return values.expand_dims(seed=[0, 1, 2]).copy(deep=True)


def good() -> Products:
    return {
        "adjoint": xr.Dataset({"derivative": _derivative(1 + 1e-10)}),
        "differences": xr.Dataset({"derivative": _derivative(1)}),
        "single_neuron": _neuron(),
        "maml": _maml(),
        **_rates(),
        "engagement": _engagement(),
        "category_semantic": _hierarchy(),
        "category_digits": _digits(),
        "gain_single": _gain_single(),
        "gain_switch": _gain_switch(),
        "gain_semantic": _gain_single(),
        "gain_images": _gain_single(),
    }


def _derivative(factor: float) -> xr.DataArray:
    return factor * array([[1.0, -2], [3, 4]], problem=["gain", "category"], seed=[0, 1])


def _V() -> dict[str, xr.DataArray]:
    V = array([-3, -2, -1.5], iteration=[0, 5, 10])
    return {"V": per_seed(V), "V_least_step": per_seed(xr.DataArray(0.01))}


def _neuron() -> xr.Dataset:
    time, case = np.linspace(0, 0.6, 61), ["baseline", "control"]
    g = array(np.linspace(0.5, 0.0632, 61), time=time)
    advantage = np.interp(time, [0, 0.1, 0.6], [-0.075, 0.056, 0])
    base = np.full(61, 0.4)
    cost = array(0.3 * g.values**2, time=time)
    loss = array([base, base - advantage - cost.values], case=case, time=time)
    grids = {"gamma": [1e-8, 1e-4, 1], "sigma": [1, 2, 3]}
    grids |= {"beta": [0.1, 1, 2], "weight_decay": [0, 1, 5], "steps": [200, 400, 600]}
    names = [f"{name}={v:g}" for name, values in grids.items() for v in values]
    rising, falling = [0.2, 0.3, 0.5], [0.5, 0.5, 0.1]
    start = rising + falling * 3 + [0.5] * 3
    end = [0.1] * 9 + rising + [0.1] * 3
    mean = [0.1] * 12 + [0.3, 0.2, 0.1]
    of = {"condition": names}
    return xr.Dataset(
        {
            "g": g,
            "loss": loss,
            "cost": cost,
            "sgd_deviation": array([0.005, 0.004], case=case),
            "V": array([-3, -2], iteration=[0, 10]),
            "V_least_step": xr.DataArray(0.0),
            "V_gain": array([0.1] * 15, **of),
            "sweep_V_least_step": array([0.0] * 15, **of),
            "g_start": array(start, **of),
            "g_end": array(end, **of),
            "g_mean": array(mean, **of),
            "peak_step": array([41] + [0] * 14, **of),
        },
        {"value": ("condition", [float(v) for values in grids.values() for v in values])},
    )


def _maml() -> xr.Dataset:
    horizon, time = [2, 10, 80], [0.0, 0.02, 1.0]
    loss = array(
        [[0.2, 0.135, 0.1], [0.2, 0.12, 0.08], [0.2, 0.134, 0.05]],
        horizon=horizon,
        time=time,
    )
    return xr.Dataset(
        {
            "eval_loss": per_seed(loss),
            "eval_integral": per_seed(array([1.9, 1.5, 1.2], horizon=horizon)),
            "objective": per_seed(
                array([[2.0, 1], [3, 1], [4, 1]], horizon=horizon, iteration=[0, 9])
            ),
        }
    )


def _rates() -> Products:
    gamma, beta = [0.6, 0.9, 1, 1, 1], [1, 1, 1, 1e-3, 2]
    labels = [f"γ={g:g}, β={b:g}" for g, b in zip(gamma, beta, strict=True)]
    time = np.linspace(0, 90, 10)
    u = per_seed(array(np.full((5, 10), 1.2), condition=labels, time=time))
    coords = {
        "gamma": ("condition", np.array(gamma, float)),
        "beta": ("condition", np.array(beta, float)),
        "offset": ("condition", np.zeros(5)),
    }
    simulation = xr.Dataset(
        {
            "u": u,
            "u_start": per_seed(array([1.0, 1.1, 1.7, 2.0, 1.4], condition=labels)),
            "peak_time": per_seed(array([16.0, 10, 0, 0, 0], condition=labels)),
            "V_gain": per_seed(array([1e-4, 1, 1, 1, 1], condition=labels)),
        },
        coords,
    )
    law = xr.Dataset({"u": u + 0.005})
    return {"learning_rate": simulation, "learning_rate_theory": law}


def _drop(time: np.ndarray, at: float, high: float, low: float) -> np.ndarray:
    """From `high` to `low` within one unit of time around `at`."""
    return np.interp(time, [at - 0.5, at + 0.5], [high, low])


def _engagement() -> xr.Dataset:
    time, tasks = np.linspace(0, 30, 301), ["easy", "middle", "hard"]
    levels = {"attentive": [1.8, 1.7, 1.6], "vector": [1.4, 1.3, 1.2], "active": [1, 1, 1]}
    variants = list(levels)
    psi = array(
        [
            [
                _drop(time, at, high, 1.0 if variant == "attentive" else 0.0)
                for at, high in zip((5, 10, 15), levels[variant], strict=True)
            ]
            for variant in variants
        ],
        variant=variants,
        task=tasks,
        time=time,
    )
    curves = {"baseline": 1.0, "attentive": 0.7, "vector": 0.8, "active": 1.05}
    flat = array([[v] * 301 for v in curves.values()], curve=list(curves), time=time)
    V = {n: v.expand_dims(variant=variants) for n, v in _V().items()}
    return xr.Dataset({"psi": per_seed(psi), "loss": per_seed(flat)} | V)


def _two_losses(time: np.ndarray, ratio: float) -> xr.DataArray:
    flat = [[1.0] * len(time), [ratio] * len(time)]
    return per_seed(array(flat, case=["baseline", "control"], time=time))


def _hierarchy() -> xr.Dataset:
    time = np.linspace(0, 90, 181)
    # Level ℓ leads around t = 10 + 20 ℓ, and is the lower early on the deeper it is.
    phi = [np.exp(-(((time - 20 * level) / 15) ** 2)) for level in range(4)]
    named = {"phi": per_seed(array(phi, group=range(4), time=time))}
    return xr.Dataset(named | {"loss": _two_losses(time, 0.7)} | _V())


def _digits() -> xr.Dataset:
    time, ease = np.linspace(0, 700, 1401), np.linspace(1, 2, 10)
    late = np.random.default_rng(0).permutation(ease)  # unrelated
    phi = np.where(time < 58, ease[:, None], late[:, None])
    named = {
        "phi": per_seed(array(phi, group=range(10), time=time)),
        "optimal_loss": array(3 - ease, group=range(10)),
    }
    return xr.Dataset(named | {"loss": _two_losses(time, 0.9)} | _V())


def _gain_single() -> xr.Dataset:
    time, case = np.linspace(0, 15, 61), ["baseline", "control"]
    loss = _two_losses(time, 0.9)
    loss[:, 1, 0] = 1.0
    norm = np.exp(-time / 2)
    weights = np.ones((2, 2, 61)) * np.array([1.0, 0.7])[:, None]
    named = {
        "loss": loss.transpose("case", "seed", "time"),
        "cost": per_seed(array(0.2 * norm, time=time)),
        "gain_norm": per_seed(array([norm, norm], layer=[1, 2], time=time)),
        "weight_norm": per_seed(array(weights, norm=["l1", "l2"], case=case, time=time)),
        "V_ode": per_seed(array([-4, -3], case=case)),
        "V_sgd": per_seed(array([-4.01, -3.01], case=case)),
    }
    return xr.Dataset(named | _V())


def _gain_switch() -> xr.Dataset:
    case, switch = ["baseline", "control"], [1, 2, 3, 4, 5]
    peak = [[1.5, 2.6, 1.5, 2.6, 1.5], [0.9, 0.8, 0.5, 0.6, 0.3]]
    cost = np.array([0.4, 0.3, 0.2, 0.1, 0.08])
    named = {
        "peak": per_seed(array(peak, case=case, switch=switch)),
        "cost_peak": per_seed(array(cost, switch=switch)),
        "cost_middle": per_seed(array(0.001 * cost, switch=switch)),
        "weight_rms_end": per_seed(array([1.0, 1.25], case=case)),
    }
    return xr.Dataset(named | _V(), {"to_B": ("switch", [1, 0, 1, 0, 1])})


def judge(name: str, products: Products) -> tuple[Verdict, dict[str, np.ndarray]]:
    """Verdict and statistics, {name: values}."""
    needed = {need: products[need] for need in PAPER.claims[name].need}
    found = judging.entry(SLUG, name, needed)
    return found["verdict"], judging.statistics(found)


TESTED = [name for name in PAPER.claims if name not in ("L21", "L22")]


@pytest.mark.parametrize("name", TESTED)
def test_a_claim_holds_for_products_that_show_it(name: str) -> None:
    verdict, statistics = judge(name, good())
    assert verdict == "REPRODUCED", statistics


def times(factor: float) -> Callable[[xr.DataArray], xr.DataArray]:
    return lambda values: values * factor


def reverse(dim: str) -> Callable[[xr.DataArray], xr.DataArray]:
    """The values in reverse along a dim whose coordinate stays."""
    return lambda values: values.isel({dim: slice(None, None, -1)}).assign_coords(
        {dim: values[dim].values}
    )


def at(change: float, **where: Any) -> Callable[[xr.DataArray], xr.DataArray]:
    """One entry, or several, moved by an amount."""

    def moved(values: xr.DataArray) -> xr.DataArray:
        values = values.copy(deep=True)
        values[where] = values[where] + change
        return values

    return moved


SPOILED: list[tuple[str, str, str, Callable[[xr.DataArray], xr.DataArray]]] = [
    ("L1", "single_neuron", "sgd_deviation", at(0.02, case=1)),
    ("L1", "gain_single", "V_sgd", at(0.1, case=0, seed=1)),
    ("L2", "adjoint", "derivative", at(1e-7, problem=1, seed=0)),
    ("L3", "engagement", "V", reverse("iteration")),
    ("L3", "gain_switch", "V_least_step", at(-0.02, seed=1)),
    ("L3", "single_neuron", "V_gain", at(-0.2, condition=3)),
    ("L3", "single_neuron", "sweep_V_least_step", at(-1e-6, condition=3)),
    ("L3", "learning_rate", "V_gain", at(-1e-3, condition=0, seed=2)),
    ("L3", "maml", "objective", reverse("iteration")),
    ("L4", "single_neuron", "g", at(-0.01, time=0)),
    ("L4", "single_neuron", "g", at(0.1, time=30)),
    ("L4", "single_neuron", "g", at(0.01, time=60)),
    ("L4", "single_neuron", "cost", at(0.01, time=0)),
    ("L4", "single_neuron", "loss", at(-0.01, case=1, time=10)),
    ("L5", "single_neuron", "g_start", at(-0.2, condition=1)),
    ("L5", "single_neuron", "g_start", at(0.1, condition=4)),
    ("L5", "single_neuron", "g_start", at(0.1, condition=7)),
    ("L5", "single_neuron", "g_start", at(0.1, condition=10)),
    ("L5", "single_neuron", "g_end", at(-0.2, condition=10)),
    ("L5", "single_neuron", "g_mean", at(0.2, condition=13)),
    ("L5", "single_neuron", "peak_step", at(-41, condition=0)),
    ("L6", "maml", "eval_integral", reverse("horizon")),
    ("L6", "maml", "eval_integral", at(0.3, horizon=2)),
    ("L7", "maml", "eval_loss", at(0.02, horizon=1, time=1)),
    ("L7", "maml", "eval_loss", at(-0.02, horizon=2, time=1)),
    ("L8", "learning_rate", "u", at(-0.004, seed=1)),
    ("L8", "learning_rate", "u", at(0.05, condition=2, seed=1, time=4)),
    ("L9", "learning_rate", "u_start", at(-0.2, condition=1, seed=0)),
    ("L9", "learning_rate", "peak_time", at(7, condition=1, seed=0)),
    ("L9", "learning_rate", "u_start", at(0.5, condition=4, seed=0)),
    ("L9", "learning_rate", "u_start", at(-0.01, condition=3, seed=0)),
    ("L10", "engagement", "psi", reverse("task")),
    ("L11", "engagement", "psi", reverse("task")),
    ("L12", "engagement", "psi", at(0.2, task=2, variant=0, seed=1)),
    ("L13", "engagement", "loss", at(0.2, curve=1, seed=1)),
    ("L13", "engagement", "loss", at(-0.1, curve=3, seed=1)),
    ("L14", "category_semantic", "phi", reverse("group")),
    ("L14", "category_semantic", "loss", at(0.2, case=1, seed=0)),
    ("L15", "category_digits", "optimal_loss", reverse("group")),
    ("L16", "gain_single", "loss", at(0.2, case=1, seed=0)),
    ("L16", "gain_single", "cost", times(0)),
    ("L16", "gain_single", "gain_norm", at(1.0, time=slice(20, 61))),
    ("L16", "gain_single", "weight_norm", at(0.3, case=1, norm=0)),
    ("L16b", "gain_images", "loss", at(0.2, case=1, seed=0)),
    ("L17", "gain_switch", "peak", at(0.2, case=0, switch=3, seed=0)),
    ("L17", "gain_switch", "peak", at(0.2, case=1, switch=4, seed=0)),
    ("L18", "gain_switch", "cost_middle", at(0.1, switch=2, seed=0)),
    ("L18", "gain_switch", "cost_peak", at(0.2, switch=4, seed=0)),
    ("L19", "gain_switch", "weight_rms_end", at(-0.2, case=1, seed=0)),
    ("L20", "maml", "eval_integral", reverse("horizon")),
    ("L20", "engagement", "psi", reverse("task")),
    ("L20", "category_digits", "optimal_loss", reverse("group")),
]


@pytest.mark.parametrize(("name", "product", "variable", "spoil"), SPOILED)
def test_a_claim_fails_for_products_that_show_the_contrary(
    name: str, product: str, variable: str, spoil: Callable[[xr.DataArray], xr.DataArray]
) -> None:
    products = good()
    values = spoil(products[product][variable])
    products[product] = products[product].assign({variable: values})
    assert judge(name, products)[0] == "NOT_REPRODUCED"


def test_every_tested_claim_can_fail() -> None:
    assert {name for name, *_ in SPOILED} == set(TESTED)


@pytest.mark.parametrize("name", ["L21", "L22"])
def test_what_has_no_statistic_never_passes(name: str) -> None:
    assert set(PAPER.claims[name].not_tested) == {"laptop", "published"}
    with pytest.raises(RetrogradError, match=name):
        getattr(claims, name.lower())({})


# ---- the numbers themselves ------------------------------------------------------------


def test_the_drop_is_the_last_crossing_of_the_middle() -> None:
    time = np.linspace(0, 30, 61)
    # There is a drop before the last one, and a peak before t = 2 that does not count.
    values = np.interp(time, [0, 1, 2, 10, 11, 12, 20, 22, 30], [9, 9, 1, 1, 0, 1, 1, 0, 0])
    psi = array([values], task=["one"], time=time)
    assert claims._drop_time(psi).item() == pytest.approx(21)
    # What never falls has no such time, so that the claim fails.
    for never in (np.linspace(0, 1, 61), np.ones(61)):
        assert np.isnan(claims._drop_time(array([never], task=["one"], time=time)).item())


def test_effort_is_beyond_one_if_attentive() -> None:
    _, statistics = judge("L11", good())
    # Totals 5 (high − low), 10 (...), 15 (...): attentive .8, .7, .6 beyond 1.
    by_variant = statistics["hard_over_easy"].reshape(-1)
    expected = [15 * 0.6 / (5 * 0.8), 15 * 1.2 / (5 * 1.4), 3.0]
    for ratio in expected:
        assert np.isclose(by_variant, ratio, rtol=1e-3).sum() == 3
    # A constant effort that ends at t has its centroid at t/2.
    assert statistics["least_step_of_centroid"].reshape(-1) == pytest.approx(2.5, rel=0.01)


def test_a_level_leads_at_the_median_of_its_times_before_sixty() -> None:
    time = np.linspace(0, 90, 91)
    leader = np.digitize(time, [10, 30, 50])
    phi = array([(leader == g).astype(float) for g in range(4)], group=range(4), time=time)
    found = claims._leading_time(phi)
    np.testing.assert_allclose(found, [4.5, 19.5, 39.5, 54.5], atol=0.51)


def test_ranks_of_digits_are_spearmans() -> None:
    _, statistics = judge("L15", good())
    np.testing.assert_allclose(statistics["early"], 1)
    late = np.random.default_rng(0).permutation(10)
    expected = np.corrcoef(late, np.arange(10))[0, 1]
    np.testing.assert_allclose(statistics["early_minus_late"], 1 - expected)


def test_the_gain_of_ten_time_units_is_over_that_of_the_start() -> None:
    _, statistics = judge("L16", good())
    np.testing.assert_allclose(statistics["late_over_first_gain"], np.exp(-5), rtol=1e-6)
    np.testing.assert_allclose(statistics["advantage_at_start"], -0.2)
    np.testing.assert_allclose(statistics["mean_l1_ratio"], 0.7)
