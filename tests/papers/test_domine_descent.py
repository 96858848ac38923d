"""Dominé et al. 2024: gradient descent, the sampled problems, and what is recorded."""

import re
import subprocess
import sys
from itertools import product as pairs
from typing import Any

import numpy as np
import pytest
import xarray as xr
from pydantic import ValidationError
from scipy.integrate import quad

from domine_setup import (
    CPU,
    SHAPES,
    experiment,
    networks,
    one,
    product,
    section,
    start,
    start_gram,
)
from retrograd.errors import RetrogradError
from retrograd.linear_networks import Array, balance, modes
from retrograd.papers.domine2024_lazy_to_rich import (
    data,
    descent,
    exact,
    observables,
    probes,
    theory,
    train,
)
from retrograd.papers.domine2024_lazy_to_rich.data import Networks
from retrograd.papers.domine2024_lazy_to_rich.descent import Descent, weights_after
from retrograd.papers.domine2024_lazy_to_rich.observables import blocks, gram, loss, stack
from retrograd.papers.domine2024_lazy_to_rich.params import Case, Shape

each_shape = pytest.mark.parametrize("shape", SHAPES)


# ---- gradient descent ------------------------------------------------------------------


def plain_descent(
    W1: Array, W2: Array, X: Array, Y: Array, eta: float, steps: int
) -> tuple[Array, Array]:
    """One network on inputs X and outputs Y, by the gradients of ‖W2W1X − Y‖²/2P."""
    for _ in range(steps):
        error = (Y - W2 @ W1 @ X) / X.shape[1]
        dW1, dW2 = W2.T @ error @ X.T, error @ X.T @ W1.T
        W1, W2 = W1 + eta * dW1, W2 + eta * dW2
    return W1, W2


def white(inputs: int, samples: int) -> Array:
    U, _, V = modes(np.random.default_rng(0).standard_normal((inputs, samples)))
    return np.sqrt(samples) * U @ V.T


@each_shape
def test_the_batch_is_one_network_at_a_time_on_white_inputs(shape: tuple[int, ...]) -> None:
    nets, X = networks(shape, [-2, 0, 2]), white(shape[0], 2 * shape[0])
    W1, W2 = weights_after(nets, 0.01, 100, CPU, "test")
    for run, column in np.ndindex(2, 3):
        first, second, target = one(nets, run, column)
        alone = plain_descent(first, second, X, target @ X, 0.01, 100)
        for found, expected in zip((W1, W2), alone, strict=True):
            np.testing.assert_allclose(found[run, column], expected, atol=1e-12)


def test_only_white_inputs_reduce_to_the_target() -> None:
    # "Pitfalls": with other inputs the same Σ is learned along another path.
    nets = networks((4, 4, 4), [0])
    W1, W2, target = one(nets)
    X = white(4, 8) * np.array([2.0, 1, 1, 0.5])[:, None]
    Y = target @ np.linalg.inv(X @ X.T / 8) @ X
    np.testing.assert_allclose(Y @ X.T / 8, target, atol=1e-12)
    alone = plain_descent(W1, W2, X, Y, 0.01, 100)
    batch = weights_after(nets, 0.01, 100, CPU, "test")
    assert abs(batch[0][0, 0] - alone[0]).max() > 1e-3


def test_a_run_is_the_same_alone_and_in_a_batch() -> None:
    # The weights to the bit; their descent but for the rounding of other matrix kernels.
    alone, batch = (
        networks((5, 5, 5), [2], seeds=1),
        networks((5, 5, 5), [-2, 0, 2], seeds=4),
    )
    for name in ("W1", "W2"):
        weights = getattr(batch, name)[:1, 2:]
        np.testing.assert_array_equal(getattr(alone, name), weights)
    np.testing.assert_array_equal(alone.target, batch.target[:1])
    few, many = (weights_after(nets, 0.01, 300, CPU, "test") for nets in (alone, batch))
    for a, b in zip(few, many, strict=True):
        np.testing.assert_allclose(a, b[:1, 2:], atol=1e-13)
    assert len(np.unique(many[0][:, 2, 0, 0])) == 4


@each_shape
def test_descent_approaches_the_exact_solution_as_eta_vanishes(
    shape: tuple[int, ...],
) -> None:
    # D2: the error is of order η.
    nets, t = networks(shape, [-5, -2, 0, 2, 5]), 1.0
    expected = exact.solution(nets, [t])[:, :, 0]
    errors = []
    for eta in (0.01, 0.005, 0.0025):
        W1, W2 = weights_after(nets, eta, round(t / eta), CPU, "test")
        errors.append(abs(gram(stack(W1, W2)) - expected).max((2, 3)))
        assert abs(balance(W1, W2) - nets.lam[:, None, None] * np.eye(shape[1])).max() < 0.1
    ratios = np.log2([errors[0] / errors[1], errors[1] / errors[2]])
    assert ratios.min() > 0.9
    assert ratios.max() < 1.15


def test_every_network_has_its_own_learning_rate() -> None:
    nets = networks((3, 3, 3), [-1, 1], seeds=1)
    together = weights_after(nets, np.array([0.01, 0.02]), 50, CPU, "test")
    for column, eta in enumerate((0.01, 0.02)):
        alone = weights_after(nets, eta, 50, CPU, "test")
        np.testing.assert_allclose(together[0][:, column], alone[0][:, column], atol=1e-14)


def test_the_length_of_chunks_changes_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    nets = networks((3, 3, 3), [-1, 1])
    whole = weights_after(nets, 0.01, 40, CPU, "test")
    monkeypatch.setattr(descent, "CHUNK", 7)
    for a, b in zip(whole, weights_after(nets, 0.01, 40, CPU, "test"), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_run_that_diverges_is_named() -> None:
    nets = networks((3, 3, 3), [-1, 50], seeds=2)
    words = "λ = 50, seed 0, went non-finite by step 500"
    with pytest.raises(RetrogradError, match=words):
        weights_after(nets, 0.1, 1000, CPU, "test")


def test_another_target_is_learned_from_where_the_first_was_left() -> None:
    nets = networks((3, 3, 3), [0.5], seeds=1)
    ensemble = Descent(nets, 0.02, lambda W1, W2: {"map": W2 @ W1}, CPU)
    for target in (nets.target, -nets.target):
        ensemble.aim(target)
        ensemble.advance_to(ensemble.step + 1500)
        found = ensemble.record()["map"]
        np.testing.assert_allclose(found, target, atol=1e-6)


# ---- the sampled problems --------------------------------------------------------------


@each_shape
def test_the_sampled_networks_have_their_balance_product_and_target(
    shape: tuple[int, ...],
) -> None:
    nets = networks(shape, [-3, 0, 3], seeds=3)
    off = balance(nets.W1, nets.W2) - nets.lam[:, None, None] * np.eye(shape[1])
    assert abs(off).max() <= 1e-12
    n = min(shape)
    products = np.linalg.svd(nets.W2 @ nets.W1, compute_uv=False)
    np.testing.assert_allclose(products[..., :n], 0.1, atol=1e-12)
    targets = np.linalg.svd(nets.target, compute_uv=False)
    assert abs(targets - np.linspace(1.5, 0.5, n)).max() <= 1e-12


def test_no_sampled_network_starts_on_the_way_to_a_saddle() -> None:
    nets = networks((4, 4, 4), [0], seeds=40)
    assert np.linalg.cond(exact.growing_directions(nets)).max() < data.WELL_CONDITIONED
    signs = np.linalg.det(nets.W2 @ nets.W1)[:, 0] * np.linalg.det(nets.target[:, 0])
    assert (signs > 0).all()


def test_the_hierarchy_is_that_of_the_specification() -> None:
    target = data.hierarchy()
    strongest = [1.1, 1.05, 0.73068, 0.72478, 0.51, 0.50833, 0.50714, 0.50625]
    np.testing.assert_allclose(modes(target).s, strongest, atol=5e-6)
    # Features are orthogonal over items, and each separates what it should.
    overlaps = target @ target.T
    np.testing.assert_allclose(overlaps, np.diag(np.diag(overlaps)), atol=1e-12)
    assert (np.sign(target[1]) == [1, 1, 1, 1, -1, -1, -1, -1]).all()
    assert (np.sign(target[5]) == [0, 0, 1, -1, 0, 0, 0, 0]).all()


def test_items_have_siblings_cousins_and_far_relatives() -> None:
    indicator = np.zeros((8, 8))
    indicator[0, 1] = 1  # siblings: 8 ordered pairs; cousins: 16; far: 32
    np.testing.assert_allclose(observables.by_relation(indicator), [1 / 8, 0, 0])
    indicator = np.zeros((8, 8))
    indicator[5, 7], indicator[2, 6] = 1, 1
    np.testing.assert_allclose(observables.by_relation(indicator), [0, 1 / 16, 1 / 32])
    assert (observables.by_relation(np.eye(8)) == 0).all()


def test_a_switched_network_has_learned_the_first_task() -> None:
    params = section("switch", lam=[-2, 0, 0.5])
    switched = data.switched(params)
    for nets in switched.values():
        hidden = nets.W1.shape[-2]
        off = balance(nets.W1, nets.W2) - nets.lam[:, None, None] * np.eye(hidden)
        assert abs(off).max() <= 1e-12
    reversal, tuning = switched["reversal"], switched["fine-tuning"]
    assert abs(reversal.W2 @ reversal.W1 + reversal.target).max() <= 1e-12
    learned = (tuning.W2 @ tuning.W1)[..., list(data.PERMUTED)]
    assert abs(learned - tuning.target).max() <= 1e-12


def test_lecuns_weights_are_balanced_on_average() -> None:
    # E[W2ᵀW2 − W1W1ᵀ] = (N_o/N_h − 1) I = 3 I, with deviations of order N^(−1/2).
    found = product("lecun")
    assert found["lam"].values == pytest.approx(3, abs=0.5)
    balance_ = found["balance"].values
    assert np.diag(balance_).mean() == pytest.approx(3, abs=1)
    assert abs(balance_ - np.diag(np.diag(balance_))).mean() < 1


# ---- simulation and theory -------------------------------------------------------------

PAIRS = ("exact", "aligned", "arch", "switch", "continual", "semantic")


@pytest.mark.parametrize("name", PAIRS)
def test_simulation_and_theory_share_variables_dims_and_coordinates(name: str) -> None:
    simulated, predicted = product(f"{name}_gd"), product(f"{name}_theory")
    shared = [v for v in simulated.data_vars if v in predicted.data_vars]
    assert shared
    for variable in shared:
        a, b = xr.align(simulated[variable], predicted[variable], join="exact")
        assert a.dims == b.dims
        assert a.dtype == b.dtype
        assert a.attrs == b.attrs


@pytest.mark.parametrize(
    ("name", "variable", "tolerance"),
    [
        ("exact", "matrix", 0.02),
        ("exact", "kernel_distance", 0.02),
        ("aligned", "a", 0.02),
        ("arch", "kernel_distance", 0.01),
        ("switch", "loss", 0.02),
        ("continual", "loss", 0.02),
        ("continual", "forgotten", 0.02),
    ],
)
def test_simulation_follows_theory(name: str, variable: str, tolerance: float) -> None:
    simulated, predicted = (
        product(f"{name}_{kind}")[variable] for kind in ("gd", "theory")
    )
    scale = max(1.0, float(abs(predicted).max()))
    assert float(abs(simulated - predicted).max()) <= tolerance * scale
    assert float(abs(predicted).max()) > 0


def test_statistics_of_the_hierarchy_follow_theory() -> None:
    # With a long descent: the smoke scale's is not over.
    changes: dict[str, Any] = {"lam": [-3, 0, 3], "shown": [0], "steps": 2500}
    params = section("semantic", **changes, draws=2000, rate=0.05)
    simulated = train.semantic(params, {}, CPU)["statistic"]
    predicted = theory.semantic(params, {})["statistic"]
    for name in predicted["name"].values:
        found, expected = (d.sel(name=name).values for d in (simulated, predicted))
        np.testing.assert_allclose(found, expected, rtol=0.04, atol=4e-3, err_msg=name)


def test_the_reversal_mode_by_mode_is_that_of_the_propagator() -> None:
    params = section("switch", lam=[-1, 0, 0.1, 2])
    nets = data.switched(params)["reversal"]
    found = theory.switch(params, {})["loss"].sel(switch="reversal")
    times = found["time"].values.tolist()
    Q = exact.propagate(start(nets), nets.target, nets.lam, times)
    expected = loss(blocks(gram(Q), 3).map, nets.target[:, :, None])
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_the_reversal_time_is_an_integral_and_diverges_logarithmically() -> None:
    # From −s to 0.8 s, where the loss of one mode is 1 % of the initial one.
    s = 0.7
    params = section("switch", lam=[-1, 0, 1e-6, 1e-5, 1], hi=s, lo=s)
    time = theory.switch(params, {})["time_to_learn"]
    for lam in (1e-5, 1.0):
        expected = quad(
            lambda a, lam=lam: 1 / (np.hypot(lam, 2 * a) * (s - a)), -s, 0.8 * s,
            points=[0], epsabs=1e-10, limit=500,
        )[0]  # fmt: skip
        assert float(time.sel(lam=lam)) == pytest.approx(expected, rel=1e-6)
    assert float(time.sel(lam=-1)) == pytest.approx(float(time.sel(lam=1)), rel=1e-9)
    assert float(time.sel(lam=0)) == -1
    slower = float(time.sel(lam=1e-6) - time.sel(lam=1e-5))
    assert slower == pytest.approx(np.log(10) / s, rel=1e-3)


def test_the_fast_phase_of_a_funnel_ends_outside_the_rows_of_its_first_layer() -> None:
    params = section("delayed", lam=[-200], early=20, t_min=1e-4, t_max=2e4, seeds=2)
    found = theory.delayed(params, {}).isel(lam=0)
    plateau, times = found["plateau"], found["time"]
    early = found["loss"].sel(time=20 / 200, method="nearest")
    np.testing.assert_allclose(early, plateau, rtol=0.02)
    assert (found["loss"].isel(time=0) > 1.2 * plateau).all()
    assert (found["loss"].isel(time=-1) < 1e-6).all()
    # The loss of a fit by the first layer as it is, by least squares.
    for run in range(2):
        nets = data.sample(params, params.shape, params.lam)
        W1, _, target = one(nets, run)
        second = np.linalg.lstsq(W1.T, target.T, rcond=None)[0].T
        assert float(plateau[run]) == pytest.approx(loss(second @ W1, target))
    assert float(times.min()) == pytest.approx(params.t_min)


# ---- probes of trained networks --------------------------------------------------------


def test_a_new_output_says_of_another_item_how_much_it_resembles_the_taught() -> None:
    W1 = np.random.default_rng(0).standard_normal((2, 5, 8))
    A = np.swapaxes(W1, -1, -2) @ W1
    expected = A / np.diagonal(A, axis1=-2, axis2=-1)[..., None]
    np.testing.assert_allclose(probes.transfer(W1), expected, atol=1e-12)


def test_noise_costs_what_its_second_moments_say() -> None:
    params = section("semantic", draws=4000, sigma_p=0.3, sigma_x=0.5, seeds=1)
    rng, target = np.random.default_rng(0), data.hierarchy()
    W1, W2 = rng.standard_normal((2, 1, 1, 8, 8))
    found = probes.noisy_losses(params, target, W1, W2)[0, 0]
    A, B, map = (W1[0, 0].T @ W1[0, 0]), (W2[0, 0] @ W2[0, 0].T), W2[0, 0] @ W1[0, 0]
    clean, square = loss(map, target), params.sigma_p**2
    of_parameters = 8 * square * (np.trace(A) + np.trace(B)) + square**2 * 8**3
    of_inputs = params.sigma_x**2 * (map**2).sum()
    expected = [clean + of_parameters / 2, clean + of_inputs / 2]
    np.testing.assert_allclose(found, expected, rtol=0.03)


def test_anisotropy_and_cosine_do_not_see_the_identity() -> None:
    M = np.diag([3.0, 1.0, 1.0])
    assert observables.anisotropy(np.eye(3)) == 0
    assert observables.anisotropy(M) == pytest.approx(np.sqrt(8 / 3 / 11))
    assert observables.traceless_cosine(M, M + 7 * np.eye(3)) == pytest.approx(1)
    assert observables.traceless_cosine(M, 5 * np.eye(3) - M) == pytest.approx(-1)


# ---- parameters ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "changes", "words"),
    [
        ("descent", {"lam": [-1, 80]}, "eta: 0.02 is too large"),
        ("descent", {"eta": [0.01, 0.02]}, "eta must decrease"),
        ("descent", {"eta": [0.03]}, "records: 0.5 is no multiple of 0.03"),
        ("descent", {"balance_at": 1.3}, "balance_at: 1.3 is no multiple"),
        ("descent", {"shapes": {"f": [5, 4, 3]}}, "lam: 1 needs hidden <= outputs"),
        ("descent", {"hi": 0.1}, "lo must not exceed hi"),
        ("exact", {"shape": [4, 3, 3]}, "must be square"),
        ("exact", {"t_min": 1e-3}, "t_min must be at least eta"),
        ("exact", {"lam": [1, -1]}, "values must increase"),
        ("aligned", {"mode": 0.7}, "mode must be one of"),
        ("arch", {"shapes": {"wide": [3, 4, 3]}}, "the stable form needs hidden ="),
        ("arch", {"lam": [-2, 0, 2], "shapes": {"b": [4, 2, 4]}}, "is a bottleneck"),
        ("delayed", {"lam": [-1, 1]}, "needs lam < 0"),
        ("switch", {"checkpoints": [9]}, "checkpoints must not exceed"),
        ("semantic", {"shown": [7]}, "shown: every value"),
        ("lecun", {"N": [50, 75]}, "N must be even"),
        ("lecun", {"block": 1000}, "no network has so many"),
    ],
)
def test_bad_parameters_are_refused(name: str, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=re.escape(words)):
        section(name, **changes)


def test_balance_is_refused_where_a_layer_is_too_narrow() -> None:
    Case(shape=Shape(9, 6, 4), lam=[-1, 0])
    with pytest.raises(ValidationError, match=re.escape("(9, 6, 4) has not")):
        Case(shape=Shape(9, 6, 4), lam=[0, 1])


def test_the_published_presets_take_their_steps() -> None:
    published = experiment("published")
    sized = [(shape, published.arch) for shape in published.arch.shapes.values()]
    sized += [(published.exact.shape, published.exact)]
    for shape, params in sized:
        nets = data.sample(params, shape, params.lam, runs=2)
        eta = getattr(params, "eta", None) or data.learning_rates(params, params.hi)
        W1, W2 = weights_after(nets, eta, 3, CPU, "published")
        assert np.isfinite(W1).all()
        assert np.isfinite(W2).all()
        assert abs(gram(stack(W1, W2)) - start_gram(nets)).max() > 0


def test_nothing_but_the_simulation_imports_torch() -> None:
    parts = "params", "data", "theory", "figures", "claims"
    package = "retrograd.papers.domine2024_lazy_to_rich"
    imports = ", ".join(f"{package}.{part}" for part in parts)
    command = f"import sys, {imports}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", command]).returncode == 0


def test_networks_of_one_run_differ_in_lambda_alone() -> None:
    for shape in SHAPES:
        nets = networks(shape, [-2, 0, 2], seeds=1)
        products = (nets.W2 @ nets.W1)[0]
        for a, b in pairs(products, products):
            np.testing.assert_allclose(a, b, atol=1e-14)
        assert isinstance(nets, Networks)
