"""What is recorded of runs, and the product that it becomes."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from retrograd.papers.singh2024_induction_heads.params import (
    EVALUATION_SETS,
    Training,
    condition,
)
from retrograd.products import variable

Records = dict[str, list[Any]]
"""Of one run, by variable: one entry per record, or per head at the end."""
OTHER_SETS = [name for name in EVALUATION_SETS if name != "train"]
RUN = ("condition", "seed")
RECORD = (*RUN, "record")
OTHER = (*RUN, "other_record")
# By variable: its dims, units and what it is.
ALWAYS: dict[str, tuple[tuple[str, ...], str, str]] = {
    "sequences": (RECORD, "sequences", "sequences seen"),
    "loss": (RECORD, "nats", "cross-entropy on new sequences of trained classes"),
}
WHOLE: dict[str, tuple[tuple[str, ...], str, str]] = {
    "batch_loss": (
        RECORD,
        "nats",
        "on the batch before the record; at the start as `loss`",
    ),
    "accuracy": (RECORD, "1", "share of right answers on these sequences"),
    "induction_strength": (
        (*RECORD, "head"),
        "1",
        "layer 1: attention to the right label minus to the other",
    ),
    "previous_strength": (
        (*RECORD, "head"),
        "1",
        "layer 0: attention of labels to the exemplar before them",
    ),
    "other_sequences": (OTHER, "sequences", "sequences seen at these records"),
    "other_loss": ((*OTHER, "evaluation_set"), "nats", "loss on other sets"),
    "other_accuracy": ((*OTHER, "evaluation_set"), "1", "accuracy on other sets"),
    "only_accuracy": (
        (*RUN, "head"),
        "1",
        "accuracy at the end, this head of layer 1 only",
    ),
    "remove_accuracy": ((*RUN, "head"), "1", "accuracy at the end without this head"),
    "cumulative_loss": (
        (*RUN, "heads_kept"),
        "nats",
        "loss at the end, strongest heads only",
    ),
    "wiring": (
        (*RUN, "source", "head"),
        "1",
        "fall of induction strength at the end without a head of layer 0",
    ),
    "without_layer_0": (
        RUN,
        "1",
        "accuracy at the end without layer 0's part of the answer",
    ),
}


def product(params: Training, runs: Mapping[tuple[str, int], Records]) -> xr.Dataset:
    """All runs side by side, each padded with its last record."""
    variables = {}
    tables = ALWAYS | (WHOLE if params.other_sets_every else {})
    for name, (dims, units, text) in tables.items():
        values = _stacked(params, runs, name, params.names)
        values = values[..., 0] if dims == RUN else values
        kept = values if values.dtype == np.int64 else values.astype(np.float32)
        variables[name] = variable(dims, kept, text, units)
    length = variables["loss"].shape[2]
    for measure in params.measure:
        (values,) = _stacked(params, runs, f"pm_{measure}", ["none"]).astype(np.float32)
        padded = np.pad(values, ((0, 0), (0, length - values.shape[1])), "edge")
        text = f"loss of `none` with the pattern of `{measure}` at evaluation only"
        variables[f"pm_{measure}"] = variable(("seed", "record"), padded, text, "nats")
    found = xr.Dataset(variables)
    return found.assign_coords(_coordinates(params, dict(found.sizes)))


def _stacked(
    params: Training,
    runs: Mapping[tuple[str, int], Records],
    name: str,
    conditions: Sequence[str],
) -> NDArray[Any]:
    """(condition, seed, record, ...)"""
    records = [[list(runs[c, s][name]) for s in range(params.seeds)] for c in conditions]
    longest = max(len(of_run) for seeds in records for of_run in seeds)
    return np.array(
        [
            [of_run + of_run[-1:] * (longest - len(of_run)) for of_run in seeds]
            for seeds in records
        ]
    )


def _coordinates(params: Training, sizes: Mapping[Any, int]) -> dict[str, xr.Variable]:
    conditions = list(map(condition, params.names))
    classes, labels = (
        np.array([getattr(c, name) or getattr(params, name) for c in conditions])
        for name in "KL"
    )
    found = {
        "condition": variable("condition", np.array(params.names), "what is clamped"),
        "classes": variable("condition", classes, "training classes"),
        "labels": variable("condition", labels, "labels"),
    }
    texts = {
        "seed": "run",
        "record": "record",
        "other_record": "record of other sets",
        "head": "head of layer 1, or of layer 0",
        "source": "head of layer 0",
    }
    found |= {
        name: variable(name, np.arange(sizes[name]), text)
        for name, text in texts.items()
        if name in sizes
    }
    if "heads_kept" in sizes:
        kept = np.arange(sizes["heads_kept"]) + 1
        found["heads_kept"] = variable("heads_kept", kept, "strongest heads kept")
        sets = np.array(OTHER_SETS)
        found["evaluation_set"] = variable("evaluation_set", sets, "evaluation set")
    return found
