"""Curricula of tasks in blocks."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from retrograd import curricula
from retrograd.curricula import Curriculum, cyclic
from retrograd.errors import RetrogradError


@st.composite
def some_curriculum(draw: st.DrawFn) -> Curriculum:
    blocks = draw(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 9)), min_size=1))
    tasks, lengths = zip(*blocks, strict=True)
    return Curriculum(np.array(tasks), np.array(lengths))


def test_cyclic_blocks_alternate() -> None:
    found = cyclic([0, 1], 3, 2)
    assert found.task_of_every_step().tolist() == [0, 0, 1, 1, 0, 0]
    assert found.steps == 6
    assert found.starts.tolist() == [0, 2, 4]
    assert found.last_steps.tolist() == [1, 3, 5]


def test_a_cycle_may_start_anywhere_and_have_any_tasks() -> None:
    # Composites number b mod 3 in blocks b = 23, 24, 25: CA, AB, BC.
    assert cyclic([3, 4, 5], 3, 1, start=23).tasks.tolist() == [5, 3, 4]


@given(some_curriculum())
def test_blocks_and_tasks_of_steps_agree_with_the_list_of_every_step(
    curriculum: Curriculum,
) -> None:
    steps = np.arange(curriculum.steps)
    every = curriculum.task_of_every_step()
    np.testing.assert_array_equal(curriculum.task_at(steps), every)
    block = np.repeat(np.arange(len(curriculum.tasks)), curriculum.lengths)
    np.testing.assert_array_equal(curriculum.block_at(steps), block)


@given(some_curriculum(), st.data())
def test_a_curriculum_cut_at_either_end_is_a_piece_of_its_steps(
    curriculum: Curriculum, data: st.DataObject
) -> None:
    steps = data.draw(st.integers(1, curriculum.steps))
    every = curriculum.task_of_every_step()
    for cut, expected in (
        (curriculum.first(steps), every[:steps]),
        (curriculum.last(steps), every[-steps:]),
    ):
        np.testing.assert_array_equal(cut.task_of_every_step(), expected)


@given(some_curriculum(), some_curriculum())
def test_one_curriculum_after_another_joins_their_steps(
    one: Curriculum, other: Curriculum
) -> None:
    joined = one.then(other).task_of_every_step()
    parts = one.task_of_every_step(), other.task_of_every_step()
    np.testing.assert_array_equal(joined, np.concatenate(parts))


@given(some_curriculum(), st.lists(st.integers(-2, 12)))
def test_steps_after_switches_lie_within_their_blocks(
    curriculum: Curriculum, offsets: list[int]
) -> None:
    found = curriculum.after_switches(offsets)
    expected = {
        start + offset
        for start, length in zip(curriculum.starts, curriculum.lengths, strict=True)
        for offset in offsets
        if 0 <= offset < length
    }
    assert found.tolist() == sorted(expected)


@pytest.mark.parametrize(
    ("duration", "dt", "steps"),
    [(0.4, 1e-3, 400), (0.6, 1e-3, 600), (0.8, 1e-3, 800), (1, 1e-3, 1000), (1, 1e-2, 100)],
)
def test_steps_are_rounded_not_floored(duration: float, dt: float, steps: int) -> None:
    # Floor division of floats gives 599 and 999 for some of these.
    assert curricula.steps_of(duration, dt) == steps


@pytest.mark.parametrize(("duration", "dt"), [(1, 0.3), (1e-3, 1)])
def test_a_duration_that_is_no_number_of_steps_is_refused(
    duration: float, dt: float
) -> None:
    with pytest.raises(RetrogradError, match="no whole number of steps"):
        curricula.steps_of(duration, dt)


def test_wrong_curricula_are_refused() -> None:
    for tasks, lengths in (([], []), ([0], [1, 2]), ([0], [0]), ([-1], [1])):
        with pytest.raises(RetrogradError, match="block"):
            Curriculum(np.array(tasks), np.array(lengths))
    short = cyclic([0, 1], 2, 3)
    for steps in (0, 7):
        with pytest.raises(RetrogradError, match="a curriculum of 6 steps"):
            short.first(steps)
    with pytest.raises(RetrogradError, match="starts at step 0"):
        short.block_at(-1)
    with pytest.raises(RetrogradError, match=r"unequal lengths \[3, 6\]"):
        curricula.side_by_side([short, short.first(3)])


def test_curricula_side_by_side_keep_their_own_blocks() -> None:
    found = curricula.side_by_side([cyclic([0, 1], 2, 2), cyclic([0, 1], 4, 1)])
    assert found.tolist() == [[0, 0, 1, 1], [0, 1, 0, 1]]


def test_a_curriculum_cannot_be_changed() -> None:
    lengths = np.array([2, 2])
    found = Curriculum(np.array([0, 1]), lengths)
    lengths[0] = 5
    assert found.steps == 4
    with pytest.raises(ValueError, match="read-only"):
        found.tasks[0] = 3


def test_composites_are_means_or_take_outputs_in_turn() -> None:
    targets = np.random.default_rng(0).standard_normal((3, 4, 5))
    (mean,) = curricula.averaged(targets, [(0, 2)])
    np.testing.assert_allclose(mean, 0.5 * targets[0] + 0.5 * targets[2])
    taken = curricula.interleaved(targets, [(1, 2), (2, 0)])
    np.testing.assert_array_equal(taken[0, ::2], targets[1, ::2])
    np.testing.assert_array_equal(taken[0, 1::2], targets[2, 1::2])
    np.testing.assert_array_equal(taken[1, ::2], targets[2, ::2])
    np.testing.assert_array_equal(taken[1, 1::2], targets[0, 1::2])


def test_time_until_something_is_counted_from_the_start_of_each_block() -> None:
    curriculum = Curriculum(np.array([0, 1, 0]), np.array([4, 4, 4]))
    steps = np.arange(12)
    reached = np.isin(steps, [2, 3, 4, 11])
    both = np.stack([reached, ~reached])
    found = curricula.steps_until(both, curriculum, steps)
    # Block by block; within its first step, at its last one, never.
    np.testing.assert_array_equal(found, [[2, 0, 3], [0, 1, 0]])
    never = curricula.steps_until(np.zeros(12, bool), curriculum, steps)
    np.testing.assert_array_equal(never, [4, 4, 4])


def test_time_until_something_may_be_sparsely_recorded() -> None:
    curriculum = cyclic([0, 1], 2, 10)
    steps = np.array([0, 5, 10, 15, 20])  # the last one lies after the end
    reached = np.array([False, True, False, False, True])
    found = curricula.steps_until(reached, curriculum, steps)
    np.testing.assert_array_equal(found, [5, 10])
