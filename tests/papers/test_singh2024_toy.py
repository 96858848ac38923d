"""Singh et al. 2024: the toy, its gradient descent and its exact flow."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from retrograd.papers.singh2024_induction_heads import data, theory, train
from retrograd.papers.singh2024_induction_heads.params import Toy
from singh2024_setup import CPU

Array = NDArray[np.float64]
few = settings(max_examples=15, deadline=None)


def toy(**changes: Any) -> Toy:
    usual = {"n": 6, "lr": 0.5, "iterations": 60, "records": 20, "seeds": 3}
    return Toy(**(usual | changes))


def tensor(v: Array) -> Array:
    product: Array = np.einsum("i,j,k->ijk", *v)
    return product


@few
@given(st.integers(0, 1000), st.integers(2, 6))
def test_t11_the_loss_is_that_of_the_tensors(seed: int, n: int) -> None:
    true, x = np.random.default_rng(seed).standard_normal((2, 3, n))
    explicit = ((tensor(true) - tensor(x)) ** 2).mean() / 2
    assert train.toy_loss(true, x) == pytest.approx(explicit, abs=1e-12)
    norms = theory.lengths(true)
    assert theory.loss(norms, theory.start(true, x), n) == pytest.approx(
        explicit, abs=1e-12
    )


@few
@given(st.integers(0, 1000))
def test_the_gradient_is_that_of_the_loss(seed: int) -> None:
    true, x, along = np.random.default_rng(seed).standard_normal((3, 3, 5))
    h = 1e-5
    ends = [train.toy_loss(true, x + sign * h * along) for sign in (1, -1)]
    slope = (ends[0] - ends[1]) / (2 * h)
    found = (train.toy_gradient(true, x) * along).sum()
    assert found == pytest.approx(slope, rel=1e-6, abs=1e-8)


def test_t9_one_vector_alone_is_learned_geometrically() -> None:
    params = toy(n=20, lr=1, iterations=200)
    true, initial = data.toy_vectors(params)
    B, C = (theory.lengths(true[:, i]) for i in (1, 2))
    t, n3 = data.toy_iterations(params), params.n**3
    rate = ((B * C) ** 2 / n3)[:, None]
    distance = ((initial[:, 0] - true[:, 0]) ** 2).sum(-1)[:, None]
    expected = rate / 2 * (1 - params.lr * rate) ** (2 * t) * distance
    found = train.toy(params, {}, CPU)["loss"].sel(condition="bc")
    np.testing.assert_allclose(found, expected.astype(np.float32), rtol=1e-6, atol=1e-10)
    x = np.concatenate([initial[:, :1], true[:, 1:]], 1)
    for _ in range(50):
        x[:, 0] -= params.lr * train.toy_gradient(true, x)[:, 0]
    exact = rate[:, 0] / 2 * (1 - params.lr * rate[:, 0]) ** 100 * distance[:, 0]
    np.testing.assert_allclose(train.toy_loss(true, x), exact, atol=1e-10)


def test_t10_differences_of_squared_norms_are_conserved() -> None:
    params = toy(n=20, seeds=6)
    for true, initial in zip(*data.toy_vectors(params), strict=True):
        start, t = theory.start(true, initial), np.linspace(0, 1000, 50)
        state = theory.flow(theory.lengths(true), start, params.n, t, [False] * 3)
        square = (state**2).sum(1)
        difference = square[:, :2] - square[:, 1:]
        assert abs(difference - difference[0]).max() < 1e-8
        assert abs(square - square[0]).max() > 1


def test_small_steps_are_the_flow() -> None:
    gaps = []
    for lr in (0.2, 0.02):
        params = toy(lr=lr, iterations=round(40 / lr), records=30)
        descent, flow = train.toy(params, {}, CPU), theory.toy(params, {})
        gap = abs(descent["loss"] - flow["loss"]).max()
        gaps.append(float(gap / descent["loss"].isel(iteration=0).mean()))
        for name in ("progress_cosine", "progress_loss"):
            assert descent[name].dims == flow[name].dims
            assert float(abs(descent[name] - flow[name]).max()) < lr
    assert gaps[1] < 0.2 * gaps[0]
    assert gaps[1] < 0.01


def test_held_vectors_are_true_from_the_start() -> None:
    params = toy()
    true, initial = data.toy_vectors(params)
    for made in (train.toy(params, {}, CPU), theory.toy(params, {})):
        at_start = made["loss"].isel(iteration=0)
        for name in data.TOY_CONDITIONS:
            held = np.array(data.toy_held(name))[:, None]
            expected = train.toy_loss(true, np.where(held, true, initial))
            np.testing.assert_allclose(at_start.sel(condition=name), expected, rtol=1e-5)
    assert data.toy_held("none") == [False] * 3
    assert data.toy_held("bc") == [False, True, True]


def test_the_origin_is_a_saddle() -> None:
    true = np.random.default_rng(0).standard_normal((3, 6))
    assert not train.toy_gradient(true, np.zeros((3, 6))).any()
    zero = float(theory.lengths(true).prod() ** 2 / (2 * 6**3))
    for sign, falls in ((1, True), (-1, False)):
        near = true * np.array([0.1, 0.1, 0.1 * sign])[:, None]
        assert (float(train.toy_loss(true, near)) < zero) is falls


def test_half_is_that_of_a_zero_tensor_or_ten_times_the_run() -> None:
    params = toy(n=20, lr=1, iterations=30)
    made = train.toy(params, {}, CPU)
    never = made["half"] == 10 * params.iterations
    true, _ = data.toy_vectors(params)
    zero = train.toy_loss(true, 0 * true)
    np.testing.assert_array_equal(
        never, (made["loss"] >= zero[:, None] / 2).all("iteration")
    )
    assert never.any()
    assert not never.all()


def test_records_end_at_both_ends_and_increase() -> None:
    t = data.toy_iterations(toy(iterations=1000, records=80))
    assert (t[0], t[-1]) == (0, 1000)
    assert (np.diff(t) > 0).all()
