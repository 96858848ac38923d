"""Image networks (M4): many at once, by mini-batch gradient descent with momentum.

Encoder of the input domain, one shared layer, decoder of the output domain, all linear
with biases, or leaky ReLU after the first two; softmax and cross-entropy, averaged over
the batch and the trained pairs.

All seeds and conditions are one program in float32, with gradients by hand. Encoders of
all conditions are one batched product, since they see the same images. Of the decoders,
only those of trained pairs are computed. A run's numbers may depend on the others in its
batch by rounding.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from retrograd.errors import RetrogradError
from retrograd.papers.saxe2022_neural_race.image_tasks import CLASSES, ImageTask
from retrograd.papers.saxe2022_neural_race.params import Images
from retrograd.randomness import stream

SLOPE = 0.01  # of a leaky ReLU below zero
EVALUATED = 20_000_000  # logits at once, at most


@dataclass(frozen=True)
class _Pairs:
    """Trained pairs of one condition: who is trained with whom.

    Attributes:
        outputs: of every input, (seed, input, K).
        places: of every output, its K places in (input, K), flattened, (seed, output, K).
        classes: what the outputs make of every class, (seed, input, 1, K, class).
    """

    outputs: Tensor
    places: Tensor
    classes: Tensor

    @classmethod
    def of(cls, masks: NDArray[np.float64], classes: Tensor) -> "_Pairs":
        """From masks (seed, input, output), and what outputs make of classes."""
        seeds, M, _ = masks.shape
        outputs = np.nonzero(masks)[2].reshape(seeds, M, -1)
        places = np.argsort(outputs.reshape(seeds, -1), axis=1, kind="stable")
        trained, found = (
            torch.from_numpy(p).to(classes.device)
            for p in (outputs, places.reshape(seeds, M, -1))
        )
        return cls(trained, found, classes[trained][:, :, None])

    @property
    def K(self) -> int:
        return self.outputs.shape[-1]


class ImageNetworks:
    """All runs of one experiment; S seeds, C conditions, M domains, h units.

    `weights` by name: encoder (S·M, n, C·h), encoder_bias (S·M, 1, C·h), shared
    (C·S, h, h), shared_bias (C·S, 1, h), decoder (C, S, M, 10, h), decoder_bias
    (C, S, M, 10). Matrices act from the right, decoders from the left.
    """

    def __init__(self, params: Images, task: ImageTask, device: torch.device) -> None:
        self.params, self.task, self.step = params, task, 0
        self.S, self.C, self.M = params.seeds, len(params.networks), params.M
        self.weights = {
            name: torch.from_numpy(w).to(device) for name, w in self._draw().items()
        }
        self._velocity = {n: torch.zeros_like(w) for n, w in self.weights.items()}
        self._pairs = [_Pairs.of(task.masks[:, c], task.classes) for c in range(self.C)]
        lr = torch.tensor([n.lr for n in params.networks], device=device)
        self._lr = {
            "encoder": lr.repeat_interleave(params.h),
            "shared": lr.repeat_interleave(self.S)[:, None, None],
            "decoder": lr[:, None, None, None, None],
            "decoder_bias": lr[:, None, None, None],
        }
        self._lr |= {f"{n}_bias": self._lr[n] for n in ("encoder", "shared")}
        # Leaky conditions come last; the others are linear.
        self._linear = sum(not network.leaky for network in params.networks)
        self.losses = torch.zeros(self.S, self.C, device=device)
        self._buffers: dict[str, Tensor] = {}

    def _buffer(self, name: str, *shape: int) -> Tensor:
        """A tensor to write into, the same one at every step.

        To allocate the large ones anew costs as much as to fill them.
        """
        found = self._buffers.get(name)
        if found is None or found.shape != shape:
            found = self._buffers[name] = self.losses.new_empty(shape)
        return found

    def _draw(self) -> dict[str, NDArray[np.float32]]:
        """Xavier-uniform weights times the gain; conditions of a seed share the draws."""
        S, M, n, h = self.S, self.M, self.task.n, self.params.h
        gains = np.array([network.gain for network in self.params.networks])
        drawn: dict[str, list[NDArray[np.float64]]] = {}
        for run in range(S):
            rng = stream(self.params.seed, run, f"image weights, M={M}, n={n}, h={h}")
            for name, shape in (
                ("encoder", (M, n, h)),
                ("shared", (h, h)),
                ("decoder", (M, CLASSES, h)),
            ):
                limit = np.sqrt(6 / (shape[-2] + shape[-1]))
                drawn.setdefault(name, []).append(rng.uniform(-limit, limit, shape))
        encoder, shared, decoder = (np.stack(runs) for runs in drawn.values())
        per_condition = gains[:, None]
        weights = {
            "encoder": (encoder[..., None, :] * per_condition).reshape(S * M, n, -1),
            "encoder_bias": np.zeros((S * M, 1, self.C * h)),
            "shared": (shared * gains[:, None, None, None]).reshape(-1, h, h),
            "shared_bias": np.zeros((self.C * S, 1, h)),
            "decoder": decoder * gains[:, None, None, None, None],
            "decoder_bias": np.zeros((self.C, S, M, CLASSES)),
        }
        return {name: w.astype(np.float32) for name, w in weights.items()}

    # ---- training ----------------------------------------------------------------------

    @torch.no_grad()
    def advance_to(
        self, step: int, report: Callable[[int], object] = lambda taken: None
    ) -> None:
        """Take steps up to `step`, and report how many.

        Raises:
            RetrogradError: a run went non-finite; names condition, seed and step.
        """
        start = self.step
        while self.step < step:
            self._descend(self.gradients(*self.task.batch()))
            self.step += 1
        if not torch.isfinite(self.losses).all():
            seed, condition = (~torch.isfinite(self.losses)).nonzero()[0].tolist()
            label = self.params.networks[condition].label
            raise RetrogradError(
                f"the run diverged: condition '{label}', seed {seed}, was non-finite at "
                f"step {self.step}; lower its lr or its gain"
            )
        report(self.step - start)

    def _descend(self, gradients: dict[str, Tensor]) -> None:
        left = self.params.steps - self.step
        part = min(1.0, left / self.params.anneal) if self.params.anneal else 1.0
        for name, gradient in gradients.items():
            velocity = self._velocity[name].mul_(self.params.momentum).add_(gradient)
            self.weights[name].addcmul_(velocity, self._lr[name], value=-part)

    @torch.no_grad()
    def gradients(self, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        """Gradient of the loss of one batch, by weight; keeps the loss (seed, condition).

        Args:
            x: images through every input domain, (S·M, B, n).
            y: their classes, (S, B).
        """
        S, C, M, h = self.S, self.C, self.M, self.params.h
        B = x.shape[1]
        first, slope_1, second, slope_2 = self._hidden(x)
        back = self._buffer("back", C, S, M, B, h)  # at the second hidden layer
        found = {
            name: self._buffer(f"d {name}", *self.weights[name].shape)
            for name in ("encoder", "decoder", "decoder_bias")
        }
        for c in range(C):
            self._decoders(c, second[c], y, back[c], found)
        back = self._times_slope(back, slope_2).view(C * S, -1, h)
        found["shared"] = torch.bmm(first.view(C * S, -1, h).mT, back)
        found["shared_bias"] = back.sum(1, keepdim=True)
        at_first = self._buffer("back at first", C * S, M * B, h)
        torch.bmm(back, self.weights["shared"].mT, out=at_first)
        self._times_slope(at_first.view(first.shape), slope_1)
        by_domain = self._buffer("by domain", S, M, B, C, h)
        by_domain.copy_(at_first.view(first.shape).permute(1, 2, 3, 0, 4))
        at_encoders = by_domain.view(S * M, B, C * h)
        torch.bmm(x.mT, at_encoders, out=found["encoder"])
        found["encoder_bias"] = at_encoders.sum(1, keepdim=True)
        return found

    def _hidden(self, x: Tensor) -> tuple[Tensor, Tensor | None, Tensor, Tensor | None]:
        """Both hidden layers (C, S, M, B, h) and, of leaky conditions, their slopes."""
        W, S, C, M, h = self.weights, self.S, self.C, self.M, self.params.h
        B = x.shape[1]
        z = self._buffer("by domain", S, M, B, C, h)
        torch.baddbmm(W["encoder_bias"], x, W["encoder"], out=z.view(S * M, B, C * h))
        first = self._buffer("first", C, S, M, B, h).copy_(z.permute(3, 0, 1, 2, 4))
        first, slope_1 = self._units(first)
        second = self._buffer("second", C, S, M, B, h)
        below, above = (layer.view(C * S, M * B, h) for layer in (first, second))
        torch.baddbmm(W["shared_bias"], below, W["shared"], out=above)
        second, slope_2 = self._units(second)
        return first, slope_1, second, slope_2

    def _units(self, z: Tensor) -> tuple[Tensor, Tensor | None]:
        """Activities, and the slopes of leaky conditions; overwrites z."""
        if self._linear == self.C:
            return z, None
        positive = (z[self._linear :] > 0).to(z.dtype)
        slope = positive.mul_(1 - SLOPE).add_(SLOPE)
        return self._times_slope(z, slope), slope

    def _times_slope(self, values: Tensor, slope: Tensor | None) -> Tensor:
        if slope is not None:
            values[self._linear :].mul_(slope)
        return values

    def _decoders(
        self, c: int, hidden: Tensor, y: Tensor, back: Tensor, found: dict[str, Tensor]
    ) -> None:
        """Loss and gradients of the decoders of trained pairs, in one condition.

        Args:
            c: condition.
            hidden: second hidden layer, (S, M, B, h).
            y: classes, (S, B).
            back: gets the gradient at that layer.
            found: gets the gradients of decoder and decoder_bias.
        """
        pairs = self._pairs[c]
        S, M, K, h = self.S, self.M, pairs.K, self.params.h
        B = y.shape[1]
        hidden = hidden.view(S * M, B, h)
        seeds = torch.arange(S, device=y.device)[:, None, None]
        W = self.weights["decoder"][c][seeds, pairs.outputs].view(S * M, -1, h)
        bias = self.weights["decoder_bias"][c][seeds, pairs.outputs]
        logits = torch.baddbmm(bias.view(S * M, 1, -1), hidden, W.mT)
        log_p = logits.view(S, M, B, K, CLASSES).log_softmax(-1)
        # The class that output j makes of y: (S, M, B, K, 1).
        target = pairs.classes.expand(log_p.shape)
        target = target.gather(-1, y[:, None, :, None, None].expand(S, M, B, K, 1))
        scale = 1 / (B * K * M)
        at_target = log_p.gather(-1, target)
        self.losses[:, c] = -scale * at_target.sum((1, 2, 3, 4))
        error = log_p.exp_().scatter_(-1, target, at_target.exp_() - 1).mul_(scale)
        error = error.view(S * M, B, -1)
        torch.bmm(error, W, out=back.view(S * M, B, h))
        down = torch.bmm(error.mT, hidden).view(S, M * K, CLASSES, h)
        torch.sum(down[seeds, pairs.places], 2, out=found["decoder"][c])
        down_bias = error.sum(1).view(S, M * K, CLASSES)
        torch.sum(down_bias[seeds, pairs.places], 2, out=found["decoder_bias"][c])

    def record(self) -> dict[str, NDArray[np.float64]]:
        """loss (seed, condition), of the last batch before its step."""
        return {"loss": self.losses.cpu().numpy().astype(np.float64)}

    # ---- evaluation --------------------------------------------------------------------

    @torch.no_grad()
    def accuracy(self) -> NDArray[np.float64]:
        """Part of the test images that are right, (seed, condition, input, output)."""
        S, M, h = self.S, self.M, self.params.h
        right = torch.zeros(S, self.C, M, M, dtype=torch.int64, device=self.losses.device)
        size = max(1, EVALUATED // (S * M * M * CLASSES))
        for x, y in self.task.test_batches(size):
            target = self.task.classes[:, y].T  # (image, output)
            _, _, hidden, _ = self._hidden(x)
            for c in range(self.C):
                W = self.weights["decoder"][c].view(S, -1, h).mT
                bias = self.weights["decoder_bias"][c].view(S, 1, -1)
                logits = torch.baddbmm(bias, hidden[c].view(S, -1, h), W)
                chosen = logits.view(S, M, len(y), M, CLASSES).argmax(-1)
                right[:, c] += (chosen == target).sum(2)
        return right.cpu().numpy() / len(self.task.test_y)
