"""van Rossem & Saxe 2024: networks, their gradients, tasks, and what is recorded."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from retrograd.config import load_paper
from retrograd.errors import RetrogradError
from retrograd.papers.vanrossem2024_representations_align import (
    data,
    effective,
    observables,
    theory,
    train,
    training,
)
from retrograd.papers.vanrossem2024_representations_align.networks import (
    Adam,
    Convolutional,
    Dense,
    Descent,
)
from retrograd.papers.vanrossem2024_representations_align.params import (
    Context,
    Digits,
    TwoPointRuns,
)
from vanrossem_setup import CPU, SLUG, Array, setting, two_points

ACTIVATIONS = ("leaky_relu", "relu", "tanh", "elu", "linear", "silu")
E, N, D_IN, D_OUT = 3, 2, 2, 3
TORCH = {
    "leaky_relu": torch.nn.LeakyReLU(0.01),
    "relu": torch.nn.ReLU(),
    "tanh": torch.nn.Tanh(),
    "elu": torch.nn.ELU(),
    "linear": torch.nn.Identity(),
    "silu": torch.nn.SiLU(),
}


def built(**changes: Any) -> tuple[Any, torch.Tensor, torch.Tensor]:
    """A batch of networks in float64 with biases, inputs and targets."""
    network = setting(width=12, **changes)
    rng = np.random.default_rng(0)
    drawn = [data.initial_weights(network, D_IN, D_OUT, 0, run) for run in range(E)]
    weights = [torch.tensor(np.stack(layer)) for layer in zip(*drawn, strict=True)]
    masks = None
    if network.kind == "dropout":
        sizes = [D_IN, *[12] * network.depth]
        kept = [rng.random((E, N, size)) >= 0.1 for size in sizes]
        masks = iter([[torch.tensor(k / 0.9) for k in kept]] * 2)
    if network.kind == "cnn":
        made: Any = Convolutional(network, weights)
    else:
        made = Dense(network, weights, masks)
    for bias in made.biases:
        bias += 0.1 * torch.tensor(rng.standard_normal(bias.shape))
    x, y = (torch.tensor(rng.standard_normal((E, N, d))) for d in (D_IN, D_OUT))
    return made, x, y


def plain_output(
    network: Any, kind: str, activation: str, member: int, x: torch.Tensor,
    weights: list[torch.Tensor], masks: list[torch.Tensor] | None,
) -> torch.Tensor:  # fmt: skip
    """One network, written as the paper says, from the weights and biases in a list."""
    act = TORCH[activation]
    half = len(weights) // 2
    W, b = weights[:half], weights[half:]
    a, hidden = x, []
    for layer in range(half):
        if masks is not None:
            a = a * masks[layer][member]
        if kind == "cnn" and 0 < layer < half - 1:
            a = torch.nn.functional.conv1d(a[:, None] if a.ndim == 2 else a, W[layer])
            a = act(a + b[layer][0][:, None])
            continue
        z = a.flatten(1) @ W[layer].T + b[layer][0]
        if layer == half - 1:
            return z
        a = act(z)
        if kind == "resnet" and layer >= 2:
            a = a + hidden[layer - 2]
        hidden.append(a)
    raise AssertionError


@pytest.mark.parametrize(
    ("kind", "activation"),
    [("mlp", a) for a in ACTIVATIONS]
    + [(k, a) for k in ("resnet", "dropout") for a in ("leaky_relu", "tanh", "linear")]
    + [("cnn", "leaky_relu"), ("cnn", "silu")],
)
def test_a_step_is_gradient_descent_on_the_network_as_defined(
    kind: str, activation: str
) -> None:
    shape = {"depth": 2, "layer": 1, "kernel": 3} if kind == "cnn" else {"depth": 5}
    network, x, y = built(kind=kind, activation=activation, **shape)
    masks = next(network._masks) if kind == "dropout" else None
    before = [t.clone() for t in (*network.weights, *network.biases)]
    lr = torch.tensor([0.1, 0.2, 0.0], dtype=torch.float64)
    error = network.descend(x, y, 0.5, Descent(lr[:, None, None]))
    for member in range(E):
        own = [t[member].clone().requires_grad_() for t in before]
        output = plain_output(network, kind, activation, member, x[member], own, masks)
        torch.testing.assert_close(error[member], output - y[member])
        loss = 0.5 * ((output - y[member]) ** 2).mean()
        gradients = torch.autograd.grad(loss, own)
        after = [t[member] for t in (*network.weights, *network.biases)]
        for old, gradient, new in zip(own, gradients, after, strict=True):
            torch.testing.assert_close(new, old - lr[member] * gradient)


def test_adam_is_that_of_torch() -> None:
    network, x, y = built(activation="tanh")
    own = [t[0].clone().requires_grad_() for t in (*network.weights, *network.biases)]
    reference = torch.optim.Adam(own, lr=0.01)
    optimiser = Adam(torch.full((E, 1, 1), 0.01, dtype=torch.float64))
    for _ in range(5):
        network.descend(x, y, 0.5, optimiser)
        reference.zero_grad()
        output = plain_output(network, "mlp", "tanh", 0, x[0], own, None)
        (0.5 * ((output - y[0]) ** 2).mean()).backward()
        reference.step()
    for found, expected in zip((*network.weights, *network.biases), own, strict=True):
        torch.testing.assert_close(found[0], expected.detach(), rtol=1e-6, atol=1e-9)


def test_dropout_is_off_when_a_network_is_read_and_on_when_it_learns() -> None:
    network, x, y = built(kind="dropout")
    read = network.forward(x)[1]
    torch.testing.assert_close(read, network.forward(x)[1])
    learned = network.descend(x, y, 0.5, Descent(torch.zeros(E, 1, 1).double()))
    assert not torch.allclose(learned, read - y)


def test_dropout_masks_keep_the_mean_and_belong_to_a_run() -> None:
    runs = [training.Run(setting(kind="dropout", dropout=0.3), seed) for seed in range(3)]
    batch = training.dropout_masks(runs, 0, 2, 1, CPU)
    alone = training.dropout_masks(runs[2:], 0, 2, 1, CPU)
    masks = [(next(batch), next(alone)) for _ in range(60)]
    for both, one in masks:
        for a, b in zip(both, one, strict=True):
            torch.testing.assert_close(a[2:], b, rtol=0, atol=0)
    values = torch.cat([mask[1].flatten() for mask, _ in masks])
    assert values.mean() == pytest.approx(1, abs=0.03)
    assert sorted(values.unique().tolist()) == pytest.approx([0.0, 1 / 0.7])


def test_the_gain_multiplies_the_deviation_of_glorots_weights() -> None:
    # With one input the first layer has variance g² 2/(P + 1), so |W|² = 2 at g = 1.
    one, two = (
        data.initial_weights(setting(width=500, gain=gain, depth=2, layer=1), 1, 1, 0, 0)
        for gain in (1.0, 2.0)
    )
    assert (one[0] ** 2).sum() == pytest.approx(2.0, abs=0.4)
    assert one[1].std() == pytest.approx(np.sqrt(1 / 500), rel=0.01)
    for a, b in zip(one, two, strict=True):
        np.testing.assert_allclose(b, 2 * a)


@pytest.mark.parametrize("kind", ["mlp", "resnet", "dropout", "cnn"])
def test_a_run_is_the_same_alone_and_in_a_batch(kind: str) -> None:
    # Up to rounding in float32: a product's bits may depend on the batch.
    shape: dict[str, Any] = {"kind": kind}
    if kind == "cnn":
        shape |= {"depth": 2, "layer": 1, "lr": 0.01}
    own = setting(**shape)
    other = setting(name="other", **(shape | {"gain": 1.1}))
    many = train.settings(two_points(other, own, seeds=3), 0, CPU)
    one = train.settings(two_points(own, seeds=1), 0, CPU)
    for name in data.PAIR:
        alone = one[name].values[0, 0]
        np.testing.assert_allclose(
            many[name].values[1, 0], alone, rtol=1e-3, atol=1e-3 * np.abs(alone).max()
        )
    assert not np.allclose(many["h2"].values[1, 1], one["h2"].values[0, 0], rtol=0.01)


def test_master_seeds_differ_and_a_seed_gives_the_same_bytes() -> None:
    params = two_points()
    first, again = (train.settings(params, 0, CPU) for _ in range(2))
    assert first.identical(again)
    other = train.settings(params, 1, CPU)
    assert not np.allclose(first["h2"], other["h2"], rtol=1e-3)


def test_a_run_that_is_done_stops_and_the_others_go_on() -> None:
    task = data.two_points(1, 0.7)
    (runs,) = training.batched([setting()], 3)

    def trained(stop_loss: float) -> tuple[training.Training, Array]:
        made = training.full_batch(
            runs,
            0,
            task.x[None],
            task.y[None],
            observables.pair_observer([2]),
            CPU,
            stop_loss=stop_loss,
        )
        made.advance_to(2000)
        return made, made.record()["loss"]

    _, free = trained(0.0)
    made, loss = trained(0.01)
    assert (free < 1e-4).all()
    assert (loss < 0.01).all()
    assert (loss > 1e-3).all()
    assert made.step == 2000
    assert not made.optimiser.lr.any()


def test_a_run_that_diverges_is_named() -> None:
    wild = setting(name="wild", lr=30.0, gain=2.0)
    with pytest.raises(RetrogradError, match=r"setting 'wild', seed 0, .* step \d+"):
        train.settings(two_points(wild), 0, CPU)


def test_a_learning_rate_follows_the_tangent_kernel_of_its_setting() -> None:
    # A linear network of one layer: K = x xᵀ |V|² + h hᵀ + biases; checked by its effect:
    # the rate is inverse to the largest eigenvalue, which grows with the gain.
    runs = next(
        training.batched(
            [
                setting(name="a", lr=None, lr_kernel=0.3),
                setting(name="b", lr=None, lr_kernel=0.6),
                setting(name="c", lr=1e-5, lr_kernel=0.3),
                setting(name="d", gain=1.8, lr=None, lr_kernel=0.3),
            ],
            2,
        )
    )
    x = torch.tensor([[-1.0], [0.0]]).expand(len(runs), -1, -1)
    network = training.build(runs, 0, 2, 1, 1, CPU)
    rates = training.learning_rates(network, x, runs).flatten().numpy()
    a, b, c, d = rates.reshape(4, 2)
    np.testing.assert_allclose(a[0], a[1])
    np.testing.assert_allclose(b, 2 * a, rtol=1e-5)
    np.testing.assert_allclose(c, 1e-5, rtol=1e-5)
    assert (d < a / 10).all()


def test_one_output_ties_w_to_y_and_the_loss_to_both() -> None:
    task = data.two_points(1.0, np.sqrt(0.5))
    (runs,) = training.batched([setting()], 3)
    made = training.full_batch(
        runs, 0, task.x[None], task.y[None], observables.pair_observer([1, 2]), CPU
    )
    for step in (0, 50, 200, 800):
        made.advance_to(step)
        found = made.record()
        y, w, loss = (found[name] for name in ("y2", "w", "loss"))
        np.testing.assert_allclose((y - w) ** 2, 0.5 * y, rtol=1e-6)
        x = torch.tensor(task.x[None], dtype=torch.float32).expand(3, -1, -1)
        mean = made.network.forward(x)[1].double().numpy().mean((1, 2)) - task.y.mean()
        start = effective.mean_error(loss, y, w, 0.5)
        np.testing.assert_allclose(start, mean**2, atol=1e-7)
    assert found["h2"].shape == (3, 2)
    assert (abs(w) < 1e-3).all()


# ---- tasks -----------------------------------------------------------------------------


@given(
    dx=st.floats(0.1, 2),
    dy=st.floats(0, 2),
    d_in=st.integers(1, 5),
    d_out=st.integers(1, 5),
)
@settings(max_examples=20, deadline=None)
def test_two_points_have_their_distances(
    dx: float, dy: float, d_in: int, d_out: int
) -> None:
    task = data.two_points(dx, dy, d_in, d_out)
    assert np.linalg.norm(task.x[1] - task.x[0]) == pytest.approx(dx)
    assert np.linalg.norm(task.y[1] - task.y[0]) == pytest.approx(dy)
    assert np.linalg.norm(task.x[0]) == pytest.approx(1)


def context(**changes: Any) -> Context:
    usual: dict[str, Any] = {"places": 4, "seeds": 2}
    usual["regimes"] = [setting().model_dump()]
    return Context(**(usual | changes))


def test_the_context_task_is_the_place_along_the_axis_of_its_context() -> None:
    task, index = data.context_task(context(places=30))
    assert task.x.shape == (1800, 27)
    np.testing.assert_allclose(task.x[:, :25].sum(1), 1)
    np.testing.assert_array_equal(task.x[:, 25:].sum(1), 1)
    places = np.linspace(-1, 1, 30)
    relevant = np.where(index[:, 0] == 0, index[:, 1], index[:, 2])
    np.testing.assert_allclose(task.y[:, 0], places[relevant])
    # The blob is brightest at its place: at a corner for the first sample.
    assert task.x[0, :25].argmax() == 0


def digits(**changes: Any) -> Digits:
    regime = {**setting().model_dump(), "lr": 0.5, "steps": 30, "gain": 0.7}
    usual: dict[str, Any] = {
        "data": "digits",
        "part": "all",
        "regimes": [regime],
        "pair": regime,
        "per_class": 3,
        "records": 11,
        "seeds": 2,
    }
    return Digits(**(usual | changes))


def test_images_are_standardised_and_the_first_of_every_class_are_shown() -> None:
    images = data.images(digits())
    assert images.task.x.shape == (1797, 64)
    assert images.task.x.mean() == pytest.approx(0, abs=1e-12)
    assert images.task.x.std() == pytest.approx(1)
    labels = images.task.y.argmax(1)
    np.testing.assert_array_equal(labels[images.shown], np.repeat(np.arange(10), 3))
    assert (labels[: images.shown[3]] == 1).sum() == 0
    np.testing.assert_array_equal(images.pair_task.y, np.eye(10)[:2])


def test_an_epoch_of_mini_batches_has_every_sample_once() -> None:
    stream = data.batches(0, 1, 8, 20)
    drawn = np.concatenate([next(stream) for _ in range(5)])
    for epoch in (drawn[:20], drawn[20:]):
        np.testing.assert_array_equal(np.sort(epoch), np.arange(20))
    assert (drawn[:20] != drawn[20:]).any()


# ---- reductions ------------------------------------------------------------------------


def test_squared_distances_and_class_means_are_those_of_all_pairs() -> None:
    rng = np.random.default_rng(0)
    h, classes = rng.standard_normal((2, 20, 5)), np.repeat(np.arange(10), 2)
    found = observables.squared_distances(h)
    expected = ((h[:, :, None] - h[:, None]) ** 2).sum(-1)
    np.testing.assert_allclose(found, expected, atol=1e-12)
    means = observables.class_means(found, classes)
    np.testing.assert_allclose(means[1, 3, 3], expected[1, 6, 7])
    np.testing.assert_allclose(means[0, 2, 5], expected[0, 4:6, 10:12].mean())


def test_coordinates_that_keep_all_axes_keep_all_distances() -> None:
    h = np.random.default_rng(1).standard_normal((2, 30, 4))
    found = observables.principal_coordinates(h, 4)
    np.testing.assert_allclose(
        observables.squared_distances(found), observables.squared_distances(h), atol=1e-9
    )
    spread = found.var(1)
    assert (np.diff(spread) <= 0).all()


def test_a_feature_that_is_not_represented_has_no_variance() -> None:
    _, index = data.context_task(context())
    both = index[:, 1:].astype(float)
    relevant = np.where(index[:, :1] == 0, both, both[:, ::-1])
    unit = np.var(np.arange(4))
    for weights, expected in (((1, 0), (unit, 0)), ((1, 0.5), (unit, 0.25 * unit))):
        found = observables.feature_variances((relevant * weights)[None], index)
        np.testing.assert_allclose(np.array(found)[:, 0], expected, atol=1e-12)


def test_what_was_joined_can_be_taken_apart() -> None:
    parts = {
        "architecture": train.settings(two_points(setting(name="x"), curves=True), 0, CPU),
        "gain": train.settings(two_points(setting(), setting(name="y", gain=1.2)), 0, CPU),
    }
    whole = data.joined(parts)
    for axis, part in parts.items():
        found = data.part(whole, axis)
        for name in part.data_vars:
            np.testing.assert_array_equal(found[name].values, part[name].values)
    np.testing.assert_allclose(data.part(whole, "gain")["setting"], [0.9, 1.2])
    assert data.part(whole, "architecture")["setting"].values.tolist() == ["x"]


@given(st.floats(-1e3, 1e3, allow_subnormal=False))
def test_coarse_numbers_are_off_by_little(value: float) -> None:
    found = float(data.coarse(np.array([value]))[0])
    assert found == pytest.approx(value, rel=2.0**-data.MANTISSA, abs=1e-37)


# ---- products, as far as they are not runs of their own --------------------------------


def test_a_trained_pair_of_images_is_recorded_and_fitted() -> None:
    params = digits()
    runs = train.digits(params, {}, CPU)
    found = theory.digits(params, {"digits": runs})
    for name in data.PAIR:
        assert found[name].dims == runs[name].dims
        np.testing.assert_array_equal(found[name][:, 0], runs[name][:, 0])
    assert (runs["loss"][:, -1] < runs["loss"][:, 0]).all()
    images = data.images(params)
    x = images.shown_task.x
    expected = np.sqrt(2) * np.mean(
        [np.linalg.norm(x[k] - x[j]) for k in (0, 1, 2) for j in (6, 7, 8)]
    )
    assert found["class_distance2"][0, 2] == pytest.approx(expected)
    assert found["class_distance2"][4, 4] == 0


# ---- parameters ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"layer": 4}, "none of the 4 hidden layers"),
        ({"kind": "cnn", "width": 20, "depth": 5}, "too few for 6 convolutions"),
        ({"lr": None}, "lr, lr_kernel or both"),
        ({"gain": 0}, "greater than 0"),
        ({"activation": "erf"}, "leaky_relu"),
    ],
)
def test_a_bad_network_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        setting(**changes)


def test_settings_need_names_of_their_own_and_enough_steps() -> None:
    with pytest.raises(ValidationError, match="two have one name"):
        two_points(setting(), setting())
    with pytest.raises(ValidationError, match="fewer steps"):
        two_points(setting(steps=5))
    parts = {axis: two_points() for axis in ("architecture", "width")}
    same = two_points(setting(), setting(name="b", width=10))
    with pytest.raises(ValidationError, match="gain: two settings have the same"):
        TwoPointRuns(gain=same, **parts)


def test_published_settings_take_their_steps() -> None:
    published = load_paper(SLUG, seed=0).scales["published"]
    runs = published.two_points
    chosen = [*runs.architecture.settings, *runs.gain.settings[-1:]]
    task = data.two_points(1, 0.7)
    for one in chosen:
        made = training.full_batch(
            [training.Run(one, 0)],
            0,
            task.x[None],
            task.y[None],
            observables.pair_observer([one.layer]),
            CPU,
        )
        made.advance_to(2)
        assert all(np.isfinite(values).all() for values in made.record().values())
    assert len(chosen) == 12
