"""What one gradient step can know: the E step, the linear decoder, the Bayesian observer.

Written from the specification's section Theory; shares no code with the simulations.
Symbols: ℓ_k = log p(x, k), z a point of the simplex, x̂(z) = Σ_k z_k m_k + c a linear
decoder, s_k = −∂/∂z_k |x − x̂(z)|² / (2σ²) at the uniform z.
"""

from collections.abc import Mapping

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from retrograd.papers.hummos2024_gradient_based_inference import toy as task
from retrograd.papers.hummos2024_gradient_based_inference.data import (
    evidence_coordinates,
    float32,
    indices,
    seeds,
)
from retrograd.papers.hummos2024_gradient_based_inference.params import Identities, Toy
from retrograd.products import variable
from retrograd.randomness import stream

Array = NDArray[np.float64]
OBSERVERS = ("exact", "gbi", "lstm")
PARALLEL = 40  # streams over which the observer's error is averaged


# ---- the E step --------------------------------------------------------------------------


def softmax(a: ArrayLike) -> Array:
    """Over the last axis."""
    shifted = np.asarray(a) - np.max(a, axis=-1, keepdims=True)
    e = np.exp(shifted)
    found: Array = e / e.sum(-1, keepdims=True)
    return found


def log_sum_exp(a: ArrayLike) -> Array:
    """Over the last axis."""
    largest = np.max(a, axis=-1)
    total = np.exp(np.asarray(a) - largest[..., None]).sum(-1)
    found: Array = largest + np.log(total)
    return found


def free_energy(q: Array, ell: Array, alpha: float) -> Array:
    """f_α(q) = E_q[ℓ] + α H(q), over the last axis; 0 log 0 = 0."""
    entropy = -(q * np.log(np.where(q > 0, q, 1))).sum(-1)
    found: Array = (q * ell).sum(-1) + alpha * entropy
    return found


def mirror_step(q: Array, gradient: Array, rate: float) -> Array:
    """One step of mirror ascent on the simplex: q' ∝ q exp(rate · gradient)."""
    return softmax(np.log(q) + rate * gradient)


# ---- the linear decoder ------------------------------------------------------------------


def decoded(m: Array, c: Array, z: Array) -> Array:
    """x̂(z), for m (..., K, D), c (..., D) and z (..., K)."""
    return np.einsum("...k,...kd->...d", z, m) + c


def one_step_scores(m: Array, c: Array, x: Array, sigma: float) -> Array:
    """s_k of a linear decoder, in closed form: (x − x̄)·m_k / σ², (..., K)."""
    K = m.shape[-2]
    rest = x - decoded(m, c, np.full(K, 1 / K))
    return np.einsum("...d,...kd->...k", rest, m) / sigma**2


def log_likelihood(m: Array, c: Array, x: Array, z: Array, sigma: float) -> Array:
    """log N(x; x̂(z), σ² I), (...)."""
    rest = x - decoded(m, c, z)
    D = rest.shape[-1]
    found: Array = -(rest**2).sum(-1) / (2 * sigma**2) - D / 2 * np.log(
        2 * np.pi * sigma**2
    )
    return found


def curvature(m: Array, sigma: float) -> Array:
    """What one-step scores miss: |m_k − m̄|² / (2σ²), (..., K)."""
    apart = m - m.mean(-2, keepdims=True)
    found: Array = (apart**2).sum(-1) / (2 * sigma**2)
    return found


def identities(params: Identities, inputs: Mapping[str, xr.Dataset]) -> xr.Dataset:
    """Both sides of the exact cases on random instances.

    Returns:
        linear_decoder (seed, task): difference of ℓ_k − ℓ(z̄) and (s_k − s̄) − curvature.
        pair (seed): difference of s_0 − s_1 and the log-likelihood ratio, K = 2, D = 1.
        e_step (seed): f_1 after one mirror step from the uniform q, minus logsumexp(ℓ).
    """
    K, D, sigma = params.tasks, params.outputs, params.sigma
    linear, pair, e_step = [], [], []
    for run in range(params.seeds):
        rng = stream(params.seed, run, "linear decoder")
        m, c, x = rng.standard_normal((K, D)), *rng.standard_normal((2, D))
        ell = np.array([log_likelihood(m, c, x, z, sigma) for z in np.eye(K)])
        centre = log_likelihood(m, c, x, np.full(K, 1 / K), sigma)
        s = one_step_scores(m, c, x, sigma)
        linear.append(ell - centre - (s - s.mean() - curvature(m, sigma)))
        s = one_step_scores(m[:2, :1], c[:1], x[:1], sigma)
        ratio = log_likelihood(m[:2, :1], c[:1], x[:1], np.eye(2), sigma)
        pair.append(s[0] - s[1] - (ratio[0] - ratio[1]))
        q = mirror_step(np.full(K, 1 / K), ell, rate=1)
        e_step.append(free_energy(q, ell, 1) - log_sum_exp(ell))
    return xr.Dataset(
        {
            "linear_decoder": variable(
                ("seed", "task"), np.stack(linear), "deviation from the one-step identity"
            ),
            "pair": variable("seed", np.array(pair), "the same, for two scalar tasks"),
            "e_step": variable(
                "seed", np.array(e_step), "value of one mirror step minus logsumexp"
            ),
        },
        seeds(params.seeds) | indices({"task": (K, "task")}),
    )


# ---- the Bayesian observer ---------------------------------------------------------------


def gaussian_log_likelihood(x: Array, mu: ArrayLike, sigma: float) -> Array:
    """log N(x; mu_k, σ), (..., K)."""
    distance = (x[..., None] - np.asarray(mu)) / sigma
    found: Array = -(distance**2) / 2 - np.log(sigma * np.sqrt(2 * np.pi))
    return found


def log_likelihood_ratio(x: Array, params: Toy) -> Array:
    """Evidence for task 0: (mu_0 − mu_1)(x − (mu_0 + mu_1)/2) / σ²."""
    mu_0, mu_1 = params.mu
    return (mu_0 - mu_1) * (x - (mu_0 + mu_1) / 2) / params.sigma**2


def bayes_filter(log_likelihood: Array, hazard: float) -> tuple[Array, Array]:
    """Posteriors over the task, and what was expected before each observation.

    Args:
        log_likelihood: of every observation under every task, (..., time, K).
        hazard: probability of a switch per step.

    Returns:
        Posteriors and priors, each (..., time, K); the first prior is uniform.
    """
    K = log_likelihood.shape[-1]
    prior = np.full((*log_likelihood.shape[:-2], K), 1 / K)
    posteriors, priors = [], []
    for t in range(log_likelihood.shape[-2]):
        posterior = softmax(np.log(prior) + log_likelihood[..., t, :])
        priors.append(prior)
        posteriors.append(posterior)
        prior = (1 - hazard) * posterior + hazard / (K - 1) * (1 - posterior)
    return np.stack(posteriors, -2), np.stack(priors, -2)


def observer_error(params: Toy) -> float:
    """Mean squared error of the observer's predictions on the training stream's law."""
    blocks = max(params.floor_blocks // PARALLEL, 1)
    rngs = [stream(params.seed, run, "observer's stream") for run in range(PARALLEL)]
    curricula = [task.switching(params, blocks, rng) for rng in rngs]
    steps = min(c.steps for c in curricula)
    mu = np.array(params.mu)
    mean = np.stack([mu[c.last(steps).task_of_every_step()] for c in curricula])
    x = mean + params.sigma * np.stack([rng.standard_normal(steps) for rng in rngs])
    _, priors = bayes_filter(gaussian_log_likelihood(x, mu, params.sigma), params.hazard)
    return float(np.mean((priors @ mu - x) ** 2))


def toy(params: Toy, inputs: Mapping[str, xr.Dataset]) -> xr.Dataset:
    """Exact evidence where the networks' was measured, and filters fed with either.

    Args:
        params: as for the training.
        inputs: `toy_train`, whose measured evidence feeds the filters `gbi` and `lstm`.

    Returns:
        evidence (seed, observation) and probe_evidence (seed, history, probe): exact
        log-likelihood ratios; posterior (observer, seed, observation): probability of
        task 0; x, and likelihood (task, observation), of seed 0; observer_error.
    """
    streams = [task.new_stream(params, run) for run in range(params.seeds)]
    x = np.stack([s.x[params.window :] for s in streams])
    measured = inputs["toy_train"]
    evidence = {
        "exact": log_likelihood_ratio(x, params),
        "gbi": measured["evidence"].values,
        "lstm": measured["control_evidence"].values,
    }
    assert tuple(evidence) == OBSERVERS
    posterior = [
        bayes_filter(np.stack([e, np.zeros_like(e)], -1), params.hazard)[0][..., 0]
        for e in evidence.values()
    ]
    at_probes = log_likelihood_ratio(task.probes(params), params)
    coordinates = evidence_coordinates(params)
    shape = params.seeds, len(coordinates["history"]), len(at_probes)
    likelihood = np.exp(gaussian_log_likelihood(x[0], params.mu, params.sigma))
    return xr.Dataset(
        {
            "evidence": float32(
                ("seed", "observation"), evidence["exact"], "evidence for task 0, exact"
            ),
            "probe_evidence": float32(
                ("seed", "history", "probe"),
                np.broadcast_to(at_probes, shape),
                "evidence for task 0, exact",
            ),
            "posterior": float32(
                ("observer", "seed", "observation"), posterior, "probability of task 0"
            ),
            "x": float32(("observation",), x[0], "observations of seed 0"),
            "likelihood": float32(
                ("task", "observation"), likelihood.T, "their likelihood"
            ),
            "observer_error": variable(
                (), observer_error(params), "mean squared error of the Bayesian observer"
            ),
        },
        coordinates
        | indices({"task": (task.TASKS, "task")})
        | {"observer": variable("observer", list(OBSERVERS), "source of the evidence")},
    )
