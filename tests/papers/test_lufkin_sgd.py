"""Lufkin et al. 2024: SGD against autograd, exact gradients, and the theory's limits."""

from typing import Any

import numpy as np
import pytest
import torch

from lufkin_setup import CPU, batches, elliptical, ising, sgd, training
from retrograd import circulant
from retrograd.config import load_paper
from retrograd.errors import RetrogradError
from retrograd.papers.lufkin2024_localization import data, theory, train
from retrograd.papers.lufkin2024_localization.params import (
    Batches,
    Components,
    Training,
)
from retrograd.papers.lufkin2024_localization.train import Ensemble

SLUG = "lufkin2024_localization"
NETWORKS: list[dict[str, Any]] = [
    {},
    {"K": 3},
    {"K": 3, "activation": "sigmoid", "bias": True},
    {"K": 2, "independent_data": True},
]


@pytest.mark.parametrize("changes", NETWORKS)
def test_steps_are_those_of_autograd(changes: dict[str, Any]) -> None:
    params = training(init_scale=1, **changes)
    ensemble, twin = Ensemble(params, CPU), Ensemble(params, CPU)
    w = twin.w.clone().requires_grad_()
    b = twin.b.clone().requires_grad_()
    y = (torch.arange(params.B) >= params.B // 2).float()
    for _ in range(3):
        x = twin._sample().reshape(len(w), params.B, params.N)
        field = torch.einsum("gbn,grn->gbr", x, w) + (b if params.bias else 0)
        act = torch.relu if params.activation == "relu" else torch.sigmoid
        f = act(field).unflatten(-1, (-1, params.K)).mean(-1)
        loss = ((f - y[:, None]) ** 2).mean(1).sum()
        gradients = torch.autograd.grad(loss, [w, b] if params.bias else [w])
        with torch.no_grad():
            for weights, gradient in zip((w, b), gradients, strict=False):
                weights -= params.lr * gradient
    ensemble.advance_to(3)
    torch.testing.assert_close(ensemble.w, w.detach(), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(ensemble.b, b.detach(), rtol=1e-5, atol=1e-6)


def test_the_loss_is_the_squared_error_and_nothing_else() -> None:
    # C1 needs that no term asks for sparsity or independence: at w = 0 the loss is that of
    # f = 0, half the labels, and nothing pulls at the weights.
    ensemble = Ensemble(training(), CPU)
    ensemble.w.zero_()
    assert ensemble.record()["loss"] == pytest.approx(0.5)
    ensemble.advance_to(1)
    assert not ensemble.w.any()


def test_the_mean_step_for_elliptical_inputs_is_the_exact_one() -> None:
    params = elliptical(N=16, B=200_000, seeds=1, init_scale=10, stimuli=["shell", "t 8"])
    ensemble = Ensemble(params, CPU)
    before = ensemble.w.clone().numpy().astype(float)
    ensemble.advance_to(1)
    velocity = (ensemble.w.numpy() - before)[:, 0] / params.lr
    for family, w, found in zip(params.families, before[:, 0], velocity, strict=True):
        covariances = [
            circulant.matrix(data.covariance_row(family, params.N, xi))
            for xi in params.dependence
        ]
        drive = covariances[1] @ w
        slope = theory.elliptical_slope(family, params.N)
        decay = (covariances[0] + covariances[1]) @ w
        exact = (slope * drive / np.sqrt(w @ drive) - decay) / 2
        np.testing.assert_allclose(found, exact, atol=0.02 * abs(exact).max())


def test_participation_ratios_are_those_of_the_specification() -> None:
    N = 40
    one_hot, constant = np.eye(N)[3], np.full(N, -0.2)
    cosine = np.cos(2 * np.pi * 3 * np.arange(N) / N)
    found = data.participation(np.stack([one_hot, constant, cosine]))
    np.testing.assert_allclose(found, [1, 1 / N, 1.5 / N])
    gaussian = np.random.default_rng(0).standard_normal((400, 1000))
    assert data.participation(gaussian).mean() == pytest.approx(3 / 1000, rel=0.02)


def test_spectra_are_shares_of_the_power() -> None:
    for N in (12, 13):
        w = np.random.default_rng(1).standard_normal((5, N))
        np.testing.assert_allclose(data.spectrum(w).sum(-1), 1)
        wave = np.cos(2 * np.pi * 2 * np.arange(N) / N)
        np.testing.assert_allclose(data.spectrum(wave), np.eye(N // 2 + 1)[2], atol=1e-12)


@pytest.mark.parametrize("make", [training, elliptical, ising])
@pytest.mark.parametrize("independent", [False, True])
def test_a_seed_learns_the_same_alone_and_in_a_batch(make: Any, independent: bool) -> None:
    # The random numbers are the same; the matrix products round differently.
    one, many = (sgd(make(seeds=n, independent_data=independent)) for n in (1, 3))
    for name in ("ipr", "norm"):
        np.testing.assert_allclose(one[name], many[name].isel(seed=[0]), rtol=1e-4)


def test_the_same_parameters_give_the_same_bytes() -> None:
    first, second = sgd(batches()), sgd(batches())
    for name in first.variables:
        assert first[name].values.tobytes() == second[name].values.tobytes()


def test_time_is_learning_rate_times_steps_per_unit() -> None:
    product = sgd(training(K=2))
    np.testing.assert_allclose(data.times(product), [[0, 0.5, 1.5]] * 3)


def test_divergence_names_condition_seed_and_step() -> None:
    with pytest.raises(RetrogradError, match=r"'nlgp 0\.1', seed 0, .* at step 10"):
        sgd(training(lr=1e20))


def test_published_presets_take_their_steps() -> None:
    published = load_paper(SLUG, seed=0).scales["published"]
    trained = 0
    for name, params in published:
        for run in params.each() if isinstance(params, Batches) else [params]:
            if not isinstance(run, Training):
                continue
            small = run.model_copy(update={"B": 20, "seeds": 2})
            ensemble = Ensemble(small, CPU)
            ensemble.advance_to(3)
            assert torch.isfinite(ensemble.w).all(), name
            trained += 1
    assert trained == 10


def test_a_torus_is_learnt_and_its_units_localize() -> None:
    # C7 at a size for a laptop: 6 x 6 sites, strongly non-Gaussian inputs.
    params = training(
        N=36,
        geometry="torus",
        K=4,
        stimuli=["nlgp 100", "gauss"],
        lr=1,
        B=500,
        record_at=[0, 600],
        seeds=1,
        init_scale=0.01,
    )
    ipr = data.final_ipr(sgd(params)) * params.N
    assert ipr.sel(condition="nlgp 100") > 6
    assert ipr.sel(condition="nlgp 100") > 2 * ipr.sel(condition="gauss")


def test_run_a_at_smoke_scale_has_the_numbers_of_the_specification() -> None:
    product = sgd(load_paper(SLUG, seed=0).scales["smoke"].kurtosis)
    ipr, norm = data.final_ipr(product), product["norm"].mean("seed")
    assert ipr.sel(condition="nlgp 0.1") <= 0.2
    assert ipr.sel(condition="nlgp 10") >= 0.7
    assert norm.sel(condition="nlgp 0.1") == pytest.approx(0.40, abs=0.02)
    assert norm.sel(condition="nlgp 10") == pytest.approx(0.49, abs=0.02)


def test_a_large_learning_rate_per_sample_randomises_the_winner() -> None:
    # "Pitfalls": lr/B = 5e-4 at s = 1e-3. What wins is chance; IPR and norm are not.
    params = training(
        N=40, stimuli=["nlgp 100"], lr=0.1, B=200, record_at=[0, 3000], seeds=10
    )
    noisy, predicted = sgd(params), theory.theory(params, {})
    assert (noisy["peak"] == predicted["peak"]).mean() <= 0.4
    assert data.final_ipr(noisy) >= 0.9
    ratio = noisy["norm"] / predicted["norm"]
    assert ((ratio > 0.93) & (ratio < 1.07)).all()


def test_independent_components_say_whether_they_converged() -> None:
    params = Components(
        N=8, stimuli=["pm1"], xi=[0.3, 0.7], samples=4000, seeds=2, iterations=200
    )
    product = train.components(params, {}, CPU)
    assert product["converged"].values.all()
    assert product["ipr"].mean() > 0.8  # nearly independent spins, found one by one
    hurried = params.model_copy(update={"iterations": 1})
    assert not train.components(hurried, {}, CPU)["converged"].values.any()
