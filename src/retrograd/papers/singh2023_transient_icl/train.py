"""The simulation: transformers of all seeds and conditions as one batched program.

Runs of one seed start from the same weights and see the same sequences, whatever their
condition. Exemplars are gathered from one table; δ multiplies them run by run.
"""

from collections.abc import Callable, Mapping

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor

from retrograd import adam, ensembles, transformer
from retrograd.errors import RetrogradError
from retrograd.papers.singh2023_transient_icl import data, sequences
from retrograd.papers.singh2023_transient_icl import toy as two_mechanisms
from retrograd.papers.singh2023_transient_icl.params import Adam, Network, Toy, Training
from retrograd.products import variable
from retrograd.randomness import stream

Array = NDArray[np.float64]
Nothing = Mapping[str, xr.Dataset]
DRAWN_AT_ONCE = 250  # steps whose sequences are drawn together


def train(params: Training, inputs: Nothing, device: torch.device) -> xr.Dataset:
    """Train every run and record it.

    Returns:
        loss, acc, ctx_acc (run, step, evaluator), see `sequences.metrics`; train_run (run,
        until), the mean loss of the training batches since the record before;
        ih_strength (run, step, head), on the sequences of `flip`; theta_norm2 (run, step);
        labels, their number; width d.

    Raises:
        RetrogradError: a run went non-finite; names it and the step.
    """
    ensemble = Ensemble(params, device)
    found = ensembles.follow(ensemble, params.record_steps, "transformers", axes=1)
    kept = {name: values.astype(np.float32) for name, values in found.items()}
    by_evaluator = ("run", "step", "evaluator")
    texts = {
        "loss": "cross-entropy at the query, nats",
        "acc": "accuracy among all labels",
        "ctx_acc": "accuracy among the labels in context",
    }
    variables = {
        name: variable(by_evaluator, kept[name], text) for name, text in texts.items()
    }
    variables |= {
        "train_run": variable(
            ("run", "until"), kept["train_run"][:, 1:], "mean loss of its batches, nats"
        ),
        "ih_strength": variable(
            ("run", "step", "head"),
            kept["ih_strength"],
            "attention to labels of the query's class less that to others",
        ),
        "theta_norm2": variable(
            ("run", "step"), kept["theta_norm2"], "sum of squares of all parameters"
        ),
        "labels": variable((), np.int32(ensemble.architecture.labels), "number of labels"),
        "width": variable((), np.int32(params.network.d), "d, width of the network"),
    }
    return xr.Dataset(variables, data.run_coordinates(params))


def architecture(
    network: Network, inputs: int, labels: int, pairs: int
) -> transformer.Architecture:
    """The network of all runs of a training."""
    return transformer.Architecture(
        inputs=inputs,
        labels=labels,
        d=network.d,
        heads=network.heads,
        layers=network.layers,
        pairs=pairs,
        positions=network.positions,
        label_std=network.label_std,
        mlp=network.mlp,
    )


def rate(params: Adam, step: int) -> float:
    """Learning rate of a step, counted from 1."""
    if not params.warm_up:
        return params.lr
    return params.lr * min(step / params.warm_up, (params.warm_up / step) ** 0.5)


class Batches:
    """The training sequences of every seed, (seed, sequence, ...)."""

    def __init__(
        self, params: Training, exemplars: data.Exemplars, device: torch.device
    ) -> None:
        self.seeds = sorted({seed for _, seed in params.runs})
        self._params, self._device = params, device
        self._law = exemplars.law(params.sequences.zipf)
        self._n_ex = exemplars.table.shape[1]
        self._rngs = [stream(params.seed, seed, "batches") for seed in self.seeds]
        self._left = 0

    def next(self) -> tuple[Tensor, Tensor]:
        """Rows of the table of exemplars and labels of a step's sequences."""
        if not self._left:
            self._draw()
        size = self._params.adam.batch
        start = (DRAWN_AT_ONCE - self._left) * size
        self._left -= 1
        now = slice(start, start + size)
        return self._rows[:, now], self._labels[:, now]

    def _draw(self) -> None:
        count = DRAWN_AT_ONCE * self._params.adam.batch
        drawn = [
            sequences.training_batch(
                rng, count, self._law, self._n_ex, self._params.sequences
            )
            for rng in self._rngs
        ]
        rows = np.stack([batch.rows(self._n_ex) for batch in drawn])
        labels = np.stack([batch.labels for batch in drawn])
        self._rows, self._labels = (
            torch.from_numpy(a).to(self._device) for a in (rows, labels)
        )
        self._left = DRAWN_AT_ONCE


class Ensemble:
    """All runs of a training: weights, sequences, and the batched step."""

    def __init__(self, params: Training, device: torch.device) -> None:
        self.params, self.step = params, 0
        exemplars = data.exemplars_of(params)
        table = exemplars.table.reshape(-1, exemplars.table.shape[-1])
        self._table = torch.from_numpy(table).to(device)
        self._batches = Batches(params, exemplars, device)
        runs = params.runs
        seeds = self._batches.seeds
        self._of_run = torch.tensor([seeds.index(s) for _, s in runs], device=device)
        scales = np.stack([exemplars.scale(c.delta) for c, _ in runs])
        self._scales = torch.from_numpy(scales).to(device)[:, None]
        self.architecture = architecture(
            params.network, table.shape[1], exemplars.labels, params.sequences.N
        )
        rngs = [stream(params.seed, seed, "weights") for _, seed in runs]
        self.weights = transformer.initial_weights(self.architecture, rngs, device)
        l2 = torch.tensor([c.l2 for c, _ in runs], dtype=torch.float32, device=device)
        self._norm = l2 if params.adam.regulariser == "norm" and l2.any() else None
        square = l2 if params.adam.regulariser == "square" and l2.any() else None
        self._adam = adam.Adam(self.weights, params.adam.lr, square)
        self._evaluated = evaluators(params, exemplars)
        self._n_ex = exemplars.table.shape[1]
        self._sum = torch.zeros(len(runs), dtype=torch.float64, device=device)
        self._summed = 0

    def advance_to(
        self, step: int, report: Callable[[int], object] = lambda taken: None
    ) -> None:
        """Take steps up to `step`, and report how many now and then.

        Raises:
            RetrogradError: a run went non-finite; names it and the step.
        """
        while self.step < step:
            count = min(DRAWN_AT_ONCE, step - self.step)
            for _ in range(count):
                self._descend()
            self._check_finite()
            report(count)

    def _descend(self) -> None:
        self.step += 1
        rows, labels = self._batches.next()
        target = labels[self._of_run, :, -1]
        logits = self._forward(rows, labels[..., :-1], self._of_run).logits
        losses = torch.nn.functional.cross_entropy(
            logits.flatten(0, 1), target.flatten(), reduction="none"
        )
        losses = losses.view(target.shape).mean(1)
        self._sum += losses.detach()
        self._summed += 1
        if self._norm is not None:
            losses = losses + self._norm * sum_of_norms(self.weights)
        self._adam.lr = rate(self.params.adam, self.step)
        self._adam.step(losses)

    def _forward(
        self, rows: Tensor, labels: Tensor, of_run: Tensor
    ) -> transformer.Activations:
        """Of rows (seed, sequence, N + 1) and labels of the context (seed, sequence, N)."""
        x = self._table[rows.flatten(1)][of_run] * self._scales
        embedded = transformer.embed(self.weights, x)
        shape = (len(of_run), *rows.shape[1:], -1)
        return transformer.forward(
            self.architecture, self.weights, embedded.view(shape), labels[of_run], None
        )

    def _check_finite(self) -> None:
        finite = torch.isfinite(self._sum)
        if not finite.all():
            condition, seed = self.params.runs[int((~finite).nonzero()[0])]
            raise RetrogradError(
                f"the run diverged: seed {seed}, delta {condition.delta:g}, l2 "
                f"{condition.l2:g}, was non-finite at step {self.step}; lower lr"
            )

    @torch.no_grad()
    def record(self) -> dict[str, Array]:
        """What `train` returns, now, without the axis of steps."""
        found: dict[str, list[Array]] = {"loss": [], "acc": [], "ctx_acc": []}
        device = self._table.device
        alike = torch.zeros_like(self._of_run)  # all runs see the same sequences
        for name, batch in self._evaluated.items():
            rows = torch.from_numpy(batch.rows(self._n_ex)).to(device)[None]
            context = torch.from_numpy(batch.labels[:, :-1]).to(device)[None]
            activations = self._forward(rows, context, alike)
            logits = activations.logits.cpu().numpy()
            for kind, value in sequences.metrics(logits, batch.labels).items():
                found[kind].append(value)
            if name == "flip":
                strength = induction(activations.patterns[-1][..., -1, :], batch)
        norms = [w.double().square().flatten(1).sum(1) for w in self.weights.values()]
        mean = self._sum.cpu().numpy() / max(self._summed, 1)
        self._sum, self._summed = torch.zeros_like(self._sum), 0
        return {name: np.stack(values, -1) for name, values in found.items()} | {
            "train_run": mean,
            "ih_strength": strength,
            "theta_norm2": torch.stack(norms).sum(0).cpu().numpy(),
        }


def evaluators(params: Training, exemplars: data.Exemplars) -> dict[str, sequences.Batch]:
    """The fixed sequences of every evaluator, by name."""
    law, n_ex = exemplars.law(params.sequences.zipf), exemplars.table.shape[1]
    return {
        name: sequences.evaluator(
            name, params.seed, params.evaluated, law, n_ex, params.sequences
        )
        for name in sequences.EVALUATORS
    }


def sum_of_norms(weights: transformer.Weights) -> Tensor:
    """Σ |W| over the tensors of every run, (run,); without gradient where W is zero."""
    return torch.stack([w.flatten(1).norm(dim=1) for w in weights.values()]).sum(0)


def induction(pattern: Tensor, batch: sequences.Batch) -> Array:
    """Attention to the labels of the query's class less that to others, (run, head).

    Args:
        pattern: of the query in the last layer, (run, sequence, head, token); tokens are
            exemplar and label in turn, then the query.
        batch: the sequences.
    """
    same = batch.classes[:, :-1] == batch.classes[:, -1:]
    sign = torch.from_numpy(np.where(same, 1.0, -1.0)).to(pattern)
    strength = torch.einsum("eshn,sn->esh", pattern[..., 1::2], sign).mean(1)
    return strength.cpu().numpy().astype(float)


def toy(params: Toy, inputs: Nothing, device: torch.device) -> xr.Dataset:
    """Gradient descent of two competing mechanisms, by numpy on the CPU.

    Returns what `toy.product` describes.
    """
    steps = two_mechanisms.steps(params).tolist()
    descent = two_mechanisms.Descent(params)
    found = ensembles.follow(descent, steps, "two mechanisms", axes=1)
    return two_mechanisms.product(params, found)
