"""Parameters of Carrasco-Davis et al. 2023, in the paper's symbols.

Time t is k·dt at step k, dt being the network's learning rate (its time constant is 1).
The rate of a plain ascent is α_c = α_g·dt, so that it does not depend on dt:
g <- clip(g + (α_c/dt) ∂V/∂g).
"""

from dataclasses import dataclass
from typing import Annotated, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from retrograd.parameters import NonNegative, Parameters, Positive, SampledParameters, Size

Discount = Annotated[float, Field(gt=0, le=1)]
Digit = Annotated[int, Field(ge=0, le=9)]
Images = Literal["digits", "mnist"]
Variant = Literal["attentive", "active", "vector"]
GradientCase = Literal[
    "neuron",
    "gain",
    "switch",
    "attentive",
    "active",
    "vector",
    "category",
    "rate_deviation",
    "rate_total",
    "init_cumulative",
    "init_final",
]


SweptParameter = Literal["gamma", "sigma", "beta", "weight_decay", "steps"]


@dataclass(frozen=True)
class Swept:
    """What differs from the usual single neuron."""

    parameter: SweptParameter
    value: float

    @property
    def label(self) -> str:
        return f"{self.parameter}={self.value:g}"


class Grid(Parameters):
    """Equally spaced values of one parameter."""

    start: float
    stop: float
    count: Annotated[int, Field(ge=2)]
    log: bool = False
    """start and stop are exponents of 10"""

    def values(self) -> list[float]:
        values = np.linspace(self.start, self.stop, self.count)
        return (10.0**values if self.log else values).tolist()


# ---- the single neuron -----------------------------------------------------------------


class SingleNeuron(SampledParameters):
    """ŷ = w(1 + g)x on two Gaussians, y = ±1 and x ~ N(mu y, sigma²), from w = 0.

    The optimal gain g; SGD runs (seeds) under it and without it; and the optimal gain as
    one parameter varies and the others stay.
    """

    mu: Positive
    """distance of a class from the origin"""
    sigma: NonNegative
    """standard deviation of x in a class"""
    dt: Positive
    """learning rate"""
    steps: Annotated[int, Field(ge=2)]
    """length T of the learning that the value counts, in steps"""
    gamma: Discount
    """discount per unit of time (γ)"""
    beta: Positive
    """cost of control (β): β g²"""
    weight_decay: NonNegative
    """λ"""
    rate: Positive
    """α_c of the ascent"""
    iterations: Size
    """of the ascent"""
    batch: Size
    """fresh samples per step of SGD"""
    records: Annotated[int, Field(ge=2)]
    """equally spaced recording times"""
    sweep_records: Annotated[int, Field(ge=2)]
    """the same of every condition of the sweeps"""
    grids: dict[SweptParameter, Grid]
    """values of each parameter that varies"""

    @model_validator(mode="after")
    def _grids_are_valid(self) -> Self:
        alone = self.model_dump() | {"grids": {}}
        for condition in self.conditions():
            SingleNeuron.model_validate(alone | {condition.parameter: condition.value})
        return self

    def conditions(self) -> list[Swept]:
        """The parameter that differs, and its value, of every condition of the sweeps."""
        return [Swept(n, v) for n, grid in self.grids.items() for v in grid.values()]


# ---- two-layer networks ----------------------------------------------------------------


class _Network(SampledParameters):
    """A two-layer linear network that learns from average gradients."""

    hidden: Size
    """hidden units (H)"""
    init_sd: Positive
    """standard deviation of the initial weights"""
    dt: Positive
    """learning rate; explicit Euler needs dt · largest eigenvalue of Sx · |W2|² < 2"""
    weight_decay: NonNegative = 0
    """λ"""
    records: Annotated[int, Field(ge=2)] = 120
    """equally spaced recording times"""


class _Controlled(_Network):
    """A network whose control is optimised over the whole learning."""

    duration: Positive
    """length of the learning that the value counts, in time: steps = duration / dt"""
    rate: Positive
    """of the ascent: α_c, or Adam's learning rate"""
    iterations: Size
    """of the ascent"""

    @property
    def steps(self) -> int:
        return round(self.duration / self.dt)

    @model_validator(mode="after")
    def _takes_steps(self) -> Self:
        if self.steps < 2:
            raise ValueError("duration is shorter than two steps of dt")
        return self


class Maml(_Network):
    """Initial weights that learn several tasks fast, one network per task."""

    images: Images
    pairs: Annotated[list[tuple[Digit, Digit]], Field(min_length=1)]
    """tasks: which two digits to tell apart"""
    horizons: Annotated[list[Annotated[int, Field(ge=2)]], Field(min_length=2)]
    """numbers n of states that the objective sees: n − 1 updates; 2 is one-step MAML"""
    objective: Literal["cumulative", "final"] = "cumulative"
    """the loss of all n states, or of the last one only (textbook MAML)"""
    rate: Positive
    """Adam's learning rate of the initial weights"""
    iterations: Size
    """of Adam"""
    eval_steps: Annotated[int, Field(ge=2)]
    """steps of learning from the optimised initial weights"""

    @model_validator(mode="after")
    def _horizons_increase(self) -> Self:
        if sorted(set(self.horizons)) != self.horizons:
            raise ValueError("horizons must increase")
        return self


class RateCondition(Parameters):
    """What differs between learning-rate controls of one seed."""

    gamma: Discount
    """discount per unit of time (γ)"""
    beta: Positive
    """cost of control (β)"""
    offset: Literal[-1, 0] = 0
    """cost β(g − offset)²: 0 for the deviation from the usual rate, −1 for the whole"""

    @property
    def label(self) -> str:
        whole = ", whole rate" if self.offset else ""
        return f"γ={self.gamma:g}, β={self.beta:g}{whole}"


class LearningRate(_Controlled):
    """Learning rate u = 1 + g of a network on the semantic data, by Adam."""

    levels: Annotated[int, Field(ge=2)]
    """levels of the hierarchy"""
    conditions: Annotated[list[RateCondition], Field(min_length=1)]


class _Ascended(_Controlled):
    gamma: Discount
    """discount per unit of time (γ)"""
    beta: Positive
    """cost of control (β)"""


class Engagement(_Ascended):
    """Engagement psi in several tasks that are learned side by side."""

    images: Images
    pairs: Annotated[list[tuple[Digit, Digit]], Field(min_length=2)]
    """tasks, from easy to hard: which two digits to tell apart"""
    variants: Annotated[list[Variant], Field(min_length=1)]
    """cost of psi: attentive β Σ(psi − 1)², active and vector β Σ psi²; active has
    psi <= 1, the others psi <= 2"""


class Category(_Ascended):
    """Engagement phi in the classes (outputs) of one task."""

    data: Literal["semantic", "digits", "mnist"]
    levels: Annotated[int, Field(ge=2)] = 4
    """levels of the hierarchy of the semantic data"""


class Gaussian(Parameters):
    """Two labels with a Gaussian input each: the data affine_gauss."""

    mu: tuple[float, float]
    """means of the inputs for y = 1"""
    sigma: tuple[Positive, Positive] = (1.0, 1.0)
    """standard deviations of the inputs"""
    p: Annotated[float, Field(ge=0, le=1)]
    """probability that the second label is the opposite of the first"""


class _Gain(_Ascended):
    start_sd: NonNegative = 0.001
    """standard deviation of the gains that the ascent starts from"""


class GainSingle(_Gain):
    """Gain of every weight, one task; and SGD under the optimal gain and without."""

    data: Literal["gaussian", "semantic", "digits", "mnist"]
    gaussian: Gaussian | None = None
    """the task, if data: gaussian"""
    levels: Annotated[int, Field(ge=2)] = 4
    """levels of the hierarchy, if data: semantic"""
    pair: tuple[Digit, Digit] = (1, 3)
    """the two digits, if data: digits or mnist"""
    batch: Size = 256
    """fresh samples per step of SGD"""
    sgd_runs: Annotated[int, Field(ge=0)]
    """SGD runs per seed; 0 for none. Only Gaussian tasks can be sampled"""

    @model_validator(mode="after")
    def _has_task(self) -> Self:
        if (self.data == "gaussian") != (self.gaussian is not None):
            raise ValueError("gaussian: give it if, and only if, data: gaussian")
        if self.sgd_runs and self.data != "gaussian":
            raise ValueError("sgd_runs: only Gaussian tasks can be sampled; use 0")
        return self


class GainSwitch(_Gain):
    """Gain of every weight while two tasks alternate."""

    tasks: tuple[Gaussian, Gaussian]
    """A, learned first, and B"""
    segment: Positive
    """time between switches"""
    peak_window: Positive = 0.3
    """time after a switch in which its peak of the loss is looked for"""

    @model_validator(mode="after")
    def _switches(self) -> Self:
        if 1.5 * self.segment >= self.duration:
            raise ValueError(
                "duration must exceed 1.5 segments: a switch, and half after it"
            )
        if self.segment < 4 * self.dt:
            raise ValueError("segment is shorter than 4 steps of dt")
        return self

    @property
    def segment_steps(self) -> int:
        return round(self.segment / self.dt)


class GradientCheck(SampledParameters):
    """Small problems whose gradient is taken by the adjoint and by differences."""

    cases: Annotated[list[GradientCase], Field(min_length=1)]
    """kinds of control"""
    hidden: Size
    """hidden units (H)"""
    dt: Positive
    """learning rate"""
    steps: Annotated[int, Field(ge=2)]
    """steps of learning"""
    init_sd: Positive
    """standard deviation of the initial weights"""
    weight_decay: NonNegative
    """λ"""
    gamma: Discount
    """discount per unit of time (γ)"""
    beta: Positive
    """cost of control (β)"""


class Experiment(Parameters):
    """All sections of one scale."""

    adjoint: GradientCheck | None = None
    """the gradient of the value, by the adjoint and by differences"""
    single_neuron: SingleNeuron | None = None
    """one neuron's optimal gain, and how it depends on the parameters"""
    maml: Maml | None = None
    """meta-learned initial weights"""
    learning_rate: LearningRate | None = None
    """optimal learning rate"""
    engagement: Engagement | None = None
    """optimal curriculum of tasks"""
    category_semantic: Category | None = None
    """optimal curriculum of the classes of a hierarchy"""
    category_digits: Category | None = None
    """optimal curriculum of digits"""
    gain_single: GainSingle | None = None
    """optimal gain, one task"""
    gain_semantic: GainSingle | None = None
    """the same for the semantic data"""
    gain_images: GainSingle | None = None
    """the same for two digits"""
    gain_switch: GainSwitch | None = None
    """optimal gain while tasks alternate"""
