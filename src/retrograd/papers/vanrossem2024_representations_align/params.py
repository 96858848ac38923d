"""Parameters of van Rossem & Saxe 2024. A step is one update; rates are per step."""

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

Activation = Literal["leaky_relu", "relu", "tanh", "elu", "linear", "silu"]
Control = Literal["no_encoder_term", "doubled_encoder"]
AXES = ("architecture", "gain", "width")

# ---- networks --------------------------------------------------------------------------


class Architecture(Model):
    """A network, where its representation is read, and where its weights start."""

    kind: Literal["mlp", "resnet", "dropout", "cnn"] = "mlp"
    """resnet: a skip over every two hidden layers; dropout: before every linear layer;
    cnn: one linear layer, then 1-D convolutions"""
    activation: Activation = "leaky_relu"
    """after every hidden layer; leaky: slope 0.01, elu: α = 1"""
    gain: Positive
    """g: weights start as N(0, 2 g²/(fan in + fan out)), biases at 0"""
    width: Annotated[int, Field(ge=2)]
    """P: units of a hidden layer"""
    depth: Size
    """L: hidden layers; of a cnn, its convolutions are one more"""
    layer: Annotated[int, Field(ge=0)]
    """hidden layer, counted from 0 and read after the activation, whose h is recorded"""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """probability of a dropped unit, if dropout is the kind"""
    kernel: Annotated[int, Field(ge=2)] = 5
    """size of the kernels of a cnn"""
    channels: Size = 8
    """channels between the convolutions of a cnn"""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.layer >= self.hidden_layers:
            raise ValueError(
                f"layer: {self.layer} is none of the {self.hidden_layers} hidden layers"
            )
        if self.kind == "cnn" and self.pixels_left < 1:
            raise ValueError(
                f"width: {self.width} units are too few for {self.depth + 1} convolutions "
                f"with kernels of {self.kernel}"
            )
        return self

    @property
    def hidden_layers(self) -> int:
        """Activations between input and output."""
        return self.depth + 2 if self.kind == "cnn" else self.depth

    @property
    def pixels_left(self) -> int:
        """Of a cnn: what its convolutions leave of the P units."""
        return self.width - (self.kernel - 1) * (self.depth + 1)


class Setting(Architecture):
    """An architecture and how it is trained by full-batch gradient descent."""

    name: str
    """what it is called in figures and claims"""
    lr: Positive | None = None
    """learning rate"""
    lr_kernel: Positive | None = None
    """the learning rate is at most this over the largest eigenvalue of the tangent kernel,
    the largest among the seeds, at the start"""
    steps: Size
    """length of a run"""
    draws: Size = 1
    """of two-point runs: networks drawn for every run, of which the first that converges
    counts; how many were discarded before it is recorded"""

    @model_validator(mode="after")
    def _has_a_rate(self) -> Self:
        if self.lr is None and self.lr_kernel is None:
            raise ValueError("needs lr, lr_kernel or both")
        return self


def _check_names(settings: list[Setting]) -> None:
    names = [setting.name for setting in settings]
    if len(set(names)) < len(names):
        raise ValueError(f"settings: two have one name among {', '.join(names)}")


# ---- two points ------------------------------------------------------------------------


class TwoPoints(Model):
    """Two-point runs in several settings, and fits of the two effective rates."""

    settings: Annotated[list[Setting], Field(min_length=1)]
    seeds: Size
    """independent runs of every setting; run i draws from the streams (seed, i)"""
    records: Annotated[int, Field(ge=8)] = 51
    """equally spaced records of every run, the first before the first step"""
    loss_threshold: Positive = 0.01
    """a run counts as converged if its final loss is at most this"""
    dx2: Positive = 1
    """|dx|²: squared distance of the inputs"""
    dy2: Positive = 0.5
    """|dy|²: squared distance of the targets"""
    d_in: Size = 1
    """input dimension"""
    d_out: Size = 1
    """output dimension"""
    curves: bool = False
    """whether losses and fitted trajectories are recorded, not only fits"""
    layers: bool = False
    """whether every hidden layer of the first setting is recorded, and fitted"""
    controls: list[Control] = []
    """altered theories that are fitted to the first setting: no_encoder_term drops the
    encoder's part of d|dŷ|²/dt; doubled_encoder doubles d|dh|²/dt"""

    @model_validator(mode="after")
    def _can_be_recorded(self) -> Self:
        _check_names(self.settings)
        for setting in self.settings:
            if setting.steps < self.records - 1:
                raise ValueError(
                    f"settings: {setting.name} has fewer steps than {self.records} records"
                )
        return self


class TwoPointRuns(Parameters):
    """All two-point runs: an axis for architectures, and one for each of two numbers."""

    seed: MasterSeed = 0
    """master seed"""
    architecture: TwoPoints
    """architectures and activations; their names are the axis"""
    gain: TwoPoints
    """from rich to lazy: the gain of the initial weights"""
    width: TwoPoints
    """flexible networks behave alike: the width"""

    @model_validator(mode="after")
    def _numbers_differ(self) -> Self:
        for name in ("gain", "width"):
            settings = getattr(self, name).settings
            values = {getattr(setting, name) for setting in settings}
            if len(values) < len(settings):
                raise ValueError(f"{name}: two settings have the same {name}")
        return self


# ---- other tasks -----------------------------------------------------------------------


class Grid(Model):
    """One network for every pair of distances between inputs and between targets."""

    dx: Annotated[list[Positive], Field(min_length=2)]
    """|dx|"""
    dy: Annotated[list[NonNegative], Field(min_length=2)]
    """|dy|"""
    setting: Setting
    rates_of: str
    """setting of the two-point runs whose mean rates predict the final distances"""
    stop_loss: Positive = 1e-4
    """a run stops when its loss is below this"""
    loss_threshold: Positive = 1e-3
    """a run counts as converged if its final loss is at most this"""


class Xor(Model):
    """Networks that learn XOR; the loss is the mean squared error."""

    settings: Annotated[list[Setting], Field(min_length=1)]
    rates_of: str
    """setting of the two-point runs whose mean rates predict the final distances"""
    stop_loss: Positive = 1e-4
    """a run stops when its loss is below this"""
    loss_threshold: Positive = 0.01
    """a run counts as converged if its final loss is at most this"""

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        _check_names(self.settings)
        return self


class OtherTasks(SampledParameters):
    """Tasks that are predicted with rates fitted to the two-point runs.

    The grid has one network per cell; `seeds` are those of XOR.
    """

    grid: Grid
    xor: Xor


# ---- classes of images, and contexts ---------------------------------------------------


class Regime(Setting):
    """A setting of mini-batch training, by gradient descent or Adam."""

    optimiser: Literal["sgd", "adam"] = "sgd"


class Digits(SampledParameters):
    """Networks that learn classes of images, in mini-batches."""

    data: Literal["digits", "mnist"]
    part: Literal["all", "train"]
    """which images are learned: all of the data set, or its training set"""
    regimes: Annotated[list[Regime], Field(min_length=1)]
    """runs whose pairwise distances are recorded at the start and the end"""
    pair: Regime
    """run in which one image of class 0 and one of class 1 are followed"""
    batch: Size = 64
    """images per step"""
    per_class: Annotated[int, Field(ge=2)] = 10
    """images of every class among which distances are taken: the first of the data set"""
    records: Annotated[int, Field(ge=8)] = 41
    """equally spaced records of the pair"""
    loss_threshold: Positive = 0.03
    """a run counts as converged if its final loss on the images that distances are taken
    of, ½ mean over images and outputs, is at most this"""

    @model_validator(mode="after")
    def _are_dense(self) -> Self:
        for regime in (*self.regimes, self.pair):
            if regime.kind != "mlp":
                raise ValueError(f"regimes: {regime.name} must be an mlp")
        _check_names(list(self.regimes))
        return self


class Context(SampledParameters):
    """Networks that report the place of a blob along the axis that a context names."""

    pixels: Annotated[int, Field(ge=2)] = 5
    """pixels along each side of an image"""
    places: Annotated[int, Field(ge=2)]
    """places of a blob along each axis"""
    regimes: Annotated[list[Regime], Field(min_length=1)]
    batch: Size | None = None
    """samples per step; all if absent"""
    loss_threshold: Positive = 0.01
    """a run counts as converged if its final loss is at most this"""

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        _check_names(list(self.regimes))
        return self


class Experiment(Parameters):
    """All sections of one scale."""

    two_points: TwoPointRuns | None = None
    """two points: architectures, gains of the initial weights, and widths"""
    other_tasks: OtherTasks | None = None
    """other distances of inputs and targets; four points"""
    digits: Digits | None = None
    """classes of images"""
    context: Context | None = None
    """a feature that is relevant in one context only"""
