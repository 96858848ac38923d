"""The controlled two-layer linear network, and the adjoint of its learning.

Per row of a batch, with gains A1, A2 (elementwise), weights d of the outputs' errors,
speed u and decay λ, from given W1, W2:

    U1 = W1∘A1, U2 = W2∘A2, P = U2 U1, R = Syx − P Sx, E = h diag(d) R, h = dt u
    W1 += (U2ᵀ E)∘A1 − λ h W1,   W2 += (E U1ᵀ)∘A2 − λ h W2
    L = ½ E[y²] − <P, Syx> + ½ <P Sx, P> + ½ λ (|W1|² + |W2|²)

This is what a network learns on average from samples; d weighs the errors that drive
learning, and never the loss. The weights d, u and λ enter through E and λ h alone, so a
step costs the same with all of them as without.

In the eigenbasis of Sx (W1, Syx times its eigenvectors) P Sx is a product with its
eigenvalues e, elementwise: exact, unless the weights have gains of their own.

Arrays of one step have the batch in front; histories have the time in front of it, and
are kept as lists of the steps' arrays, as indexing costs as much as a small product.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from retrograd.errors import RetrogradError
from retrograd.papers.carrasco_davis2023_learning_effort.data import Task
from retrograd.papers.carrasco_davis2023_learning_effort.kernels import Small, kernels_of

Array = NDArray[np.float64]


@dataclass
class Effect:
    """What a control does to the network; also the gradient of a value in all that.

    d (time, batch, O), u (time, batch), A1 (time, batch, H, I), A2 (time, batch, O, H),
    and initial weights W1 (batch, H, I), W2 (batch, O, H). None: left as they are.
    """

    d: Tensor | None = None
    u: Tensor | None = None
    A1: Tensor | None = None
    A2: Tensor | None = None
    W1: Tensor | None = None
    W2: Tensor | None = None


class LinearNetwork:
    """A batch of networks that learn, step by step, and their costates, step by step."""

    def __init__(
        self,
        tasks: Sequence[Task] | Sequence[Sequence[Task]],
        W1: Array,
        W2: Array,
        *,
        dt: float,
        steps: int,
        weight_decay: float = 0.0,
        segments: Sequence[int] | None = None,
        gains: bool = False,
        labels: Sequence[str] | None = None,
        device: torch.device,
    ) -> None:
        """Allocate all histories.

        Args:
            tasks: what is learned: one task, or several that segments refer to; each
                one for all rows, or a list with one for every row.
            W1: initial weights, (batch, H, I).
            W2: initial weights, (batch, O, H).
            dt: learning rate.
            steps: number of states, the last of which is not followed by an update.
            weight_decay: λ.
            segments: index of the task of every step; the first task if absent.
            gains: whether weights have gains; then nothing is rotated.
            labels: of the rows, for error messages.
            device: where the tensors live.
        """
        self.dt, self.steps, self.weight_decay = dt, steps, weight_decay
        self.labels = labels or [f"row {b}" for b in range(len(W1))]
        self.gains = gains
        self._segments = list(segments) if segments is not None else [0] * steps
        self._device, self._kernels = device, kernels_of(device)
        self._take_tasks([t if isinstance(t, Sequence) else [t] for t in tasks])
        batch, H, I = W1.shape  # noqa: E741
        O = W2.shape[1]  # noqa: E741
        self._first, self._second = self._in_basis(self._tensor(W1)), self._tensor(W2)
        self._allocate(batch, O, H, I)

    # ---- set-up ------------------------------------------------------------------------

    def _tensor(self, values: Array) -> Tensor:
        return torch.tensor(values, dtype=torch.float64, device=self._device)

    def _take_tasks(self, tasks: list[Sequence[Task]]) -> None:
        """Moments per segment, (rows or 1, ...), in the basis that is worked in."""
        stacked = [
            [self._tensor(np.stack([getattr(t, name) for t in rows])) for rows in tasks]
            for name in ("Sx", "Syx", "Syy")
        ]
        Sx, Syx, Syy = stacked
        # One basis serves one task only; weights with gains have no other basis.
        self._basis: Tensor | None = None
        if not self.gains and len(tasks) == 1:
            eigenvalues, self._basis = torch.linalg.eigh(Sx[0])
            Sx, Syx = [eigenvalues[:, None, :]], [Syx[0] @ self._basis]
        self.Sx, self.Syx, self.Syy = Sx, Syx, Syy

    def _in_basis(self, W1: Tensor) -> Tensor:
        return W1 if self._basis is None else W1 @ self._basis

    def _allocate(self, batch: int, O: int, H: int, I: int) -> None:  # noqa: E741
        steps, one = self._kernels.steps, self._kernels.one

        def empty(*shape: int) -> Tensor:
            return torch.zeros(*shape, dtype=torch.float64, device=self._device)

        def history(*shape: int, kept: int = self.steps) -> tuple[Tensor, list[Small]]:
            whole = empty(kept, batch, *shape)
            return whole, steps(whole)

        # Memory traffic is what large batches cost: of the errors only R is kept, and what
        # the losses and the gradients need of P and D (see step and step_back).
        self._W1, self._W1s = history(H, I)
        self._W2, self._W2s = history(O, H)
        self._R, self._Rs = history(O, I)
        self._fits, self._fits_steps = history(O)
        self._driven, self._driven_steps = history(O)
        self._P, self._D, self._E, self._G, self._X = (
            one(empty(batch, O, I)) for _ in range(5)
        )
        self._U1, self._U1s, self._U2, self._U2s = self._W1, self._W1s, self._W2, self._W2s
        if self.gains:
            self._U1, self._U1s = history(H, I)
            self._U2, self._U2s = history(O, H)
            self._F1, self._F1s = history(H, I)
            self._F2, self._F2s = history(O, H)
            self._c1, self._c1s = history(H, I)
            self._c2, self._c2s = history(O, H)
            q1, q2 = empty(batch, H, I), empty(batch, O, H)
            self._q1, self._q2, self._q1T, self._q2T = map(one, (q1, q2, q1.mT, q2.mT))
        self._U1Ts, self._U2Ts = (steps(w.mT) for w in (self._U1, self._U2))
        # Costates: the two at hand, in turn; all of them where gains look at them again.
        kept = self.steps + 1 if self.gains else 2
        self._p1, self._p2 = history(H, I, kept=kept)[0], history(O, H, kept=kept)[0]
        self._p1s, self._p2s, self._p1Ts, self._p2Ts = (
            [views[k % kept] for k in range(self.steps + 1)]
            for views in map(steps, (self._p1, self._p2, self._p1.mT, self._p2.mT))
        )
        # <p1, W1> and <p2, W2>, which a decaying network's speed looks at.
        self._pW = empty(2, self.steps, batch)
        self._pWs = list(zip(*map(steps, self._pW), strict=True))
        # Moments for every row of the batch, as products of matrices want them.
        shape = (batch, I, I) if self._basis is None else (batch, O, I)
        self._Sxs = [one(s.expand(shape).contiguous()) for s in self.Sx]
        self._Syxs = [one(s.expand(batch, O, I)) for s in self.Syx]

    # ---- forward -----------------------------------------------------------------------

    def start(self, effect: Effect) -> None:
        """Take what the control does, and put the weights at step 0."""
        self._effect = effect
        batch, O = self._R.shape[1:3]  # noqa: E741
        steps = self._kernels.steps
        one = torch.ones((), dtype=torch.float64, device=self._device)
        u, d = (one if given is None else given for given in (effect.u, effect.d))
        speed = u[..., None] if effect.u is not None else one
        h = (self.dt * speed * d).expand(self.steps, batch, O)
        self._hs = steps(h[..., None])
        keep = (1 - self.weight_decay * self.dt * u).expand(self.steps, batch)
        self._keeps = self._per_row(keep)
        if self.gains:
            assert effect.A1 is not None
            assert effect.A2 is not None
            self._A1s, self._A2s = steps(effect.A1), steps(effect.A2)
        self._W1[0] = self._first if effect.W1 is None else self._in_basis(effect.W1)
        self._W2[0] = self._second if effect.W2 is None else effect.W2

    def _per_row(self, values: Tensor) -> list[Small]:
        """Every step's factors of matrices, from (time, batch); numbers if rows share."""
        if (values == values[:, :1]).all():
            return values[:, 0].tolist()
        return self._kernels.steps(values[..., None, None])

    def step(self, k: int) -> None:
        """Errors of step k, and the weights of step k + 1."""
        ops, last = self._kernels, k + 1 == self.steps
        W1, W2, U1, U2 = self._W1s[k], self._W2s[k], self._U1s[k], self._U2s[k]
        P, R, E, segment = self._P, self._Rs[k], self._E, self._segments[k]
        if self.gains:
            ops.mul(W1, self._A1s[k], U1)
            ops.mul(W2, self._A2s[k], U2)
        ops.mm(U2, U1, P)
        self._less_product(self._Syxs[segment], P, segment, R)
        ops.row_dot(P, ops.add(R, self._Syxs[segment], E), self._fits_steps[k])
        if last:
            return
        ops.mul(R, self._hs[k], E)
        next1, next2 = self._W1s[k + 1], self._W2s[k + 1]
        if self.gains:
            F1, F2, keep = self._F1s[k], self._F2s[k], self._keeps[k]
            ops.mm(self._U2Ts[k], E, F1)
            ops.mm(E, self._U1Ts[k], F2)
            ops.add_mul(ops.mul(W1, keep, next1), F1, self._A1s[k], next1)
            ops.add_mul(ops.mul(W2, keep, next2), F2, self._A2s[k], next2)
            return
        if self.weight_decay:
            W1 = ops.mul(W1, self._keeps[k], next1)
            W2 = ops.mul(W2, self._keeps[k], next2)
        ops.add_mm(W1, self._U2Ts[k], E, next1)
        ops.add_mm(W2, E, self._U1Ts[k], next2)

    def _less_product(self, a: Small, b: Small, segment: int, out: Small) -> None:
        """a − b Sx."""
        less = self._kernels.sub_mm if self._basis is None else self._kernels.sub_mul
        less(a, b, self._Sxs[segment], out)

    def run(self, effect: Effect) -> Tensor:
        """Learn from start to end; the losses, (time, batch)."""
        self.start(effect)
        with np.errstate(over="ignore", invalid="ignore"):  # losses() says if it diverged
            for k in range(self.steps):
                self.step(k)
        return self.losses()

    def output_losses(self) -> Tensor:
        """½ E[(ŷ − y)²] of every output, (time, batch, O)."""
        Syy = self.Syy[0] if len(self.Syy) == 1 else torch.stack(self.Syy)[self._segments]
        return 0.5 * (Syy - self._fits)  # <P, Syx + R> = 2 <P, Syx> − <P Sx, P>

    def losses(self) -> Tensor:
        """L of the states gone through, (time, batch).

        Raises:
            RetrogradError: a run went non-finite; names the row and the step.
        """
        losses = self.output_losses().sum(-1)
        if self.weight_decay:
            losses = losses + 0.5 * self.weight_decay * self._squares()
        if not torch.isfinite(losses[-1]).all():
            k, row = (~torch.isfinite(losses)).nonzero()[0].tolist()
            raise RetrogradError(
                f"learning diverged: {self.labels[row]} went non-finite at step {k} "
                f"(t = {k * self.dt:g}); explicit Euler needs dt · largest eigenvalue of "
                "Sx · |W2|² < 2, times the largest control: lower dt"
            )
        return losses

    def _squares(self) -> Tensor:
        """Sum of the squares of all weights, (time, batch)."""
        norm = torch.linalg.vector_norm
        return sum(norm(W, dim=(-2, -1)).square() for W in (self._W1, self._W2))

    def weight_norms(self) -> tuple[Tensor, Tensor]:
        """Mean size and root mean square of all weights: (time, batch) each.

        The mean size only means something where the basis is the inputs' own.
        """
        count = self._first[0].numel() + self._second[0].numel()
        norm = torch.linalg.vector_norm
        sizes = sum(norm(W, ord=1, dim=(-2, -1)) for W in (self._W1, self._W2))
        return torch.as_tensor(sizes) / count, (self._squares() / count).sqrt()

    def weights(self, steps: Sequence[int]) -> tuple[Tensor, Tensor]:
        """W1 (time, batch, H, I) and W2 (time, batch, O, H) at the given steps."""
        W1, W2 = self._W1[steps], self._W2[steps]
        return W1 if self._basis is None else W1 @ self._basis.mT, W2

    # ---- backward ----------------------------------------------------------------------

    def start_back(self, weight: Tensor) -> None:
        """Costates of V = −Σ_k weight_k L_k, weight (time, batch), after the last step."""
        self._p1[self.steps % len(self._p1)] = 0
        self._p2[self.steps % len(self._p2)] = 0
        self._ells = self._per_row(weight)
        self._pulls = self._per_row(-self.weight_decay * weight)

    def step_back(self, k: int) -> None:
        """Costates p1, p2 of W1, W2 at step k, from those at step k + 1."""
        ops, decays = self._kernels, self.weight_decay > 0
        W1, W2, p1, p2 = self._W1s[k], self._W2s[k], self._p1s[k + 1], self._p2s[k + 1]
        U1, U2, U1T, U2T = self._U1s[k], self._U2s[k], self._U1Ts[k], self._U2Ts[k]
        R, E, D, G, X = self._Rs[k], self._E, self._D, self._G, self._X
        if decays and self._effect.u is not None:
            ops.dot(p1, W1, self._pWs[k][0])
            ops.dot(p2, W2, self._pWs[k][1])
        q1, q2, q1T, q2T = p1, p2, self._p1Ts[k + 1], self._p2Ts[k + 1]
        if self.gains:
            q1, q1T = ops.mul(p1, self._A1s[k], self._q1), self._q1T
            q2, q2T = ops.mul(p2, self._A2s[k], self._q2), self._q2T
        # D: cotangent of E, so that of R is −diag(h d) D, and X is that of P.
        ops.add_mm(ops.mm(U2, q1, D), q2, U1, D)
        ops.row_dot(D, R, self._driven_steps[k])
        ops.mul(D, self._hs[k], G)
        ops.mul(R, self._hs[k], E)
        ops.mul(R, self._ells[k], X)
        self._less_product(X, G, self._segments[k], X)
        new1, new2 = self._p1s[k], self._p2s[k]
        if self.gains or decays:
            p1 = ops.add_mul(ops.mul(p1, self._keeps[k], new1), W1, self._pulls[k], new1)
            p2 = ops.add_mul(ops.mul(p2, self._keeps[k], new2), W2, self._pulls[k], new2)
        if self.gains:
            # c1, c2: cotangents of U1, U2.
            c1, c2 = self._c1s[k], self._c2s[k]
            ops.add_mm(ops.mm(q2T, E, c1), U2T, X, c1)
            ops.add_mm(ops.mm(E, q1T, c2), X, U1T, c2)
            ops.add_mul(new1, c1, self._A1s[k], new1)
            ops.add_mul(new2, c2, self._A2s[k], new2)
        else:
            ops.add_mm(ops.add_mm(p1, q2T, E, new1), U2T, X, new1)
            ops.add_mm(ops.add_mm(p2, E, q1T, new2), X, U1T, new2)

    def gradient(self) -> Effect:
        """∂V in all that the control of this run does, and in the initial weights."""
        effect, dt = self._effect, self.dt
        found = Effect(W1=self._p1[0].clone(), W2=self._p2[0].clone())
        if self._basis is not None:
            found.W1 = self._p1[0] @ self._basis.mT
        if effect.d is not None:
            found.d = self._driven * (dt if effect.u is None else dt * effect.u[..., None])
        if effect.u is not None:
            weighed = self._driven if effect.d is None else effect.d * self._driven
            found.u = dt * (weighed.sum(-1) - self.weight_decay * self._pW.sum(0))
        if self.gains:
            found.A1 = self._p1[1:] * self._F1 + self._c1 * self._W1
            found.A2 = self._p2[1:] * self._F2 + self._c2 * self._W2
        return found
