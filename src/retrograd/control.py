"""Optimal control of learning dynamics: ascent on a value, through the dynamics.

A learner's state moves by x_{k+1} = f_k(x_k, c_k) for k = 0..steps−1, and earns a value
V = Σ_k r_k(x_k, c_k), where r_k sees the state and the control of the same step. The
gradient of V in all controls at once is exact, by the adjoint: one pass forward that
keeps the states, one backward that carries the costate p_k = ∂V/∂x_k.

Everything has a leading batch axis: row b of a batch has its own state, control and
value, and never sees the other rows.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from retrograd import ensembles
from retrograd.errors import RetrogradError

Array = NDArray[np.float64]


class Dynamics(Protocol):
    """A batch of controlled learners, written with histories that are allocated once."""

    steps: int

    def start(self, control: Tensor) -> None:
        """Take a control, (batch, ...), and put the state at step 0."""

    def step(self, k: int) -> None:
        """Move the state from step k to k + 1 and keep it; at the last k, only r_k."""

    def value(self) -> Tensor:
        """V of the states just gone through, (batch,)."""

    def start_back(self) -> None:
        """Put the costate after the last step: zero."""

    def step_back(self, k: int) -> None:
        """Move the costate from step k + 1 to k, and keep what step k's control gets."""

    def gradient(self) -> Tensor:
        """∂V/∂control, of the control's shape."""


def value_and_gradient(dynamics: Dynamics, control: Tensor) -> tuple[Tensor, Tensor]:
    """V (batch,) and its exact gradient in the control, by the adjoint."""
    value = run(dynamics, control)
    with torch.no_grad(), _quiet():
        dynamics.start_back()
        for k in reversed(range(dynamics.steps)):
            dynamics.step_back(k)
        return value, dynamics.gradient()


def _quiet() -> np.errstate:
    """A learner that diverges is reported once, by its value, not by numpy at each step."""
    return np.errstate(over="ignore", invalid="ignore")


def run(dynamics: Dynamics, control: Tensor) -> Tensor:
    """V (batch,) alone: the pass forward."""
    with torch.no_grad(), _quiet():
        dynamics.start(control)
        for k in range(dynamics.steps):
            dynamics.step(k)
        return dynamics.value()


# ---- ascent ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Box:
    """Bounds of the entries of a control: numbers, or what broadcasts to its shape."""

    lower: float | Tensor = -torch.inf
    upper: float | Tensor = torch.inf

    def __post_init__(self) -> None:
        lower, upper = torch.as_tensor(self.lower), torch.as_tensor(self.upper)
        if not (lower <= upper).all():
            raise RetrogradError(
                f"a control cannot lie between {self.lower} and {self.upper}: "
                "give lower bounds that are not above the upper ones"
            )

    def clip(self, control: Tensor) -> Tensor:
        """The nearest control in the box."""
        lower, upper = (
            torch.as_tensor(b, dtype=control.dtype, device=control.device)
            for b in (self.lower, self.upper)
        )
        return torch.maximum(torch.minimum(control, upper), lower)


class Rule(Protocol):
    """How far a control moves, given the gradient of its value."""

    def move(self, gradient: Tensor) -> Tensor:
        """The displacement, before the box; a rule may remember earlier gradients."""


@dataclass(frozen=True)
class Plain:
    """Gradient ascent; V never falls if rate < 2 / (largest curvature)."""

    rate: float

    def move(self, gradient: Tensor) -> Tensor:
        return self.rate * gradient


class Adam:
    """Adam (Kingma & Ba 2015) or, by default, AMSGrad (Reddi et al. 2018), ascending.

    Every entry has its own rate, so rows of a batch do not see each other.
    """

    def __init__(
        self,
        rate: float,
        *,
        amsgrad: bool = True,
        decay: tuple[float, float] = (0.9, 0.999),
        epsilon: float = 1e-8,
    ) -> None:
        self.rate, self.amsgrad, self.decay, self.epsilon = rate, amsgrad, decay, epsilon
        self._moves = 0
        self._mean = self._square = self._largest = torch.zeros(())

    def move(self, gradient: Tensor) -> Tensor:
        first, second = self.decay
        self._moves += 1
        self._mean = first * self._mean + (1 - first) * gradient
        self._square = second * self._square + (1 - second) * gradient**2
        self._largest = torch.maximum(self._largest, self._square)
        square = self._largest if self.amsgrad else self._square
        scale = (square / (1 - second**self._moves)).sqrt() + self.epsilon
        return self.rate / (1 - first**self._moves) * self._mean / scale


Objective = Callable[[Tensor], tuple[Tensor, Tensor]]


class Ascent:
    """Projected ascent of a batch of controls; an ensemble whose steps are iterations.

    `control` (batch, ...) is the present one, `value` (batch,) what it is worth.
    """

    def __init__(
        self,
        objective: Objective,
        start: Tensor,
        box: Box,
        rule: Rule,
        labels: Sequence[str] | None = None,
    ) -> None:
        """Start from `start`, moved into the box.

        Args:
            objective: gives value (batch,) and gradient, of the control's shape.
            start: (batch, ...).
            box: where the control must stay.
            rule: fresh, as it remembers.
            labels: of the rows, for error messages.
        """
        self.iteration = 0
        self._objective, self._box, self._rule = objective, box, rule
        self._labels = labels or [f"row {b}" for b in range(len(start))]
        self.control = box.clip(start)
        self.value, self._gradient = self._evaluate()

    def advance_to(
        self, step: int, report: Callable[[int], object] = lambda taken: None
    ) -> None:
        """Ascend up to iteration `step`.

        Raises:
            RetrogradError: value or gradient of a row went non-finite; names the row.
        """
        while self.iteration < step:
            moved = self.control + self._rule.move(self._gradient)
            self.control = self._box.clip(moved)
            self.iteration += 1
            self.value, self._gradient = self._evaluate()
            report(1)

    def record(self) -> Mapping[str, Array]:
        return {"V": self.value.cpu().numpy().astype(float)}

    def _evaluate(self) -> tuple[Tensor, Tensor]:
        value, gradient = self._objective(self.control)
        finite = torch.isfinite(value) & torch.isfinite(gradient).flatten(1).all(1)
        if not finite.all():
            row = int((~finite).nonzero()[0])
            raise RetrogradError(
                f"the ascent diverged: {self._labels[row]}: value or gradient went "
                f"non-finite at iteration {self.iteration}; lower the rate of the ascent"
            )
        return value, gradient


def climb(ascent: Ascent, iterations: int, what: str) -> Array:
    """Ascend, and give the history of the value, (batch, iterations + 1)."""
    every = range(ascent.iteration, ascent.iteration + iterations + 1)
    return ensembles.follow(ascent, every, what, axes=1)["V"]
