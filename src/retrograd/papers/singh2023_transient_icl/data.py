"""Exemplars, sequences of them for training and evaluation, and two hand-made oracles.

A sequence has N pairs of an exemplar and a label, and the query, which comes last: arrays of
exemplars and labels are (sequence, N + 1), and the last label is the one to be said. The
label of class c is c mod the number of labels; classes of characters have a label each.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from retrograd.papers.singh2023_transient_icl.params import (
    SYMBOLS,
    Mixture,
    Sequences,
    Training,
)
from retrograd.products import variable
from retrograd.randomness import stream

Array = NDArray[np.float64]
Integers = NDArray[np.int64]
Numbers = NDArray[np.float32]
EVALUATORS = ("train", "icl", "flip", "ciwl", "iwl")
OTHER, BURST, DISTRACTOR, QUERY = range(4)  # roles in a sequence


# ---- exemplars ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Exemplars:
    """All exemplars of all classes.

    Attributes:
        table: (class, exemplar, D), float32; the label code, if any, at unit scale.
        labels: number of labels.
        label_codes: (label, D2).
        code: dimensions of the class code, which come first; δ scales the others.
    """

    table: Numbers
    labels: int
    label_codes: Numbers
    code: int

    def scale(self, delta: float) -> Numbers:
        """What a run multiplies exemplars with, (D,): 1 for the class code, then δ."""
        factors = np.ones(self.table.shape[-1], np.float32)
        factors[self.code :] = delta
        return factors


def exemplar_table(exemplars: Mixture, seed: int) -> Exemplars:
    """Draw the two-speed mixture; all runs share it."""
    rng = stream(seed, 0, "exemplars")
    K, n_ex, D1, D2, eps = (
        getattr(exemplars, name) for name in ("K", "n_ex", "D1", "D2", "eps")
    )
    codes = rng.standard_normal((exemplars.n_lab, D2), dtype=np.float32)
    table = np.empty((K, n_ex, exemplars.inputs), np.float32)
    classes = rng.standard_normal((K, 1, D1), dtype=np.float32)
    noise = rng.standard_normal((K, n_ex, D1), dtype=np.float32)
    table[..., :D1] = (classes + eps * noise) / np.sqrt(1 + eps**2)
    table[..., D1:] = codes[np.arange(K) % exemplars.n_lab, None]
    return Exemplars(table, exemplars.n_lab, codes, D1)


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
        """Classes whose labels are not among those of `taken`, (sequence, ...): (sequence,).

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


def match(exemplars: Exemplars, batch: Batch) -> Array:
    """The oracle of ICL: logits (sequence, label) that copy the most similar exemplar's.

    Similar is what has the larger product with the query in the class code.
    """
    x = exemplars.table[batch.classes, batch.exemplar, : exemplars.code]
    products = np.einsum("snd,sd->sn", x[:, :-1], x[:, -1])
    logits = np.full((len(x), exemplars.labels), -1e9)
    for place in np.argsort(products, 1).T:  # the best match writes last
        rows = np.arange(len(x))
        logits[rows, batch.labels[rows, place]] = products[rows, place]
    return logits


def read_label(exemplars: Exemplars, batch: Batch) -> Array:
    """The oracle of IWL: logits by the distance of the query's label code from all."""
    x = exemplars.table[batch.classes[:, -1], batch.exemplar[:, -1], exemplars.code :]
    logits: Array = -((x[:, None] - exemplars.label_codes) ** 2).sum(-1, dtype=float)
    return logits


# ---- products ----------------------------------------------------------------------------


def run_coordinates(params: Training) -> dict[str, xr.Variable]:
    """The runs of a training, and when they are recorded."""
    runs = params.runs
    steps = np.array(params.record_steps, np.int32)
    deltas = [condition.delta for condition, _ in runs]
    l2 = [condition.l2 for condition, _ in runs]
    seeds = np.array([seed for _, seed in runs], np.int32)
    return {
        "run": variable("run", np.arange(len(runs), dtype=np.int32), "seed × condition"),
        "seed": variable("run", seeds, "index of the run's random streams"),
        "delta": variable("run", deltas, "δ, scale of the label code"),
        "l2": variable("run", l2, "λ, strength of the regulariser"),
        "step": variable("step", steps, "steps of Adam"),
        "until": variable("until", steps[1:], "last step of the interval"),
        "evaluator": variable("evaluator", list(EVALUATORS), "set of sequences"),
        "head": variable(
            "head", np.arange(params.network.heads, dtype=np.int32), "head of the last layer"
        ),
    }


# ---- reading products --------------------------------------------------------------------


def accuracy(product: xr.Dataset, name: str) -> xr.DataArray:
    """Accuracy of an evaluator, (run, step): within the context for icl, flip and ciwl."""
    kind = "acc" if name in ("train", "iwl") else "ctx_acc"
    return product[kind].sel(evaluator=name, drop=True)


def select(product: xr.Dataset, **wanted: float) -> xr.Dataset:
    """Runs with these values of seed, delta or l2."""
    chosen = np.ones(product.sizes["run"], bool)
    for name, value in wanted.items():
        chosen &= np.isclose(product[name].values, value, rtol=1e-6, atol=0)
    return product.isel(run=chosen)


def smoothed(values: xr.DataArray) -> xr.DataArray:
    """Mean of three records, at the middle one: (..., step) without its ends."""
    mean: xr.DataArray = values.rolling(step=3, center=True).mean()
    return mean.isel(step=slice(1, -1))


def peak(values: xr.DataArray) -> xr.DataArray:
    """The largest of the smoothed values over the steps."""
    return smoothed(values).max("step")


def peak_step(values: xr.DataArray) -> xr.DataArray:
    """t*: the step at which the smoothed values are largest."""
    return smoothed(values).idxmax("step")


def final(values: xr.DataArray, time: str = "step") -> xr.DataArray:
    """Mean of the last four records."""
    return values.isel({time: slice(-4, None)}).mean(time)
