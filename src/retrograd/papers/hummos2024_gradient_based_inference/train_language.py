"""LSTM language models with the identity of the data set as input, and inference of it.

    gates = e W_e + gain · z W_z + b, LSTM, logits = h W_out + b_out

Members are kinds × picks: `gbi` gets the one-hot z in training, `lstm` gets zeros. Both
kinds of a pick see the same batches and start from the same weights. All in one tensor
program with gradients by hand.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor

from retrograd import progress
from retrograd.papers.hummos2024_gradient_based_inference import languages, lstm
from retrograd.papers.hummos2024_gradient_based_inference.data import (
    KINDS,
    float32,
    indices,
    seeds,
)
from retrograd.papers.hummos2024_gradient_based_inference.languages import Corpus
from retrograd.papers.hummos2024_gradient_based_inference.lstm import Weights
from retrograd.papers.hummos2024_gradient_based_inference.params import Language
from retrograd.products import variable
from retrograd.randomness import stream

Array = NDArray[np.float64]
Integers = NDArray[np.int64]
Corpora = Mapping[str, Corpus]
CURVE = 40  # points of the training curve, at most


def initial_weights(params: Language, run: int) -> dict[str, Array]:
    """Of one pick, the same for both kinds."""
    rng = stream(params.seed, run, "language model")
    V, E, H, K = params.V, params.E, params.H, len(params.picks[0])
    return {
        "embedding": rng.standard_normal((V, E)),
        "W_e": lstm.uniform(rng, H, E, 4 * H),
        "W_z": lstm.uniform(rng, H, K, 4 * H),
        "W_h": lstm.uniform(rng, H, H, 4 * H),
        "b": lstm.uniform(rng, H, 1, 4 * H),
        "W_out": lstm.uniform(rng, H, H, V),
        "b_out": lstm.uniform(rng, H, 1, V),
    }


@dataclass(frozen=True)
class Pass:
    """A forward pass of windows: what the gradients need, and the losses.

    Attributes:
        embedded: (member, time · row, E).
        trace: of the LSTM.
        p: predicted probabilities, (member, time · row, V).
        nll: minus the log of the true word's, in nats, (member, time, row).
    """

    embedded: Tensor
    trace: lstm.Trace
    p: Tensor
    nll: Tensor


class Model:
    """Language models of all members, and their gradients."""

    def __init__(self, weights: Weights, gain: float) -> None:
        self.weights, self._gain = weights, gain
        V, E = weights["embedding"].shape[1:]
        self._table = weights["embedding"].view(-1, E)
        members = len(weights["b"])
        self._offset = V * torch.arange(members, device=self._table.device)[:, None, None]

    def forward(self, words: Tensor, z: Tensor) -> Pass:
        """Predict words[:, 1:] from those before.

        Args:
            words: (member, time + 1, row).
            z: task input, the same at all times, (member, row or 1, K).
        """
        w, times = self.weights, words.shape[1] - 1
        embedded = self._table[(words[:, :-1] + self._offset).flatten(1)]
        gates = lstm.apart(torch.baddbmm(w["b"], embedded, w["W_e"]), times)
        trace = lstm.forward(gates + self._gain * z @ w["W_z"], w["W_h"])
        p = torch.baddbmm(w["b_out"], lstm.together(trace.hidden), w["W_out"]).softmax(-1)
        true = p.gather(-1, words[:, 1:].flatten(1)[..., None])[..., 0]
        nll = -true.clamp(min=1e-30).log().unflatten(1, (times, -1))
        return Pass(embedded, trace, p, nll)

    def at_logits(self, run: Pass, words: Tensor) -> Tensor:
        """Gradient of the summed loss at the logits, p − one-hot; takes p for itself."""
        d = run.p
        true = words[:, 1:].reshape(-1)
        d.view(len(true), -1)[torch.arange(len(true), device=d.device), true] -= 1
        return d

    def at_gates(self, run: Pass, d_logits: Tensor) -> Tensor:
        """Gradient at the gates' inputs, (time, member, row, 4 H)."""
        d_hidden = lstm.apart(d_logits @ self.weights["W_out"].mT, run.nll.shape[1])
        return lstm.backward(run.trace, self.weights["W_h"], d_hidden)

    def to_z(self, d_gates: Tensor) -> Tensor:
        """Gradient with respect to the z of every row, (member, row, K)."""
        return self._gain * d_gates.sum(0) @ self.weights["W_z"].mT

    def gradients(self, run: Pass, words: Tensor, z: Tensor) -> Weights:
        """Of the mean loss per word, with respect to all weights."""
        w, count = self.weights, run.nll[0].numel()
        d_logits = self.at_logits(run, words).mul_(1 / count)
        d_gates = self.at_gates(run, d_logits)
        flat = lstm.together(d_gates)
        d_table = torch.zeros_like(self._table).index_add_(
            0,
            (words[:, :-1] + self._offset).flatten(),
            (flat @ w["W_e"].mT).flatten(0, 1),
        )
        return {
            "embedding": d_table.view_as(w["embedding"]),
            "W_e": run.embedded.mT @ flat,
            "W_z": self._gain * z.mT @ d_gates.sum(0),
            "W_h": lstm.recurrent_gradient(run.trace, d_gates),
            "b": flat.sum(1, keepdim=True),
            "W_out": lstm.together(run.trace.hidden).mT @ d_logits,
            "b_out": d_logits.sum(1, keepdim=True),
        }


# ---- windows ---------------------------------------------------------------------------


class Windows:
    """Windows of the data sets of every pick, for all members."""

    def __init__(
        self,
        params: Language,
        corpora: Corpora,
        names: list[list[str]],
        device: torch.device,
    ) -> None:
        self._params, self._device = params, device
        self._corpora = [[corpora[name] for name in own] for own in names]

    def draw(self, part: str, count: int, rngs: list[np.random.Generator]) -> Tensor:
        """`count` random windows of every data set, (member, time + 1, data set · row).

        Args:
            part: of the corpora, train or test.
            count: windows per data set.
            rngs: one per pick; both kinds get the same windows.
        """
        found = [
            np.concatenate(
                [
                    languages.windows(getattr(c, part), self._params.T, rng.random(count))
                    for c in own
                ]
            )
            for own, rng in zip(self._corpora, rngs, strict=True)
        ]
        words = torch.from_numpy(np.stack(found)).to(self._device).transpose(1, 2)
        return words.repeat(len(KINDS), 1, 1)


def _streams(params: Language, purpose: str) -> list[np.random.Generator]:
    return [stream(params.seed, run, purpose) for run in range(params.seeds)]


def _of_kinds(params: Language, gbi: Tensor) -> Tensor:
    """z of all members: as given for `gbi`, zeros for `lstm`."""
    both = torch.stack([gbi, torch.zeros_like(gbi)])
    return both.repeat_interleave(params.seeds, 0)


# ---- training, inference, adaptation -----------------------------------------------------


def train(
    params: Language, model: Model, windows: Windows, device: torch.device
) -> tuple[Array, Array]:
    """Train all members in place.

    Returns:
        Training loss of every step (member, step), and test loss at the evaluations
        (member, evaluation), the first before training.

    Raises:
        RetrogradError: a run diverged; names it and the step.
    """
    K = len(params.picks[0])
    adam = lstm.Adam(model.weights, params.rate)
    rngs = _streams(params, "word batches")
    test = windows.draw("test", params.test_windows, _streams(params, "test words"))
    z, z_test = (
        _of_kinds(params, torch.eye(K, device=device).repeat_interleave(rows, 0))
        for rows in (params.batch // K, params.test_windows)
    )
    members = [f"{k}, seed {s}" for k in KINDS for s in range(params.seeds)]
    losses, evaluations = [], []
    with progress.bar(params.steps, "language models") as bar:
        for step in range(params.steps + 1):
            if step % params.evaluate_every == 0:
                evaluations.append(model.forward(test, z_test).nll.mean((1, 2)))
            if step == params.steps:
                break
            words = windows.draw("train", params.batch // K, rngs)
            run = model.forward(words, z)
            losses.append(run.nll.mean((1, 2)))
            adam.step(model.gradients(run, words, z))
            if step % 50 == 49:
                lstm.check_finite(losses[-1], members, step + 1)
            bar.update()
    found = (torch.stack(a, 1).cpu().numpy().astype(float) for a in (losses, evaluations))
    return tuple(found)  # type: ignore[return-value]


def one_pass(
    params: Language, model: Model, windows: Windows, device: torch.device
) -> Array:
    """Is the data set of a test window inferred from its first words?

    Returns:
        Fraction of windows for which minus the gradient of their summed loss at the
        uniform z is largest for their own data set, (member, words).
    """
    K = len(params.picks[0])
    words = windows.draw("test", params.test_windows, _streams(params, "test words"))
    z = torch.full((1, 1, K), 1 / K, device=device)
    run = model.forward(words, z)
    # (time, member, row, V), so that later words can be left out
    d_logits = lstm.apart(model.at_logits(run, words), params.T)
    truth = torch.arange(K, device=device).repeat_interleave(params.test_windows)
    found = []
    for count in params.words:
        kept = d_logits.clone()
        kept[count:] = 0
        d_z = model.to_z(model.at_gates(run, lstm.together(kept)))
        found.append(((-d_z).argmax(-1) == truth).double().mean(-1))
    return torch.stack(found, -1).cpu().numpy()


def adapt(
    params: Language, model: Model, windows: Windows, device: torch.device
) -> tuple[Array, Array]:
    """Optimise one z for each novel data set, weights frozen.

    z starts uniform for `gbi`, and at zero, as it was in training, for `lstm`.

    Returns:
        Loss on fixed test windows at every record (member, data set, record), and the
        final z (member, data set, component).
    """
    K, N, batch = len(params.picks[0]), len(params.novel[0]), params.adapt_batch
    z = _of_kinds(params, torch.full((N, K), 1 / K, device=device)).contiguous()
    adam = lstm.Adam({"z": z}, params.adapt_rate)
    test = windows.draw("test", params.adapt_windows, _streams(params, "novel test words"))
    rngs = _streams(params, "novel word batches")
    losses = []
    for step in range(params.adapt_steps + 1):
        if step % params.adapt_every == 0:
            nll = model.forward(test, z.repeat_interleave(params.adapt_windows, 1)).nll
            losses.append(nll.mean(1).unflatten(-1, (N, -1)).mean(-1))
        if step == params.adapt_steps:
            break
        words = windows.draw("train", batch, rngs)
        run = model.forward(words, z.repeat_interleave(batch, 1))
        d_z = model.to_z(model.at_gates(run, model.at_logits(run, words)))
        adam.step({"z": d_z.unflatten(1, (N, batch)).sum(2) / (batch * params.T)})
    return torch.stack(losses, -1).cpu().numpy().astype(float), z.cpu().numpy()


# ---- the product -----------------------------------------------------------------------


def experiment(params: Language, device: torch.device) -> xr.Dataset:
    """Train, infer and adapt: see `train.language`."""
    corpora = languages.corpora(params)
    known, novel = (
        Windows(params, corpora, names, device) for names in (params.picks, params.novel)
    )
    draws = [initial_weights(params, run) for run in range(params.seeds)]
    with torch.inference_mode():
        model = Model(lstm.stacked(draws * len(KINDS), device), params.gain)
        start = model.weights["W_z"].clone()
        train_loss, test_loss = train(params, model, known, device)
        accuracy = one_pass(params, model, known, device)
        adapt_loss, adapt_z = adapt(params, model, novel, device)
        moved = (model.weights["W_z"] - start).abs().amax((1, 2)).cpu().numpy()
    stretches = np.array_split(np.arange(params.steps), min(CURVE, params.steps))
    curve = np.stack([train_loss[:, s].mean(-1) for s in stretches], -1)
    unknown = [
        np.mean([(corpora[name].test == 0).mean() for name in own]) for own in params.picks
    ]

    def member(dims: tuple[str, ...], values: Array, text: str, units: str) -> xr.Variable:
        split = values.reshape(len(KINDS), params.seeds, *values.shape[1:])
        return variable(("kind", "seed", *dims), split.astype(np.float32), text, units)

    novel_set = "novel data set"
    return xr.Dataset(
        {
            "train_loss": member(("stretch",), curve, "training loss per word", "nat"),
            "test_loss": member(("evaluation",), test_loss, "test loss per word", "nat"),
            "onepass_accuracy": member(
                ("words",), accuracy, "fraction of windows whose data set is inferred", "1"
            ),
            "adapt_loss": member(
                ("novel", "adaptation"),
                adapt_loss,
                f"test loss per word, {novel_set}",
                "nat",
            ),
            "adapt_z": member(("novel", "component"), adapt_z, f"z of a {novel_set}", "1"),
            "z_weights_moved": member((), moved, "largest change of a weight of z", "1"),
            "unknown": float32(("seed",), unknown, "fraction of <unk> in the test parts"),
        },
        _coordinates(params, [s.mean() for s in stretches]),
    )


def _coordinates(params: Language, stretches: list[float]) -> dict[str, xr.Variable]:
    def every(steps: int, interval: int) -> Integers:
        return np.arange(0, steps + 1, interval)

    return seeds(params.seeds) | {
        "kind": variable("kind", list(KINDS), "kind of network"),
        "stretch": variable("stretch", np.array(stretches), "middle of a stretch of steps"),
        "evaluation": variable(
            "evaluation", every(params.steps, params.evaluate_every), "step of training"
        ),
        "words": variable("words", np.array(params.words), "words seen"),
        "adaptation": variable(
            "adaptation", every(params.adapt_steps, params.adapt_every), "step on z"
        ),
        **indices(
            {
                "novel": (len(params.novel[0]), "novel data set of a pick"),
                "component": (len(params.picks[0]), "component of z"),
            }
        ),
    }
