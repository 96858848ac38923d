"""Parameters of Singh et al. 2024. Time is in sequences seen, batch · step.

Layers and heads are counted from 0: layer 0 is the paper's first, layer 1 its second.
"""

import re
from dataclasses import dataclass
from typing import Annotated, Literal, Self, get_args

from pydantic import AfterValidator, Field, model_validator

from retrograd.parameters import (
    MasterSeed,
    Model,
    Parameters,
    Positive,
    SampledParameters,
    Size,
)

Circuit = Literal["all", "only", "none", "prev", "layer1", "match", "copy", "layer1+copy"]
EvaluationSet = Literal["train", "relabel", "newclass"]
EVALUATION_SETS: tuple[EvaluationSet, ...] = get_args(EvaluationSet)
WHOLE = re.compile(r"\d+")
NUMBER = re.compile(r"\d+(\.\d+)?")


@dataclass(frozen=True)
class Condition:
    """What is clamped through training, and how the task differs from the section's.

    Attributes:
        name: as it is written in the config.
        circuit: all: nothing is clamped; only: all heads of layer 1 but one are ablated;
            none, prev, layer1, match, copy, layer1+copy: they are, and the clamp of that
            name is on (of none: no other).
        head: of layer 1 that stays; of `all` without meaning.
        previous: head of layer 0 that `prev` clamps.
        strength: attention on the correct label that `match` imposes.
        K: classes, if they are not the section's.
        L: labels, if they are not the section's.
    """

    name: str
    circuit: Circuit
    head: int = 0
    previous: int = 0
    strength: float = 1.0
    K: int | None = None
    L: int | None = None


def condition(text: str) -> Condition:
    """Read "all", "only 3", "none L=10", "match s=0.9", "layer1+copy K=200", ...

    Raises:
        ValueError: there is no such circuit, or a setting cannot be read.
    """
    circuit, *settings = text.split()
    if circuit not in get_args(Circuit):
        valid = ", ".join(get_args(Circuit))
        raise ValueError(f"'{text}': unknown circuit; valid: {valid}")
    found: dict[str, int | float] = {}
    if circuit == "only":
        if not settings or not WHOLE.fullmatch(settings[0]):
            raise ValueError(f"'{text}': write it as 'only h', with a head h of layer 1")
        found["head"] = int(settings.pop(0))
    for setting in settings:
        name, _, value = setting.partition("=")
        if name in ("K", "L") and WHOLE.fullmatch(value) and int(value) > 2:
            found[name] = int(value)
        elif name == "s" and circuit == "match" and NUMBER.fullmatch(value):
            found["strength"] = float(value)
        else:
            raise ValueError(f"'{text}': '{setting}' is none of K=, L= (3 or more), s=")
    if not 0 <= found.get("strength", 1) <= 1:
        raise ValueError(f"'{text}': s is an attention, from 0 to 1")
    return Condition(text, circuit, **found)  # type: ignore[arg-type]


def _readable(text: str) -> str:
    condition(text)
    return text


ConditionName = Annotated[str, AfterValidator(_readable)]


class Batch(Model):
    """Conditions that are trained for as long, and recorded as often."""

    conditions: Annotated[list[ConditionName], Field(min_length=1)]
    """circuit, then K, L or s where they differ: all, only h, none, prev, layer1, match,
    copy, layer1+copy"""
    steps: Size
    """length of a run, if nothing stops it"""
    every: Size
    """steps between two records"""
    stop: Positive | None = None
    """a run stops at the first record whose loss on the evaluation set is below this"""

    @model_validator(mode="after")
    def _records_fit(self) -> Self:
        if self.steps % self.every:
            raise ValueError("steps: must be a multiple of every")
        return self


class Training(SampledParameters):
    """Networks that learn to copy the label of the example that matches the query."""

    data: Literal["gaussian", "omniglot"] = "gaussian"
    """where the classes come from"""
    K: Annotated[int, Field(ge=3)]
    """training classes, with one exemplar each"""
    novel: Annotated[int, Field(ge=2)] = 100
    """classes that are never trained"""
    L: Annotated[int, Field(ge=3)]
    """labels"""
    D: Size
    """features of an exemplar"""
    rho: Annotated[float, Field(ge=0, lt=1)]
    """ρ: share of a common mean in the mean square of a feature"""
    d: Size
    """width of the residual stream"""
    H: Size
    """heads per layer"""
    lr: Positive
    """learning rate of Adam"""
    batch: Size = 32
    """sequences per step"""
    evaluate: Annotated[int, Field(ge=4, multiple_of=4)]
    """sequences of every evaluation set: a quarter are drawn, each is shown in both orders
    and with both assignments of its labels"""
    batches: Annotated[list[Batch], Field(min_length=1)]
    measure: list[Literal["match", "prev"]] = []
    """progress measures of the condition `none`: clamps that are on at evaluation only"""
    other_sets_every: Size | None = None
    """of whole networks: records between two of the evaluation sets other than `train`. The
    heads' attention is then recorded, and the networks are taken apart at the end"""
    take_apart_on: Annotated[int, Field(ge=4, multiple_of=4)] = 2000
    """sequences of the `train` set on which that is done: small losses need many"""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.d % self.H or self.d // self.H % 2:
            raise ValueError("d: every head needs the same even number of dimensions")
        names = [name for batch in self.batches for name in batch.conditions]
        if len(set(names)) < len(names):
            raise ValueError("batches: a condition is given twice")
        for each in map(condition, names):
            if each.head >= self.H:
                raise ValueError(f"'{each.name}': there are {self.H} heads")
        if self.measure and "none" not in names:
            raise ValueError("measure: needs the condition 'none'")
        return self

    @property
    def names(self) -> list[str]:
        """Of all conditions, in the order of the product."""
        return [name for batch in self.batches for name in batch.conditions]


class Toy(SampledParameters):
    """Gradient descent on a tensor of rank one; `seeds` are initial vectors and targets."""

    seed: MasterSeed = 0
    """master seed"""
    n: Size
    """dimension of each of the three vectors"""
    lr: Positive
    """learning rate; time is lr · iteration"""
    iterations: Size
    """length of a run"""
    records: Annotated[int, Field(ge=8)]
    """recorded iterations, about equally spaced in log(1 + iteration), ends included"""


class Experiment(Parameters):
    """All sections of one scale."""

    all: Training | None = None
    """whole networks"""
    single: Training | None = None
    """networks with one head in layer 1"""
    clamped: Training | None = None
    """subcircuits clamped through training"""
    sweep_none: Training | None = None
    """one head, other numbers of classes and labels"""
    sweep_clamped: Training | None = None
    """the same with subcircuits clamped"""
    strength: Training | None = None
    """an imposed induction head of graded strength"""
    omniglot: Training | None = None
    """whole networks, classes of handwritten characters"""
    toy: Toy | None = None
    """product of three vectors"""
