"""Parameters of Saxe et al. 2022, in the paper's symbols. An epoch is a full-batch step."""

from dataclasses import dataclass
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from retrograd.parameters import (
    MasterSeed,
    Model,
    Parameters,
    Positive,
    SampledParameters,
    Size,
)

# ---- gating: XoR and the contextual task -------------------------------------------------


class Xor(Model):
    """Two-layer networks on XoR: ReLU units, gated paths, and linear units (M1, M2)."""

    N_h: Annotated[int, Field(ge=4, multiple_of=4)]
    """hidden units, N_h; the gated network has a quarter of them on each of its paths"""
    sigma_0: Positive
    """σ₀: every weight is drawn from N(0, σ₀²/N_h)"""
    tau: Positive
    """τ: inverse learning rate per epoch"""
    epochs: Size
    record_every: Size
    """epochs from record to record"""


class Contextual(Model):
    """Report one of two inputs, by context: with gated paths and without (T4)."""

    hidden: Annotated[int, Field(ge=1)]
    """hidden units of each path"""
    a_0: Annotated[float, Field(gt=0, lt=0.5)]
    """a₀: product of the two layers of every path at the start"""
    tau: Positive
    """τ: inverse learning rate per epoch"""
    epochs: Size
    records: Annotated[int, Field(ge=2)] = 100
    """equally spaced epochs that are recorded"""


class Gating(SampledParameters):
    """The small tasks whose solution needs gates."""

    xor: Xor
    contextual: Contextual


# ---- routing -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Condition:
    """What differs between the routing networks of one seed."""

    K: int
    sigma_0: float
    lr: float

    @property
    def label(self) -> str:
        return f"K={self.K}, σ₀={self.sigma_0:g}"


class Routing(SampledParameters):
    """Routing networks from random orthogonal weights (M3), for every K and sigma_0."""

    M: Size
    """input domains, and as many output domains"""
    K: Annotated[list[Size], Field(min_length=1)]
    """outputs that every input is trained with"""
    sigma_0: Annotated[list[Positive], Field(min_length=1)]
    """σ₀: singular values of every weight matrix at the start"""
    h: Annotated[int, Field(ge=4)]
    """hidden units of both hidden layers"""
    lr: Positive
    """learning rate"""
    lr_per: Literal["one", "K", "cube_root_of_sigma_0"] = "one"
    """the learning rate is divided by this, so that conditions learn about as fast"""
    epochs: Size
    errors_only: bool = False
    """record only the errors at the end"""
    record_every: Size = 5
    """epochs from record to record of the loss"""
    singular_values_every: Size | None = None
    """the same for singular values of the first domain's and the shared matrices, if any"""
    portraits: list[Positive] = []
    """record what the first seed's networks of these sigma_0, largest K, do at the end"""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if max(self.K) > self.M:
            raise ValueError(f"K: at most M = {self.M} outputs can be trained")
        missing = [s for s in self.portraits if s not in self.sigma_0]
        if missing:
            raise ValueError(f"portraits: {missing[0]:g} is none of sigma_0")
        return self

    def conditions(self) -> list[Condition]:
        return [
            Condition(K, sigma_0, self._lr(K, sigma_0))
            for K in self.K
            for sigma_0 in self.sigma_0
        ]

    def _lr(self, K: int, sigma_0: float) -> float:
        divisor = {"one": 1.0, "K": float(K), "cube_root_of_sigma_0": sigma_0 ** (1 / 3)}
        return self.lr / divisor[self.lr_per]


class DecoupledNetwork(Model):
    """A routing network, or sub-networks with added outputs, from decoupled weights.

    A sub-network of degree P shares each hidden matrix among P pairs of domains, and each
    input or output matrix among √P pairs (T6).
    """

    name: str
    """what it is called in figures"""
    M: Size
    """input domains, and as many output domains"""
    K: Size
    """outputs that every input is trained with"""
    roots: Annotated[list[Size], Field(min_length=1)]
    """√P of every sub-network; M shares one hidden matrix among all pairs"""
    h: Annotated[int, Field(ge=7)]
    """hidden units of both hidden layers"""
    b_0: Positive
    """b₀: all singular values at the start"""
    lr: Positive
    """learning rate"""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.K > self.M:
            raise ValueError(f"K: at most M = {self.M} outputs can be trained")
        if any(self.M % root for root in self.roots):
            raise ValueError(f"roots: each must divide M = {self.M}")
        if self.K < self.M and self.roots != [self.M]:
            raise ValueError("K < M: only a network shared among all pairs reduces exactly")
        return self


class Decoupled(Parameters):
    """Networks from decoupled weights, in which the reduction is exact."""

    seed: MasterSeed = 0
    """master seed of the hidden frames, which have no effect on what is recorded"""
    networks: Annotated[list[DecoupledNetwork], Field(min_length=1)]
    epochs: Size
    record_every: Size
    """epochs from record to record of the loss"""
    singular_values_every: Size
    """the same for singular values"""


class SmallSteps(Parameters):
    """Predictions for the routing network of one M, K: reduced map, and flow (T5)."""

    M: Size
    """input domains, and as many output domains"""
    K: Size
    """outputs that every input is trained with"""
    b_0: Positive
    """b₀: all singular values at the start; σ₀/2.5 stands for random weights (h = 64)"""
    lr: Positive
    """learning rate"""
    epochs: Size
    record_every: Size
    """epochs from record to record of the losses"""
    singular_values_every: Size
    """the same for singular values"""
    divisors: Annotated[list[Size], Field(min_length=1)]
    """the learning rate is divided by these, and an epoch becomes so many steps"""


class Sharing(Parameters):
    """How the degree of sharing sets the speed of learning (T6), and the race."""

    M: Size
    """input domains, and as many output domains, all pairs trained"""
    roots: Annotated[list[Size], Field(min_length=2)]
    """√P: one network each, and all of them together in the race; the last is M"""
    s: Positive
    """singular value of the target's only mode"""
    b_0: Positive
    """b₀ of the networks that learn alone"""
    times: Annotated[int, Field(ge=2)]
    """log-spaced times of the curves, up to twice the half-time of the slowest"""
    race_b_0: Positive
    """b₀ of every sub-network in the race"""
    race_lr: Positive
    """learning rate of the race"""
    race_steps: Annotated[int, Field(ge=10)]

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if any(self.M % root for root in self.roots):
            raise ValueError(f"roots: each must divide M = {self.M}")
        if self.roots[-1] != self.M:
            raise ValueError(
                f"roots: the last must be M = {self.M}: half-times refer to it"
            )
        return self


# ---- images ------------------------------------------------------------------------------


class ImageNetwork(Model):
    """What differs between the image networks of one seed."""

    K: Size
    """outputs that every input is trained with"""
    gain: Positive
    """factor of the Xavier-uniform initial weights"""
    lr: Positive
    """learning rate"""
    leaky: bool = False
    """leaky ReLU of slope 0.01 after the encoder and after the shared layer"""

    @property
    def label(self) -> str:
        kind = "leaky" if self.leaky else "linear"
        return f"K={self.K}, gain={self.gain:g}, {kind}"


class Images(SampledParameters):
    """Linear encoders and decoders around a shared layer, on transformed images (M4)."""

    data: Literal["digits", "mnist", "fashion_mnist", "cifar10"]
    """base data set"""
    inputs: Literal["permuted", "rotated"]
    """input domains: random pixel permutations, or rotations by 180 i/M degrees"""
    features: bool = False
    """images pass a frozen convolutional network, trained on the base data, first"""
    M: Size
    """input domains, and as many output domains"""
    h: Size
    """hidden units of both hidden layers"""
    networks: Annotated[list[ImageNetwork], Field(min_length=1)]
    """linear ones first"""
    batch: Size
    """images per step; each passes through all input domains"""
    steps: Size
    momentum: Annotated[float, Field(ge=0, lt=1)]
    anneal: Annotated[int, Field(ge=0)] = 0
    """last steps, over which the learning rate falls linearly to 0; none in the paper"""
    records: Annotated[int, Field(ge=2)] = 40
    """log-spaced steps whose loss is recorded"""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if max(network.K for network in self.networks) > self.M:
            raise ValueError(f"K: at most M = {self.M} outputs can be trained")
        labels = [network.label for network in self.networks]
        if len(set(labels)) < len(labels):
            raise ValueError("networks: two have the same K, gain and units")
        leaky = [network.leaky for network in self.networks]
        if leaky != sorted(leaky):
            raise ValueError("networks: linear ones must come before leaky ones")
        if self.anneal > self.steps:
            raise ValueError(f"anneal: there are only steps = {self.steps}")
        if self.features and self.data != "cifar10":
            raise ValueError("features: the frozen network is that of cifar10")
        return self


class Experiment(Parameters):
    """All sections of one scale."""

    gating: Gating | None = None
    """XoR and the contextual task"""
    routing: Routing | None = None
    """random small weights, beside the theory"""
    reduction: SmallSteps | None = None
    """the theory of the same"""
    decoupled: Decoupled | None = None
    """decoupled weights, beside the reduced map"""
    sharing: Sharing | None = None
    """sharing and the race, by theory"""
    fractions: Routing | None = None
    """fractions K/M of trained pairs"""
    scales: Routing | None = None
    """initial scales from rich to lazy"""
    images: Images | None = None
    """images: fractions of trained pairs, gains, leaky ReLU"""
    relaxed: Images | None = None
    """images: leaky ReLU against linear units on few trained pairs"""
    images_large: Images | None = None
    """the largest number of domains, M = 100"""
    images_rotated: Images | None = None
    """rotated inputs"""
    images_natural: Images | None = None
    """natural images"""
