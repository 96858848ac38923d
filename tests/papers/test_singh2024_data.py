"""Singh et al. 2024: classes, label pairs, sequences, and how conditions are written."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from retrograd import data_table
from retrograd.config import load_paper
from retrograd.errors import RetrogradError
from retrograd.papers.singh2024_induction_heads import data
from retrograd.papers.singh2024_induction_heads.params import condition
from singh2024_setup import SLUG, training

few = settings(max_examples=20, deadline=None)


def test_t1_the_number_of_distinct_training_sequences() -> None:
    pairs, _ = data.label_pairs(0, 5)
    K = 4
    drawn = data.draw(np.random.default_rng(0), (20_000,), range(K), pairs)
    rows = np.concatenate([drawn.classes, drawn.labels], 1)
    distinct = len(np.unique(rows, axis=0))
    assert distinct == K * (K - 1) * 2 * len(pairs) * 2
    # The formula, which was just seen to hold, at the paper's size.
    assert 50 * 49 * 2 * len(pairs) * 2 == 78_400


def test_sequences_are_uniform() -> None:
    drawn = data.draw(np.random.default_rng(1), (40_000,), range(3), np.array([[0, 1]]))
    counts = np.bincount(drawn.classes[:, 2], minlength=3) / 40_000
    np.testing.assert_allclose(counts, 1 / 3, atol=0.01)
    for bits in (drawn.match, drawn.target):
        assert bits.mean() == pytest.approx(0.5, abs=0.01)
    both = (drawn.match == 0) & (drawn.target == 0)
    assert both.mean() == pytest.approx(0.25, abs=0.01)


@few
@given(st.integers(0, 100), st.integers(2, 12), st.integers(0, 5))
def test_one_class_in_context_is_the_querys_and_its_label_the_answer(
    seed: int, K: int, first: int
) -> None:
    pairs = np.array([[0, 3], [1, 2]])
    drawn = data.draw(np.random.default_rng(seed), (3, 7), range(first, first + K), pairs)
    context, query = drawn.classes[..., :2], drawn.classes[..., 2]
    equal = context == query[..., None]
    assert (equal.sum(-1) == 1).all()
    np.testing.assert_array_equal(equal.argmax(-1), drawn.match)
    np.testing.assert_array_equal(drawn.labels[equal], drawn.target.ravel())
    assert set(map(tuple, np.sort(drawn.labels, -1).reshape(-1, 2).tolist())) <= {
        (0, 3),
        (1, 2),
    }
    assert drawn.classes.min() >= first
    assert drawn.classes.max() < first + K


@pytest.mark.parametrize(
    ("L", "trained", "rest"), [(3, 2, 1), (5, 8, 2), (10, 36, 9), (15, 84, 21)]
)
def test_label_pairs_are_split_and_every_label_is_trained(
    L: int, trained: int, rest: int
) -> None:
    for seed in range(5):
        parts = data.label_pairs(seed, L)
        assert [len(part) for part in parts] == [trained, rest]
        assert len(np.unique(parts[0])) == L
        assert len(np.unique(np.concatenate(parts), axis=0)) == L * (L - 1) // 2
    assert (data.label_pairs(0, 15)[0] != data.label_pairs(1, 15)[0]).any()


def test_gaussian_classes_share_a_mean_and_are_nested() -> None:
    params = training(D=2000, novel=30)
    x = data.class_vectors(params, 20).astype(float)
    assert x.shape == (50, 2000)
    assert (x**2).mean() == pytest.approx(1, abs=0.05)
    cosine = np.corrcoef(x)[~np.eye(50, dtype=bool)].mean()
    assert cosine == pytest.approx(0.7, abs=0.02)
    np.testing.assert_array_equal(x[:35], data.class_vectors(params, 5))
    other = data.class_vectors(training(D=2000, novel=30, seed=1), 20)
    assert abs(np.corrcoef(x[0], other[0])[0, 1]) < 0.1


def test_evaluation_sets_are_what_they_are_called() -> None:
    params = training()
    sets = data.evaluation(params, 10, 4, 500)
    trained, held_out = (set(map(tuple, p.tolist())) for p in data.label_pairs(0, 4))
    known = set(data.trained_classes(params, 10))
    expected = {
        "train": (known, trained),
        "relabel": (known, held_out),
        "newclass": (set(range(6)), trained),
    }
    for name, (classes, pairs) in expected.items():
        found = sets[name]  # type: ignore[index]
        assert set(found.classes.ravel().tolist()) == classes
        assert len(found.match) == 500
        for bits in (found.match, (found.target == found.labels.max(1))):
            assert bits.mean() == 0.5
        assert set(map(tuple, np.sort(found.labels, 1).tolist())) == pairs
        again = data.evaluation(params, 10, 4, 500)[name]  # type: ignore[index]
        np.testing.assert_array_equal(again.labels, found.labels)


def test_counterbalancing_leaves_every_sequence_valid_and_no_side_preferred() -> None:
    pairs, _ = data.label_pairs(0, 5)
    drawn = data.draw(np.random.default_rng(2), (9,), range(6), pairs)
    four = data.counterbalanced(drawn)
    np.testing.assert_array_equal(four.classes[:9], drawn.classes)
    equal = four.classes[:, :2] == four.classes[:, 2:]
    np.testing.assert_array_equal(equal.argmax(1), four.match)
    assert equal.sum() == 36
    for i in range(9):
        versions = {
            (*four.classes[j].tolist(), *four.labels[j].tolist()) for j in range(i, 36, 9)
        }
        assert len(versions) == 4
        places, answers = four.match[i::9], four.target[i::9]
        assert places.sum() == 2
        assert (
            set(answers[places == 0]) == set(answers[places == 1]) == set(drawn.labels[i])
        )


def test_real_characters_take_the_place_of_generated_classes() -> None:
    if not data_table.at_hand("omniglot"):
        pytest.skip("Omniglot is not at hand")
    params = training(data="omniglot", D=128, novel=100)
    x = data.class_vectors(params, 50)
    assert x.shape == (150, 128)
    assert len(np.unique(x, axis=0)) == 150
    np.testing.assert_array_equal(x[:110], data.class_vectors(params, 10))
    with pytest.raises(RetrogradError, match=r"have 242 characters, not 100 \+ 200"):
        data.class_vectors(params, 200)


# ---- conditions --------------------------------------------------------------------------


def test_conditions_are_read() -> None:
    found = condition("match s=0.9 L=10")
    assert (found.circuit, found.strength, found.L, found.K) == ("match", 0.9, 10, None)
    assert condition("only 3").head == 3
    assert condition("layer1+copy K=200").K == 200


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("mach", "unknown circuit"),
        ("only", "write it as 'only h'"),
        ("none s=0.5", "'s=0.5' is none of"),
        ("none K=2", "'K=2' is none of"),
        ("match s=1.5", "from 0 to 1"),
    ],
)
def test_conditions_that_make_no_sense_are_refused(text: str, problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        training(text)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"H": 3}, "same even number"),
        ({"steps": 15}, "multiple of every"),
        ({"measure": ["match"]}, "needs the condition 'none'"),
    ],
)
def test_experiments_that_do_not_fit_are_refused(
    changes: dict[str, Any], problem: str
) -> None:
    with pytest.raises(ValidationError, match=problem):
        training(**changes)
    with pytest.raises(ValidationError, match="'only 4': there are 4 heads"):
        training("only 4")
    with pytest.raises(ValidationError, match="given twice"):
        training("all", "all")


def test_the_paper_and_the_laptop_have_the_sizes_of_the_specification() -> None:
    scales = load_paper(SLUG, seed=0).scales
    laptop, published = scales["laptop"].all, scales["published"].all
    for params in (laptop, published):
        assert (params.K, params.L, params.d, params.H, params.batch) == (50, 5, 64, 8, 32)
    assert (laptop.D, laptop.rho, laptop.lr, laptop.seeds) == (128, 0.7, 2e-4, 3)
    assert (published.D, published.lr) == (512, 1e-5)
    assert published.batches[0].steps * published.batch == 1_000_000
