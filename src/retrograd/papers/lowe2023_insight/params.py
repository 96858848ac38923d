"""Parameters of Löwe et al. 2024, in the paper's symbols. Time is counted in trials."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from retrograd.parameters import NonNegative, Parameters, Positive, SampledParameters

BLOCK = 100
"""trials in a block, within which levels and labels are balanced"""
BIN = 50
"""trials over which the behaviour is averaged for the sigmoid fit"""
LEVELS = 5
"""motion coherences, from the hardest (0) to the easiest (4)"""

PerLevel = Annotated[list[NonNegative], Field(min_length=LEVELS, max_length=LEVELS)]


class Task(Parameters):
    """Perceptual Spontaneous Strategy Switch Task: two inputs, motion and colour."""

    pretraining: Annotated[int, Field(ge=BIN, multiple_of=BIN)]
    """trials of the first phase: motion only, at the three easiest levels"""
    motion: Annotated[int, Field(ge=BLOCK, multiple_of=BLOCK)]
    """trials of the second phase: motion only, all levels"""
    colour: Annotated[int, Field(ge=BLOCK, multiple_of=BLOCK)]
    """trials of the third phase, in which colour predicts the label too"""
    labels: Literal["0/1", "±1"]
    """values of the label y. With ±1, colour before the third phase is ±M_c at random,
    independent of the label; with 0/1 its mean is 0"""
    M_c: Positive
    """mean of the colour input is M_c·y"""
    sigma_m: Positive
    """standard deviation of the motion input"""
    sigma_c: Positive
    """standard deviation of the colour input"""
    coherence_mean: PerLevel
    coherence_sd: PerLevel
    """mean of the motion input is M_m·y, with M_m = max(0, mean + sd·z) per network and
    level, z ~ N(0, 1)"""

    @property
    def onset(self) -> int:
        """First trial in which colour predicts the label."""
        return self.pretraining + self.motion

    @property
    def trials(self) -> int:
        return self.onset + self.colour

    @property
    def bins_before(self) -> int:
        """Bins of the motion phase."""
        return self.motion // BIN

    @property
    def bins(self) -> int:
        """Bins of the motion and the colour phase."""
        return (self.motion + self.colour) // BIN


class Learning(Parameters):
    """One condition: how a network learns from one trial."""

    rule: Literal["code", "paper"]
    """order and scaling of the update as in the authors' code, or as printed"""
    alpha: Positive
    """learning rate (α), constant"""
    lam: NonNegative
    """strength of the penalty on the gates (λ)"""
    sigma_xi: NonNegative
    """standard deviation of the noise of the update (σ_ξ)"""
    sigma_eta: Positive
    """standard deviation of the noise of the output (σ_η)"""
    penalty: Literal["l1", "l2"] = "l1"
    """λ|g| or λg²/2"""
    gates: Literal["trained", "fixed"] = "trained"
    """fixed: both gates stay 1, and neither penalty nor noise moves them"""
    noise: Literal["all", "weights", "gates"] = "all"
    """which parameters the noise of the update moves"""

    @model_validator(mode="after")
    def _has_noise_on_something(self) -> Self:
        if self.gates == "fixed" and self.noise == "gates":
            raise ValueError("noise: gates that are fixed have none; use all or weights")
        return self


class Study(SampledParameters):
    """Populations of networks and of matched controls, under one or more conditions.

    A run (an entry of the `seed` axis) is one population. All conditions of a run see the
    same trials and the same noise, so that they differ by the condition alone.
    """

    networks: Annotated[int, Field(ge=2)]
    """test networks in a population, and as many controls, whose colour never predicts"""
    task: Task
    conditions: Annotated[dict[str, Learning], Field(min_length=1)]
    """by name"""


class OneCondition(Study):
    """A study that is recorded in detail."""

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if len(self.conditions) != 1:
            raise ValueError("conditions: exactly one is recorded in detail")
        return self

    @property
    def learning(self) -> Learning:
        (learning,) = self.conditions.values()
        return learning


class Experiment(Parameters):
    """All sections of one scale."""

    main: OneCondition | None = None
    """the default condition, in detail"""
    batches: OneCondition | None = None
    """populations of the published size, for the published count"""
    sweeps: Study | None = None
    """σ_ξ and λ, one at a time"""
    variants: Study | None = None
    """other penalties, no gates, noise on some parameters only"""
    printed: Study | None = None
    """the rule and the task as printed in the paper"""
