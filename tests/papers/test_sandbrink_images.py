"""Sandbrink et al. 2024: two labellings of images, and the gated read-out."""

from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from pydantic import ValidationError
from torch import nn

from retrograd import datasets, products
from retrograd.config import load_paper
from retrograd.errors import RetrogradError
from retrograd.papers.sandbrink2024_flexible_task_abstractions import data, images
from retrograd.papers.sandbrink2024_flexible_task_abstractions.images import (
    Backbone,
    GatedReadout,
)
from retrograd.papers.sandbrink2024_flexible_task_abstractions.params import (
    Images,
    Readout,
)
from sandbrink_setup import CPU, SLUG


def digits(**changes: Any) -> Images:
    """The smoke scale's: two blocks."""
    smoke: Images = load_paper(SLUG, seed=0).scales["smoke"].digits
    return Images(**(smoke.model_dump() | changes))


def readout(params: Images) -> GatedReadout:
    found = datasets.digits()
    return GatedReadout(params, found, Backbone(params, found, CPU), CPU)


def test_digits_are_split_as_the_specification_says() -> None:
    found = datasets.digits()
    assert found.train_x.shape == (1437, 64)
    assert found.test_x.shape == (360, 64)
    assert (found.train_x.min(), found.train_x.max()) == (0, 1)
    assert found.train_x.dtype == np.float32
    assert set(found.train_y) == set(found.test_y) == set(range(10))


def test_labellings_are_those_of_the_paper() -> None:
    for order in data.ORDERS.values():
        assert sorted(order) == list(range(10))
    evens = [k // 2 + 5 * (k % 2) for k in range(10)]
    assert list(data.ORDERS["evens first"]) == evens
    upper = {0: 0, 2: 1, 4: 2, 6: 3, 8: 4, 1: 5, 3: 6, 5: 7, 7: 8, 9: 9}
    warm = {0: 0, 1: 1, 5: 2, 3: 3, 7: 4, 6: 5, 2: 6, 4: 7, 8: 8, 9: 9}
    for name, table in (("upper and lower", upper), ("warm and cool", warm)):
        assert dict(enumerate(data.ORDERS[name])) == table


def test_a_step_of_the_readout_is_gradient_descent_by_autograd() -> None:
    params = digits(seeds=2)
    run = readout(params)
    rng = torch.Generator().manual_seed(0)
    run.W.copy_(torch.randn(run.W.shape, generator=rng) / 4)
    run.c.copy_(torch.randn(run.c.shape, generator=rng))
    before = run.W.double(), run.c.double()
    f = torch.randn(2, 1, 30, images.HIDDEN, generator=rng)
    y = torch.randint(10, (2, 1, 30), generator=rng)
    run._update(f, y)
    for seed in range(2):
        for i, regime in enumerate(params.regimes.values()):
            W, c = (v[seed, i].clone().requires_grad_() for v in before)
            outputs = f[seed, 0].double() @ (c * W).sum(0).mT
            loss = nn.functional.cross_entropy(outputs, y[seed, 0])
            loss = loss + regime.lambda_norm * (c.abs().sum() - 1) ** 2 / 2
            loss = loss + regime.lambda_nonneg * torch.clamp(-c, min=0).sum()
            loss.backward()
            for found, weights, rate in (
                (run.W, W, regime.rate_w),
                (run.c, c, regime.rate_c),
            ):
                assert weights.grad is not None
                expected = weights - rate * weights.grad
                torch.testing.assert_close(
                    found[seed, i].double(), expected, rtol=0, atol=1e-6
                )


def test_the_frozen_network_learns_and_its_features_are_scaled() -> None:
    params = digits(network_steps=300, feature_norm=8)
    found = datasets.digits()
    network = Backbone(params, found, CPU)
    assert network.accuracy(found) > 0.9
    norms = network.features(found.train_x).norm(dim=-1)
    assert norms.mean() == pytest.approx(8, rel=1e-5)
    assert not network.features(found.test_x).requires_grad


def test_the_convolutional_network_has_the_sizes_of_the_paper() -> None:
    # 28² pixels, 4 × 4 kernels, 2 × 2 pooling at stride 1: 3 × 24² = 1728.
    layers = images._cnn(784)
    linear = [layer for layer in layers if isinstance(layer, nn.Linear)]
    sizes = [(layer.in_features, layer.out_features) for layer in linear]
    assert sizes == [(1728, 512), (512, 64)]
    assert nn.Sequential(*layers)(torch.zeros(2, 784)).shape == (2, images.HIDDEN)


def test_a_seed_gives_the_same_readout_alone_and_in_a_batch() -> None:
    alone, batch = (images.train_images(digits(seeds=s), CPU) for s in (1, 3))
    for name in ("steps_to_accuracy", "accuracy_end"):
        xr.testing.assert_identical(alone[name], batch[name].isel(seed=[0]))


def test_the_same_parameters_give_the_same_product(tmp_path: Any) -> None:
    for name in ("a", "b"):
        made = images.train_images(digits(), CPU)
        products.write(made, tmp_path / f"{name}.nc", {})
    assert (tmp_path / "a.nc").read_bytes() == (tmp_path / "b.nc").read_bytes()


def test_accuracies_are_those_of_the_blocks_own_labelling() -> None:
    """A read-out that knows labelling A alone, with gates that cannot move."""
    still = Readout(rate_w=1e-9, rate_c=1e-9)
    params = digits(
        network_steps=300, regimes={"flexible": still, "forgetful": still}, blocks=3
    )
    run = readout(params)
    run.W[:] = 0
    network = Backbone(params, datasets.digits(), CPU)
    run.W[:, :, 0] = 2 * network._readout.weight.data / network._scale
    labels = datasets.digits().test_y
    shared = np.mean(np.array(data.ORDERS["evens first"])[labels] == labels)
    for step, low, high in ((0, 0.9, 1), (50, 0.9, 1), (60, 0, 2 * shared), (150, 0.9, 1)):
        run.advance_to(step)
        accuracy = run.record()["accuracy"]
        assert ((accuracy >= low) & (accuracy <= high)).all(), step


def test_the_record_at_a_switch_does_not_count_for_the_new_block() -> None:
    tasks = images.curricula.cyclic([0, 1], 2, 50)
    steps = np.arange(0, 101, 10)
    reached = np.isin(steps, [50, 80])
    assert images._steps_until(reached, tasks, steps).tolist() == [50, 30]


def test_bad_image_parameters_are_refused() -> None:
    for changes in ({"offsets": [0, 15]}, {"block_steps": 55}):
        with pytest.raises(ValidationError, match="must be multiples of record_every"):
            digits(**changes)
    with pytest.raises(ValidationError, match="'evens first', 'upper and lower'"):
        digits(orders=["as they are", "evens last"])


def test_a_readout_that_diverges_is_named() -> None:
    wild = Readout(rate_w=1e30, rate_c=1e30)
    params = digits(regimes={"flexible": wild, "forgetful": wild})
    with pytest.raises(RetrogradError, match=r"'flexible', seed 0, .* lower rate_w"):
        readout(params).advance_to(50)
