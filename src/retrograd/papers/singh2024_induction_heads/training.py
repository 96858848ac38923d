"""Networks that are trained together: seeds and conditions of one wiring.

Every run draws its weights and its sequences from streams of its own; conditions of one
seed share both, so that what differs between them is the clamp. Float32 throughout.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy

from retrograd.adam import Adam
from retrograd.clamps import Clamping, Clamps, compile
from retrograd.errors import RetrogradError
from retrograd.papers.singh2024_induction_heads import data
from retrograd.papers.singh2024_induction_heads.circuits import clamping
from retrograd.papers.singh2024_induction_heads.data import Sequences
from retrograd.papers.singh2024_induction_heads.params import (
    Condition,
    EvaluationSet,
    Training,
)
from retrograd.randomness import stream
from retrograd.transformer import (
    Activations,
    Architecture,
    Weights,
    embed,
    forward,
    initial_weights,
    read_out,
)

Array = NDArray[np.float64]
BLOCK = 50  # steps whose sequences are drawn at once
DRAWN_LABELS = 15  # of which a network takes its first ones
NEVER = -1e9  # logit of labels that a member does not have: no answer, and no gradient


class Member(NamedTuple):
    """One run."""

    condition: Condition
    seed: int


class Task(NamedTuple):
    """Numbers of classes and of labels."""

    K: int
    L: int


class Batch(NamedTuple):
    """Sequences of every member: classes (E, B, 3), labels (E, B, 2), match (E, B)."""

    classes: Tensor
    labels: Tensor
    match: Tensor

    def of(self, members: Sequence[int]) -> "Batch":
        return Batch(*(part[list(members)] for part in self))


@dataclass(frozen=True)
class Found:
    """Of one evaluation set.

    Attributes:
        loss: cross-entropy at the query, mean over sequences, (E,).
        accuracy: share of sequences with the right answer, (E,).
        batch: the sequences.
        activations: of the forward pass.
    """

    loss: Array
    accuracy: Array
    batch: Batch
    activations: Activations


class Networks:
    """Networks of one architecture and wiring, and the sequences they learn from."""

    def __init__(
        self, params: Training, members: Sequence[Member], device: torch.device
    ) -> None:
        """
        Args:
            members: of circuits of one wiring.
        """
        self.params, self.members, self.step = params, list(members), 0
        self.device = device
        tasks = {self._task(m) for m in members}
        labels = max(task.L for task in tasks)
        self.architecture = Architecture(params.D, labels, params.d, params.H)
        self.weights = self._initial_weights()
        self._adam = Adam(self.weights, params.lr)
        self._clamps = self._compiled(self.members)
        table = data.class_vectors(params, max(task.K for task in tasks))
        self._table = torch.from_numpy(table).to(device)
        self.evaluate_on(params.evaluate)
        self._rngs = {
            (m.seed, self._task(m)): stream(params.seed, m.seed, "sequences")
            for m in members
        }
        self._drawn: list[Batch] = []

    def _initial_weights(self) -> Weights:
        """Of every member. Those of a seed are the same whatever its number of labels."""
        rngs = [stream(self.params.seed, m.seed, "weights") for m in self.members]
        labels = self.architecture.labels
        most = replace(self.architecture, labels=max(labels, DRAWN_LABELS))
        weights = initial_weights(most, rngs, self.device)
        kept = {
            "label": weights["label"].detach()[:, :labels].clone(),
            "readout.weight": weights["readout.weight"].detach()[..., :labels].clone(),
            "readout.bias": weights["readout.bias"].detach()[:, :labels].clone(),
        }
        for bias, member in zip(kept["readout.bias"], self.members, strict=True):
            bias[self._task(member).L :] = NEVER
        return weights | {name: w.requires_grad_() for name, w in kept.items()}

    def _task(self, member: Member) -> Task:
        condition = member.condition
        return Task(condition.K or self.params.K, condition.L or self.params.L)

    def _compiled(self, members: Sequence[Member]) -> Clamps | None:
        return self._compiled_as([clamping(m.condition, self.params.H) for m in members])

    def _compiled_as(self, clampings: Sequence[Clamping]) -> Clamps | None:
        return compile(clampings, self.architecture, self.device)

    # ---- training ------------------------------------------------------------------------

    def advance(self, steps: int) -> Array:
        """Take so many steps; the losses on the last batch, before it is learned, (E,).

        Raises:
            RetrogradError: a run went non-finite; names it and the step.
        """
        for _ in range(steps):
            if not self._drawn:
                self._drawn = self._draw()
            batch = self._drawn.pop()
            activations = self._forward(self.weights, batch, self._clamps)
            losses = _losses(activations.logits, batch)
            self._adam.step(losses)
            self.step += 1
        found = _array(losses)
        if not np.isfinite(found).all():
            member = self.members[int(np.isfinite(found).argmin())]
            raise RetrogradError(
                f"the run diverged: condition '{member.condition.name}', seed "
                f"{member.seed}, was non-finite at step {self.step}; lower lr"
            )
        return found

    def keep(self, chosen: Sequence[int]) -> None:
        """Go on with some of the members only."""
        self.members = [self.members[i] for i in chosen]
        self.weights = self._adam.keep(chosen)
        self._clamps = self._compiled(self.members)
        self._drawn = [batch.of(chosen) for batch in self._drawn]

    def _draw(self) -> list[Batch]:
        """Sequences of the next steps, the next one last."""
        shape = (BLOCK, self.params.batch)
        keys = [(m.seed, self._task(m)) for m in self.members]
        drawn = {
            (seed, task): data.draw(
                self._rngs[seed, task],
                shape,
                data.trained_classes(self.params, task.K),
                data.label_pairs(self.params.seed, task.L)[0],
            )
            for seed, task in dict.fromkeys(keys)
        }
        block = self._stacked([drawn[key] for key in keys], axis=1)
        return [Batch(*step) for step in zip(*block, strict=True)][::-1]

    def _stacked(self, sequences: Sequence[Sequences], axis: int = 0) -> Batch:
        parts = zip(*((s.classes, s.labels, s.match) for s in sequences), strict=True)
        stacked = (torch.from_numpy(np.stack(part, axis)) for part in parts)
        return Batch(*(part.to(self.device) for part in stacked))

    def _forward(
        self, weights: Weights, batch: Batch, clamps: Clamps | None
    ) -> Activations:
        x = self._table[batch.classes.flatten(1)]
        exemplars = embed(weights, x).unflatten(1, batch.classes.shape[1:])
        return forward(
            self.architecture, weights, exemplars, batch.labels, clamps, batch.match
        )

    # ---- evaluation ----------------------------------------------------------------------

    def evaluate_on(self, size: int) -> None:
        """From now on, evaluate on sets of so many sequences."""
        self._sets = {
            task: data.evaluation(self.params, task.K, task.L, size)
            for task in {self._task(m) for m in self.members}
        }

    @torch.no_grad()
    def evaluate(
        self,
        of: EvaluationSet,
        chosen: Sequence[int] | None = None,
        clampings: Sequence[Clamping] | None = None,
    ) -> Found:
        """Loss, accuracy and activations on an evaluation set.

        Args:
            of: the set.
            chosen: members that are evaluated; they may come several times, to be clamped
                in several ways. All if none are given.
            clampings: of these; those of training if none are given.
        """
        members, weights, clamps = self.members, self.weights, self._clamps
        if chosen is not None:
            members = [members[i] for i in chosen]
            weights = {name: w[list(chosen)] for name, w in weights.items()}
            clamps = self._compiled(members)
        if clampings is not None:
            clamps = self._compiled_as(clampings)
        batch = self._stacked([self._sets[self._task(m)][of] for m in members])
        found = self._forward(weights, batch, clamps)
        right = found.logits.argmax(-1) == _target(batch)
        accuracy = _array(right.double().mean(1))
        return Found(_array(_losses(found.logits, batch)), accuracy, batch, found)

    @torch.no_grad()
    def without_first_layer(self) -> Array:
        """Accuracy if what layer 0 wrote is taken out of the residual stream that is read
        out, while layer 1 sees it, (E,)."""
        found = self.evaluate("train")
        seen = found.activations
        logits = read_out(self.weights, seen.tokens[:, :, -1] + seen.updates[-1][:, :, -1])
        return _array((logits.argmax(-1) == _target(found.batch)).double().mean(1))


def induction_strength(found: Found) -> Array:
    """Attention of the query to the right label minus that to the other, (E, head).

    Mean over sequences, in layer 1; from −1 to 1.
    """
    on_labels = found.activations.patterns[-1][:, :, :, -1, 1::2]
    sign = 1 - 2 * found.batch.match[:, :, None]
    difference = on_labels[..., 0] - on_labels[..., 1]
    return _array((difference * sign).mean(1))


def previous_strength(found: Found) -> Array:
    """Attention of the labels to the exemplar before them, in layer 0, (E, head)."""
    pattern = found.activations.patterns[0]
    return _array(((pattern[..., 1, 0] + pattern[..., 3, 2]) / 2).mean(1))


def _target(batch: Batch) -> Tensor:
    return batch.labels.gather(2, batch.match[..., None])[..., 0]


def _losses(logits: Tensor, batch: Batch) -> Tensor:
    """Cross-entropy, mean over the batch, (E,)."""
    every = cross_entropy(logits.flatten(0, 1), _target(batch).flatten(), reduction="none")
    return every.view(logits.shape[:2]).mean(1)


def _array(values: Tensor) -> Array:
    found: Array = values.detach().cpu().numpy().astype(float)
    return found
