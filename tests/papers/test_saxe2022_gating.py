"""Saxe et al. 2022: XoR and the contextual task, simulated and in closed form."""

from functools import cache

import numpy as np
import pytest
import torch
import xarray as xr
from pydantic import ValidationError

from retrograd import gated_networks as gdln
from retrograd import ode
from retrograd.errors import RetrogradError
from retrograd.papers.saxe2022_neural_race import data, theory, train
from retrograd.papers.saxe2022_neural_race.small_networks import (
    ContextualNetworks,
    PathDescent,
    XorNetworks,
    cell_types,
)
from retrograd.papers.saxe2022_neural_race.theory import TwoLayerPath
from saxe2022_setup import CPU, gating


@cache
def simulated(seeds: int = 10) -> xr.Dataset:
    return train.gating(gating(seeds=seeds), {}, CPU)


# ---- the ReLU network (M1) ---------------------------------------------------------------


def relu_by_autograd(seed: int, epochs: int, lr: float) -> tuple[np.ndarray, np.ndarray]:
    """Losses and first layer of one ReLU network, as PyTorch would train it."""
    drawn = data.xor_weights(0, seed, 128, 0.0002)
    W1, w2 = (torch.tensor(w, requires_grad=True) for w in drawn)
    x, y = torch.tensor(data.XOR_X), torch.tensor(data.XOR_Y)
    losses = []
    for _ in range(epochs):
        loss = 0.5 * ((torch.relu(x @ W1.T) @ w2 - y) ** 2).mean()
        losses.append(loss.item())
        slopes = torch.autograd.grad(loss, (W1, w2))
        with torch.no_grad():
            for weights, slope in zip((W1, w2), slopes, strict=True):
                weights -= lr * slope
    return np.array(losses), W1.detach().numpy()


def test_relu_networks_learn_as_by_autograd() -> None:
    networks = XorNetworks(gating())
    networks.advance_to(90)
    for seed in range(2):
        losses, W1 = relu_by_autograd(seed, 90, 0.4)
        np.testing.assert_allclose(networks.W1[seed], W1, rtol=1e-10, atol=1e-14)
        found = simulated().sel(network="relu", seed=seed)["xor_loss"]
        np.testing.assert_allclose(found[:90], losses, rtol=1e-6)


def test_the_half_loss_epoch_is_the_papers() -> None:
    # "Pitfalls", init scale σ₀/√N_h per weight: 69 ± 3; with σ₀ per weight about 50.
    relu = simulated()["xor_loss"].sel(network="relu")
    assert data.crossing_epoch(relu, 0.25).mean() == pytest.approx(69, abs=3)
    larger = gating(xor={"sigma_0": 0.0002 * 128**0.5})
    run = train.gating(larger, {}, CPU)["xor_loss"].sel(network="relu")
    assert data.crossing_epoch(run, 0.25).mean() == pytest.approx(50, abs=3)


def test_finer_steps_halve_the_loss_earlier() -> None:
    # "Pitfalls": 69 at lr 0.4, but 63.0 with ten steps of lr/10 per epoch.
    fine = gating(seeds=10, xor={"tau": 25, "epochs": 900, "record_every": 10})
    relu = train.gating(fine, {}, CPU)["xor_loss"].sel(network="relu")
    assert data.crossing_epoch(relu, 0.25).mean() / 10 == pytest.approx(63, abs=1)


def test_a_seed_learns_the_same_alone_and_in_a_batch() -> None:
    alone, batch = simulated(1), simulated(10)
    xr.testing.assert_allclose(
        alone["xor_loss"], batch["xor_loss"].isel(seed=[0]), rtol=1e-6
    )
    assert len(np.unique(batch["alignment"])) == 10


def test_cells_of_the_four_types_are_fully_aligned_and_others_are_not() -> None:
    four = np.array([[1, 1], [1, -1], [-2, 2], [-1, -1.0]])
    assert cell_types(four, np.array([1, -3, 1, 0.1])) == pytest.approx(1)
    axes = np.array([[1.0, 0], [0, -1]])
    assert cell_types(axes, np.ones(2)) == pytest.approx(np.sqrt(0.5))
    # A unit with no output weight does not count.
    mixed = np.array([[1.0, 1], [1, 0]])
    assert cell_types(mixed, np.array([1.0, 0])) == pytest.approx(1)


# ---- the gated network (M2) and its closed form (T3) -------------------------------------


def test_the_paths_of_xor_have_the_modes_of_the_closed_form() -> None:
    graph, examples = data.xor_network(8)
    of = gdln.correlations(graph, examples)
    path = theory.xor_path(1)
    for yx in of.yx.values():
        assert np.linalg.norm(yx) == pytest.approx(path.s)
    # No two paths are on together.
    assert {j == p for j, p in of.xx} == {True}
    for xx in of.xx.values():
        assert np.linalg.norm(xx, 2) == pytest.approx(path.d)
    assert of.yy == pytest.approx(1)


@pytest.mark.parametrize(("part", "error"), [(1, 0.116), (10, 0.012), (100, 0.0012)])
def test_euler_steps_of_the_gated_network_approach_the_closed_form(
    part: int, error: float
) -> None:
    # "Pitfalls": a₀ = 1e-6, τ = 2.5, step 1, 1/10, 1/100 epochs.
    graph, examples = data.xor_network(4)
    weights = {}
    for p, (x, y) in enumerate(zip(data.XOR_X, data.XOR_Y, strict=True)):
        weights[f"in{p}"] = 1e-3 * x[None] / np.sqrt(2)
        weights[f"out{p}"] = np.array([[1e-3 * y]])
    network = PathDescent(graph, gdln.correlations(graph, examples), weights)
    losses = [network.loss()]
    for _ in range(80):
        for _ in range(part):
            network.step(0.4 / part)
        losses.append(network.loss())
    a = theory.xor_path(2.5).product(1e-6, np.arange(81.0))
    found = abs(np.array(losses) - theory.xor_loss(a)).max()
    assert found == pytest.approx(error, rel=0.05)


@pytest.mark.parametrize(("s", "d"), [(2**0.5 / 4, 0.5), (1 / 6, 1 / 6), (2.0, 0.5)])
def test_the_two_layer_closed_form_solves_its_ode(s: float, d: float) -> None:
    path = TwoLayerPath(s, d, tau=1.7)
    times = np.linspace(0.1, 20, 7)
    numerical = ode.integrate(
        lambda _, a: 2 * a * (s - d * a) / 1.7,
        [1e-3],
        times,
        what="test",
        method="DOP853",
        rtol=1e-11,
        atol=1e-13,
    )
    np.testing.assert_allclose(path.product(1e-3, times), numerical[:, 0], rtol=1e-8)
    assert path.product(1e-3, 1e4) == pytest.approx(s / d)
    assert path.product(path.start(0.05, 3.0), 3.0) == pytest.approx(0.05)


def test_the_loss_of_xor_starts_at_a_half_and_ends_at_zero() -> None:
    end = theory.xor_path(1).end
    np.testing.assert_allclose(theory.xor_loss(np.array([0, end])), [0.5, 0], atol=1e-15)


def test_the_fit_crosses_a_quarter_with_the_simulation() -> None:
    run = simulated()
    predicted = theory.gating(gating(seeds=10), {"gating": run})
    for name in ("relu", "gated"):
        crossing = [
            data.crossing_epoch(p["xor_loss"].sel(network=name), 0.25).mean()
            for p in (run, predicted)
        ]
        assert crossing[0] == pytest.approx(float(crossing[1]), abs=0.02)
    a_0 = predicted["xor_a_0"].sel(network="relu")
    assert a_0 == pytest.approx(1.1e-9, rel=0.5)  # C4, of the specification
    for name, dims in (
        ("xor_loss", ("network", "epoch")),
        ("contextual_loss", ("paths", "contextual_epoch")),
    ):
        assert predicted[name].dims == dims
        xr.align(run[name], predicted[name], join="exact")


def test_linear_networks_learn_nothing_on_xor() -> None:
    linear = simulated()["xor_loss"].sel(network="linear")
    np.testing.assert_allclose(linear, 0.5, atol=1e-6)


# ---- the contextual task (T4) ------------------------------------------------------------


def test_the_population_correlations_are_those_of_samples() -> None:
    rng = np.random.default_rng(0)
    x, context = rng.uniform(-1, 1, (200_000, 2)), rng.integers(0, 2, 200_000)
    y = x[np.arange(len(x)), context][:, None]
    for paths in (1, 2):
        problem = data.contextual(paths, 3)
        gates = {f"h{p}": (context == p).astype(float) for p in range(2)}
        examples = gdln.Examples({"x": x}, {"y": y}, gates if paths == 2 else {})
        sampled = gdln.correlations(problem.graph, examples)
        for p, yx in problem.of.yx.items():
            np.testing.assert_allclose(sampled.yx[p], yx, atol=0.005)
        assert set(sampled.xx) == set(problem.of.xx)
        for jp, xx in problem.of.xx.items():
            np.testing.assert_allclose(sampled.xx[jp], xx, atol=0.005)
        assert sampled.yy == pytest.approx(problem.of.yy, abs=0.005)


def test_small_steps_on_the_contextual_task_follow_the_closed_form() -> None:
    deviations = []
    for tau in (10, 20, 40):
        params = gating(contextual={"tau": tau, "epochs": 40 * tau})
        run = train.gating(params, {}, CPU)
        predicted = theory.gating(params, {"gating": run})
        difference = run["contextual_loss"] - predicted["contextual_loss"]
        deviations.append(float(abs(difference).max()))
    # First order in the step.
    np.testing.assert_allclose(np.divide(deviations[1:], deviations[:-1]), 0.5, atol=0.05)
    assert deviations[-1] < 2e-3


def test_the_contextual_networks_end_where_the_theory_says() -> None:
    networks = ContextualNetworks(gating(contextual={"tau": 2, "epochs": 500}))
    networks.advance_to(500)
    gated, single = (gdln.path_maps(n.graph, n.weights) for n in networks.networks)
    np.testing.assert_allclose([m[0] for m in gated.values()], [[1, 0], [0, 1]], atol=1e-12)
    (whole,) = single.values()
    np.testing.assert_allclose(whole, [[0.5, 0.5]], rtol=1e-12)
    np.testing.assert_allclose(networks.record()["loss"], [0, 1 / 12], atol=1e-14)


# ---- what can go wrong -------------------------------------------------------------------


@pytest.mark.parametrize(("task", "tau"), [("xor", 1e-3), ("contextual", 1e-3)])
def test_a_step_that_is_too_large_raises_an_error_that_names_the_run(
    task: str, tau: float
) -> None:
    params = gating(**{task: {"tau": tau}})
    networks = {"xor": XorNetworks, "contextual": ContextualNetworks}[task](params)
    with (
        np.errstate(all="ignore"),
        pytest.raises(
            RetrogradError, match=r"diverged: .* non-finite at epoch 40; raise tau"
        ),
    ):
        networks.advance_to(40)


def test_hidden_units_must_divide_among_the_four_paths() -> None:
    with pytest.raises(ValidationError, match="multiple of 4"):
        gating(xor={"N_h": 30})


def test_a_crossing_is_found_between_epochs() -> None:
    loss = xr.DataArray(
        [[4.0, 2, 0], [4, 4, 4]], dims=("seed", "epoch"), coords={"epoch": [0, 10, 20]}
    )
    np.testing.assert_allclose(data.crossing_epoch(loss, 3), [5, 20])
    np.testing.assert_allclose(data.crossing_epoch(loss, 1), [15, 20])
