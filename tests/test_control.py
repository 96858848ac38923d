"""Value and gradient by the adjoint, boxes, rules of ascent, and the ascent itself."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from retrograd.control import (
    Adam,
    Ascent,
    Box,
    Objective,
    Plain,
    Rule,
    climb,
    run,
    value_and_gradient,
)
from retrograd.errors import RetrogradError

SEEDS = st.integers(0, 2**32 - 1)
few = settings(max_examples=25, deadline=None)


class Pendulum:
    """A non-linear state x_{k+1} = x_k + sin(x_k) c_k / 4, with r_k = −x_k² − c_k² / 2."""

    def __init__(self, first: Tensor, steps: int) -> None:
        self.steps = steps
        self._x = torch.zeros(steps, len(first), dtype=torch.float64)
        self._p = torch.zeros(steps + 1, len(first), dtype=torch.float64)
        self._first = first

    def start(self, control: Tensor) -> None:
        self._c = control.mT
        self._x[0] = self._first

    def step(self, k: int) -> None:
        if k + 1 < self.steps:
            self._x[k + 1] = self._x[k] + self._x[k].sin() * self._c[k] / 4

    def value(self) -> Tensor:
        return -(self._x.square() + self._c.square() / 2).sum(0)

    def start_back(self) -> None:
        self._p[self.steps] = 0

    def step_back(self, k: int) -> None:
        slope = 1 + self._x[k].cos() * self._c[k] / 4
        self._p[k] = slope * self._p[k + 1] - 2 * self._x[k]

    def gradient(self) -> Tensor:
        return (self._p[1:] * self._x.sin() / 4 - self._c).mT


def unrolled(first: Tensor, control: Tensor) -> Tensor:
    """The same value, for autograd."""
    x, value = first, torch.zeros_like(first)
    for c in control.unbind(1):
        value = value - x**2 - c**2 / 2
        x = x + x.sin() * c / 4
    return value


def normals(seed: int, *shape: int) -> Tensor:
    return torch.tensor(np.random.default_rng(seed).standard_normal(shape))


@few
@given(seed=SEEDS, batch=st.integers(1, 4), steps=st.integers(1, 12))
def test_the_adjoint_gives_the_gradient_of_autograd(
    seed: int, batch: int, steps: int
) -> None:
    first, control = normals(seed, batch), normals(seed + 1, batch, steps)
    control.requires_grad_()
    expected = unrolled(first, control)
    expected.sum().backward()
    dynamics = Pendulum(first, steps)
    value, gradient = value_and_gradient(dynamics, control.detach())
    torch.testing.assert_close(value, expected.detach(), rtol=1e-12, atol=0)
    torch.testing.assert_close(gradient, control.grad, rtol=1e-11, atol=1e-12)
    assert torch.equal(run(dynamics, control.detach()), value)


# ---- boxes -----------------------------------------------------------------------------


@given(seed=SEEDS, lower=st.floats(-2, 0), upper=st.floats(0, 2))
def test_clipping_gives_the_nearest_point_of_the_box(
    seed: int, lower: float, upper: float
) -> None:
    control, box = normals(seed, 3, 4), Box(lower, upper)
    clipped = box.clip(control)
    assert ((clipped >= lower) & (clipped <= upper)).all()
    assert torch.equal(box.clip(clipped), clipped)
    inside = (control >= lower) & (control <= upper)
    assert torch.equal(clipped[inside], control[inside])


def test_rows_may_have_bounds_of_their_own() -> None:
    clipped = Box(0.0, torch.tensor([[1.0], [2.0]])).clip(torch.full((2, 3), 5.0))
    assert torch.equal(clipped, torch.tensor([[1.0] * 3, [2.0] * 3]))
    everything = normals(0, 2, 3)
    assert torch.equal(Box().clip(everything), everything)


def test_a_box_upside_down_is_refused() -> None:
    with pytest.raises(RetrogradError, match="lower bounds that are not above"):
        Box(1.0, 0.0)
    with pytest.raises(RetrogradError, match="lower bounds that are not above"):
        Box(0.0, torch.tensor([1.0, -1.0]))


# ---- rules -----------------------------------------------------------------------------


@pytest.mark.parametrize("amsgrad", [True, False])
def test_adam_is_that_of_torch(amsgrad: bool) -> None:
    own, its = normals(1, 2, 5), normals(1, 2, 5).requires_grad_()
    rule = Adam(0.03, amsgrad=amsgrad)
    optimiser = torch.optim.Adam([its], lr=0.03, amsgrad=amsgrad, maximize=True)
    for k in range(50):
        # Gradients that shrink and grow, so that amsgrad matters.
        gradient = normals(k, 2, 5) * (1 + 10 * (k % 7 == 0))
        own = own + rule.move(gradient)
        its.grad = gradient
        optimiser.step()
    torch.testing.assert_close(own, its.detach(), rtol=1e-10, atol=1e-12)


# ---- the ascent ------------------------------------------------------------------------

CURVATURE = torch.tensor([[1.0, 4.0, 0.5], [2.0, 3.0, 1.0]], dtype=torch.float64)
SUMMIT = torch.tensor([[0.3, 2.0, -2.0], [0.1, -0.4, 5.0]], dtype=torch.float64)


def paraboloid(control: Tensor) -> tuple[Tensor, Tensor]:
    away = control - SUMMIT[: len(control)]
    slope = -CURVATURE[: len(control)] * away
    return (slope * away).sum(1) / 2, slope


def ascent(rule: Rule, rows: int = 2, objective: Objective = paraboloid) -> Ascent:
    start = torch.zeros(rows, 3, dtype=torch.float64)
    return Ascent(objective, start, Box(-1, 1), rule, ["first", "second"][:rows])


RULES: dict[str, Callable[[], Rule]] = {
    "plain": lambda: Plain(0.3),
    "Adam": lambda: Adam(0.02),
}
each_rule = pytest.mark.parametrize("rule", RULES)


@each_rule
def test_the_ascent_ends_at_the_best_point_of_the_box(rule: str) -> None:
    climber = ascent(RULES[rule]())
    climb(climber, 600, "test")
    # The entries of a paraboloid along the axes do not see each other.
    torch.testing.assert_close(climber.control, SUMMIT.clamp(-1, 1), rtol=0, atol=1e-6)


@given(rate=st.floats(0.01, 0.49))
def test_a_plain_ascent_never_falls_below_two_over_the_curvature(rate: float) -> None:
    V = climb(ascent(Plain(rate)), 40, "test")
    assert np.diff(V, axis=1).min() >= -1e-14


def test_a_plain_ascent_falls_above_two_over_the_curvature() -> None:
    # Inside the box, where nothing stops it: the curvature is 4.
    def hill(control: Tensor) -> tuple[Tensor, Tensor]:
        return -2 * (control - 0.1).square().sum(1), -4 * (control - 0.1)

    rising, falling = (
        climb(ascent(Plain(r), objective=hill), 6, "test") for r in (0.4, 0.51)
    )
    assert np.diff(rising).min() >= 0
    assert np.diff(falling).min() < 0


@each_rule
def test_a_row_is_the_same_to_the_bit_alone_and_in_a_batch(rule: str) -> None:
    alone, batch = ascent(RULES[rule](), rows=1), ascent(RULES[rule]())
    histories = [climb(climber, 20, "test") for climber in (alone, batch)]
    assert torch.equal(alone.control[0], batch.control[0])
    np.testing.assert_array_equal(histories[0][0], histories[1][0])


@each_rule
def test_the_history_is_that_of_the_values_from_the_start_to_the_end(rule: str) -> None:
    climber = ascent(RULES[rule]())
    V = climb(climber, 7, "test")
    assert V.shape == (2, 8)
    np.testing.assert_array_equal(V[:, 0], paraboloid(torch.zeros(2, 3).double())[0])
    np.testing.assert_array_equal(V[:, -1], paraboloid(climber.control)[0])
    assert climber.iteration == 7
    # It goes on where it stopped, as if it had not.
    on = np.concatenate([V, climb(climber, 5, "test")[:, 1:]], axis=1)
    np.testing.assert_array_equal(on, climb(ascent(RULES[rule]()), 12, "test"))


def test_the_start_is_moved_into_the_box() -> None:
    climber = Ascent(paraboloid, torch.full((2, 3), 7.0).double(), Box(-1, 1), Plain(0.0))
    assert (climber.control == 1).all()


@pytest.mark.parametrize("part", [0, 1])
def test_a_row_that_goes_non_finite_is_named(part: int) -> None:
    def broken(control: Tensor) -> tuple[Tensor, Tensor]:
        found = paraboloid(control)
        if control.abs().max() > 0.2:
            found[part][1] = torch.nan
        return found

    climber = ascent(Plain(0.1), objective=broken)
    with pytest.raises(RetrogradError, match=r"second: .* at iteration [1-9]"):
        climber.advance_to(50)
