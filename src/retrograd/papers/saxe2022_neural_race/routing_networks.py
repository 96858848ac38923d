"""Routing networks (M3): many at once, by full-batch gradient descent with hand gradients.

A network maps input domain i to output domain j by O_j H I_i on the items (X is the
identity). Its loss is the sum over trained pairs of the mean squared error, without ½.

All runs are one program of stacked matrix products in float64, by numpy: for matrices so
small it is faster than torch on one core, and a run has the same bits alone and in any
batch, since each of its products is one call. A network that adds up sub-networks of
different sharing has one set of blocks per sub-network.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from retrograd.errors import RetrogradError
from retrograd.papers.saxe2022_neural_race.data import N_ITEMS, N_MODES, N_OUT, Weights

Array = NDArray[np.float64]


class _Blocks:
    """One sub-network of degree P = m²: its domains fall into groups of m.

    Each pair (input group a, output group b) is a block with its own encoders, hidden
    matrix and decoders; arrays have runs and blocks as one leading axis. Results go into
    arrays that are there already: to allocate them anew costs as much as to compute them.
    """

    def __init__(self, weights: Weights, M: int) -> None:
        self.m = weights.encoders.shape[-1] // N_ITEMS
        self.groups = M // self.m
        self.encoders, self.hidden, self.decoders = (
            w.reshape(-1, *w.shape[-2:]).copy()
            for w in (weights.encoders, weights.hidden, weights.decoders)
        )
        # H I of the last forward pass, what comes back through the layers, the steps.
        self._h, self._back, self._d_encoders = (
            np.empty_like(self.encoders) for _ in range(3)
        )
        self._d_hidden, self._d_decoders = map(np.empty_like, (self.hidden, self.decoders))
        self._outputs = np.empty((len(self.hidden), self.m * N_OUT, self.m * N_ITEMS))

    def outputs(self) -> Array:
        """Of all pairs, (run, output · feature, input · item), until the next call."""
        np.matmul(self.hidden, self.encoders, out=self._h)
        blocks = np.matmul(self.decoders, self._h, out=self._outputs)
        if self.groups == 1:
            return blocks
        g, m = self.groups, self.m
        by_group = blocks.reshape(-1, g, g, m * N_OUT, m * N_ITEMS)
        whole = by_group.transpose(0, 2, 3, 1, 4)
        return whole.reshape(-1, g * m * N_OUT, g * m * N_ITEMS)

    def descend(self, errors: Array) -> None:
        """Step all matrices at once, along the errors (as outputs) times the step."""
        if self.groups > 1:
            g, m = self.groups, self.m
            by_group = errors.reshape(-1, g, m * N_OUT, g, m * N_ITEMS)
            errors = by_group.transpose(0, 3, 1, 2, 4).reshape(self._outputs.shape)
        np.matmul(self.decoders.mT, errors, out=self._back)
        np.matmul(self.hidden.mT, self._back, out=self._d_encoders)
        np.matmul(errors, self._h.mT, out=self._d_decoders)
        np.matmul(self._back, self.encoders.mT, out=self._d_hidden)
        self.encoders += self._d_encoders
        self.hidden += self._d_hidden
        self.decoders += self._d_decoders


class RoutingNetworks:
    """All runs of one experiment.

    Args:
        weights: of every sub-network; runs, and blocks if there are several, in front.
        mask: trained pairs, (run, input, output).
        lr: learning rates, (run,).
        target: Y, (feature, item).
        names: of the runs, for error messages.
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
        singular_values: bool = False,
        keep_losses: bool = True,
    ) -> None:
        self.epoch = 0
        self._names, self._singular_values = names, singular_values
        self._keep_losses = keep_losses
        self.M = mask.shape[-1]
        self._blocks = [_Blocks(w, self.M) for w in weights]
        # Of all pairs, as their outputs: (run, output · feature, input · item).
        self._target = np.tile(target, (self.M, self.M))
        trained = np.kron(np.swapaxes(mask, 1, 2), np.ones(target.shape))
        self._trained = trained / target.size
        self._step = 2 * np.asarray(lr)[:, None, None] * self._trained
        self._error = np.empty_like(self._step)
        self._losses: list[Array] = []

    def advance_to(
        self, step: int, report: Callable[[int], object] = lambda taken: None
    ) -> None:
        """Take epochs up to `step`, and report how many.

        Raises:
            RetrogradError: a run went non-finite; names it and the epoch.
        """
        start = self.epoch
        with np.errstate(over="ignore", invalid="ignore"):  # looked for below
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

    def _outputs(self) -> Array:
        first, *others = (blocks.outputs() for blocks in self._blocks)
        return sum(others, start=first)

    def _errors(self) -> Array:
        """Y − O_j H I_i of all pairs, as outputs."""
        return np.subtract(self._target, self._outputs(), out=self._error)

    def _loss(self, errors: Array) -> Array:
        """Loss (run,) by the errors."""
        return (errors**2 * self._trained).sum((-1, -2))

    def _now(self) -> Array:
        return self._loss(self._errors())

    def _check_finite(self, start: int) -> None:
        losses = np.stack([*self._losses[start:], self._now()])
        if not np.isfinite(losses).all():
            epoch, run = np.argwhere(~np.isfinite(losses))[0]
            when = f"at epoch {start + epoch}" if self._keep_losses else "before the end"
            raise RetrogradError(
                f"the run diverged: {self._names[run]}, the loss went non-finite {when}; "
                "lower the learning rate or sigma_0"
            )

    def losses(self) -> Array:
        """Loss at every epoch so far, the present one included: (run, epoch)."""
        return np.stack([*self._losses, self._now()], axis=-1)

    def record(self) -> dict[str, Array]:
        """The loss (run,) and, if asked, singular values (run, sub-network, mode).

        Singular values of the first domain's encoder and decoder and of the hidden
        matrix, in the first block of every sub-network, the largest ones.
        """
        found = {"loss": self._now()}
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
        return np.asarray(np.linalg.svd(matrices, compute_uv=False)[:, :N_MODES])

    # ---- what the networks do at the end -----------------------------------------------

    def predictions(self) -> Array:
        """O_j H I_i of every pair, (run, input, output, feature, item)."""
        pairs = self._outputs().reshape(len(self._names), self.M, N_OUT, self.M, N_ITEMS)
        return pairs.transpose(0, 3, 1, 2, 4).copy()

    def grams(self) -> Array:
        """Similarity of first-layer activities, (I_i x_a)·(I_k x_b).

        Returns:
            (run, input i, item a, input k, item b), of a network with one hidden matrix.
        """
        (blocks,) = self._blocks
        gram = blocks.encoders.mT @ blocks.encoders
        return gram.reshape(len(self._names), self.M, N_ITEMS, self.M, N_ITEMS)
