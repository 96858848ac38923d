"""Carrasco-Davis et al. 2023: the tasks, what is drawn, and the parameters."""

import sys
from types import SimpleNamespace
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from pydantic import ValidationError
from scipy import ndimage

import retrograd
from carrasco_setup import (
    EASY_TO_HARD,
    A,
    B,
    engagement,
    gain_single,
    gain_switch,
    learning_rate,
    maml,
    single_neuron,
)
from retrograd.papers.carrasco_davis2023_learning_effort import data
from retrograd.papers.carrasco_davis2023_learning_effort.params import Grid


def test_two_gauss_has_a_standard_deviation_and_not_a_variance() -> None:
    # "Pitfalls": Sx = 5 for the defaults; sigma = 2 gives 8, not 6.
    assert data.two_gauss(2, 1).Sx.item() == 5
    assert data.two_gauss(2, 2).Sx.item() == 8
    assert data.two_gauss(2, 1).Syx.item() == 2


def test_moments_of_gaussian_tasks_are_those_of_their_samples() -> None:
    x, y = data.TwoGaussSamples(0, 1, 2.0, 1.5, 500_000).next(1)
    found = data.empirical(x.reshape(-1, 1), y.reshape(-1, 1))
    _assert_moments(found, data.two_gauss(2.0, 1.5), 0.03)
    for task in (A, B):
        x, y = data.AffineGaussSamples(0, (1,), task, 500_000).next()
        _assert_moments(data.empirical(x[0], y[0]), data.affine_gauss(task), 0.05)


def _assert_moments(found: data.Task, expected: data.Task, atol: float) -> None:
    for name in ("Sx", "Syx", "Syy", "mx", "my"):
        np.testing.assert_allclose(
            getattr(found, name), getattr(expected, name), atol=atol, err_msg=name
        )


def test_the_two_tasks_that_alternate_can_be_learned_so_far() -> None:
    # "Data": optimal losses .25060 and .18503.
    losses = [data.affine_gauss(task).optimal_losses.sum() for task in (A, B)]
    np.testing.assert_allclose(losses, [0.25060, 0.18503], atol=5e-6)


def test_the_semantic_data_have_the_singular_values_of_the_specification() -> None:
    task = data.semantic(4)
    assert task.Syx.shape == (15, 8)
    assert task.Syy.sum() == pytest.approx(4)
    np.testing.assert_allclose(task.Sx, np.eye(8) / 8)
    values = np.linalg.svd(task.Syx, compute_uv=False)
    expected = [0.4841, 0.3307, 0.2165, 0.2165, *[0.125] * 4]
    np.testing.assert_allclose(values, expected, atol=5e-5)
    assert task.optimal_losses.sum() == pytest.approx(0, abs=1e-14)
    # Rows from the root down: 1, 2, 4, 8 nodes that cover all items once each.
    covered = (task.Syx * 8).sum(1)
    np.testing.assert_array_equal(covered, [8, 4, 4, 2, 2, 2, 2, *[1] * 8])


def test_digits_have_the_numbers_of_the_specification() -> None:
    x, labels = data.images("digits")
    assert x.shape == (1797, 26)
    assert x[:, :-1].mean() == pytest.approx(0.305260, abs=5e-7)
    assert (x[:, -1] == 1).all()
    assert set(labels) == set(range(10))
    pairs = [*EASY_TO_HARD, (3, 8), (5, 3)]
    tasks = [data.classes("digits", pair) for pair in pairs]
    losses = [task.optimal_losses.sum() for task in tasks]
    np.testing.assert_allclose(
        losses, [0.00890, 0.01319, 0.02970, 0.03484, 0.02180], atol=5e-6
    )
    second = []
    for task in tasks:
        # The constant mode is the sum of the outputs; the other, their difference.
        values = np.linalg.svd(task.Syx, compute_uv=False)
        second.append(values[1])
    expected = [0.4408, 0.3093, 0.2582, 0.2532, 0.3002]
    np.testing.assert_allclose(second, expected, atol=5e-5)


def test_tasks_side_by_side_are_those_of_the_specification() -> None:
    tasks = [data.classes("digits", pair) for pair in EASY_TO_HARD]
    whole = data.compose(tasks)
    assert whole.Syx.shape == (6, 78)
    assert np.linalg.eigvalsh(whole.Sx)[-1] == pytest.approx(14.66, abs=0.005)
    assert sum(t.optimal_losses.sum() for t in tasks) == pytest.approx(0.0518, abs=5e-5)
    np.testing.assert_array_equal(whole.Sx, whole.Sx.T)
    assert np.linalg.eigvalsh(whole.Sx)[0] > -1e-12


def test_mnist_is_resized_and_gets_its_constant(monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.random.default_rng(0).random((7, 784)).astype(np.float32)
    whole = SimpleNamespace(train_x=x, train_y=np.arange(7))
    fake = SimpleNamespace(mnist=lambda: whole)
    monkeypatch.setitem(sys.modules, "retrograd.datasets", fake)
    monkeypatch.setattr(retrograd, "datasets", fake, raising=False)
    small, labels = data.images.__wrapped__("mnist")
    assert small.shape == (7, 26)
    assert labels.tolist() == list(range(7))
    A = data.smoothed_resize(28)
    expected = A @ x[3].reshape(28, 28).astype(float) @ A.T
    np.testing.assert_allclose(small[3], np.append(expected, 1), rtol=1e-12)


def test_composed_moments_are_those_of_independent_samples() -> None:
    tasks = [data.affine_gauss(task) for task in (A, B)]
    (x1, y1), (x2, y2) = (
        data.AffineGaussSamples(seed, (1,), task, 500_000).next()
        for seed, task in enumerate((A, B))
    )
    found = data.empirical(np.hstack([x1[0], x2[0]]), np.hstack([y1[0], y2[0]]))
    _assert_moments(found, data.compose(tasks), 0.06)


@pytest.mark.parametrize("pixels", [8, 28])
@pytest.mark.parametrize("resize", [data.area_average, data.smoothed_resize])
def test_resizing_keeps_what_is_constant_and_mirrors_what_is_mirrored(
    resize: Any, pixels: int
) -> None:
    matrix = resize(pixels)
    assert matrix.shape == (5, pixels)
    np.testing.assert_allclose(matrix.sum(1), 1, rtol=1e-12)
    np.testing.assert_allclose(matrix, matrix[::-1, ::-1], atol=1e-12)


def test_the_mean_over_areas_keeps_the_mean_of_an_image() -> None:
    image = np.random.default_rng(0).random((8, 8))
    A = data.area_average(8)
    assert (A @ image @ A.T).mean() == pytest.approx(image.mean())
    # An overlap by hand: the first of five parts is the first 1.6 of eight pixels.
    np.testing.assert_allclose(A[0, :3] * 1.6, [1, 0.6, 0])


def test_the_smoothed_resize_is_a_gaussian_and_a_zoom_of_the_image() -> None:
    image = np.random.default_rng(0).random((28, 28))
    smooth = ndimage.gaussian_filter(image, (28 / 5 - 1) / 2, mode="mirror")
    zoomed = ndimage.zoom(smooth, 5 / 28, order=1, mode="mirror", grid_mode=True)
    A = data.smoothed_resize(28)
    np.testing.assert_allclose(A @ image @ A.T, zoomed, atol=1e-12)


@pytest.mark.parametrize("make", [data.record_steps, data.early_steps, data.log_steps])
@given(steps=st.integers(3, 2000), records=st.integers(3, 100))
def test_records_run_from_the_first_step_to_the_last(
    make: Any, steps: int, records: int
) -> None:
    at = make(steps, records)
    assert (at[0], at[-1]) == (0, steps - 1)
    assert (np.diff(at) > 0).all()
    assert len(at) <= records


@given(block=st.integers(6, 300), blocks=st.integers(2, 8), records=st.integers(8, 200))
def test_records_of_switches_include_every_switch(
    block: int, blocks: int, records: int
) -> None:
    steps = block * blocks
    at = data.switch_steps(steps, block, records)
    assert set(range(0, steps, block)) <= set(at)
    assert (np.diff(at) > 0).all()
    assert at[-1] < steps
    assert len(at) <= max(records, 3 * blocks)


def test_a_run_draws_the_same_alone_and_in_a_batch() -> None:
    task = data.affine_gauss(A)
    for alone, batch in zip(
        data.initial_weights(3, 1, 4, task, 0.1),
        data.initial_weights(3, 5, 4, task, 0.1),
        strict=True,
    ):
        np.testing.assert_array_equal(alone, batch[:1])
        assert len(np.unique(batch)) == batch.size
    for one, many in (
        (data.TwoGaussSamples(3, 1, 2, 1, 4), data.TwoGaussSamples(3, 5, 2, 1, 4)),
        (data.AffineGaussSamples(3, (1,), A, 4), data.AffineGaussSamples(3, (5,), A, 4)),
    ):
        is_neuron = isinstance(one, data.TwoGaussSamples)
        (x, y), (xs, ys) = (s.next(2) if is_neuron else s.next() for s in (one, many))
        if is_neuron:
            xs, ys = xs.swapaxes(0, 1), ys.swapaxes(0, 1)
            x, y = x.swapaxes(0, 1), y.swapaxes(0, 1)
        np.testing.assert_array_equal(x, xs[:1])
        np.testing.assert_array_equal(y, ys[:1])


def test_initial_weights_have_their_standard_deviation() -> None:
    task = data.semantic(4)
    W1, W2 = data.initial_weights(0, 100, 20, task, 1e-4)
    for W in (W1, W2):
        assert W.std() == pytest.approx(1e-4, rel=0.02)
        assert abs(W.mean()) < 3e-6


def test_a_grid_is_equally_spaced_or_in_powers_of_ten() -> None:
    assert Grid(start=0, stop=5, count=3).values() == [0, 2.5, 5]
    assert Grid(start=-2, stop=0, count=3, log=True).values() == pytest.approx(
        [0.01, 0.1, 1]
    )


@pytest.mark.parametrize(
    ("make", "changes", "message"),
    [
        (single_neuron, {"gamma": 1.5}, "less than or equal to 1"),
        (
            single_neuron,
            {"grids": {"beta": {"start": -1, "stop": 1, "count": 3}}},
            "greater than 0",
        ),
        (
            single_neuron,
            {"grids": {"mu": {"start": 1, "stop": 2, "count": 3}}},
            "Input should be 'gamma', 'sigma'",
        ),
        (maml, {"horizons": [5, 2]}, "horizons must increase"),
        (maml, {"pairs": [(0, 10)]}, "less than or equal to 9"),
        (learning_rate, {"duration": 0.2}, "shorter than two steps"),
        (engagement, {"pairs": [(0, 1)]}, "at least 2 items"),
        (engagement, {"variants": ["passive"]}, "attentive"),
        (gain_single, {"gaussian": None}, "if, and only if"),
        (gain_single, {"data": "semantic", "gaussian": None}, "only Gaussian tasks can"),
        (gain_switch, {"segment": 1.3}, "must exceed 1.5 segments"),
        (gain_switch, {"segment": 0.1}, "shorter than 4 steps"),
    ],
)
def test_parameters_that_make_no_sense_are_refused(
    make: Any, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValidationError, match=message):
        make(**changes)
