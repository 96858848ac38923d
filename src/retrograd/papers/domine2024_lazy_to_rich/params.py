"""Parameters of Dominé et al. 2024, in the paper's symbols.

Time is t = η·steps (τ = 1): the time of gradient flow. λ is `lam`.
"""

from collections.abc import Iterable, Mapping
from math import hypot
from typing import Annotated, NamedTuple, Self

from pydantic import AfterValidator, Field, model_validator

from retrograd.parameters import Parameters, Positive, SampledParameters, Size

OVERSHOOT = 1.0  # of η √(λ² + 4s²): above 2 gradient descent diverges


class Shape(NamedTuple):
    """Sizes of a two-layer network."""

    inputs: Size
    hidden: Size
    outputs: Size

    @property
    def modes(self) -> int:
        return min(self.inputs, self.outputs)

    @property
    def label(self) -> str:
        return "({}, {}, {})".format(*self)


def _without_bottleneck(shape: Shape) -> Shape:
    if shape.hidden < shape.modes:
        raise ValueError(
            f"{shape.label} is a bottleneck: the solution needs hidden >= "
            f"min(inputs, outputs) = {shape.modes}"
        )
    return shape


def _increasing(values: list[float]) -> list[float]:
    if values != sorted(set(values)):
        raise ValueError("values must increase")
    return values


Wide = Annotated[Shape, AfterValidator(_without_bottleneck)]
Shapes = Annotated[dict[str, Wide], Field(min_length=1)]
Increasing = Annotated[list[float], Field(min_length=1), AfterValidator(_increasing)]
IncreasingPositive = Annotated[
    list[Positive], Field(min_length=1), AfterValidator(_increasing)
]


def _check_balance(shape: Shape, lams: Iterable[float]) -> None:
    """Refuse a λ for which no λ-balanced network of this shape exists."""
    for lam in lams:
        side, size = ("outputs", shape.outputs) if lam > 0 else ("inputs", shape.inputs)
        if lam and shape.hidden > size:
            raise ValueError(
                f"lam: {lam:g} needs hidden <= {side}, which {shape.label} has not: "
                "W2ᵀW2 − W1W1ᵀ = λ I would have too small a rank"
            )


def _check_square(shape: Shape, what: str) -> None:
    if len(set(shape)) > 1:
        raise ValueError(f"shape: the network {what} must be square, not {shape.label}")


def _check_rate(eta: float, lams: Iterable[float], s_max: float) -> None:
    stiffest = max(hypot(lam, 2 * s_max) for lam in lams)
    if eta * stiffest > OVERSHOOT:
        raise ValueError(
            f"eta: {eta:g} is too large for gradient descent at this lam: take at most "
            f"{OVERSHOOT / stiffest:.2g}; 0.1/√(λ² + 4s²) follows gradient flow closely"
        )


class Regression(SampledParameters):
    """A target Σ with equally spaced singular values, and λ-balanced initial weights."""

    hi: Positive
    """largest singular value of the target"""
    lo: Positive
    """smallest singular value of the target"""
    s0: Positive = 0.1
    """every singular value of the initial W2 W1"""

    @model_validator(mode="after")
    def _spectrum(self) -> Self:
        if self.lo > self.hi:
            raise ValueError("lo must not exceed hi")
        return self


class Case(Parameters):
    """One shape at several λ."""

    shape: Wide
    """sizes: inputs, hidden, outputs"""
    lam: Increasing
    """λ of the initial weights"""

    @model_validator(mode="after")
    def _feasible(self) -> Self:
        _check_balance(self.shape, self.lam)
        return self


class FlowAgreement(Regression):
    """The exact solution against accurately integrated gradient flow."""

    cases: Annotated[list[Case], Field(min_length=1)]
    """networks compared, as many per seed"""
    times: IncreasingPositive
    """when they are compared"""
    late: Positive
    """a time by which square networks have converged"""


class DescentAgreement(Regression):
    """Gradient descent against the exact solution, at several learning rates."""

    shapes: Shapes
    """sizes by the name of the architecture"""
    lam: Increasing
    """λ of the initial weights"""
    eta: Annotated[list[Positive], Field(min_length=1)]
    """learning rates, largest first; the recording times are multiples of each"""
    t_max: Positive
    """length of a run, in t"""
    records: Annotated[int, Field(ge=2)]
    """number of equally spaced recording times"""
    balance_at: Positive
    """when the conservation of the balance is looked at; a recording time"""

    @model_validator(mode="after")
    def _descends(self) -> Self:
        if self.eta != sorted(set(self.eta), reverse=True):
            raise ValueError("eta must decrease")
        _check_rate(self.eta[0], self.lam, max(self.hi, self.s0))
        for shape in self.shapes.values():
            _check_balance(shape, self.lam)
        interval = self.t_max / (self.records - 1)
        multiples = [("records", interval, eta) for eta in self.eta]
        for name, time, unit in [*multiples, ("balance_at", self.balance_at, interval)]:
            if abs(time / unit - round(time / unit)) > 1e-6:
                raise ValueError(f"{name}: {time:g} is no multiple of {unit:g}")
        return self


class Recorded(Parameters):
    """Gradient descent at one learning rate, recorded at log-spaced times."""

    lam: Increasing
    """λ of the initial weights"""
    eta: Positive
    """learning rate"""
    t_min: Positive
    """first recording time after the start"""
    t_max: Positive
    """length of a run, or of a task, in t"""
    records: Annotated[int, Field(ge=2)]
    """log-spaced recording times"""
    checkpoints: list[Positive] = []
    """times recorded in any case"""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not self.eta <= self.t_min < self.t_max:
            raise ValueError("t_min must be at least eta, and less than t_max")
        if any(time > self.t_max for time in self.checkpoints):
            raise ValueError("checkpoints must not exceed t_max")
        return self


class Trajectories(Regression, Recorded):
    """Gradient descent and exact solution of one square shape, side by side."""

    shape: Wide
    """sizes: inputs, hidden, outputs; equal"""

    @model_validator(mode="after")
    def _descends(self) -> Self:
        _check_rate(self.eta, self.lam, max(self.hi, self.s0))
        _check_square(self.shape, "of matrices that are recorded")
        return self


class Aligned(SampledParameters, Recorded):
    """Networks that start with the singular vectors of their target."""

    singular_values: IncreasingPositive
    """of the target, s"""
    a0: Positive
    """initial strength of every mode"""
    mode: Positive
    """singular value of the mode that is compared with its limits"""
    dense: Annotated[int, Field(ge=2)]
    """times at which the distance to a limit is looked at"""

    @model_validator(mode="after")
    def _descends(self) -> Self:
        _check_rate(self.eta, self.lam, self.singular_values[-1])
        if self.mode not in self.singular_values:
            raise ValueError("mode must be one of singular_values")
        return self


class Architectures(Regression):
    """How far the kernel moves, over λ and architecture."""

    shapes: Shapes
    """sizes by the name of the architecture; with hidden = min(inputs, outputs)"""
    lam: Increasing
    """λ of the initial weights"""
    t_end: Positive
    """time by which the exact solution has converged"""
    steps: Size
    """steps of gradient descent"""
    rate: Annotated[float, Field(gt=0, le=OVERSHOOT)]
    """η √(λ² + 4s²): the learning rate in units of the fastest mode's time"""

    @model_validator(mode="after")
    def _solvable(self) -> Self:
        _check_solvable(self.shapes, self.lam)
        return self


class Delayed(Regression):
    """The two phases of a funnel network whose first layer is large."""

    shape: Wide
    """sizes: inputs, hidden, outputs"""
    lam: Increasing
    """λ of the initial weights, negative"""
    t_min: Positive
    """first recording time after the start"""
    t_max: Positive
    """longest time"""
    records: Annotated[int, Field(ge=2)]
    """log-spaced recording times"""
    early: Positive
    """end of the fast phase, in units of 1/|λ|"""

    @model_validator(mode="after")
    def _funnel(self) -> Self:
        if max(self.lam) >= 0 or self.shape.inputs <= self.shape.outputs:
            raise ValueError("delayed rich learning needs lam < 0 and inputs > outputs")
        _check_solvable({"shape": self.shape}, self.lam)
        return self


class Switch(Regression, Recorded):
    """Networks that have learned one task and are given another."""

    shape: Wide
    """sizes of the network whose target is reversed; equal"""

    @model_validator(mode="after")
    def _descends(self) -> Self:
        _check_rate(self.eta, self.lam, self.hi)
        _check_square(self.shape, "of a reversal")
        return self


class Continual(Regression, Recorded):
    """One task after the other."""

    shape: Wide
    """sizes: inputs, hidden, outputs"""
    tasks: Annotated[int, Field(ge=2)]
    """number of tasks, each a target of its own"""

    @model_validator(mode="after")
    def _descends(self) -> Self:
        _check_rate(self.eta, self.lam, max(self.hi, self.s0))
        _check_balance(self.shape, self.lam)
        return self


class GaussianWeights(Parameters):
    """Independent Gaussian weights in both layers."""

    hidden: Size
    """hidden units"""
    sd: Positive
    """standard deviation of the weights"""


class Semantic(SampledParameters):
    """Networks that learn the hierarchy (8 items with 8 features)."""

    s0: Positive
    """every singular value of the initial W2 W1 of λ-balanced networks"""
    lam: Increasing
    """λ of their initial weights; they have 8 hidden units"""
    rate: Annotated[float, Field(gt=0, le=OVERSHOOT)]
    """η √(λ² + 4s²): the learning rate in units of the fastest mode's time"""
    gaussian: Annotated[dict[str, GaussianWeights], Field(min_length=1)]
    """networks with Gaussian initial weights, by name"""
    gaussian_rate: Positive
    """their learning rate times the number of hidden units"""
    steps: Size
    """steps of gradient descent"""
    t_end: Positive
    """time by which the exact solution has converged"""
    shown: Increasing
    """λ of the networks whose matrices are kept"""
    sigma_p: Positive
    """standard deviation of the noise of the parameters"""
    sigma_x: Positive
    """standard deviation of the noise of the inputs"""
    draws: Annotated[int, Field(ge=2)]
    """noises over which the loss of a trained network is averaged"""

    @model_validator(mode="after")
    def _shown_are_trained(self) -> Self:
        if not set(self.shown) <= set(self.lam):
            raise ValueError("shown: every value must be one of lam")
        return self


class Lecun(SampledParameters):
    """The balance of networks with LeCun's initial weights."""

    N: Annotated[list[Annotated[int, Field(ge=2)]], Field(min_length=2)]
    """input dimensions; there are N/2 hidden units and 2N outputs"""
    block: Size
    """hidden units whose balance is kept entry by entry, at the first N that has them"""

    @model_validator(mode="after")
    def _even(self) -> Self:
        if any(N % 2 for N in self.N):
            raise ValueError("N must be even: there are N/2 hidden units")
        if self.block > max(self.N) // 2:
            raise ValueError("block: no network has so many hidden units")
        return self


def _check_solvable(shapes: Mapping[str, Shape], lams: Iterable[float]) -> None:
    lams = list(lams)
    for name, shape in shapes.items():
        if shape.hidden != shape.modes:
            raise ValueError(
                f"{name}: the stable form needs hidden = min(inputs, outputs), "
                f"not {shape.label}"
            )
        _check_balance(shape, lams)


class Experiment(Parameters):
    """All sections of one scale."""

    flow: FlowAgreement | None = None
    """exact solution against gradient flow"""
    descent: DescentAgreement | None = None
    """gradient descent against the exact solution"""
    exact: Trajectories | None = None
    """trajectories of both"""
    aligned: Aligned | None = None
    """aligned modes and their limits in λ"""
    arch: Architectures | None = None
    """rich to lazy over λ and architecture"""
    delayed: Delayed | None = None
    """delayed rich learning"""
    switch: Switch | None = None
    """reversal of the target, and fine-tuning to permuted items"""
    continual: Continual | None = None
    """a sequence of tasks"""
    semantic: Semantic | None = None
    """representations, noise and transfer on the hierarchy"""
    lecun: Lecun | None = None
    """balance of practical initial weights"""
