"""Saxe et al. 2022: image tasks and image networks."""

from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from retrograd import data_table, datasets
from retrograd.config import load_paper
from retrograd.datasets import Labelled
from retrograd.errors import RetrogradError
from retrograd.papers.saxe2022_neural_race import image_features, train
from retrograd.papers.saxe2022_neural_race.image_networks import SLOPE, ImageNetworks
from retrograd.papers.saxe2022_neural_race.image_tasks import (
    ImageTask,
    domain_permutations,
    rotated,
    trained_pairs,
)
from retrograd.papers.saxe2022_neural_race.params import Images
from saxe2022_setup import CPU, images


def networks(params: Images) -> tuple[ImageTask, ImageNetworks]:
    task = ImageTask(params, CPU)
    return task, ImageNetworks(params, task, CPU)


# ---- tasks (D4) --------------------------------------------------------------------------


@settings(deadline=None)
@given(M=st.integers(1, 12), part=st.floats(0, 1), run=st.integers(0, 5))
def test_every_domain_is_trained_with_k_others(M: int, part: float, run: int) -> None:
    K = 1 + round(part * (M - 1))
    (mask,) = trained_pairs(images(M=M, networks=[{"K": K, "gain": 1, "lr": 1}]), run)
    assert (mask.sum(0) == K).all()
    assert (mask.sum(1) == K).all()


def test_fewer_trained_pairs_are_a_part_of_more_and_seeds_differ() -> None:
    params = images(M=8)
    masks = trained_pairs(params, 0)  # K = 1, 3, 2
    assert (masks[0] <= masks[2]).all()
    assert (masks[2] <= masks[1]).all()
    assert (trained_pairs(params, 1) != masks).any()


def test_permutations_are_those_of_the_data_set_for_every_master_seed() -> None:
    # "Pitfalls": random ones, which move all ten classes, not the first in lexicographic
    # order, which move the last five only.
    pixels, classes = domain_permutations(16, 64)
    rng = np.random.default_rng(7)
    for expected in [rng.permutation(64) for _ in range(16)]:
        assert expected.tolist() in pixels.tolist()
    np.testing.assert_array_equal(classes, [rng.permutation(10) for _ in range(16)])
    moved = (classes != np.arange(10)).any(0)
    assert moved.all()
    assert len(np.unique(classes, axis=0)) == 16


def test_batches_show_every_image_through_every_domain() -> None:
    params = images()
    base = datasets.digits()
    task = ImageTask(params, CPU)
    pixels, _ = domain_permutations(params.M, 64)
    x, y = task.batch()
    assert x.shape == (2 * params.M, params.batch, 64)
    x = x.view(2, params.M, params.batch, 64).numpy()
    for seed in range(2):
        # Undo domain 0, and find the images.
        original = np.empty_like(x[seed, 0])
        original[:, pixels[0]] = x[seed, 0]
        found = [np.flatnonzero((base.train_x == image).all(1))[0] for image in original]
        np.testing.assert_array_equal(base.train_y[found], y[seed])
        for i in range(params.M):
            np.testing.assert_array_equal(x[seed, i], base.train_x[found][:, pixels[i]])


def test_an_epoch_shows_every_image_once() -> None:
    task = ImageTask(images(batch=479, seeds=1, M=1, networks=[NET]), CPU)  # 1437 / 3
    seen = torch.cat([task.batch()[0] for _ in range(3)], dim=1)[0].numpy()
    expected = datasets.digits().train_x[:, domain_permutations(1, 64)[0][0]]
    for column in (20, 42):
        np.testing.assert_array_equal(
            np.sort(seen[:, column]), np.sort(expected[:, column])
        )


NET = {"K": 1, "gain": 1, "lr": 0.1}


def test_a_quarter_turn_turns_the_image() -> None:
    image = np.random.default_rng(0).random((3, 1, 8, 8)).astype(np.float32)
    turned = rotated(image, 90)
    np.testing.assert_allclose(turned, np.rot90(image, 1, (-2, -1)), atol=1e-6)
    np.testing.assert_allclose(rotated(image, 0), image, atol=1e-6)


def test_rotated_domains_span_half_a_turn() -> None:
    # "Pitfalls": 180 i/M degrees, as the paper's text says; its code has 270 i/M.
    params = images(inputs="rotated", M=2, networks=[NET], seeds=1)
    task = ImageTask(params, CPU)
    (x, y), *_ = task.test_batches(50)
    base = datasets.digits()
    np.testing.assert_array_equal(y, base.test_y[:50])
    upright = base.test_x[:50].reshape(-1, 8, 8)
    for domain, turns in ((0, 0), (1, 1)):
        expected = np.rot90(upright, turns, (1, 2)).reshape(50, 64)
        np.testing.assert_allclose(x[domain], expected, atol=1e-3)  # float16


# ---- networks (M4) -----------------------------------------------------------------------


def pair_outputs(
    net: ImageNetworks, x: torch.Tensor, seed: int, c: int
) -> list[list[torch.Tensor]]:
    """Logits (image, class) of every pair of a run, layer by layer; x (input, image, n)."""
    p, W = net.params, net.weights
    S, C, M, h = p.seeds, len(p.networks), p.M, p.h
    encoder = W["encoder"].view(S, M, -1, C, h)[seed, :, :, c]
    encoder_bias = W["encoder_bias"].view(S, M, C, h)[seed, :, c]
    shared, shared_bias = (
        W["shared"].view(C, S, h, h)[c, seed],
        W["shared_bias"].view(C, S, h)[c, seed],
    )
    decoder, decoder_bias = W["decoder"][c, seed], W["decoder_bias"][c, seed]
    slope = SLOPE if p.networks[c].leaky else 1.0
    unit = torch.nn.functional.leaky_relu
    rows = []
    for i in range(M):
        first = unit(x[i] @ encoder[i] + encoder_bias[i], slope)
        second = unit(first @ shared + shared_bias, slope)
        rows.append([second @ decoder[j].T + decoder_bias[j] for j in range(M)])
    return rows


def test_gradients_by_hand_are_autograds() -> None:
    params = images()
    task, net = networks(params)
    net.advance_to(3)  # so that the biases are not zero
    x, y = task.batch()
    by_hand = net.gradients(x, y)
    for w in net.weights.values():
        w.requires_grad_()
    _, classes = domain_permutations(params.M, 64)
    total = torch.zeros(())
    for seed, c in np.ndindex(2, 3):
        at_seed = x.view(2, params.M, params.batch, -1)[seed]
        outputs = pair_outputs(net, at_seed, seed, c)
        pairs = np.argwhere(task.masks[seed, c] == 1)
        losses = [
            torch.nn.functional.cross_entropy(
                outputs[i][j], torch.from_numpy(classes[j])[y[seed]]
            )
            for i, j in pairs
        ]
        mean = torch.stack(losses).mean()
        assert net.losses[seed, c] == pytest.approx(mean.item(), rel=1e-5)
        total = total + mean
    total.backward()
    for name, gradient in by_hand.items():
        expected = net.weights[name].grad
        assert expected is not None
        scale = expected.abs().max()
        assert (gradient - expected).abs().max() < 1e-5 * scale, name


def test_steps_are_those_of_sgd_with_momentum() -> None:
    params = images(networks=[{"K": 2, "gain": 1, "lr": 0.3}], seeds=1, anneal=2, steps=4)
    (_, net), (again, other) = networks(params), networks(params)
    weights = {n: torch.nn.Parameter(w.clone()) for n, w in other.weights.items()}
    optimiser = torch.optim.SGD(weights.values(), lr=0.3, momentum=0.9)
    other.weights = {n: w.data for n, w in weights.items()}
    for step in range(4):
        for name, gradient in other.gradients(*again.batch()).items():
            weights[name].grad = gradient
        optimiser.param_groups[0]["lr"] = 0.3 * (1.0, 1.0, 1.0, 0.5)[step]
        optimiser.step()
    net.advance_to(4)
    for name, w in net.weights.items():
        torch.testing.assert_close(w, weights[name].data, rtol=1e-5, atol=1e-6)


def test_initial_weights_are_xavier_times_the_gain_and_biases_zero() -> None:
    params = images(h=64, seeds=1)
    _, net = networks(params)
    encoder = net.weights["encoder"].view(params.M, 64, 3, 64)
    for c, gain in enumerate((0.5, 1, 1)):
        limit = gain * np.sqrt(6 / 128)
        assert encoder[:, :, c].abs().max() == pytest.approx(limit, rel=1e-2)
        assert encoder[:, :, c].std() == pytest.approx(limit / np.sqrt(3), rel=0.02)
    assert net.weights["decoder"].abs().max() == pytest.approx(np.sqrt(6 / 74), rel=1e-2)
    for name, w in net.weights.items():
        assert bool(w.any()) != name.endswith("bias")


def test_the_accuracy_is_that_of_the_whole_test_set(monkeypatch: Any) -> None:
    # "Pitfalls": all 360 test images, in order, whatever the size of the pieces.
    params = images(steps=40)
    _, net = networks(params)
    net.advance_to(40)
    found = net.accuracy()
    assert found.shape == (2, 3, 4, 4)
    base = datasets.digits()
    pixels, classes = domain_permutations(params.M, 64)
    x = torch.stack([torch.from_numpy(base.test_x[:, p]) for p in pixels])
    for seed, c in np.ndindex(2, 3):
        outputs = pair_outputs(net, x, seed, c)
        for i, j in np.ndindex(4, 4):
            right = outputs[i][j].argmax(-1).numpy() == classes[j][base.test_y]
            assert found[seed, c, i, j] == pytest.approx(right.mean(), abs=1.5 / 360)
    module = "retrograd.papers.saxe2022_neural_race.image_networks.EVALUATED"
    monkeypatch.setattr(module, 7 * 2 * 16 * 10)
    np.testing.assert_allclose(net.accuracy(), found, atol=1.5 / 360)


def test_a_seed_learns_the_same_alone_and_in_a_batch() -> None:
    # Up to float32 rounding, which training amplifies.
    alone, batch = (train.images(images(seeds=n), {}, CPU) for n in (1, 3))
    xr.testing.assert_allclose(alone["loss"], batch["loss"].isel(seed=[0]), rtol=1e-3)
    assert len(np.unique(batch["loss"].isel(step=-1))) > 6


def test_networks_learn_their_trained_pairs() -> None:
    # Without untrained pairs there is no accuracy for them.
    nets = [{"K": 2, "gain": 0.5, "lr": 0.1}, {"K": 4, "gain": 0.5, "lr": 0.1}]
    run = train.images(images(h=24, batch=32, steps=200, networks=nets), {}, CPU)
    assert (run["trained_accuracy"] > 0.8).all()
    untrained = run["untrained_accuracy"]
    assert (untrained.isel(condition=0) < run["trained_accuracy"].isel(condition=0)).all()
    assert (untrained.isel(condition=1) == -1).all()


def test_a_run_that_diverges_is_named() -> None:
    nets = [{"K": 1, "gain": 1, "lr": 0.1}, {"K": 2, "gain": 1e12, "lr": 1e30}]
    _, net = networks(images(networks=nets))
    with pytest.raises(
        RetrogradError, match=r"condition 'K=2, gain=1e\+12, linear', seed 0"
    ):
        net.advance_to(12)


# ---- parameters, and the published sizes -------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"networks": [NET | {"K": 5}]}, "at most M = 4 outputs"),
        ({"networks": [NET, NET]}, "two have the same K, gain and units"),
        ({"networks": [NET | {"leaky": True}, NET]}, "linear ones must come before leaky"),
        ({"anneal": 13}, "there are only steps = 12"),
        ({"features": True}, "the frozen network is that of cifar10"),
        ({"momentum": 1}, "less than 1"),
        ({"data": "minst"}, "'digits', 'mnist'"),
    ],
)
def test_image_parameters_that_make_no_sense_are_refused(
    changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValidationError, match=message):
        images(**changes)


PUBLISHED = ("images", "relaxed", "images_large", "images_rotated", "images_natural")


def stand_in(name: str) -> Labelled:
    """A few random images of a data set's size."""
    rng, pixels = np.random.default_rng(0), 3072 if name == "cifar10" else 784
    x = rng.random((24, pixels), np.float32)
    y = rng.integers(0, 10, 24)
    return Labelled(x[:16], y[:16], x[16:], y[16:])


@pytest.mark.parametrize("section", PUBLISHED)
def test_published_presets_take_their_steps(
    section: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    published = load_paper("saxe2022_neural_race", seed=0).scales["published"]
    params: Images = getattr(published, section)
    monkeypatch.setattr(image_features, "EPOCHS", 1)
    monkeypatch.setattr(datasets, "named", stand_in)
    # The same, but for what makes it large: domains, units, batch, steps.
    nets = [n.model_copy(update={"K": min(n.K, 2)}) for n in params.networks[-1:]]
    small = {"M": 3, "h": 8, "batch": 4, "seeds": 2, "steps": 3, "networks": nets}
    run = train.images(params.model_copy(update=small), {}, CPU)
    assert np.isfinite(run["loss"]).all()
    assert run["untrained_accuracy"].shape == (2, 1)


def test_without_its_data_set_a_published_product_says_what_to_do(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = data_table.FOLDER / "datasets.yaml"
    text = table.read_text(encoding="utf-8")
    for address in data_table.read_table()["mnist"].addresses:
        text = text.replace(address, "http://127.0.0.1:9/")
    (tmp_path / "datasets.yaml").write_text(text, encoding="utf-8")
    monkeypatch.setattr(data_table, "FOLDER", tmp_path)
    monkeypatch.delenv(data_table.MIRROR, raising=False)
    published = load_paper("saxe2022_neural_race", seed=0).scales["published"]
    with pytest.raises(
        RetrogradError, match=f"data set mnist: cannot get .*{data_table.MIRROR}"
    ):
        train.images(published.images, {}, CPU)


def test_the_frozen_network_gives_the_same_512_features_each_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(image_features, "EPOCHS", 1)
    base = stand_in("cifar10")
    first, second = (image_features.frozen_network(base, CPU) for _ in range(2))
    pictures = base.test_x.reshape(-1, 3, 32, 32)
    features = first(pictures)
    assert features.shape == (8, 512)
    assert features.std(0).max() > 0
    torch.testing.assert_close(features, second(pictures), rtol=0, atol=0)
    # Frozen: batch statistics are not used, so that an image alone gives the same.
    torch.testing.assert_close(first(pictures[:1]), features[:1], rtol=1e-4, atol=1e-5)
