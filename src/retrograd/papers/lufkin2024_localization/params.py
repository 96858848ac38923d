"""Parameters of Lufkin et al. 2024, in the paper's symbols. Time t is lr · step / K."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from math import isqrt
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from retrograd.marginals import FAMILIES, Marginal, marginal
from retrograd.parameters import (
    MasterSeed,
    Model,
    NonNegative,
    Parameters,
    Positive,
    SampledParameters,
    Size,
)

Kind = Literal["pointwise", "elliptical", "ising"]
TAKES_PARAMETER = {"nlgp": "g", "alg": "k", "t": "df"}
ELLIPTICAL = ("shell", "extreme", "t")
LEAST = {"alg": 4.0, "t": 2.0}  # parameters at which kurtosis and variance are lost


@dataclass(frozen=True)
class Stimulus:
    """A family of inputs and its parameter, if it has one."""

    family: str
    parameters: tuple[float, ...]

    @property
    def label(self) -> str:
        return " ".join([self.family, *(f"{p:g}" for p in self.parameters)])

    @property
    def kind(self) -> Kind:
        if self.family in FAMILIES:
            return "pointwise"
        return "ising" if self.family == "ising" else "elliptical"

    @cached_property
    def marginal(self) -> Marginal:
        """Of a pointwise family; of the Ising ring its spins are ±1."""
        family = "pm1" if self.family == "ising" else self.family
        return marginal(family, *self.parameters)


def stimulus(text: str) -> Stimulus:
    """Read "nlgp 0.1", "alg 5", "t 6", or "uniform", "pm1", "gauss", "shell", ...

    Raises:
        ValueError: there is no such family, or its parameter is missing or out of range.
    """
    family, *numbers = text.split()
    known = [*FAMILIES, *ELLIPTICAL, "ising"]
    if family not in known:
        raise ValueError(f"'{text}': unknown family; valid: {', '.join(known)}")
    symbol = TAKES_PARAMETER.get(family)
    if len(numbers) != (symbol is not None):
        usage = f"{family} {symbol}" if symbol else family
        raise ValueError(f"'{text}': write it as '{usage}'")
    if not all(re.fullmatch(r"\d+(\.\d+)?", number) for number in numbers):
        raise ValueError(f"'{text}': {symbol} must be a number")
    parameters = tuple(map(float, numbers))
    if any(p <= LEAST.get(family, 0) for p in parameters):
        raise ValueError(f"'{text}': {symbol} must be above {LEAST.get(family, 0):g}")
    if family == "t" and parameters[0] != int(parameters[0]):
        raise ValueError(f"'{text}': df must be whole")
    return Stimulus(family, parameters)


def _readable(text: str) -> str:
    stimulus(text)
    return text


StimulusName = Annotated[str, AfterValidator(_readable)]
Pair = Annotated[list[Positive], Field(min_length=2, max_length=2)]


class Batch(Model):
    """Families of inputs that are learnt with the same rate and number of samples."""

    stimuli: Annotated[list[StimulusName], Field(min_length=1)]
    """families of inputs, one condition each: nlgp g, alg k, uniform, pm1, gauss; or
    shell, extreme, t df; or ising"""
    xi: Pair | None = None
    """correlation lengths ξ of the classes y = 0 and y = 1, in sites"""
    J: Pair | None = None
    """couplings of the Ising ring of the two classes, instead of xi"""
    lr: Positive
    """learning rate"""
    B: Annotated[int, Field(ge=2, multiple_of=2)]
    """fresh samples per step, half of each class"""
    record_at: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=2)]
    """steps that are recorded, from 0 to the last one of the run"""

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        kinds = {family.kind for family in self.families}
        if len(kinds) > 1:
            raise ValueError(f"stimuli: {', '.join(sorted(kinds))} need runs of their own")
        wanted = "J" if self.kind == "ising" else "xi"
        if (self.xi is None) == (self.J is None) or getattr(self, wanted) is None:
            raise ValueError(f"{self.kind} stimuli need {wanted}, and only that")
        return self

    @model_validator(mode="after")
    def _records_fit(self) -> Self:
        if self.record_at[0] != 0 or any(a >= b for a, b in pairwise(self.record_at)):
            raise ValueError("record_at: must start at 0 and increase")
        return self

    @property
    def families(self) -> list[Stimulus]:
        return [stimulus(text) for text in self.stimuli]

    @property
    def kind(self) -> Kind:
        return self.families[0].kind

    @property
    def dependence(self) -> Sequence[float]:
        """What differs between the classes: ξ, or J of the Ising ring."""
        found = self.xi or self.J
        assert found is not None  # one of them is there: see _one_kind
        return found


class Network(SampledParameters):
    """A small network that learns to tell two correlation lengths apart, by online SGD."""

    N: Annotated[int, Field(ge=4)]
    """inputs"""
    geometry: Literal["ring", "torus"] = "ring"
    """where the inputs lie; a torus has √N × √N sites"""
    K: Size = 1
    """units"""
    activation: Literal["relu", "sigmoid"] = "relu"
    bias: bool = False
    """whether units have a trained bias, from 0"""
    init_scale: Positive = 1e-3
    """s: initial weights are drawn from N(0, 2s/(N + K))"""
    independent_data: bool = False
    """every seed has its own inputs; otherwise seeds share them, and differ in the initial
    weights only"""
    weights_at: list[int] = []
    """recorded steps at which the weights of all seeds are kept"""
    keep_path: bool = False
    """keep the weights of the first seed at all records, to be drawn"""
    keep_end: bool = False
    """keep the weights of the first seed at the end, to be drawn"""
    keep_spectrum: bool = False
    """keep the Fourier spectrum of the weights at the end"""

    @model_validator(mode="after")
    def _lies_on_its_geometry(self) -> Self:
        if self.geometry == "torus" and isqrt(self.N) ** 2 != self.N:
            raise ValueError(f"N: a torus needs a square number of sites, not {self.N}")
        return self


class Training(Batch, Network):
    """SGD of conditions that share learning rate and number of samples."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        for step in self.weights_at:
            if step not in self.record_at:
                raise ValueError(f"weights_at: step {step} is not in record_at")
        if self.geometry == "torus" and self.kind != "pointwise":
            raise ValueError(f"geometry: {self.kind} stimuli live on a ring")
        return self


class Batches(Network):
    """SGD of several batches of conditions, with as many records each."""

    batches: Annotated[list[Batch], Field(min_length=2)]

    @model_validator(mode="after")
    def _go_together(self) -> Self:
        self.each()
        if len({len(batch.record_at) for batch in self.batches}) > 1:
            raise ValueError("batches: every record_at must have as many steps")
        return self

    def each(self) -> list[Training]:
        """One training per batch."""
        common = self.model_dump(exclude={"batches"})
        return [Training(**(common | batch.model_dump())) for batch in self.batches]


class ClassOrder(Model):
    """Effective dynamics of Gaussian inputs, with either class the longer-correlated."""

    xi: Pair
    """the two correlation lengths ξ, in sites"""
    lr: Positive
    """time step of the integration"""
    steps: Size
    init_scale: Positive = 1e-3
    """s: initial weights are drawn from N(0, 2s/(N + 1))"""


class Models(Parameters):
    """Models whose samples, covariance, marginal and amplifier are shown side by side."""

    seed: MasterSeed = 0
    """master seed of the samples"""
    N: Annotated[int, Field(ge=4)]
    """inputs"""
    stimuli: Annotated[list[StimulusName], Field(min_length=1)]
    """pointwise families, or ising"""
    xi: Positive
    """correlation length of the pointwise families, in sites"""
    J: Positive
    """coupling of the Ising ring"""
    samples: Size
    """samples of the histogram"""
    bins: Size = 60
    """of the histogram"""
    order: ClassOrder
    """what becomes of the weights with either order of the classes"""

    @model_validator(mode="after")
    def _have_amplifiers(self) -> Self:
        for text in self.stimuli:
            if stimulus(text).kind == "elliptical":
                raise ValueError(f"stimuli: {text} is made of its radius, not a marginal")
        return self


class Components(SampledParameters):
    """Independent component analysis of the same inputs."""

    N: Annotated[int, Field(ge=4)]
    """inputs"""
    stimuli: Annotated[list[StimulusName], Field(min_length=1)]
    """pointwise families"""
    xi: Pair
    """correlation lengths ξ of the two halves of the samples, in sites"""
    samples: Annotated[int, Field(ge=2, multiple_of=2)]
    iterations: Size = 200
    """most iterations of FastICA"""
    tolerance: NonNegative = 1e-4
    """FastICA stops when no component turns by more than this"""

    @model_validator(mode="after")
    def _pointwise(self) -> Self:
        if any(stimulus(text).kind != "pointwise" for text in self.stimuli):
            raise ValueError("stimuli: must be pointwise families")
        return self


class Experiment(Parameters):
    """All sections of one scale."""

    models: Models | None = None
    """the data models side by side"""
    kurtosis: Training | None = None
    """run A: one neuron over marginals"""
    trajectory: Training | None = None
    """run B: one neuron, in detail"""
    other: Batches | None = None
    """runs C and E: inputs that are no transformed Gaussian field, elliptical and Ising;
    and one that is, with heavy tails, to be drawn beside them"""
    many: Training | None = None
    """run D: many sigmoid units with bias"""
    many_wide: Training | None = None
    """run D with more inputs"""
    relu: Training | None = None
    """many ReLU units without bias, where the rule fails"""
    components: Components | None = None
    """independent component analysis"""
    torus: Training | None = None
    """many units on a torus"""
