"""Hummos et al. 2024: the switching stream, networks that predict it, and descent on Z."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import Tensor

from hummos_setup import CPU, assert_gradient, toy
from retrograd.curricula import Curriculum
from retrograd.errors import RetrogradError
from retrograd.papers.hummos2024_gradient_based_inference import (
    following,
    lstm,
    predictors,
    train_toy,
)
from retrograd.papers.hummos2024_gradient_based_inference import toy as task
from retrograd.papers.hummos2024_gradient_based_inference.lstm import Weights

# ---- the stream --------------------------------------------------------------------------


def test_blocks_alternate_end_with_task_0_and_are_48_steps_long_on_average() -> None:
    params = toy(blocks=20_000)
    curriculum = task.training_stream(params, 0).curriculum
    assert curriculum.tasks[-1] == 0
    assert set(np.diff(curriculum.tasks)) == {-1, 1}
    assert curriculum.lengths.min() == 21
    assert curriculum.lengths.max() == 100
    assert curriculum.lengths.mean() == pytest.approx(48.01, abs=0.5)


def test_observations_scatter_around_the_mean_of_their_task() -> None:
    params = toy(blocks=500)
    stream = task.training_stream(params, 1)
    for k, mu in enumerate(params.mu):
        x = stream.x[stream.task == k]
        assert x.mean() == pytest.approx(mu, abs=0.005)
        assert x.std() == pytest.approx(params.sigma, abs=0.005)


def test_a_run_has_the_same_streams_alone_and_among_others() -> None:
    for draw in (task.training_stream, task.new_stream, task.switching_test):
        one, many = draw(toy(seeds=1), 0), draw(toy(seeds=9), 0)
        np.testing.assert_array_equal(one.x, many.x)
        assert not np.array_equal(one.x[:50], draw(toy(), 1).x[:50])


def test_the_task_input_belongs_to_the_target() -> None:
    params = toy(seeds=1)
    stream = task.training_stream(params, 0)
    inputs, x = predictors._padded_inputs(params, [stream])
    given, without, random = inputs[:, :, 1:]
    np.testing.assert_array_equal(given.argmax(-1), stream.task[1:])
    assert not without.any()
    # A label per block that has nothing to do with its task.
    starts = stream.curriculum.starts[1:] - 1
    changes = np.flatnonzero(np.diff(random.argmax(-1))) + 1
    assert set(changes) <= set(starts)
    np.testing.assert_allclose(x[0], stream.x, rtol=1e-6)


# ---- gradients ---------------------------------------------------------------------------


def weights(members: int = 2, **changes: Any) -> Weights:
    params = toy(**changes)
    draws = [predictors.initial_weights(params, run) for run in range(members)]
    return {n: torch.from_numpy(np.stack([d[n] for d in draws])) for n in draws[0]}


def test_the_batched_lstm_is_torchs_own() -> None:
    rng, H, times, rows = np.random.default_rng(0), 5, 7, 3
    own = torch.nn.LSTM(4, H, bias=True).double()
    order = (3, 0, 1, 2)  # torch's gates are i, f, g, o; ours o, i, f, g
    W_x, W_h, b = (
        torch.cat([own.get_parameter(name).detach().chunk(4)[i] for i in order])
        for name in ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0")
    )
    own.bias_hh_l0.data.zero_()
    x = torch.from_numpy(rng.standard_normal((times, rows, 4)))
    trace = lstm.forward((x @ W_x.T + b)[:, None], W_h.T[None])
    torch.testing.assert_close(trace.hidden[:, 0], own(x)[0].detach())


def test_gradients_of_the_weights_are_those_of_differences() -> None:
    own = weights()
    inputs = torch.from_numpy(np.random.default_rng(1).standard_normal((2, 6, 3, 3)))
    target = torch.from_numpy(np.random.default_rng(2).standard_normal((2, 6, 3)))
    run = predictors.forward(own, inputs)
    found = predictors.weight_gradients(own, run, 2 * (run.prediction - target))
    assert_gradient(
        found,
        own,
        lambda w: ((predictors.forward(w, inputs).prediction - target) ** 2).sum(),
    )


def test_the_gradient_of_a_shared_z_is_that_of_differences() -> None:
    own, rng = weights(), np.random.default_rng(3)
    x, Z = (torch.from_numpy(rng.standard_normal(s)) for s in ((2, 7, 3), (2, 3, 2)))

    def loss(w: Weights) -> Tensor:
        return (following._window_loss(own, x, w["Z"])[1] / 2).square().sum()

    run, d_prediction = following._window_loss(own, x, Z)
    found = {"Z": predictors.z_gradient(own, run, d_prediction)}
    assert_gradient(found, {"Z": Z}, loss)


def test_one_step_scores_are_linear_in_the_observation_and_cross_at_the_prediction() -> (
    None
):
    params = toy(seeds=1)
    own = lstm.stacked([predictors.initial_weights(params, 0)] * 3, CPU)
    history = task.probe_histories(params, 0)[0]
    probes = np.array([-1.0, 0.0, 1.0, 2.0])
    x = np.column_stack([np.tile(history, (4, 1)), probes])[None]
    s = following.one_step(own, x)[0, 0]
    np.testing.assert_allclose(np.diff(s, 2, axis=0), 0, atol=1e-5)
    inputs = np.column_stack([history, np.full((params.window, 2), 0.5)])
    seen = torch.from_numpy(inputs.astype(np.float32)).expand(3, -1, -1)[:, :, None]
    prediction = float(predictors.forward(own, seen).prediction[0, -1, 0])
    crossing = -np.polyfit(probes, s[:, 0], 1)[1] / np.polyfit(probes, s[:, 0], 1)[0]
    assert crossing == pytest.approx(prediction, abs=1e-4)


# ---- training ----------------------------------------------------------------------------


def test_members_are_independent_of_each_other() -> None:
    params = toy(seeds=3, H=16)
    streams = [task.training_stream(params, run) for run in range(3)]
    together = predictors.train(params, streams, CPU)
    alone = predictors.train(toy(seeds=1, H=16), streams[:1], CPU)
    steps = len(streams[0].x) - params.window
    difference = together.prediction[:, :1, :steps] - alone.prediction[:, :, :steps]
    assert abs(difference).max() < 1e-4
    for name, w in alone.weights.items():  # and each stops at its own end
        torch.testing.assert_close(together.weights[name][::3], w, rtol=0, atol=1e-4)


def test_kinds_start_equal_and_untrained_inputs_stay_as_they_were() -> None:
    params = toy(seeds=1)
    stream = task.training_stream(params, 0)
    history = predictors.train(params, [stream], CPU)
    first = predictors.initial_weights(params, 0)["W_in"][1:].astype(np.float32)
    gbi, without, _ = (w.numpy() for w in history.weights["W_in"][:, 1:])
    np.testing.assert_array_equal(without, first)
    assert abs(gbi - first).max() > 1e-3


def test_a_run_that_diverges_is_named() -> None:
    with pytest.raises(RetrogradError, match=r"gbi, seed 0, .* by step 5; lower"):
        lstm.check_finite(torch.tensor([np.nan, 1.0]), ["gbi, seed 0", "lstm, seed 0"], 5)


def test_the_product_has_the_same_bytes_each_time() -> None:
    one, two = (train_toy.experiment(toy(), CPU) for _ in range(2))
    assert one.identical(two)


# ---- descent on Z ------------------------------------------------------------------------


def descended(eta: float, steps: int, penalty: float = 0.0) -> list[float]:
    """Distances |x̂(Z) − x| of a linear decoder x̂ = 0.2 Z_0 + 0.8 Z_1 from x = 1."""
    params = toy(eta=eta, penalty=penalty)
    m = torch.tensor([[0.2, 0.8]], dtype=torch.float64)
    Z = torch.full((1, 2), 0.5, dtype=torch.float64)
    found = []
    for _ in range(steps):
        error = (Z * m).sum(-1, keepdim=True) - 1
        Z, _ = following.updated(params, Z, torch.zeros_like(Z), 2 * error * m)
        found.append(abs(float((Z * m).sum() - 1)))
    return found


def test_step_sizes_below_two_over_the_curvature_converge_and_others_do_not() -> None:
    assert descended(eta=1, steps=60)[-1] < 1e-6
    rate = np.diff(np.log(descended(eta=1, steps=10)))
    np.testing.assert_allclose(rate, np.log(0.36), rtol=1e-6)  # |1 − 1.36|
    assert descended(eta=2, steps=60)[-1] > 1e6


def test_the_penalty_draws_predictions_back_monotonically() -> None:
    residuals = [descended(1, 200, penalty)[-1] for penalty in (0, 0.05, 0.2, 0.5)]
    assert all(np.diff(residuals) > 0.01)


@given(st.lists(st.floats(-50, 50), min_size=2, max_size=2))
def test_softmax_z_stays_on_the_simplex_whatever_the_gradient(
    gradient: list[float],
) -> None:
    params, zeta = toy(), torch.zeros(1, 2)
    for _ in range(5):
        Z = zeta.softmax(-1)
        _, zeta = following.updated(params, Z, zeta, torch.tensor([gradient]))
        assert torch.allclose(zeta.sum(), torch.zeros(()), atol=1e-3)
    Z = zeta.softmax(-1)
    assert 0 <= float(Z.min()) <= float(Z.max()) <= 1
    assert float(Z.sum()) == pytest.approx(1)


def test_followed_streams_keep_z_where_the_rule_says() -> None:
    params = toy()
    draws = [predictors.initial_weights(params, run) for run in range(params.seeds)]
    own = lstm.stacked(draws * 3, CPU)
    x = np.stack([task.test_streams(params, run) for run in range(params.seeds)])
    found = following.follow(params, own, x)
    assert found.prediction.shape == (5, 2, 3, params.test_steps - params.window)
    by_name = dict(zip(following.INFERENCES, found.Z, strict=True))
    assert not by_name["lstm"].any()
    assert abs(by_name["gbi, softmax Z"]).max() <= 1
    for name in ("gbi", "gbi, softmax Z", "lstm, Z optimised"):
        np.testing.assert_array_equal(by_name[name][:, :, 0], 0.5)
    # Plain descent: the next Z is this one plus eta times minus the gradient.
    steps = np.diff(by_name["gbi"], axis=2)
    np.testing.assert_allclose(steps, found.gradient[0][:, :, :-1], atol=1e-6)


# ---- statistics --------------------------------------------------------------------------

BLOCKS = Curriculum(np.array([0, 1, 0, 1]), np.array([5, 4, 4, 4]))


def test_block_means_leave_out_the_first_steps_of_a_block() -> None:
    steps = np.arange(2, 17)  # recorded from step 2 on
    found = task.block_means(steps[None].astype(float), BLOCKS, steps, skip=3)
    np.testing.assert_allclose(found, [[3.5, 8, 12, 16]])


@pytest.mark.parametrize(
    ("hidden", "both", "either"),
    [
        (lambda t, on: 0 * t + 0.3, 0, 0),  # constant: nothing is engaged
        (lambda t, on: 0.1 * (t % 2), 1, 1),
        (lambda t, on: 0.1 * (t % 2) * (on == 0), 0, 1),
        (lambda t, on: 0.01 * (t % 2), 0, 0),  # below the threshold
        (lambda t, on: 0.5 * on, 0, 0),  # differs between the tasks, constant within
    ],
)
def test_a_unit_is_engaged_in_a_task_if_it_varies_within_its_blocks(
    hidden: Callable[[Any, Any], Any], both: int, either: int
) -> None:
    t = np.arange(17)
    activity = hidden(t, BLOCKS.task_of_every_step())[:, None].astype(np.float32)
    found = task.engaged_units(activity, BLOCKS, t, bin_blocks=4, threshold=3e-4)
    assert [int(a[0]) for a in found] == [both, either]
    ratio = task.shared_ratio(*map(np.asarray, found))
    assert ratio[0] == (both / either if either else 0)


def test_lags_count_from_the_first_step_of_a_block() -> None:
    equal = Curriculum(np.array([0, 1, 0]), np.array([4, 4, 4]))
    since = np.tile(np.arange(4.0), 3)
    np.testing.assert_allclose(task.after_switch(since[2:], equal, first=2), np.arange(4))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dropped": 30}, "dropped must be at most block_min"),
        ({"window": 25}, "window must be at most block_min"),
        ({"test_from": 45}, "test_from must lie between"),
        ({"test_means": [0.2, 0.5]}, "test_means must contain both of mu"),
        ({"blocks": 4}, "at least bin_blocks"),
        ({"sigma": 0}, "greater than 0"),
    ],
)
def test_bad_parameters_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        toy(**change)
