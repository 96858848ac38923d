"""Hummos et al. 2024: autoencoders given the class, inference of it, and detection."""

from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

import judging
from hummos_setup import CPU, SLUG, assert_gradient, images
from retrograd.claims import Verdict
from retrograd.papers.hummos2024_gradient_based_inference import (
    image_networks,
    lstm,
    train_images,
)
from retrograd.papers.hummos2024_gradient_based_inference import images as sets
from retrograd.papers.hummos2024_gradient_based_inference.lstm import Weights
from retrograd.papers.hummos2024_gradient_based_inference.params import Autoencoder

PIXELS, CLASSES = 9, 4


def weights(**changes: Any) -> Weights:
    """Of two small autoencoders, in float64."""
    params = images(H=7, **changes)
    draws = [
        image_networks.autoencoder_weights(params, run, own, PIXELS, CLASSES)
        for run, own in enumerate(params.autoencoders.values())
    ]
    return {n: torch.from_numpy(np.stack([d[n] for d in draws])) for n in draws[0]}


def batch(seed: int = 0, count: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(seed)
    x = torch.from_numpy(rng.random((2, count, PIXELS)))
    z = torch.from_numpy(np.eye(CLASSES)[rng.integers(CLASSES, size=(2, count))])
    return x, z


def test_gradients_of_autoencoders_are_those_of_differences() -> None:
    own, (x, z) = weights(), batch()
    _, found = image_networks.autoencoder_gradients(own, x, z)
    assert_gradient(
        found, own, lambda w: image_networks.autoencoder_gradients(w, x, z)[0].sum()
    )


def test_gradients_of_classifiers_are_those_of_differences() -> None:
    params, (x, z) = images(H=7), batch()
    draws = [
        image_networks.classifier_weights(params, run, PIXELS, CLASSES) for run in (0, 1)
    ]
    own = {n: torch.from_numpy(np.stack([d[n] for d in draws])) for n in draws[0]}
    _, found = image_networks.classifier_gradients(own, x, z)
    assert_gradient(
        found, own, lambda w: image_networks.classifier_gradients(w, x, z)[0].sum()
    )


def test_gradients_with_respect_to_z_are_those_of_differences() -> None:
    own, (x, z) = weights(), batch()
    decoder = image_networks.Decoder(own, x)
    loss, gradient = decoder.gradient(z)
    torch.testing.assert_close(loss, decoder.loss(z))
    assert_gradient({"z": gradient}, {"z": z}, lambda w: decoder.loss(w["z"]).sum())

    def entropy(w: Weights) -> torch.Tensor:
        p = decoder.at(w["z"])[1]
        return -(p * p.log() + (1 - p) * (1 - p).log()).sum()

    assert_gradient({"z": decoder.entropy_gradient(z)}, {"z": z}, entropy)


def test_padded_codes_change_nothing() -> None:
    both = {"narrow": {"d": 2}, "wide": {"d": 5}}
    padded = weights(autoencoders=both)
    rng_alone = image_networks.autoencoder_weights(
        images(H=7, autoencoders={"narrow": {"d": 2}}), 0, Autoencoder(d=2), PIXELS, CLASSES
    )
    alone = {n: torch.from_numpy(w[None]) for n, w in rng_alone.items()}
    x, z = batch()
    loss, found = image_networks.autoencoder_gradients(padded, x, z)
    own_loss, own = image_networks.autoencoder_gradients(alone, x[:1], z[:1])
    torch.testing.assert_close(loss[:1], own_loss)
    torch.testing.assert_close(found["D_z"][:1], own["D_z"])
    for name in ("E_2", "e_2"):
        assert not found[name][0, :, 2:].any()
    assert not found["D_u"][0, 2:].any()


def test_z_on_the_simplex_descends_on_the_loss() -> None:
    own, (x, _) = weights(), batch()
    decoder = image_networks.Decoder(own, x)
    losses = [decoder.loss(decoder.iterate(steps, 0.1)).sum() for steps in (0, 5, 50)]
    assert losses[0] > losses[1] > losses[2]
    torch.testing.assert_close(
        decoder.iterate(50, 0.1).sum(-1), torch.ones(2, 6, dtype=torch.float64)
    )


def test_a_run_sees_the_same_images_alone_and_among_others() -> None:
    alone, many = (list(image_networks._batches(images(seeds=n), 200)) for n in (1, 3))
    assert len(alone) == 200 // 64
    for a, b in zip(alone, many, strict=True):
        np.testing.assert_array_equal(a[0], b[0])


# ---- images and scores -------------------------------------------------------------------


def test_normalised_images_tell_nothing_by_brightness_or_contrast() -> None:
    found = sets.image_sets(images())
    mean, std = found.known.train_x.mean(), found.known.train_x.std()
    for x in (found.inside, found.outside):
        np.testing.assert_allclose(x.mean(-1), mean, atol=1e-4)
        np.testing.assert_allclose(x.std(-1, ddof=1), std, atol=1e-4)
    assert found.outside.shape == (60, 64)


def brute_force(inside: np.ndarray, outside: np.ndarray) -> float:
    difference = inside[:, None] - outside
    return float(((difference > 0) + 0.5 * (difference == 0)).mean())


@given(
    st.lists(st.integers(0, 5), min_size=1, max_size=20),
    st.lists(st.integers(0, 5), min_size=1, max_size=20),
)
def test_the_area_is_the_chance_to_score_higher(a: list[int], b: list[int]) -> None:
    inside, outside = np.array(a, float), np.array(b, float)
    area = sets.auc(inside, outside)
    assert area == pytest.approx(brute_force(inside, outside))
    assert sets.auc(outside, inside) == pytest.approx(1 - area)


def test_a_roc_curve_rises_from_0_to_1_and_encloses_the_area() -> None:
    rng = np.random.default_rng(0)
    inside, outside = rng.normal(1, 1, 4000), rng.normal(0, 1, 4000)
    curve = sets.roc(inside, outside)
    assert (np.diff(curve) >= 0).all()
    assert curve[-1] == 1
    area = np.trapezoid(curve, sets.RATES)
    assert area == pytest.approx(sets.auc(inside, outside), abs=0.005)
    assert sets.auc(inside, outside) == pytest.approx(0.760, abs=0.01)  # Φ(1/√2)


# ---- the experiment ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def digits() -> xr.Dataset:
    """Digits with and without task input, trained for a second or two."""
    return train_images.experiment(
        images(H=64, epochs=20, batch=16, outside_images=300, inference_steps=10), CPU
    )


@pytest.mark.parametrize("claim", ["C8_e", "C8c_e", "C8d_e", "C8e_e", "C9_e"])
def test_claims_on_digits_fail_without_task_input(digits: xr.Dataset, claim: str) -> None:
    control = digits.sel(condition=["no task input", "d=2"])  # the first one is judged
    assert judging.entry(SLUG, claim, {"image_train": control})["verdict"] == (
        Verdict.NOT_REPRODUCED
    )


def test_a_short_training_with_task_input_already_infers_the_class(
    digits: xr.Dataset,
) -> None:
    given, control = (digits.sel(condition=name) for name in digits["condition"].values)
    assert (given["accuracy"].sel(inference="gbi1") > 0.6).all()
    assert (control["accuracy"] < 0.3).all()
    assert (given["loss_wrong"] > 2 * given["loss_true"]).all()
    np.testing.assert_allclose(control["loss_wrong"] / control["loss_true"], 1, atol=0.1)


def test_no_image_is_kept(digits: xr.Dataset) -> None:
    assert "image" not in digits.dims
    assert sum(v.size for v in digits.data_vars.values()) < 2000


def test_weights_of_unused_inputs_stay_as_they_were() -> None:
    params = images(epochs=2)
    own = {n: w.float() for n, w in _digits_weights(params).items()}
    before = own["D_z"].clone()
    found = sets.image_sets(params)
    given = torch.tensor([1.0, 1.0, 0.0, 0.0])[:, None, None]
    gradients = image_networks.autoencoder_gradients
    with torch.inference_mode():
        loss = image_networks.train(params, found, own, given, gradients, ["run"] * 4)
    assert torch.equal(own["D_z"][2:], before[2:])
    assert not torch.equal(own["D_z"][:2], before[:2])
    assert (loss[:, 1] < loss[:, 0]).all()


def _digits_weights(params: Any) -> Weights:
    draws = [
        image_networks.autoencoder_weights(params, run, own, 64, 10)
        for own in params.autoencoders.values()
        for run in range(params.seeds)
    ]
    return lstm.stacked(draws, CPU)
