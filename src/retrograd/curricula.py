"""Curricula of tasks in blocks: which task is on at every step, and when it switches.

A task is an index. What it stands for (a teacher, a way to label data) is an entry of the
paper's own table, which may hold composites of tasks too: `averaged`, `interleaved`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from retrograd.errors import RetrogradError

Array = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Curriculum:
    """Blocks of steps; within a block one task is on. `tasks` and `lengths` are (block,).

    A switch is the first step of a block other than the first, whether or not the task
    differs from the one before.
    """

    tasks: Integers
    lengths: Integers

    def __post_init__(self) -> None:
        tasks, lengths = (np.array(a, np.int64) for a in (self.tasks, self.lengths))
        if tasks.ndim != 1 or tasks.shape != lengths.shape or not len(tasks):
            raise RetrogradError("a curriculum needs one length per block, and a block")
        if lengths.min() < 1 or tasks.min() < 0:
            raise RetrogradError("a block needs at least one step, a task an index ≥ 0")
        for name, values in (("tasks", tasks), ("lengths", lengths)):
            values.flags.writeable = False
            object.__setattr__(self, name, values)

    @property
    def steps(self) -> int:
        """Length of the whole."""
        return int(self.lengths.sum())

    @property
    def starts(self) -> Integers:
        """First step of every block, (block,)."""
        return np.cumsum(self.lengths) - self.lengths

    @property
    def last_steps(self) -> Integers:
        """Last step of every block, (block,)."""
        return np.cumsum(self.lengths) - 1

    def block_at(self, steps: ArrayLike) -> Integers:
        """The block that each of `steps` lies in; the last one from its start onwards."""
        found: Integers = np.searchsorted(self.starts, steps, side="right") - 1
        if np.min(found, initial=0) < 0:
            raise RetrogradError("a curriculum starts at step 0")
        return found

    def task_at(self, steps: ArrayLike) -> Integers:
        """The task of each of `steps`."""
        found: Integers = self.tasks[self.block_at(steps)]
        return found

    def task_of_every_step(self) -> Integers:
        """(step,)."""
        return np.repeat(self.tasks, self.lengths)

    def then(self, following: Self) -> Self:
        """This curriculum, and after it another."""
        return type(self)(
            np.concatenate([self.tasks, following.tasks]),
            np.concatenate([self.lengths, following.lengths]),
        )

    def first(self, steps: int) -> Self:
        """The first `steps` steps; the last block may be cut short."""
        self._check_has(steps)
        kept = self.starts < steps
        lengths = np.minimum(self.lengths, steps - self.starts)[kept]
        return type(self)(self.tasks[kept], lengths)

    def last(self, steps: int) -> Self:
        """The last `steps` steps; the first block may be cut short."""
        self._check_has(steps)
        ends = np.cumsum(self.lengths[::-1])[::-1]  # steps from a block's start to the end
        remaining = np.minimum(self.lengths, steps - (ends - self.lengths))
        kept = remaining > 0
        return type(self)(self.tasks[kept], remaining[kept])

    def after_switches(self, offsets: ArrayLike) -> Integers:
        """Steps that lie `offsets` steps after the start of any block, and within it.

        Increasing, each once.
        """
        offset = np.asarray(offsets, np.int64)
        within = (offset >= 0) & (offset < self.lengths[:, None])
        return np.unique((self.starts[:, None] + offset)[within])

    def _check_has(self, steps: int) -> None:
        if not 1 <= steps <= self.steps:
            raise RetrogradError(f"a curriculum of {self.steps} steps has no {steps} steps")


# ---- curricula -------------------------------------------------------------------------


def steps_of(duration: float, dt: float) -> int:
    """Steps of length dt in a duration, which must be a whole number of them.

    Rounded, never floored: 0.6 / 1e-3 is 599.99... in floating point.
    """
    steps = round(duration / dt)
    if steps < 1 or abs(steps * dt - duration) > 1e-6 * duration:
        raise RetrogradError(
            f"a duration of {duration:g} is no whole number of steps of {dt:g}"
        )
    return steps


def cyclic(tasks: Sequence[int], blocks: int, length: int, start: int = 0) -> Curriculum:
    """Blocks of equal length; block b has task number (start + b) mod len(tasks)."""
    of_block = (start + np.arange(blocks)) % len(tasks)
    return Curriculum(np.asarray(tasks)[of_block], np.full(blocks, length))


def side_by_side(curricula: Sequence[Curriculum]) -> Integers:
    """Tasks of several curricula at every step of them all, (curriculum, step)."""
    lengths = {c.steps for c in curricula}
    if len(lengths) != 1:
        raise RetrogradError(f"curricula of unequal lengths {sorted(lengths)}; cut them")
    return np.stack([c.task_of_every_step() for c in curricula])


# ---- composite tasks -------------------------------------------------------------------


def averaged(targets: Array, parts: Sequence[Sequence[int]]) -> Array:
    """Composite tasks that are means of others: task composition.

    Args:
        targets: of the tasks, (task, ...).
        parts: which tasks each composite is the mean of.

    Returns:
        (composite, ...).
    """
    return np.stack([targets[list(part)].mean(0) for part in parts])


def interleaved(targets: Array, parts: Sequence[Sequence[int]]) -> Array:
    """Composite tasks that take their outputs from others in turn: subtask composition.

    Output i of a composite is that of its part number i mod (number of parts).

    Args:
        targets: of the tasks, (task, output, ...).
        parts: which tasks each composite is made of.

    Returns:
        (composite, output, ...).
    """
    outputs = np.arange(targets.shape[1])
    return np.stack(
        [targets[np.take(part, outputs % len(part)), outputs] for part in parts]
    )


# ---- what happens in blocks ------------------------------------------------------------


def in_blocks(curriculum: Curriculum, steps: Integers) -> Iterator[slice]:
    """Block by block, which of the recorded `steps` (increasing) lie in it."""
    bounds = np.searchsorted(steps, np.append(curriculum.starts, curriculum.steps))
    yield from (slice(*pair) for pair in pairwise(bounds))


def steps_until(
    reached: NDArray[np.bool_], curriculum: Curriculum, steps: Integers
) -> Array:
    """Steps from the start of each block until something is first found reached.

    Args:
        reached: whether it is, at the recorded steps, (..., record).
        curriculum: the blocks.
        steps: recorded steps, increasing, (record,).

    Returns:
        (..., block); the length of the block if it is not reached within it.
    """
    found = np.empty((*reached.shape[:-1], len(curriculum.lengths)))
    for block, records in enumerate(in_blocks(curriculum, steps)):
        never = np.ones_like(reached[..., :1])
        first = np.concatenate([reached[..., records], never], axis=-1).argmax(-1)
        after = np.append(
            steps[records] - curriculum.starts[block], curriculum.lengths[block]
        )
        found[..., block] = after[first]
    return found
