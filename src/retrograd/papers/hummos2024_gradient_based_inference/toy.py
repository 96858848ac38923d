"""The toy task: a stream of Gaussian observations whose mean switches between blocks.

x_t = mu_k(t) + sigma · eps_t. Streams for training and for tests, and statistics of what a
network made of them. Numbers only: networks are in train_toy.py, the observer in theory.py.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from retrograd.curricula import Curriculum, cyclic, in_blocks
from retrograd.papers.hummos2024_gradient_based_inference.params import Toy
from retrograd.randomness import stream

Array = NDArray[np.float64]
Integers = NDArray[np.int64]
TASKS = 2


@dataclass(frozen=True)
class Stream:
    """Observations x (step,) of a curriculum."""

    x: Array
    curriculum: Curriculum

    @property
    def task(self) -> Integers:
        return self.curriculum.task_of_every_step()


def training_stream(params: Toy, run: int) -> Stream:
    """The stream of one run, `blocks` blocks long."""
    rng = stream(params.seed, run, "toy stream")
    return _observed(params, switching(params, params.blocks, rng), rng)


def random_labels(params: Toy, run: int, observed: Stream) -> Integers:
    """A task per block that has nothing to do with the block's own, (step,)."""
    rng = stream(params.seed, run, "random labels")
    curriculum = observed.curriculum
    return np.repeat(rng.integers(TASKS, size=params.blocks), curriculum.lengths)


def new_stream(params: Toy, run: int) -> Stream:
    """The end of another such stream, `new_steps` long, for one-step inference."""
    rng = stream(params.seed, run, "new toy stream")
    blocks = -(-params.new_steps // params.block_min)
    curriculum = switching(params, blocks, rng).last(params.new_steps)
    return _observed(params, curriculum, rng)


def switching(params: Toy, blocks: int, rng: np.random.Generator) -> Curriculum:
    """Blocks of the two tasks in turn, of random lengths; the last one has task 0."""
    lengths = params.block_min + rng.geometric(1 / params.block_scale, blocks)
    tasks = (blocks - 1 - np.arange(blocks)) % TASKS
    return Curriculum(tasks, np.minimum(lengths, params.block_max))


def test_streams(params: Toy, run: int) -> Array:
    """One stream per test mean, (mean, step)."""
    shape = (len(params.test_means), params.test_steps)
    noise = stream(params.seed, run, "test streams").standard_normal(shape)
    return np.array(params.test_means)[:, None] + params.sigma * noise


def switching_test(params: Toy, run: int) -> Stream:
    """Blocks of equal length, the last one of task 0."""
    blocks = params.switch_blocks
    curriculum = cyclic(range(TASKS), blocks, params.switch_steps, start=blocks + 1)
    return _observed(params, curriculum, stream(params.seed, run, "switching test"))


def probe_histories(params: Toy, run: int) -> Array:
    """Windows drawn from task 0, then from task 1, (history, step)."""
    shape = (TASKS, params.histories, params.window)
    noise = stream(params.seed, run, "probe histories").standard_normal(shape)
    x = np.array(params.mu)[:, None, None] + params.sigma * noise
    return x.reshape(-1, params.window)


def probes(params: Toy) -> Array:
    """Values that follow a history, (probe,)."""
    return np.linspace(*params.probe_range, params.probes)


def _observed(params: Toy, curriculum: Curriculum, rng: np.random.Generator) -> Stream:
    mean = np.array(params.mu)[curriculum.task_of_every_step()]
    noise = rng.standard_normal(curriculum.steps)
    return Stream(mean + params.sigma * noise, curriculum)


# ---- statistics of training --------------------------------------------------------------


def block_means(values: Array, curriculum: Curriculum, steps: Integers, skip: int) -> Array:
    """Means over the steps of each block, but its first `skip`.

    Args:
        values: at the recorded steps, (..., record).
        curriculum: the blocks.
        steps: recorded, increasing, (record,).
        skip: so many steps of a block are left out; fewer than its length.

    Returns:
        (..., block).
    """
    late = steps - curriculum.starts[curriculum.block_at(steps)] >= skip
    kept = values[..., late]
    return np.stack(
        [kept[..., block].mean(-1) for block in in_blocks(curriculum, steps[late])], -1
    )


def engaged_units(
    hidden: NDArray[np.float32],
    curriculum: Curriculum,
    steps: Integers,
    bin_blocks: int,
    threshold: float,
) -> tuple[Integers, Integers]:
    """Units whose task variance exceeds a threshold: in both tasks, and in either.

    The task variance of a unit is the population variance of its activity within a
    block, averaged over the blocks of a task in a bin of consecutive blocks.

    Args:
        hidden: activity at the recorded steps, (record, unit).
        curriculum: the blocks.
        steps: recorded, increasing, (record,).
        bin_blocks: blocks of a bin; the bins end with the stream.
        threshold: of the task variance.

    Returns:
        Two counts, each (bin,).
    """
    variance = np.stack([hidden[b].var(0) for b in in_blocks(curriculum, steps)])
    bins = len(variance) // bin_blocks
    first = len(variance) - bins * bin_blocks
    of_bin = variance[first:].reshape(bins, bin_blocks, -1)
    task = curriculum.tasks[first:].reshape(bins, bin_blocks)
    engaged = np.stack(
        [
            [v[on == k].mean(0) > threshold for v, on in zip(of_bin, task, strict=True)]
            for k in range(TASKS)
        ]
    )
    return engaged.all(0).sum(-1), engaged.any(0).sum(-1)


def shared_ratio(both: Array, either: Array) -> Array:
    """Engaged in both over engaged in either; 0 where no unit is engaged."""
    return np.divide(both, either, out=np.zeros(np.shape(both)), where=either > 0)


def after_switch(values: Array, curriculum: Curriculum, first: int) -> Array:
    """Means over the switches by lag; lag 0 is the first step of a block.

    Args:
        values: at the steps from `first` on, (..., step).
        curriculum: blocks of equal length; the first of them follows no switch.
        first: not after the first switch.

    Returns:
        (..., lag).
    """
    length = int(curriculum.lengths[0])
    blocks = values[..., length - first :]
    found: Array = blocks.reshape(*values.shape[:-1], -1, length).mean(-2)
    return found
