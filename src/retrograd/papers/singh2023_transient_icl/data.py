"""Exemplars, two hand-made oracles, and what products of trainings have in common."""

from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from retrograd.papers.singh2023_transient_icl.params import Characters, Mixture, Training
from retrograd.papers.singh2023_transient_icl.sequences import EVALUATORS, Batch, Law
from retrograd.products import variable
from retrograd.randomness import stream

Array = NDArray[np.float64]
Numbers = NDArray[np.float32]


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

    def law(self, zipf: float = 0) -> Law:
        """How its classes are drawn."""
        return Law(len(self.table), self.labels, zipf)

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


def characters(exemplars: Characters) -> Exemplars:
    """Omniglot's small background sets, embedded; one label per class.

    Turned and mirrored drawings are embedded on the same axes as the others.
    """
    from retrograd import character_embeddings, datasets

    parts = [datasets.omniglot("small1"), datasets.omniglot("small2")]
    drawings: dict[tuple[str, int], dict[int, NDArray[np.uint8]]] = {}
    for part in parts:  # an alphabet that is in both has the same drawings
        rows = zip(part.alphabet, part.character, part.drawer, part.ink, strict=True)
        for alphabet, character, drawer, ink in rows:
            drawings.setdefault((str(alphabet), int(character)), {})[int(drawer)] = ink
    classes = np.array(
        [[found[i] for i in sorted(found)] for _, found in sorted(drawings.items())]
    )
    if exemplars.augmented:
        classes = np.concatenate(
            [
                np.rot90(a, k, (2, 3))
                for a in (classes, classes[..., ::-1])
                for k in range(4)
            ]
        )
    K, n_ex = classes.shape[:2]
    x = character_embeddings.embed(
        classes.reshape(-1, *classes.shape[2:]), exemplars.inputs
    )
    table = x.astype(np.float32).reshape(K, n_ex, exemplars.inputs)
    return Exemplars(table, K, np.zeros((K, 0), np.float32), exemplars.inputs)


def exemplars_of(params: Training) -> Exemplars:
    """All exemplars of a training."""
    if isinstance(params.exemplars, Mixture):
        return exemplar_table(params.exemplars, params.seed)
    return characters(params.exemplars)


# ---- oracles ---------------------------------------------------------------------------


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
            "head",
            np.arange(params.network.heads, dtype=np.int32),
            "head of the last layer",
        ),
    }
