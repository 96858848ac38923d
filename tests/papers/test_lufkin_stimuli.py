"""Lufkin et al. 2024: the inputs, their parameters, and their random streams."""

from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from numpy.typing import NDArray
from pydantic import ValidationError

from lufkin_setup import CPU, batches, elliptical, ising, training
from retrograd import circulant
from retrograd.papers.lufkin2024_localization import data, stimuli
from retrograd.papers.lufkin2024_localization.params import Components, Models, Training
from retrograd.papers.lufkin2024_localization.train import TorchNoise

few = settings(max_examples=25, deadline=None)


def sampled(params: Training) -> NDArray[np.float64]:
    """One batch, (condition, stream, B, N)."""
    x = stimuli.sampler(params, TorchNoise(params, CPU))()
    return np.asarray(x, float)


LARGE: dict[str, Any] = {"N": 10, "B": 60_000, "seeds": 1}


@pytest.mark.parametrize(
    "params",
    [
        training(**LARGE, stimuli=["gauss", "nlgp 1", "alg 7.7", "uniform", "pm1"]),
        elliptical(**LARGE, stimuli=["shell", "extreme", "t 8"]),
        ising(**LARGE),
    ],
    ids=["pointwise", "elliptical", "ising"],
)
def test_both_classes_have_the_covariance_that_the_theory_uses(params: Training) -> None:
    x = sampled(params)[:, 0]
    halves = x[:, : params.B // 2], x[:, params.B // 2 :]
    for half, dependence in zip(halves, params.dependence, strict=True):
        for found, family in zip(half, params.families, strict=True):
            row = data.covariance_row(family, params.N, dependence)
            covariance = found.T @ found / len(found)
            np.testing.assert_allclose(covariance, circulant.matrix(row), atol=0.035)
            np.testing.assert_allclose(found.mean(0), 0, atol=0.03)


def test_the_ising_sampler_has_the_correlation_of_the_specification() -> None:
    rng = np.random.default_rng(0)
    s = stimuli.ising_spins(rng, 50_000, 40, 0.7)
    assert set(np.unique(s)) == {-1, 1}
    assert (s[:, 0] * s[:, 3]).mean() == pytest.approx(0.22075, abs=0.01)
    assert (s[:, 0] * s[:, -1]).mean() == pytest.approx(np.tanh(0.7), abs=0.01)


@few
@given(st.integers(3, 5), st.floats(0.1, 1.2))
def test_ising_samples_have_the_boltzmann_probabilities(N: int, J: float) -> None:
    s = stimuli.ising_spins(np.random.default_rng(1), 20_000, N, J)
    codes = (s > 0) @ 2 ** np.arange(N)
    states = 1 - 2 * (np.arange(2**N)[:, None] >> np.arange(N) & 1)
    weight = np.exp(J * (states * np.roll(states, 1, axis=1)).sum(1))
    frequencies = np.bincount(codes, minlength=2**N) / len(s)
    np.testing.assert_allclose(frequencies[::-1], weight / weight.sum(), atol=0.02)


def test_elliptical_radii_are_scaled_to_unit_variance() -> None:
    params = elliptical(**LARGE, stimuli=["shell", "extreme", "t 8"])
    square = (sampled(params)[:, 0] ** 2).mean((1, 2))
    np.testing.assert_allclose(square, 1, atol=0.02)


def test_normals_of_torch_are_normal() -> None:
    z = TorchNoise(training(seeds=1), CPU).normal(200_001).numpy().ravel()
    assert len(z) == 200_001
    # Within four standard errors, √((E z^2p − (E z^p)²)/n).
    for power, moment, error in ((1, 0, 1), (2, 1, 1.41), (4, 3, 9.8), (6, 15, 101)):
        found = (z.astype(float) ** power).mean()
        assert found == pytest.approx(moment, abs=4 * error / np.sqrt(200_001))
    assert abs(np.corrcoef(z[:100_000], z[100_001:])[0, 1]) < 0.01


def test_generators_of_a_device_are_one_per_stream() -> None:
    # What a GPU does, on the CPU: a seed has its own numbers, alone and in a batch.
    drawn = []
    for seeds in (1, 3):
        noise = TorchNoise(training(seeds=seeds, independent_data=True), CPU)
        noise._generators = [torch.Generator().manual_seed(run) for run in range(seeds)]
        drawn.append(noise.normal(5, 4))
    assert drawn[1].shape == (3, 5, 4)
    assert torch.equal(drawn[0][0], drawn[1][0])
    assert not torch.equal(drawn[1][0], drawn[1][1])


def test_conditions_share_their_noise_and_a_batch_is_fresh() -> None:
    params = training(stimuli=["gauss", "pm1"])
    sample = stimuli.sampler(params, TorchNoise(params, CPU))
    first, second = sample(), sample()
    assert torch.equal(torch.sign(first[0]), first[1])
    assert not torch.equal(first, second)


@pytest.mark.parametrize("make", [training, elliptical, ising])
def test_a_seed_has_the_same_inputs_alone_and_in_a_batch(make: Any) -> None:
    one, many = (sampled(make(independent_data=True, seeds=n)) for n in (1, 3))
    np.testing.assert_array_equal(one[:, 0], many[:, 0])
    assert not np.array_equal(many[:, 0], many[:, 1])
    shared = sampled(make(seeds=3))
    np.testing.assert_array_equal(shared, one)


def test_initial_weights_have_the_glorot_variance_and_seeds_of_their_own() -> None:
    params = training(N=400, K=20, seeds=3, init_scale=0.1)
    w = data.initial_weights(params)
    assert w.var() == pytest.approx(0.1 * 2 / 420, rel=0.03)
    alone = data.initial_weights(training(N=400, K=20, seeds=1, init_scale=0.1))
    np.testing.assert_array_equal(alone[0], w[0])
    assert not np.array_equal(w[0], w[1])


def test_a_torus_has_the_product_covariance() -> None:
    params = training(**(LARGE | {"N": 9}), geometry="torus", stimuli=["gauss"])
    x = sampled(params)[0, 0, params.B // 2 :]
    side = circulant.matrix(circulant.gaussian_row(3, 0.7))
    np.testing.assert_allclose(x.T @ x / len(x), np.kron(side, side), atol=0.03)


def test_samples_of_components_are_the_same_field_for_every_family() -> None:
    params = Components(N=8, stimuli=["gauss", "pm1"], xi=[1, 3], samples=20, seeds=1)
    gauss, spins = (
        data.component_samples(params, family, 0)
        for family in training(stimuli=params.stimuli).families
    )
    np.testing.assert_array_equal(np.sign(gauss), spins)


MODELS = {"N": 12, "xi": 0.7, "J": 0.7, "order": {"xi": [1, 3], "lr": 0.1, "steps": 5}}


def test_the_models_are_shown_with_their_densities() -> None:
    params = Models(**MODELS, stimuli=["ising", "nlgp 0.01", "alg 50"], samples=4000)
    shown = data.instance(params)
    width = float(shown["value"][1] - shown["value"][0])
    inside = shown["density"].sum("value") * width
    np.testing.assert_allclose(inside, 1, atol=0.005)
    near_uniform = shown["density"].sel(condition="alg 50").sel(value=slice(-1.5, 1.5))
    np.testing.assert_allclose(near_uniform, 1 / np.sqrt(12), rtol=0.1)


@pytest.mark.parametrize(
    ("make", "changes", "message"),
    [
        (training, {"stimuli": ["nlpg 1"]}, "unknown family"),
        (training, {"stimuli": ["nlgp"]}, "write it as 'nlgp g'"),
        (training, {"stimuli": ["shell 3"], "xi": [1, 3]}, "write it as 'shell'"),
        (training, {"stimuli": ["alg 4"]}, "k must be above 4"),
        (training, {"stimuli": ["t 2.5"]}, "df must be whole"),
        (training, {"stimuli": ["nlgp -1"]}, "must be a number"),
        (training, {"stimuli": ["nlgp 1", "shell"]}, "need runs of their own"),
        (training, {"J": [0.3, 0.7]}, "need xi, and only that"),
        (training, {"stimuli": ["ising"]}, "need J, and only that"),
        (training, {"B": 21}, "multiple of 2"),
        (training, {"record_at": [5, 10]}, "must start at 0 and increase"),
        (training, {"weights_at": [11]}, "weights_at: step 11 is not in record_at"),
        (training, {"geometry": "torus"}, "a torus needs a square number"),
        (elliptical, {"N": 16, "geometry": "torus"}, "live on a ring"),
        (batches, {"weights_at": [7]}, "weights_at: step 7 is not in record_at"),
    ],
)
def test_bad_parameters_are_refused(
    make: Any, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValidationError, match=message):
        make(**changes)


def test_batches_of_unlike_records_are_refused() -> None:
    unlike = batches().model_dump()
    unlike["batches"][0]["record_at"] = [0, 5, 10, 30]
    with pytest.raises(ValidationError, match="every record_at must have as many steps"):
        batches(batches=unlike["batches"])
