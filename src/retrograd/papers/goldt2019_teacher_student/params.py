"""Parameters of Goldt et al. 2019, in the paper's symbols. Time α is steps / N."""

from dataclasses import dataclass
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from retrograd.parameters import NonNegative, Parameters, Positive, SampledParameters, Size

Layers = Literal["first", "both"]


@dataclass(frozen=True)
class Condition:
    """What differs between the runs of one seed."""

    layers: Layers
    K: int
    eta: float
    sigma: float

    @property
    def label(self) -> str:
        return f"{self.layers}, K={self.K}, η={self.eta:g}, σ={self.sigma:g}"


class Network(Parameters):
    """Teacher and student, and where the student starts."""

    M: Size
    """teacher units"""
    K: Annotated[list[Size], Field(min_length=1)]
    """student units, one condition each"""
    activation: Literal["erf", "lin", "relu"]
    """g of all units; erf is g(x) = erf(x/√2)"""
    layers: Annotated[list[Layers], Field(min_length=1)]
    """trained layers, one condition each: first (soft committee machine) or both"""
    v_star: Positive
    """every second-layer weight of the teacher"""
    init: Literal["random", "small", "informed", "denoiser"]
    """initial student: random and small are sampled; informed copies the teacher into
    the first M units; denoiser copies each teacher unit into several student units"""

    @model_validator(mode="after")
    def _copies_fit(self) -> Self:
        if self.init in ("informed", "denoiser") and min(self.K) < self.M:
            raise ValueError(f"init: {self.init} needs K >= M = {self.M}")
        return self


class _Sgd(Network, SampledParameters):
    """One-pass or finite-set SGD, one sample per step."""

    eta: Positive
    """learning rate of the first layer (η) and, divided by N, of the second"""
    sigma: NonNegative
    """standard deviation of the label noise (σ)"""
    kappa: NonNegative = 0
    """weight decay (κ): both layers shrink by κ/N per step"""
    alpha_max: Positive
    """length of a run, in α"""
    window: NonNegative = 0
    """final stretch of α over which the final error is averaged; 0 for none"""
    records: Annotated[int, Field(ge=2)] = 40
    """log-spaced recording times"""
    window_records: Annotated[int, Field(ge=2)] = 60
    """equally spaced times in the window, at which eg is averaged"""
    record_overlaps: Literal["no", "end", "path"] = "no"
    """record Q and R at the end, or Q, R and v at every recording time"""
    patterns_per_input: Positive | None = None
    """size of a fixed training set, P/N; a fresh sample every step if absent"""

    @model_validator(mode="after")
    def _window_fits(self) -> Self:
        if self.window >= self.alpha_max:
            raise ValueError("window must be shorter than alpha_max")
        return self

    def conditions(self) -> list[Condition]:
        return [
            Condition(layers, K, self.eta, self.sigma)
            for layers in self.layers
            for K in self.K
        ]


class Training(_Sgd):
    """SGD at one input dimension."""

    N: Annotated[int, Field(ge=2)]
    """input dimension"""

    @model_validator(mode="after")
    def _takes_steps(self) -> Self:
        if self.alpha_max * self.N < 1:
            raise ValueError("alpha_max is shorter than one step, 1/N")
        if 0 < self.window * self.N < 1:
            raise ValueError("window is shorter than one step, 1/N")
        return self


class SizeSweep(_Sgd):
    """The same SGD at several input dimensions."""

    N: Annotated[list[Annotated[int, Field(ge=2)]], Field(min_length=2)]
    """input dimensions, multiples of the first one"""

    @model_validator(mode="after")
    def _share_times(self) -> Self:
        if any(N % self.N[0] for N in self.N):
            raise ValueError("N: each must be a multiple of the first, to share times")
        self.at(self.N[0])  # the one with the fewest steps
        return self

    def at(self, N: int) -> Training:
        return Training(**(self.model_dump() | {"N": N}))


class FinalError(Network):
    """The final error of the N → ∞ equations, for every pair of eta and sigma."""

    eta: Annotated[list[Positive], Field(min_length=1)]
    """learning rates (η)"""
    sigma: Annotated[list[NonNegative], Field(min_length=1)]
    """standard deviations of the label noise (σ)"""
    eta_alpha: Positive = 200
    """the equations are integrated to α = eta_alpha / η"""

    def conditions(self) -> list[Condition]:
        return [
            Condition(layers, K, eta, sigma)
            for layers in self.layers
            for eta in self.eta
            for sigma in self.sigma
            for K in self.K
        ]


class Experiment(Parameters):
    """All sections of one scale."""

    traj: Training | None = None
    """SGD and ODE side by side"""
    nscale: SizeSweep | None = None
    """how the deviation from the ODE shrinks with N"""
    scm_erf: Training | None = None
    """soft committee machines, erf: final error"""
    scm_lin: Training | None = None
    """soft committee machines, linear: final error"""
    scm_relu: Training | None = None
    """soft committee machines, ReLU: final error"""
    both_erf: Training | None = None
    """both layers, erf, from random weights"""
    both_lin: Training | None = None
    """both layers, linear, from small weights"""
    both_relu: Training | None = None
    """both layers, ReLU, from small weights"""
    denoiser: Training | None = None
    """both layers, erf, from the denoiser solution"""
    denoiser_ode: FinalError | None = None
    """the denoiser's 1/K law at a small learning rate"""
    small_eta: FinalError | None = None
    """fixed points as the learning rate halves"""
    small_sigma: FinalError | None = None
    """fixed points as the noise halves"""
    finite: Training | None = None
    """soft committee machines on a fixed training set"""
    tail: Training | None = None
    """random weights at the published noise: the long tail, by the ODE"""
