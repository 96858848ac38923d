"""Random streams: their own numbers, whoever else draws."""

import hypothesis.strategies as st
import numpy as np
from hypothesis import given, settings

from retrograd.randomness import stream

SEEDS = st.integers(0, 2**63 - 1)
NAMES = st.tuples(SEEDS, st.integers(0, 1000), st.text(max_size=8))


@settings(max_examples=50, deadline=None)
@given(name=NAMES, split=st.integers(0, 20))
def test_a_stream_is_a_function_of_its_name_however_it_is_drawn(
    name: tuple[int, int, str], split: int
) -> None:
    whole = stream(*name).standard_normal(20)
    rng = stream(*name)
    parts = [rng.standard_normal(split), rng.standard_normal(20 - split)]
    np.testing.assert_array_equal(whole, np.concatenate(parts))


@settings(max_examples=50, deadline=None)
@given(one=NAMES, other=NAMES)
def test_other_names_give_other_numbers(
    one: tuple[int, int, str], other: tuple[int, int, str]
) -> None:
    same = (stream(*one).standard_normal(4) == stream(*other).standard_normal(4)).all()
    assert same == (one == other)


def test_neighbouring_streams_are_uncorrelated() -> None:
    draws = np.array([stream(0, run, "x").standard_normal(20_000) for run in range(5)])
    off_diagonal = np.corrcoef(draws)[np.triu_indices(5, 1)]
    assert abs(off_diagonal).max() < 4 / np.sqrt(20_000)
