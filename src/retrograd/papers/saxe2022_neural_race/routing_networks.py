"""Routing networks (M3): many at once, by full-batch gradient descent with hand gradients.

A network maps input domain i to output domain j by O_j H I_i on the items (X is the
identity). Its loss is the sum over trained pairs of the mean squared error, without ½.

All runs are one program of batched matrix products in float64; a network that adds up
sub-networks of different sharing has one set of blocks per sub-network. A run's numbers
may depend on the others in its batch by rounding only.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from retrograd.errors import RetrogradError
from retrograd.papers.saxe2022_neural_race.data import N_ITEMS, N_MODES, N_OUT, Weights

Array = NDArray[np.float64]


class _Blocks:
    """One sub-network of degree P = m²: its domains fall into groups of m.

    Each pair (input group a, output group b) is a block with its own encoders, hidden
    matrix and decoders. Tensors have runs and blocks as one leading axis. Results go into
    tensors that are there already: to allocate them anew costs as much as to compute them.
    """

    def __init__(self, weights: Weights, M: int, device: torch.device) -> None:
        self.m = weights.encoders.shape[-1] // N_ITEMS
        self.groups = M // self.m
        self.encoders, self.hidden, self.decoders = (
            torch.tensor(w.reshape(-1, *w.shape[-2:]), device=device)
            for w in (weights.encoders, weights.hidden, weights.decoders)
        )
        # H I of the last forward pass, and what comes back through the layers.
        self._h, self._back, self._step_in = (
            torch.empty_like(self.encoders) for _ in range(3)
        )
        self._outputs = self.encoders.new_empty(
            len(self.encoders), self.m * N_OUT, self.m * N_ITEMS
        )

    def outputs(self) -> Tensor:
        """Of all pairs, (run, output · feature, input · item), until the next call."""
        torch.bmm(self.hidden, self.encoders, out=self._h)
        blocks = torch.bmm(self.decoders, self._h, out=self._outputs)
        if self.groups == 1:
            return blocks
        g, m = self.groups, self.m
        whole = blocks.view(-1, g, g, m * N_OUT, m * N_ITEMS).permute(0, 2, 3, 1, 4)
        return whole.reshape(-1, g * m * N_OUT, g * m * N_ITEMS)

    def descend(self, errors: Tensor) -> None:
        """Step all matrices at once, along the errors (as outputs) times the step."""
        if self.groups > 1:
            g, m = self.groups, self.m
            blocks = errors.view(-1, g, m * N_OUT, g, m * N_ITEMS).permute(0, 3, 1, 2, 4)
            errors = blocks.reshape(-1, m * N_OUT, m * N_ITEMS)
        back = torch.bmm(self.decoders.mT, errors, out=self._back)
        torch.bmm(self.hidden.mT, back, out=self._step_in)
        self.decoders.baddbmm_(errors, self._h.mT)
        self.hidden.baddbmm_(back, self.encoders.mT)
        self.encoders += self._step_in


class RoutingNetworks:
    """All runs of one experiment.

    Args:
        weights: of every sub-network; runs, and blocks if there are several, in front.
        mask: trained pairs, (run, input, output).
        lr: learning rates, (run,).
        target: Y, (feature, item).
        names: of the runs, for error messages.
        device: where the tensors live.
        singular_values: record them.
        keep_losses: keep the loss of every epoch, not only those recorded.
    """

    def __init__(
        self,
        weights: Sequence[Weights],
        mask: Array,
        lr: Array,
        target: Array,
        names: Sequence[str],
        device: torch.device,
        singular_values: bool = False,
        keep_losses: bool = True,
    ) -> None:
        self.epoch = 0
        self._names, self._singular_values = names, singular_values
        self._keep_losses = keep_losses
        self.M = mask.shape[-1]
        self._blocks = [_Blocks(w, self.M, device) for w in weights]
        # Of all pairs, as their outputs: (run, output · feature, input · item).
        self._target = torch.tensor(np.tile(target, (self.M, self.M)), device=device)
        trained = np.kron(np.swapaxes(mask, 1, 2), np.ones(target.shape))
        per_pair = 1 / target.size
        self._trained = torch.tensor(trained * per_pair, device=device)
        rates = torch.tensor(lr, device=device)[:, None, None]
        self._step = 2 * rates * self._trained
        self._error, self._weighted = (torch.empty_like(self._step) for _ in range(2))
        self._losses: list[Tensor] = []

    def _outputs(self) -> Tensor:
        first, *others = (blocks.outputs() for blocks in self._blocks)
        return sum(others, start=first)

    def _errors(self) -> Tensor:
        """Y − O_j H I_i of all pairs, as outputs."""
        return torch.sub(self._target, self._outputs(), out=self._error)

    def _loss(self, errors: Tensor) -> Tensor:
        """Loss (run,) by the errors."""
        weighted = torch.mul(errors, self._trained, out=self._weighted)
        runs = len(self._names)
        return torch.bmm(weighted.view(runs, 1, -1), errors.view(runs, -1, 1)).flatten()

    @torch.no_grad()
    def advance_to(
        self, step: int, report: Callable[[int], object] = lambda taken: None
    ) -> None:
        """Take epochs up to `step`, and report how many.

        Raises:
            RetrogradError: a run went non-finite; names it and the epoch.
        """
        start = self.epoch
        while self.epoch < step:
            errors = self._errors()
            if self._keep_losses:
                self._losses.append(self._loss(errors))
            errors *= self._step
            for blocks in self._blocks:
                blocks.descend(errors)
            self.epoch += 1
        self._check_finite(start)
        report(self.epoch - start)

    def _check_finite(self, start: int) -> None:
        losses = torch.stack([*self._losses[start:], self._now()])
        if not torch.isfinite(losses).all():
            epoch, run = (~torch.isfinite(losses)).nonzero()[0].tolist()
            when = f"at epoch {start + epoch}" if self._keep_losses else "before the end"
            raise RetrogradError(
                f"the run diverged: {self._names[run]}, the loss went non-finite {when}; "
                "lower the learning rate or sigma_0"
            )

    def _now(self) -> Tensor:
        return self._loss(self._errors())

    @torch.no_grad()
    def losses(self) -> Array:
        """Loss at every epoch so far, the present one included: (run, epoch)."""
        return torch.stack([*self._losses, self._now()], dim=-1).cpu().numpy()

    @torch.no_grad()
    def record(self) -> dict[str, Array]:
        """The loss (run,) and, if asked, singular values (run, sub-network, mode).

        Singular values of the first domain's encoder and decoder and of the hidden
        matrix, in the first block of every sub-network, the largest ones.
        """
        found = {"loss": self._now().cpu().numpy()}
        if self._singular_values:
            for name in ("sv_in", "sv_hidden", "sv_out"):
                values = [self._largest(blocks, name) for blocks in self._blocks]
                found[name] = np.stack(values, axis=1)
        return found

    def _largest(self, blocks: _Blocks, name: str) -> Array:
        matrices = {
            "sv_in": blocks.encoders[..., :N_ITEMS],
            "sv_hidden": blocks.hidden,
            "sv_out": blocks.decoders[:, :N_OUT],
        }[name][:: blocks.groups**2]
        values: Array = torch.linalg.svdvals(matrices)[:, :N_MODES].cpu().numpy()
        return values

    # ---- what the networks do at the end -----------------------------------------------

    @torch.no_grad()
    def predictions(self) -> Array:
        """O_j H I_i of every pair, (run, input, output, feature, item)."""
        pairs = self._outputs().view(len(self._names), self.M, N_OUT, self.M, N_ITEMS)
        return pairs.permute(0, 3, 1, 2, 4).cpu().numpy().copy()

    def grams(self) -> Array:
        """Similarity of first-layer activities, (I_i x_a)·(I_k x_b).

        Returns:
            (run, input i, item a, input k, item b), of a network with one hidden matrix.
        """
        (blocks,) = self._blocks
        gram = (blocks.encoders.mT @ blocks.encoders).cpu().numpy()
        shape = (len(self._names), self.M, N_ITEMS, self.M, N_ITEMS)
        return np.asarray(gram.reshape(shape))
