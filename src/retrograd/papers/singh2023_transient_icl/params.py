"""Parameters of Singh et al. 2023. A step is one update, learnt from `batch` sequences."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from retrograd.parameters import (
    MasterSeed,
    Model,
    NonNegative,
    Parameters,
    Positive,
    SampledParameters,
    Size,
)

SYMBOLS = 2  # labels to which `icl` relabels the two classes of a sequence

# ---- exemplars and sequences -------------------------------------------------------------


class Mixture(Model):
    """Two-speed Gaussian mixture: exemplars of class c are [code, δ · code of its label].

    The code of class c is (u_c + ε η)/√(1 + ε²) with u_c and η from N(0, 1); the code of
    label c mod n_lab is from N(0, 1) and without noise.
    """

    K: Annotated[int, Field(ge=4)]
    """classes"""
    n_lab: Annotated[int, Field(ge=4)]
    """labels; class c has the label c mod n_lab"""
    n_ex: Size
    """exemplars of a class, drawn once"""
    D1: Size
    """dimensions of the class code"""
    D2: Size
    """dimensions of the label code"""
    eps: NonNegative
    """ε: noise of the exemplars, in units of the spread of the classes; limits ICL"""

    @property
    def inputs(self) -> int:
        """Dimensions of an exemplar."""
        return self.D1 + self.D2


class Characters(Model):
    """Omniglot's characters, embedded; every class is a label of its own."""

    inputs: Annotated[int, Field(ge=1)]
    """dimensions of an exemplar: the leading axes of the drawings"""
    augmented: bool = True
    """whether turned (by 0, 90, 180, 270 degrees) and mirrored characters are classes too,
    eight for one"""


class Sequences(Model):
    """N exemplars with their labels, and a query."""

    N: Annotated[int, Field(ge=2, multiple_of=2)] = 2
    """pairs of an exemplar and its label in the context"""
    b: Size = 1
    """burstiness: pairs of the query's class, and of one distractor class"""
    p_bursty: Annotated[float, Field(ge=0, le=1)] = 1
    """part of the training sequences that are bursty; the others have any N classes"""
    zipf: NonNegative = 0
    """α: the class of rank r is drawn with a probability ∝ r^−α"""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if 2 * self.b > self.N:
            raise ValueError(f"b: query and distractor, {self.b} times each, exceed N")
        return self


# ---- network and training ----------------------------------------------------------------


class Network(Model):
    """A causal transformer of pre-norm blocks."""

    d: Annotated[int, Field(ge=2)]
    """width of the residual stream"""
    heads: Size
    layers: Size = 2
    mlp: Annotated[int, Field(ge=0)] = 0
    """hidden units of every block's GELU network over d; 0: attention only"""
    positions: Literal["sinusoidal", "learned", "rope"] = "sinusoidal"
    label_std: Positive = 1.0
    """standard deviation of the label embedding before its normal law is truncated at 2"""

    @model_validator(mode="after")
    def _divides(self) -> Self:
        if self.d % (2 * self.heads):
            raise ValueError(f"d: {self.d} is no even multiple of {self.heads} heads")
        return self


class Adam(Model):
    """Adam (β = 0.9, 0.999; 1e-8) on mini-batches, and its regulariser."""

    lr: Positive = 1e-3
    """learning rate, the largest one if there is a warm-up"""
    warm_up: Annotated[int, Field(ge=0)] = 0
    """steps of linear warm-up, after which the rate falls as lr √(warm_up/step); 0: the
    rate is constant"""
    regulariser: Literal["square", "norm"] = "square"
    """square: λ/2 · |θ|², all parameters; norm: λ Σ |W|, the tensors' unsquared norms, as
    in the code for fixed embeddings"""
    batch: Size = 32
    """sequences per step"""
    steps: Size


class Condition(Model):
    """Runs that differ in their seed only."""

    seeds: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)]
    """indices of the runs: run i has the initial weights and the batches of the streams
    (seed, i) in every condition"""
    delta: NonNegative = 1
    """δ: scale of the label code in the exemplars; sets the speed of IWL, 0 switches it
    off. Of no account for characters"""
    l2: NonNegative = 0
    """λ: strength of the regulariser"""


class Training(Parameters):
    """Training of several conditions as one program."""

    seed: MasterSeed = 0
    """master seed of exemplars, sequences and weights"""
    exemplars: Mixture | Characters
    sequences: Sequences = Sequences()
    network: Network
    adam: Adam
    conditions: Annotated[list[Condition], Field(min_length=1)]
    record_every: Size
    """steps between records; the first is taken before the first step"""
    evaluated: Annotated[int, Field(ge=2, multiple_of=2)]
    """sequences of every evaluator"""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.adam.steps % self.record_every:
            raise ValueError(f"record_every: does not divide {self.adam.steps} steps")
        exemplars, N = self.exemplars, self.sequences.N
        if isinstance(exemplars, Mixture) and exemplars.n_lab <= N:
            raise ValueError(
                f"exemplars: the evaluator ciwl needs more than N = {N} labels"
            )
        runs = [(c.delta, c.l2, seed) for c in self.conditions for seed in c.seeds]
        if len(set(runs)) < len(runs):
            raise ValueError("conditions: two runs are the same")
        return self

    @property
    def runs(self) -> list[tuple[Condition, int]]:
        """Condition and seed of every run, in order."""
        return [(c, seed) for c in self.conditions for seed in c.seeds]

    @property
    def record_steps(self) -> list[int]:
        return list(range(0, self.adam.steps + 1, self.record_every))


# ---- theory ------------------------------------------------------------------------------


class Ceiling(Parameters):
    """Best accuracy of in-context learning of the mixture with N = 2."""

    seed: MasterSeed = 0
    """master seed of the Monte Carlo samples"""
    D1: Annotated[list[Size], Field(min_length=1)]
    """dimensions of the class code, case by case"""
    eps: Annotated[list[Positive], Field(min_length=1)]
    """noise of the exemplars, case by case"""
    n_ex: Size
    """exemplars of a class: the query is one of the context's with probability 1/n_ex"""
    samples: Size
    """sequences of the Monte Carlo estimate"""

    @model_validator(mode="after")
    def _pairs(self) -> Self:
        if len(self.D1) != len(self.eps):
            raise ValueError("D1, eps: one of each for every case")
        return self


class Toy(SampledParameters):
    """Two mechanisms, a⊗b⊗c and d⊗b⊗c, that share two factors and inhibit each other."""

    n: Size = 20
    """entries of the vectors a, b and c"""
    n_d: Size = 160
    """entries of d"""
    mu1: NonNegative = 0.1
    """μ₁: what is left of the first mechanism's loss when it is learnt"""
    mu2: NonNegative = 0
    """μ₂: the same of the second"""
    alpha: NonNegative = 0.1
    """α: cost of having both mechanisms"""
    lr: Positive = 1
    """learning rate of gradient descent"""
    steps: Size
    """longest run"""
    stop_loss: NonNegative = 1e-6
    """a run stops where L falls below this, and stays as it is"""
    records: Annotated[int, Field(ge=3)]
    """records of every run, equally spaced in log(1 + step)"""


# ---- all of it ---------------------------------------------------------------------------


class Experiment(Parameters):
    """All sections of one scale."""

    main: Training | None = None
    """the transient: seeds without regulariser"""
    controls: Training | None = None
    """with L2; without an in-weights route (δ = 0); at other speeds δ of it"""
    narrow: Training | None = None
    """a narrower network"""
    wide: Training | None = None
    """a wider network"""
    alt: Training | None = None
    """another data set"""
    ceiling: Ceiling | None = None
    """what in-context learning can reach"""
    toy: Toy | None = None
    """two competing mechanisms"""
    natural: Training | None = None
    """the companion's small model on characters"""
    deep: Training | None = None
    """the paper's twelve blocks on embedded characters"""
    deep_norm: Training | None = None
    """the same with the sum of unsquared norms as regulariser"""
    deep_decayed: Training | None = None
    """the same by the rule of the joint ResNet runs: warm-up, and a rate that decays"""
    zipf: Training | None = None
    """class frequencies that follow Zipf's law"""
