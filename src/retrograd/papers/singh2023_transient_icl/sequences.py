"""Sequences for training and evaluation, and how well they are completed.

A sequence has N pairs of an exemplar and a label, and the query, which comes last: arrays
of classes and labels are (sequence, N + 1), and the last label is the one to be said. The
label of class c is c mod the number of labels; classes of characters have a label each.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from retrograd.papers.singh2023_transient_icl.params import SYMBOLS, Sequences
from retrograd.randomness import stream

Array = NDArray[np.float64]
Integers = NDArray[np.int64]
EVALUATORS = ("train", "icl", "flip", "ciwl", "iwl")
OTHER, BURST, DISTRACTOR, QUERY = range(4)  # roles in a sequence


# ---- sequences ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Law:
    """How classes are drawn.

    Attributes:
        K: classes.
        labels: number of labels.
        zipf: exponent α of the probabilities ∝ (1 + class)^−α.
    """

    K: int
    labels: int
    zipf: float = 0

    def draw(self, rng: np.random.Generator, *shape: int) -> Integers:
        if not self.zipf:
            return rng.integers(self.K, size=shape)
        cumulative = np.cumsum(np.arange(1.0, self.K + 1) ** -self.zipf)
        place = rng.random(shape) * cumulative[-1]
        found: Integers = np.searchsorted(cumulative, place, side="right").astype(np.int64)
        return np.minimum(found, self.K - 1)

    def draw_other(self, rng: np.random.Generator, taken: Integers) -> Integers:
        """Classes (sequence,) without the labels of those `taken`, (sequence, any number).

        Only what is not allowed is drawn again.
        """
        found = self.draw(rng, len(taken))
        forbidden = taken % self.labels
        while True:
            bad = (forbidden == (found % self.labels)[:, None]).any(1)
            if not bad.any():
                return found
            found[bad] = self.draw(rng, int(bad.sum()))


@dataclass(frozen=True)
class Batch:
    """Sequences of classes, of exemplars within them, and labels, (sequence, N + 1)."""

    classes: Integers
    exemplar: Integers
    labels: Integers

    def rows(self, n_ex: int) -> Integers:
        """Rows of the exemplars in the table, when it is seen as (class · n_ex, D)."""
        return self.classes * n_ex + self.exemplar


def sample_bursty(
    rng: np.random.Generator, count: int, law: Law, sequences: Sequences
) -> tuple[Integers, Integers]:
    """Classes of training sequences, and their roles, both (sequence, N + 1).

    Bursty: b times the query's class, b times a distractor's with another label, and
    N − 2b of any class, in any order. Otherwise N of any class, in no role.
    """
    N, b = sequences.N, sequences.b
    query = law.draw(rng, count)
    classes = np.empty((count, N), np.int64)
    roles = np.full((count, N), OTHER)
    classes[:, :b] = query[:, None]
    classes[:, b : 2 * b] = law.draw_other(rng, query[:, None])[:, None]
    classes[:, 2 * b :] = law.draw(rng, count, N - 2 * b)
    roles[:, :b], roles[:, b : 2 * b] = BURST, DISTRACTOR
    if sequences.p_bursty < 1:
        plain = rng.random(count) >= sequences.p_bursty
        classes[plain] = law.draw(rng, int(plain.sum()), N)
        roles[plain] = OTHER
    order = rng.random((count, N)).argsort(1)
    classes, roles = (np.take_along_axis(a, order, 1) for a in (classes, roles))
    last = np.full((count, 1), QUERY)
    return np.hstack([classes, query[:, None]]), np.hstack([roles, last])


def training_batch(
    rng: np.random.Generator, count: int, law: Law, n_ex: int, sequences: Sequences
) -> Batch:
    """Training sequences; every position has an exemplar drawn on its own."""
    classes, _ = sample_bursty(rng, count, law, sequences)
    exemplar = rng.integers(n_ex, size=classes.shape)
    return Batch(classes, exemplar, classes % law.labels)


# ---- evaluators --------------------------------------------------------------------------


def evaluator(
    name: str, seed: int, count: int, law: Law, n_ex: int, sequences: Sequences
) -> Batch:
    """A fixed set of sequences, the same for all runs.

    train: as in training. icl: two classes, N/2 exemplars each, called 0 and 1 at random.
    flip: the same sequences, where either class has the other's label. iwl: neither the
    query's class nor its label is in the context, whose labels all differ. ciwl: the same
    sequences, but the query's label stands at one place of the context.
    """
    draw, purpose = _EVALUATORS[name]
    rng = stream(seed, 0, f"evaluator, {purpose}")
    return draw(rng, count, law, n_ex, sequences)


def _two_classes(
    rng: np.random.Generator, count: int, law: Law, n_ex: int, sequences: Sequences
) -> tuple[Batch, Integers]:
    """Sequences of two classes, and the class that the query is not of, (sequence, 1)."""
    N = sequences.N
    query = law.draw(rng, count)[:, None]
    other = law.draw_other(rng, query)[:, None]
    first = np.repeat([True, False], N // 2)
    of_query = rng.permuted(np.tile(first, (count, 1)), axis=1)
    classes = np.hstack([np.where(of_query, query, other), query])
    exemplar = rng.integers(n_ex, size=classes.shape)
    return Batch(classes, exemplar, classes % law.labels), other


def _icl(
    rng: np.random.Generator, count: int, law: Law, n_ex: int, sequences: Sequences
) -> Batch:
    batch, other = _two_classes(rng, count, law, n_ex, sequences)
    swapped = rng.integers(SYMBOLS, size=(count, 1))
    labels = (batch.classes == other) ^ swapped
    return Batch(batch.classes, batch.exemplar, labels.astype(np.int64))


def _flip(
    rng: np.random.Generator, count: int, law: Law, n_ex: int, sequences: Sequences
) -> Batch:
    batch, other = _two_classes(rng, count, law, n_ex, sequences)
    query = batch.classes[:, -1:]
    swapped = np.where(batch.classes == query, other, query)
    return Batch(batch.classes, batch.exemplar, swapped % law.labels)


def _iwl(
    rng: np.random.Generator, count: int, law: Law, n_ex: int, sequences: Sequences
) -> Batch:
    classes = law.draw(rng, count)[:, None]
    for _ in range(sequences.N):  # the query stays last
        classes = np.hstack([law.draw_other(rng, classes)[:, None], classes])
    exemplar = rng.integers(n_ex, size=classes.shape)
    return Batch(classes, exemplar, classes % law.labels)


def _ciwl(
    rng: np.random.Generator, count: int, law: Law, n_ex: int, sequences: Sequences
) -> Batch:
    batch = _iwl(rng, count, law, n_ex, sequences)
    labels, place = batch.labels.copy(), rng.integers(sequences.N, size=count)
    labels[np.arange(count), place] = labels[:, -1]
    return Batch(batch.classes, batch.exemplar, labels)


# Evaluators of one purpose draw from one stream, so they share their exemplars.
_Draw = Callable[[np.random.Generator, int, Law, int, Sequences], Batch]
_EVALUATORS: dict[str, tuple[_Draw, str]] = {
    "train": (training_batch, "as in training"),
    "icl": (_icl, "two classes"),
    "flip": (_flip, "two classes"),
    "ciwl": (_ciwl, "query's class absent"),
    "iwl": (_iwl, "query's class absent"),
}


# ---- how well sequences are completed ----------------------------------------------------


def metrics(logits: NDArray[np.floating], labels: Integers) -> dict[str, Array]:
    """Loss and accuracies, means over the sequences.

    Args:
        logits: of the query, (..., sequence, label).
        labels: (sequence, N + 1).

    Returns:
        loss: cross-entropy in nats. acc: the largest logit is the right one's. ctx_acc: the
        largest of the labels that are in the context. All (...,).
    """
    target = labels[:, -1]
    right = logits[..., np.arange(len(labels)), target].astype(float)
    largest = logits.max(-1)
    total = np.exp(logits - largest[..., None]).sum(-1, dtype=float)
    in_context = np.zeros(logits.shape[-2:], bool)
    np.put_along_axis(in_context, labels[:, :-1], True, 1)
    within = np.where(in_context, logits, -np.inf).argmax(-1)
    return {
        "loss": (np.log(total) + largest - right).mean(-1),
        "acc": (logits.argmax(-1) == target).mean(-1),
        "ctx_acc": (within == target).mean(-1),
    }
