"""Hummos et al. 2024: the exact cases of one gradient step, and the Bayesian observer."""

import ast
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hummos_setup import toy
from retrograd.papers.hummos2024_gradient_based_inference import theory
from retrograd.papers.hummos2024_gradient_based_inference.params import Identities

energies = st.lists(st.floats(-30, 30), min_size=2, max_size=6)


@given(energies, st.floats(0.1, 5), st.integers(0, 2**32 - 1))
def test_softmax_of_the_energies_maximises_the_e_step(
    ell: list[float], alpha: float, seed: int
) -> None:
    energy = np.array(ell)
    best = theory.free_energy(theory.softmax(energy / alpha), energy, alpha)
    assert best == pytest.approx(alpha * theory.log_sum_exp(energy / alpha), abs=1e-10)
    others = np.random.default_rng(seed).dirichlet(np.ones(len(ell)), 20)
    assert (theory.free_energy(others, energy, alpha) <= best + 1e-10).all()


@given(energies, st.floats(0.1, 5))
def test_one_mirror_step_from_the_uniform_point_solves_it(
    ell: list[float], alpha: float
) -> None:
    uniform = np.full(len(ell), 1 / len(ell))
    found = theory.mirror_step(uniform, np.array(ell), rate=1 / alpha)
    np.testing.assert_allclose(found, theory.softmax(np.array(ell) / alpha), atol=1e-12)


def test_one_step_scores_are_minus_the_gradient_at_the_uniform_point() -> None:
    rng, sigma, K = np.random.default_rng(0), 0.3, 4
    m, c, x = rng.standard_normal((K, 3)), *rng.standard_normal((2, 3))
    uniform, step = np.full(K, 1 / K), 1e-6
    numeric = [
        (
            theory.log_likelihood(m, c, x, uniform + step * e, sigma)
            - theory.log_likelihood(m, c, x, uniform - step * e, sigma)
        )
        / (2 * step)
        for e in np.eye(K)
    ]
    np.testing.assert_allclose(theory.one_step_scores(m, c, x, sigma), numeric, rtol=1e-7)


def test_the_identities_hold_to_rounding() -> None:
    found = theory.identities(Identities(tasks=5, outputs=7, sigma=0.5, seeds=30), {})
    for name, bound in (("linear_decoder", 1e-10), ("pair", 1e-10), ("e_step", 1e-12)):
        assert abs(found[name]).max() < bound
    assert abs(found["linear_decoder"]).max() > 0  # two different computations


@pytest.mark.parametrize("equal", [True, False])
def test_one_step_is_the_most_likely_class_if_curvatures_are_equal(equal: bool) -> None:
    rng, K, D = np.random.default_rng(1), 5, 8
    m = rng.standard_normal((K, D))
    for _ in range(500):  # at a common distance from their mean
        m -= m.mean(0)
        m /= np.linalg.norm(m, axis=1, keepdims=True)
    m = m - m.mean(0)
    if not equal:
        m *= np.linspace(0.3, 2, K)[:, None]
    spread = np.ptp(theory.curvature(m, 1.0))
    assert spread < 1e-8 if equal else spread > 0.1
    x = rng.standard_normal((300, D))
    c = np.zeros(D)
    ell = np.stack([theory.log_likelihood(m, c, x, e, 1.0) for e in np.eye(K)], -1)
    one_step = theory.one_step_scores(m, c, x, 1.0)
    agreement = (ell.argmax(-1) == one_step.argmax(-1)).mean()
    assert agreement == 1 if equal else agreement < 0.95


def test_scores_point_to_the_task_that_explains_the_observation() -> None:
    params = toy()
    m = np.array(params.mu)[:, None]
    for x, better in ((0.2, 0), (0.8, 1)):
        s = theory.one_step_scores(m, np.zeros(1), np.array([x]), params.sigma)
        assert s.argmax() == better
    ratio = theory.log_likelihood_ratio(np.array(0.35), params)
    assert ratio == pytest.approx(9.0)
    assert 1 / (1 + np.exp(-ratio)) == pytest.approx(0.99987661, abs=1e-8)


def test_a_hand_made_linear_decoder_has_slope_one_and_crosses_in_the_middle() -> None:
    params = toy()
    m, x = np.array(params.mu)[:, None], np.linspace(-0.2, 1.2, 29)
    s = theory.one_step_scores(m, np.zeros(1), x[:, None], params.sigma)
    evidence = s[:, 0] - s[:, 1]
    exact = theory.log_likelihood_ratio(x, params)
    np.testing.assert_allclose(np.polyfit(exact, evidence, 1), [1, 0], atol=1e-10)
    slope, offset = np.polyfit(x, evidence, 1)
    assert -offset / slope == pytest.approx(0.5)


def test_the_observer_has_the_reference_values() -> None:
    x = np.array([0.35, 0.35, 0.6, 0.9])
    ell = theory.gaussian_log_likelihood(x, (0.2, 0.8), 0.1)
    posterior, prior = theory.bayes_filter(ell, 1 / 48)
    expected = [0.9998766054, 0.9999973590, 0.1043334229, 5.1878994e-12]
    np.testing.assert_allclose(posterior[:, 0], expected, rtol=1e-7)
    predictions = [0.5, 0.2125709519, 0.2125015186, 0.7275082818]
    np.testing.assert_allclose(prior @ [0.2, 0.8], predictions, rtol=1e-9)


def test_the_filter_is_bayes_rule_over_all_paths_of_tasks() -> None:
    rng, hazard, T, K = np.random.default_rng(2), 0.2, 5, 3
    ell = rng.standard_normal((T, K))
    posterior, _ = theory.bayes_filter(ell, hazard)
    weight = np.zeros(K)
    for path in np.ndindex(*(K,) * T):
        stays = np.diff(path) == 0
        chance = np.where(stays, 1 - hazard, hazard / (K - 1)).prod() / K
        weight[path[-1]] += chance * np.exp(ell[np.arange(T), path].sum())
    np.testing.assert_allclose(posterior[-1], weight / weight.sum(), rtol=1e-12)


def test_the_error_of_the_observer_is_noise_and_surprise() -> None:
    params = toy(floor_blocks=2000)
    assert theory.observer_error(params) == pytest.approx(0.01765, abs=5e-4)
    # Without switches to learn of, only the noise is left.
    assert theory.observer_error(toy(mu=(0.2, 0.2), test_means=[0.2, 0.8])) == (
        pytest.approx(0.01, abs=1e-3)
    )


def test_theory_shares_no_code_with_the_simulations() -> None:
    tree = ast.parse(Path(theory.__file__).read_text(encoding="utf-8"))
    imported = {n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
    names = {str(module).rpartition(".")[2] for module in imported}
    assert not names & {"train", "lstm", "predictors", "following", "train_toy", "torch"}
