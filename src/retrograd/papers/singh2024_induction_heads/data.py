"""The task: classes, label pairs, sequences; and the toy's vectors.

A sequence is N = 2 context pairs and a query: x_c1, l_c1, x_c2, l_c2, x_q. One of the two
classes in context is the query's, with the same exemplar; labels are drawn anew for every
sequence, so that what a class's label was before says nothing.

Shared by simulation, theory (the toy starts from the same vectors), figures and claims.
"""

from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from retrograd.errors import RetrogradError
from retrograd.papers.singh2024_induction_heads.params import (
    EVALUATION_SETS,
    EvaluationSet,
    Toy,
    Training,
)
from retrograd.products import variable
from retrograd.randomness import stream

Array = NDArray[np.float64]
Indices = NDArray[np.int64]
LN2 = float(np.log(2))
PLATEAU_WIDTH = 0.07  # a loss that far from ln 2 counts as on the plateau
TOY_CONDITIONS = ("none", "c", "bc")  # the vectors that are held at their true values
VECTORS = ("a", "b", "c")


# ---- classes and labels ------------------------------------------------------------------


def class_vectors(params: Training, K: int) -> NDArray[np.float32]:
    """Exemplars, (novel + K, D): first the classes that are never trained, then K that are.

    Gaussian: √ρ m + √(1 − ρ) z_c, m and z_c ~ N(0, 1) drawn once per master seed, for all
    runs; the first classes are the same whatever K. Omniglot: the first drawing of each
    character, in an order drawn once (`retrograd.character_embeddings`).
    """
    if params.data == "omniglot":
        return _characters(params, K)
    common = stream(params.seed, 0, "common mean").standard_normal(params.D)
    own = [
        stream(params.seed, 0, what).standard_normal((count, params.D))
        for what, count in (("novel classes", params.novel), ("training classes", K))
    ]
    x = np.sqrt(params.rho) * common + np.sqrt(1 - params.rho) * np.concatenate(own)
    return x.astype(np.float32)


def _characters(params: Training, K: int) -> NDArray[np.float32]:
    from retrograd import character_embeddings

    found = character_embeddings.omniglot(params.D, params.rho).features[:, 0]
    if params.novel + K > len(found):
        raise RetrogradError(
            f"Omniglot's small sets have {len(found)} characters, not {params.novel} + {K}"
        )
    order = stream(params.seed, 0, "characters").permutation(len(found))
    return found[order[: params.novel + K]]


def trained_classes(params: Training, K: int) -> range:
    """Rows of the table of exemplars that are trained."""
    return range(params.novel, params.novel + K)


def label_pairs(seed: int, L: int) -> tuple[Indices, Indices]:
    """All unordered pairs of L labels in two parts, (pair, 2): training and held-out.

    Four fifths are for training; the split is drawn until every label is in one of them.
    """
    pairs = np.array(list(combinations(range(L), 2)))
    count = len(pairs) * 4 // 5
    rng = stream(seed, 0, f"label pairs, L={L}")
    while True:
        order = rng.permutation(len(pairs))
        trained = pairs[np.sort(order[:count])]
        if len(np.unique(trained)) == L:
            return trained, pairs[np.sort(order[count:])]


# ---- sequences ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Sequences:
    """Sequences of two context pairs and a query.

    Attributes:
        classes: rows of the table of exemplars, (..., 3): both in context, the query.
        labels: of the two in context, (..., 2).
        match: which of the two in context, 0 or 1, has the query's class, (...).
    """

    classes: Indices
    labels: Indices
    match: Indices

    @property
    def target(self) -> Indices:
        """The label of the query, (...)."""
        found: Indices = np.take_along_axis(self.labels, self.match[..., None], -1)[..., 0]
        return found


def draw(
    rng: np.random.Generator, shape: tuple[int, ...], classes: range, pairs: Indices
) -> Sequences:
    """Independent sequences: classes, label pair, its assignment and the order, uniform.

    Args:
        rng: random numbers.
        shape: of what is drawn.
        classes: rows of the table of exemplars to draw from.
        pairs: label pairs to draw from, (pair, 2).
    """
    K = len(classes)
    query = rng.integers(K, size=shape)
    other = (query + 1 + rng.integers(K - 1, size=shape)) % K
    drawn = pairs[rng.integers(len(pairs), size=shape)]
    labels = np.where(rng.integers(2, size=shape)[..., None] == 0, drawn, drawn[..., ::-1])
    match = rng.integers(2, size=shape)
    # Until here the query's class and label come first; `match` says where they go.
    own_first = (match == 0)[..., None]
    context = np.stack([query, other], -1)
    context = np.where(own_first, context, context[..., ::-1])
    labels = np.where(own_first, labels, labels[..., ::-1])
    all_three = np.concatenate([context, query[..., None]], -1)
    return Sequences(all_three + classes.start, labels, match)


def counterbalanced(drawn: Sequences) -> Sequences:
    """Every sequence of (n, ...) in four versions, (4 n, ...): as it is, with the labels
    exchanged, with the context in the other order, and both.

    So a preference for one of the labels, or for one of the places, neither helps nor looks
    like a preference for the right answer.
    """
    exchanged = Sequences(drawn.classes, drawn.labels[..., ::-1], drawn.match)
    versions = [drawn, exchanged, *map(_reordered, (drawn, exchanged))]
    return Sequences(
        *(
            np.concatenate([getattr(version, part) for version in versions])
            for part in ("classes", "labels", "match")
        )
    )


def _reordered(drawn: Sequences) -> Sequences:
    classes = drawn.classes[..., [1, 0, 2]]
    return Sequences(classes, drawn.labels[..., ::-1], 1 - drawn.match)


def evaluation(
    params: Training, K: int, L: int, size: int
) -> dict[EvaluationSet, Sequences]:
    """The sequences of each evaluation set, (size, ...), the same for all runs.

    train: training classes and label pairs; relabel: held-out pairs; newclass: classes
    never trained. A quarter are drawn, the rest counterbalance them.
    """
    trained, held_out = label_pairs(params.seed, L)
    known, novel = trained_classes(params, K), range(params.novel)
    parts = {
        "train": (known, trained),
        "relabel": (known, held_out),
        "newclass": (novel, trained),
    }
    shape = (size // 4,)
    return {
        name: counterbalanced(
            draw(stream(params.seed, 0, f"evaluation {name}"), shape, *parts[name])
        )
        for name in EVALUATION_SETS
    }


# ---- the toy -----------------------------------------------------------------------------


def toy_vectors(params: Toy) -> tuple[Array, Array]:
    """True and initial vectors a, b, c, each (seed, 3, n), entries N(0, 1)."""
    drawn = [
        stream(params.seed, run, "toy").standard_normal((2, 3, params.n))
        for run in range(params.seeds)
    ]
    true, initial = np.stack(drawn, axis=1)
    return true, initial


def toy_iterations(params: Toy) -> Indices:
    """Recorded iterations, increasing from 0 to the last."""
    spaced = np.expm1(np.linspace(0, np.log1p(params.iterations), params.records))
    return np.unique(np.rint(spaced).astype(np.int64))


def toy_held(condition: str) -> list[bool]:
    """Which of a, b, c a condition of the toy holds at their true values."""
    return [name in condition.replace("none", "") for name in VECTORS]


def toy_product(params: Toy, found: dict[str, Array], half: Array) -> xr.Dataset:
    """The variables of both the toy's simulation and its theory.

    Args:
        params: of the toy.
        found: loss (condition, seed, time); progress_cosine and progress_loss (condition,
            seed, vector, time), of which only those of `none` are kept.
        half: iterations until the loss is below half of that of a zero tensor, (condition,
            seed); a run that never gets there has 10 times the iterations.
    """
    run, texts = (
        ("condition", "seed"),
        {
            "progress_cosine": "1 − cos² of a vector and its true value, nothing held",
            "progress_loss": "loss with the other two vectors true, nothing held",
        },
    )
    variables: dict[str, Any] = {
        "loss": variable((*run, "iteration"), found["loss"].astype(np.float32), "loss"),
        "half": variable(run, half, "iterations to half the loss of a zero tensor"),
    }
    for name, text in texts.items():
        values = found[name][TOY_CONDITIONS.index("none")].astype(np.float32)
        variables[name] = variable(("seed", "vector", "iteration"), values, text)
    text = "vectors held at their true values"
    return xr.Dataset(
        variables,
        {
            "condition": variable("condition", np.array(TOY_CONDITIONS), text),
            "seed": variable("seed", np.arange(params.seeds), "run"),
            "vector": variable("vector", np.array(VECTORS), "vector"),
            "iteration": variable("iteration", toy_iterations(params), "iteration"),
        },
    )


# ---- what is read off a trajectory -------------------------------------------------------


def first_below(t: xr.DataArray, loss: xr.DataArray, level: float) -> xr.DataArray:
    """First recorded t at which the loss is below a level; NaN if it never is."""
    below = loss < level
    return t.isel(record=below.argmax("record")).where(below.any("record"))


def plateau(t: xr.DataArray, loss: xr.DataArray) -> xr.DataArray:
    """Length of time, in sequences, with |loss − ln 2| < 0.07."""
    on = abs(loss.isel(record=slice(None, -1)) - LN2) < PLATEAU_WIDTH
    dt = t.diff("record", label="lower")
    return (dt * on).sum("record")
