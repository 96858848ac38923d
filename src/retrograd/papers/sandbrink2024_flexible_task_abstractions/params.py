"""Parameters of Sandbrink et al. 2024, in the paper's symbols.

Time is in units in which a default block has length 1; a step of training is dt long.
"""

from dataclasses import dataclass
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from retrograd.curricula import steps_of
from retrograd.errors import RetrogradError
from retrograd.parameters import NonNegative, Parameters, Positive, SampledParameters, Size

Norm = Literal[1, 2]
Init = Literal["random", "span"]
# Per block and run, or at the kept times as mean over the runs (and standard error).
BlockStatistic = Literal[
    "t_cross", "time_to_tenth", "block_loss", "gate_speed", "alignment", "c_end"
]
Series = Literal["loss", "c", "cos_own", "cos_other", "w_norm", "weight_speed", "c_speed"]
Statistic = BlockStatistic | Series
Order = Literal["as they are", "evens first", "upper and lower", "warm and cool"]


class Regime(Parameters):
    """Time scales, and how strongly the gates are bounded (in the authors' units)."""

    tau_w: Positive
    """time scale of the students (τ_w), or of a two-layer network's first layer (τ_1)"""
    tau_c: Positive
    """time scale of the gates (τ_c), or of a two-layer network's second layer (τ_2)"""
    strength: NonNegative = 0
    """strength of the regularisation of the gates (r); 0 for none"""
    weights: tuple[NonNegative, NonNegative] = (1, 1)
    """relative weights of the bounds: non-negativity, unit norm"""

    @model_validator(mode="after")
    def _has_weights(self) -> Self:
        if sum(self.weights) == 0:
            raise ValueError("weights: at least one must be positive")
        return self

    @property
    def lambda_nonneg(self) -> float:
        """λ_nonneg of the loss."""
        return 10 * self.strength * self.weights[0] / sum(self.weights)

    def lambda_norm(self, norm: Norm) -> float:
        """λ_norm of the loss: the authors' code scales the L1 norm's, not the L2 norm's."""
        hidden_factor = 10 if norm == 1 else 1
        return hidden_factor * self.strength * self.weights[1] / sum(self.weights)


@dataclass(frozen=True)
class Condition:
    """What differs between the runs of one seed."""

    name: str
    regime: Regime
    tau_B: float
    init: Init


class Stream(SampledParameters):
    """Teachers, the stream of tasks, and how a network is trained on it."""

    d_in: Size
    """inputs"""
    d_out: Size
    """outputs"""
    tasks: Size
    """teachers (M)"""
    teacher_seed: Annotated[int, Field(ge=0)] = 0
    """the teachers are the same for all runs, whatever the master seed"""
    gradient: Literal["sampled", "population"]
    """a fresh batch at every step, or the mean over infinitely many inputs (float64)"""
    batch: Size = 200
    """inputs per step (B)"""
    regimes: Annotated[dict[str, Regime], Field(min_length=1)]
    """by name, one condition each"""
    norm: Norm = 1
    """which norm of the gates is drawn to 1 (k)"""
    dt: Positive
    """length of a step"""
    tau_B: Annotated[list[Positive], Field(min_length=1)]
    """lengths of a block (τ_B), one condition each"""
    duration: Positive
    """length of a run; the last block may be cut short"""
    keep: list[Statistic] = []
    """what the product keeps of the runs, beside what it always does"""
    offsets: list[NonNegative] = [0]
    """times after a switch at which means over the runs are kept"""
    offset_blocks: list[Annotated[int, Field(ge=0)]] | None = None
    """blocks (from 0) in which they are kept; all if absent"""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.tasks * self.d_out > self.d_in:
            raise ValueError("orthogonal teachers need tasks * d_out <= d_in")
        if self.gradient == "sampled" and self.batch < self.d_in:
            raise ValueError("batch must be at least d_in")
        for duration in (self.duration, *self.tau_B):
            try:
                steps_of(duration, self.dt)
            except RetrogradError as error:
                raise ValueError(str(error)) from error
        return self

    @property
    def steps(self) -> int:
        return steps_of(self.duration, self.dt)

    def conditions(self) -> list[Condition]:
        """Every regime at every block length."""
        several = len(self.tau_B) > 1
        return [
            Condition(
                f"{name}, τ_B={tau_B:g}" if several else name, regime, tau_B, "random"
            )
            for name, regime in self.regimes.items()
            for tau_B in self.tau_B
        ]


class Gated(Stream):
    """Students W^p behind gates c^p."""

    paths: Size
    """students (P)"""
    gates: Literal["path", "row"] = "path"
    """one gate per student, or one per student and output"""
    composites: Literal["none", "averaged", "interleaved"] = "none"
    """kind of the composite tasks, of the tasks in pairs"""
    composites_from: Size | None = None
    """first block (from 0) with a composite task"""
    speed_steps: Size
    """steps over which speeds are taken, so that the noise of batches averages out"""
    inits: Annotated[list[Init], Field(min_length=1)] = ["random"]
    """initial students, one condition each: random, or random within the teachers' span"""

    @model_validator(mode="after")
    def _composites_exist(self) -> Self:
        if (self.composites == "none") != (self.composites_from is None):
            raise ValueError("composites and composites_from: give both or none")
        if self.composites != "none" and self.tasks < 3:
            raise ValueError("composites of pairs need at least 3 tasks")
        if self.gates == "row" and {"c", "c_end"} & set(self.keep):
            raise ValueError("keep: c and c_end need a gate per path, not per row")
        if self.paths < self.tasks:
            raise ValueError("paths must be at least tasks: a student per teacher")
        return self

    def conditions(self) -> list[Condition]:
        several = len(self.inits) > 1
        return [
            Condition(
                f"{c.name}, {init} init" if several else c.name, c.regime, c.tau_B, init
            )
            for c in super().conditions()
            for init in self.inits
        ]


class TwoLayer(Stream):
    """y = W2 W1 x; τ_w is τ_1 of W1, τ_c is τ_2 of W2, whose entries are bounded."""

    hidden: Size
    """hidden units"""

    @model_validator(mode="after")
    def _one_row_each(self) -> Self:
        if self.hidden < self.tasks * self.d_out:
            raise ValueError(
                "hidden must be at least tasks * d_out: a unit per teacher row"
            )
        return self


class Toy(Parameters):
    """The reduced dynamics of two tasks with σ = 1, from chosen states (Fig. 4)."""

    dt: Positive
    """length of a step"""
    strength: NonNegative
    """strength of the regularisation of the gates (r)"""
    weights: tuple[NonNegative, NonNegative]
    """relative weights of the bounds: non-negativity, unit norm (L1)"""
    switch: Regime
    """one switch from unspecialised and from specialised students"""
    switch_time: Positive
    """its length"""
    start: Positive
    """initial a_pp of the longer runs, small; all other a_pm are 0"""
    block_lengths: Regime
    """runs of equal length with blocks of several lengths"""
    tau_B: Annotated[list[Positive], Field(min_length=1)]
    """their block lengths"""
    block_lengths_time: Positive
    """their length"""
    cycle: Regime
    """a long run with blocks of length 1"""
    cycle_blocks: Annotated[int, Field(ge=5)]
    """its blocks"""
    tau_c: Annotated[list[Positive], Field(min_length=2)]
    """gate time scales of one switch from specialised students, with τ_w = 1"""
    tau_c_time: Positive
    """its length"""


# ---- images ----------------------------------------------------------------------------


class Readout(Parameters):
    """Step sizes of a gated read-out, and how strongly its gates are bounded."""

    rate_w: Positive
    """step size of the students"""
    rate_c: Positive
    """step size of the gates"""
    lambda_norm: NonNegative = 0
    """λ_norm, of the L1 norm"""
    lambda_nonneg: NonNegative = 0
    """λ_nonneg"""


class Images(SampledParameters):
    """Ways to label the same images, learned in blocks from a frozen network's features.

    The frozen network is trained once, on the first labelling, and serves all runs.
    """

    dataset: Literal["digits", "mnist", "fashion_mnist"]
    """digits come with scikit-learn; the other two are fetched"""
    orders: Annotated[list[Order], Field(min_length=2)]
    """labellings, one task each"""
    network: Literal["mlp", "cnn"]
    """the frozen network"""
    network_steps: Size
    """its training"""
    network_rate: Positive
    """its learning rate (AdamW)"""
    network_batch: Size
    """its batch"""
    feature_norm: Positive | None = None
    """its features are scaled to this mean norm; as they are if absent"""
    paths: Size
    """students (P)"""
    weight_scale: Positive
    """standard deviation of the initial students times the root of the features"""
    regimes: Annotated[dict[str, Readout], Field(min_length=1)]
    """by name, one condition each"""
    batch: Size
    """images per step"""
    blocks: Size
    """blocks, of the tasks in turn"""
    block_steps: Size
    """steps of a block"""
    record_every: Size
    """steps between records"""
    offsets: list[Annotated[int, Field(ge=0)]]
    """steps after a switch at which means over the runs are kept, multiples of that"""
    accuracy: Annotated[float, Field(gt=0, lt=1)]
    """test accuracy whose time in every block is kept"""

    @model_validator(mode="after")
    def _recorded(self) -> Self:
        steps = {"block_steps": [self.block_steps], "offsets": self.offsets}
        for name, values in steps.items():
            if any(value % self.record_every for value in values):
                raise ValueError(f"{name}: must be multiples of record_every")
        return self


class Experiment(Parameters):
    """All sections of one scale."""

    main: Gated | None = None
    """flexible and forgetful gating, side by side"""
    reduced: Gated | None = None
    """the population gradient, against the reduced dynamics"""
    block_length: Gated | None = None
    """flexible gating with blocks of several lengths, for the same time"""
    composition: Gated | None = None
    """means of tasks, after training on the tasks"""
    subtasks: Gated | None = None
    """outputs taken from different tasks, with a gate per output"""
    grid: Gated | None = None
    """gate time scales, and strengths of the bounds, against block lengths"""
    two_layer: TwoLayer | None = None
    """a fully connected two-layer linear network"""
    switching: Gated | None = None
    """few-step switching"""
    toy: Toy | None = None
    """the mechanism, in the reduced dynamics"""
    digits: Images | None = None
    """scikit-learn's digits: the laptop's stand-in for MNIST"""
    mnist: Images | None = None
    """MNIST"""
    fashion: Images | None = None
    """Fashion-MNIST"""
