"""Parameters of Hummos et al. 2024. Losses of words are in nats, others squared errors."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from retrograd.parameters import (
    NonNegative,
    Parameters,
    Positive,
    SampledParameters,
    Size,
)


class Toy(SampledParameters):
    """A network that predicts a stream whose mean switches between two tasks."""

    mu: tuple[float, float]
    """mean of the observations in task 0 and in task 1"""
    sigma: Positive
    """their standard deviation in either task"""
    blocks: Annotated[int, Field(ge=2)]
    """blocks of training"""
    block_min: Size = 20
    """a block is block_min + G steps long, at most block_max; G is geometric"""
    block_scale: Annotated[float, Field(ge=1)] = 30
    """mean of G in steps"""
    block_max: Size = 100
    """longest block in steps"""
    H: Size
    """hidden units"""
    window: Annotated[int, Field(ge=2)]
    """observations that a prediction is made from (w)"""
    rate: Positive
    """of Adam"""
    dropped: Annotated[int, Field(ge=0)] = 20
    """predictions at the start of a block that some statistics leave out"""
    early_blocks: Size = 15
    """first blocks of training, over which learning is compared"""
    bin_blocks: Annotated[int, Field(ge=2)] = 5
    """blocks over which a task variance is averaged"""
    engaged: Positive = 3e-4
    """a unit is engaged in a task if its task variance exceeds this"""
    test_means: Annotated[list[float], Field(min_length=2)]
    """means of the test streams; both of mu among them"""
    test_steps: Size = 80
    """length of a test stream"""
    test_from: Size = 30
    """step from which predictions of a test stream count"""
    switch_blocks: Annotated[int, Field(ge=2)] = 8
    """blocks of the switching test"""
    switch_steps: Size = 40
    """length of each"""
    eta: Positive = 1.0
    """step size of gradient descent on Z"""
    eta_softmax: Positive = 5.0
    """the same on ζ, where Z = softmax(ζ)"""
    penalty: NonNegative = 0
    """L2 penalty that draws Z to its start (λ)"""
    histories: Size = 3
    """windows per task that are followed by a probe"""
    probes: Annotated[int, Field(ge=3)] = 29
    """probe values"""
    probe_range: tuple[float, float] = (-0.2, 1.2)
    """first and last probe value"""
    new_steps: Size = 260
    """length of the stream for one-step inference"""
    hazard: Annotated[float, Field(gt=0, lt=1)] = 1 / 48
    """probability of a switch per step that the Bayesian observer assumes (h)"""
    floor_blocks: Size = 2000
    """blocks over which the observer's error is averaged"""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.block_min < self.dropped:
            raise ValueError("dropped must be at most block_min")
        if self.block_min < self.window or self.switch_steps <= self.window:
            raise ValueError("window must be at most block_min and less than switch_steps")
        if not self.window < self.test_steps > self.test_from >= self.window:
            raise ValueError("test_from must lie between window and test_steps")
        if not set(self.mu) <= set(self.test_means):
            raise ValueError("test_means must contain both of mu")
        if min(self.blocks, self.early_blocks) < self.bin_blocks:
            raise ValueError("blocks and early_blocks must be at least bin_blocks")
        return self


class Identities(SampledParameters):
    """Random instances of the exact cases."""

    tasks: Annotated[int, Field(ge=2)]
    """K"""
    outputs: Size
    """dimension of x"""
    sigma: Positive
    """standard deviation of the noise"""


ImageSet = Literal["digits", "mnist", "cifar100"]
OutsideSet = Literal["photographs", "fashion_mnist", "cifar10"]


class Autoencoder(Parameters):
    """What differs between the autoencoders of one seed."""

    d: Size
    """units of the code"""
    task_input: bool = True
    """whether the decoder gets the class in training, or zeros"""


class Images(SampledParameters):
    """Class-conditioned autoencoders, and classifiers that share their encoder."""

    images: ImageSet
    """digits come with scikit-learn; the others are fetched"""
    outside: OutsideSet
    """out of distribution: patches of scikit-learn's photographs as large as
    a digit, or images of other things, which are fetched"""
    H: Size
    """hidden units of encoder and decoder, each"""
    autoencoders: Annotated[dict[str, Autoencoder], Field(min_length=1)]
    """by name, one condition each"""
    classifiers: bool = True
    """train the comparison classifier too"""
    epochs: Size
    """passes through the training images"""
    batch: Size = 128
    """images per step; the rest of an epoch is dropped"""
    rate: Positive = 1e-3
    """of Adam"""
    train_images: Size | None = None
    """first so many training images; all if absent"""
    inference_steps: Size = 30
    """gradient steps of iterative inference"""
    eta: Positive = 0.3
    """their size, on ζ where z = softmax(ζ)"""
    outside_images: Size = 10_000
    """out-of-distribution images, at most"""


class Language(SampledParameters):
    """LSTM language models with and without the identity of the data set as input."""

    corpora: Literal["grammars", "text"]
    """ten languages from random grammars, or the corpora of the data set `text`"""
    tokens: tuple[Size, Size]
    """training and test tokens of a corpus"""
    picks: Annotated[list[list[str]], Field(min_length=1)]
    """data sets that run i is trained on; as many as there are seeds"""
    novel: Annotated[list[list[str]], Field(min_length=1)]
    """data sets that it is adapted to"""
    V: Annotated[int, Field(ge=2)]
    """words of the vocabulary, <unk> among them"""
    E: Size
    """dimension of the embedding"""
    H: Size
    """hidden units"""
    gain: Positive = 5.0
    """of the task input (c)"""
    T: Size
    """words that a window predicts"""
    batch: Size
    """windows per step, the same number of every data set"""
    rate: Positive = 5e-3
    """of Adam"""
    steps: Size
    """of training"""
    evaluate_every: Size
    """steps between evaluations"""
    test_windows: Size = 40
    """fixed test windows per data set"""
    words: Annotated[list[Size], Field(min_length=2)]
    """numbers of words that one-pass inference sees"""
    adapt_steps: Size = 40
    """Adam steps on z for a novel data set"""
    adapt_rate: Positive = 0.1
    """their rate"""
    adapt_batch: Size = 24
    """windows per such step"""
    adapt_windows: Size = 96
    """fixed test windows of a novel data set"""
    adapt_every: Size = 10
    """steps between records"""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        for name, sets in (("picks", self.picks), ("novel", self.novel)):
            if len(sets) != self.seeds:
                raise ValueError(f"{name}: one list per seed, {self.seeds}")
            if len({len(names) for names in sets}) != 1:
                raise ValueError(f"{name}: the lists must be of equal length")
        if any(set(p) & set(n) for p, n in zip(self.picks, self.novel, strict=True)):
            raise ValueError("novel: a data set that the run is trained on is not novel")
        if self.batch % len(self.picks[0]):
            raise ValueError("batch must be a multiple of the data sets of a pick")
        if max(self.words) > self.T:
            raise ValueError("words: a window has only T words")
        if min(self.tokens) <= self.T:
            raise ValueError("tokens: a part is shorter than one window")
        if self.adapt_steps % self.adapt_every:
            raise ValueError("adapt_steps must be a multiple of adapt_every")
        return self


class Experiment(Parameters):
    """All sections of one scale."""

    toy: Toy | None = None
    """the switching stream"""
    identities: Identities | None = None
    """the exact cases"""
    image: Images | None = None
    """inference and out-of-distribution detection, also widths of the code, on
    digits that are at hand"""
    image_real: Images | None = None
    """inference and out-of-distribution detection, on MNIST"""
    image_real_sweep: Images | None = None
    """widths of the code, on MNIST"""
    image_cifar: Images | None = None
    """inference, on CIFAR-100"""
    language: Language | None = None
    """ten generated languages"""
    language_real: Language | None = None
    """ten corpora"""
