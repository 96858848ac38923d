"""The simulations: networks with clamps, and the toy's gradient descent.

Runs of one wiring are one batched program; a run that is done leaves it, and the others go
on.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray

from retrograd import progress
from retrograd.clamps import Clamp, Clamping
from retrograd.papers.singh2024_induction_heads import data
from retrograd.papers.singh2024_induction_heads.circuits import ablated, clamping
from retrograd.papers.singh2024_induction_heads.data import TOY_CONDITIONS
from retrograd.papers.singh2024_induction_heads.params import (
    Batch,
    Toy,
    Training,
    condition,
)
from retrograd.papers.singh2024_induction_heads.recording import (
    OTHER_SETS,
    Records,
    product,
)
from retrograd.papers.singh2024_induction_heads.training import (
    Found,
    Member,
    Networks,
    induction_strength,
    previous_strength,
)

Array = NDArray[np.float64]
Nothing = Mapping[str, xr.Dataset]
# ---- networks ----------------------------------------------------------------------------


def train(params: Training, inputs: Nothing, device: torch.device) -> xr.Dataset:
    """Train every condition from every seed, and record it.

    Where a subcircuit is clamped, one head of layer 1 is left: of every seed the strongest
    in the whole network at its end, if `all` is among the inputs; else head 0. So is the
    head of layer 0 that `prev` clamps chosen, by attention to the token before.

    Returns:
        sequences and loss (condition, seed, record); pm_match and pm_prev (seed, record) of
        `none` where asked for; of whole networks all of `recording.WHOLE`. A run that
        stopped early repeats its last record.

    Raises:
        RetrogradError: a run diverged.
    """
    runs: dict[tuple[str, int], Records] = {}
    left = strongest_heads(inputs) if "all" in inputs else [(0, 0)] * params.seeds
    for batch in params.batches:
        for members in groups(params, batch, left):
            runs |= _follow(params, batch, Networks(params, members, device))
    return product(params, runs)


def strongest_heads(inputs: Mapping[str, xr.Dataset]) -> list[tuple[int, int]]:
    """Of layers 1 and 0 at the end of the product `all`, per seed: by induction strength,
    and by attention to the token before."""
    end = inputs["all"].sel(condition="all").isel(record=-1)
    heads, previous = (
        end[name].argmax("head").values.tolist()
        for name in ("induction_strength", "previous_strength")
    )
    return list(zip(heads, previous, strict=True))


def groups(
    params: Training, batch: Batch, left: Sequence[tuple[int, int]]
) -> Iterator[list[Member]]:
    """Members that can be one program: of one wiring.

    Args:
        left: per seed the head of layer 1 that is left, unless a condition names it, and
            the head of layer 0 that `prev` clamps.
    """
    found: dict[Any, list[Member]] = {}
    for each in map(condition, batch.conditions):
        wiring = clamping(each, params.H)
        kind = (wiring.bypass_first_layer, wiring.copy_head is None)
        for seed in range(params.seeds):
            head, previous = left[seed]
            own = each.head if each.circuit == "only" else head
            member = Member(replace(each, head=own, previous=previous), seed)
            found.setdefault(kind, []).append(member)
    yield from found.values()


def _follow(
    params: Training, batch: Batch, networks: Networks
) -> dict[tuple[str, int], Records]:
    """Train a group to its end; what was recorded, per condition and seed."""
    runs: dict[tuple[str, int], Records] = {}
    first = networks.members[0].condition.name
    with progress.bar(batch.steps, f"{first}, ...") as bar:
        last: Array | None = None
        while True:
            found = networks.evaluate("train")
            _record(params, networks, found, found.loss if last is None else last, runs)
            if networks.step == batch.steps:
                break
            going = np.flatnonzero(found.loss >= (batch.stop or 0)).tolist()
            if not going:
                break
            if len(going) < len(networks.members):
                networks.keep(going)
            last = networks.advance(batch.every)
            bar.update(batch.every)
    if params.other_sets_every:
        _take_apart(networks, runs)
    return runs


def _record(
    params: Training,
    networks: Networks,
    found: Found,
    batch_loss: Array,
    runs: dict[tuple[str, int], Records],
) -> None:
    """Append what the networks are now to the records of their runs."""
    members = networks.members
    values: dict[str, Any] = {"loss": found.loss}
    if params.other_sets_every:
        values["batch_loss"] = batch_loss
        values["accuracy"] = found.accuracy
        values["induction_strength"] = induction_strength(found)
        values["previous_strength"] = previous_strength(found)
        earlier = runs.get((members[0].condition.name, members[0].seed), {})
        if len(earlier.get("loss", [])) % params.other_sets_every == 0:
            others = [networks.evaluate(name) for name in OTHER_SETS]
            values["other_loss"] = np.stack([o.loss for o in others], 1)
            values["other_accuracy"] = np.stack([o.accuracy for o in others], 1)
            values["other_sequences"] = _seen(params, networks)
    values["sequences"] = _seen(params, networks)
    for i, member in enumerate(members):
        records = runs.setdefault((member.condition.name, member.seed), {})
        for name, of_all in values.items():
            records.setdefault(name, []).append(of_all[i])
    unclamped = [i for i, m in enumerate(members) if m.condition.name == "none"]
    for name in params.measure if unclamped else []:
        clampings = [
            clamping(replace(members[i].condition, circuit=name), params.H)
            for i in unclamped
        ]
        measured = networks.evaluate("train", unclamped, clampings)
        for i, loss in zip(unclamped, measured.loss, strict=True):
            records = runs["none", members[i].seed]
            records.setdefault(f"pm_{name}", []).append(loss)


def _seen(params: Training, networks: Networks) -> NDArray[np.int64]:
    return np.full(len(networks.members), networks.step * params.batch)


def _take_apart(networks: Networks, runs: dict[tuple[str, int], Records]) -> None:
    """Of networks at the end: every head of layer 1 alone, without it, and added in order
    of strength; the heads of layer 1 without each of layer 0; and the answer without what
    layer 0 wrote to it."""
    heads = range(networks.architecture.heads)
    networks.evaluate_on(networks.params.take_apart_on)
    strength = induction_strength(networks.evaluate("train"))
    without_layer = networks.without_first_layer()
    for i, member in enumerate(networks.members):
        order = np.argsort(-strength[i]).tolist()
        kept = {
            "only": [[h] for h in heads],
            "remove": [[g for g in heads if g != h] for h in heads],
            "cumulative": [order[: n + 1] for n in heads],
        }
        records = runs[member.condition.name, member.seed]
        for name, subsets in kept.items():
            clampings = [_keeping(subset, len(heads)) for subset in subsets]
            found = networks.evaluate("train", [i] * len(heads), clampings)
            cumulative = name == "cumulative"
            records[f"{name}_{'loss' if cumulative else 'accuracy'}"] = list(
                found.loss if cumulative else found.accuracy
            )
        sources = [
            Clamping(clamps=[Clamp(layer=0, heads=[h], activation="value", to="zero")])
            for h in heads
        ]
        without = networks.evaluate("train", [i] * len(heads), sources)
        records["wiring"] = list(strength[i] - induction_strength(without))
        records["without_layer_0"] = [without_layer[i]]


def _keeping(kept: Sequence[int], heads: int) -> Clamping:
    """Only these heads of layer 1."""
    others = [h for h in range(heads) if h not in kept]
    return Clamping(clamps=[ablated(others)] if others else [])


# ---- the toy -----------------------------------------------------------------------------


def toy(params: Toy, inputs: Nothing, device: torch.device) -> xr.Dataset:
    """Full-batch gradient descent on the toy, in float64.

    Returns:
        As `data.toy_product` says.
    """
    true, initial = data.toy_vectors(params)
    recorded = set(data.toy_iterations(params).tolist())
    found: dict[str, list[Array]] = {"loss": [], "progress_cosine": [], "progress_loss": []}
    held = np.array([data.toy_held(name) for name in TOY_CONDITIONS])
    x = np.where(held[:, None, :, None], true, initial)  # (condition, seed, vector, n)
    zero = toy_loss(true, np.zeros_like(true))
    half = np.full((len(TOY_CONDITIONS), params.seeds), 10.0 * params.iterations)
    for iteration in range(params.iterations + 1):
        loss = toy_loss(true, x)
        half = np.where((loss < zero / 2) & (half > iteration), iteration, half)
        if iteration in recorded:
            found["loss"].append(loss)
            for name, values in toy_progress(true, x).items():
                found[name].append(values)
        x = x - params.lr * np.where(held[:, None, :, None], 0, toy_gradient(true, x))
    stacked = {name: np.stack(values, axis=-1) for name, values in found.items()}
    return data.toy_product(params, stacked, half)


def toy_loss(true: Array, x: Array) -> Array:
    """L = |a* ⊗ b* ⊗ c* − a ⊗ b ⊗ c|²/(2 n³), without the tensors.

    Args:
        true: a*, b*, c*, (..., 3, n).
        x: a, b, c, (..., 3, n).
    """
    squares = ((true**2).sum(-1).prod(-1), (x**2).sum(-1).prod(-1))
    both = (x * true).sum(-1).prod(-1)
    loss: Array = (squares[0] - 2 * both + squares[1]) / (2 * true.shape[-1] ** 3)
    return loss


def toy_gradient(true: Array, x: Array) -> Array:
    """∂L/∂a = (|b|²|c|² a − (b·b*)(c·c*) a*)/n³, and so on, (..., 3, n)."""
    square, both = (x**2).sum(-1), (x * true).sum(-1)
    others = [[1, 2], [0, 2], [0, 1]]
    of_own, of_true = (v[..., others].prod(-1)[..., None] for v in (square, both))
    gradient: Array = (of_own * x - of_true * true) / true.shape[-1] ** 3
    return gradient


def toy_progress(true: Array, x: Array) -> dict[str, Array]:
    """Progress of each vector, (..., 3): 1 − cos², and the loss if the other two were true,
    with the better sign of this one."""
    square, norm, both = (x**2).sum(-1), (true**2).sum(-1), (x * true).sum(-1)
    others = norm.prod(-1, keepdims=True) / norm
    distance = square - 2 * abs(both) + norm
    return {
        "progress_cosine": 1 - both**2 / (square * norm),
        "progress_loss": others * distance / (2 * true.shape[-1] ** 3),
    }
