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
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from retrograd.errors import RetrogradError
from retrograd.papers.carrasco_davis2023_learning_effort.data import Task

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
        device: torch.device | None = None,
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
        self._device = device
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
        def history(*shape: int, extra: int = 0) -> tuple[Tensor, list[Tensor]]:
            whole = torch.zeros(
                self.steps + extra, batch, *shape, dtype=torch.float64, device=self._device
            )
            return whole, list(whole.unbind())

        self._W1, self._W1s = history(H, I)
        self._W2, self._W2s = history(O, H)
        self._P, self._Ps = history(O, I)
        self._R, self._Rs = history(O, I)
        self._E, self._Es = history(O, I)
        self._D, self._Ds = history(O, I)
        self._LR, self._LRs = history(O, I)
        self._costates(batch, O, H, I)
        self._U1, self._U1s, self._U2, self._U2s = self._W1, self._W1s, self._W2, self._W2s
        if self.gains:
            self._U1, self._U1s = history(H, I)
            self._U2, self._U2s = history(O, H)
            self._F1, self._F1s = history(H, I)
            self._F2, self._F2s = history(O, H)
            self._c1, self._c1s = history(H, I)
            self._c2, self._c2s = history(O, H)
            self._q1, self._q2 = (torch.zeros_like(w[0]) for w in (self._W1, self._W2))
            self._q1T, self._q2T = self._q1.mT, self._q2.mT
        self._U1Ts, self._U2Ts = (list(w.mT.unbind()) for w in (self._U1, self._U2))
        self._G, self._X = torch.zeros_like(self._Ps[0]), torch.zeros_like(self._Ps[0])
        # Moments for every row of the batch, as products of matrices want them.
        self._Sxs = [
            s.expand(batch, *s.shape[1:]) if self._basis is None else s for s in self.Sx
        ]
        self._Syxs = [s.expand(batch, O, I) for s in self.Syx]

    def _costates(self, batch: int, O: int, H: int, I: int) -> None:  # noqa: E741
        """All of them if they are looked at again, else the two at hand, in turn."""
        kept = self.steps + 1 if self._keeps_costates else 2
        like: dict[str, Any] = {"dtype": torch.float64, "device": self._device}
        self._p1 = torch.zeros(kept, batch, H, I, **like)
        self._p2 = torch.zeros(kept, batch, O, H, **like)
        self._p1s, self._p2s, self._p1Ts, self._p2Ts = (
            [views[k % kept] for k in range(self.steps + 1)]
            for views in (
                p.unbind() for p in (self._p1, self._p2, self._p1.mT, self._p2.mT)
            )
        )

    # ---- forward -----------------------------------------------------------------------

    def start(self, effect: Effect) -> None:
        """Take what the control does, and put the weights at step 0."""
        self._effect = effect
        batch, O = self._R.shape[1:3]  # noqa: E741
        one = torch.ones((), dtype=torch.float64, device=self._device)
        u, d = (one if given is None else given for given in (effect.u, effect.d))
        speed = u[..., None] if effect.u is not None else one
        h = (self.dt * speed * d).expand(self.steps, batch, O)
        self._h, self._hs = h, list(h[..., None].unbind())
        keep = (1 - self.weight_decay * self.dt * u).expand(self.steps, batch)
        self._keeps = list(keep[..., None, None].unbind())
        if self.gains:
            assert effect.A1 is not None
            assert effect.A2 is not None
            self._A1s, self._A2s = list(effect.A1.unbind()), list(effect.A2.unbind())
        self._W1[0] = self._first if effect.W1 is None else self._in_basis(effect.W1)
        self._W2[0] = self._second if effect.W2 is None else effect.W2

    def step(self, k: int) -> None:
        """Errors of step k, and the weights of step k + 1."""
        W1, W2, U1, U2 = self._W1s[k], self._W2s[k], self._U1s[k], self._U2s[k]
        P, R, E, segment = self._Ps[k], self._Rs[k], self._Es[k], self._segments[k]
        if self.gains:
            torch.mul(W1, self._A1s[k], out=U1)
            torch.mul(W2, self._A2s[k], out=U2)
        torch.bmm(U2, U1, out=P)
        self._take_product(self._Syxs[segment], P, segment, out=R)
        torch.mul(R, self._hs[k], out=E)
        if k + 1 == self.steps:
            return
        next1, next2 = self._W1s[k + 1], self._W2s[k + 1]
        if self.gains:
            F1, F2, keep = self._F1s[k], self._F2s[k], self._keeps[k]
            torch.bmm(self._U2Ts[k], E, out=F1)
            torch.bmm(E, self._U1Ts[k], out=F2)
            torch.mul(W1, keep, out=next1).addcmul_(F1, self._A1s[k])
            torch.mul(W2, keep, out=next2).addcmul_(F2, self._A2s[k])
        elif self.weight_decay:
            keep = self._keeps[k]
            torch.mul(W1, keep, out=next1).baddbmm_(self._U2Ts[k], E)
            torch.mul(W2, keep, out=next2).baddbmm_(E, self._U1Ts[k])
        else:
            torch.baddbmm(W1, self._U2Ts[k], E, out=next1)
            torch.baddbmm(W2, E, self._U1Ts[k], out=next2)

    def _take_product(self, a: Tensor, b: Tensor, segment: int, out: Tensor) -> None:
        """a − b Sx."""
        if self._basis is None:
            torch.baddbmm(a, b, self._Sxs[segment], alpha=-1, out=out)
        else:
            torch.addcmul(a, b, self._Sxs[segment], value=-1, out=out)

    def run(self, effect: Effect) -> Tensor:
        """Learn from start to end; the losses, (time, batch)."""
        self.start(effect)
        for k in range(self.steps):
            self.step(k)
        return self.losses()

    def output_losses(self) -> Tensor:
        """½ E[(ŷ − y)²] of every output, (time, batch, O)."""
        Syx, Syy = (
            moments[0] if len(moments) == 1 else torch.stack(moments)[self._segments]
            for moments in (self.Syx, self.Syy)
        )
        return 0.5 * (Syy - (self._P * (Syx + self._R)).sum(-1))

    def losses(self) -> Tensor:
        """L of the states gone through, (time, batch).

        Raises:
            RetrogradError: a run went non-finite; names the row and the step.
        """
        losses = self.output_losses().sum(-1)
        if self.weight_decay:
            squares = self._W1.square().sum((-2, -1)) + self._W2.square().sum((-2, -1))
            losses = losses + 0.5 * self.weight_decay * squares
        if not torch.isfinite(losses[-1]).all():
            k, row = (~torch.isfinite(losses)).nonzero()[0].tolist()
            raise RetrogradError(
                f"learning diverged: {self.labels[row]} went non-finite at step {k} "
                f"(t = {k * self.dt:g}); explicit Euler needs dt · largest eigenvalue of "
                "Sx · |W2|² < 2, times the largest control: lower dt"
            )
        return losses

    def weight_norms(self) -> tuple[Tensor, Tensor]:
        """Mean size and root mean square of all weights: (time, batch) each.

        The mean size only means something where the basis is the inputs' own.
        """
        count = self._first[0].numel() + self._second[0].numel()
        both = self._W1, self._W2
        sizes = sum(W.abs().sum((-2, -1)) for W in both) / count
        squares = sum(W.square().sum((-2, -1)) for W in both) / count
        return torch.as_tensor(sizes), torch.as_tensor(squares).sqrt()

    def weights(self, steps: Sequence[int]) -> tuple[Tensor, Tensor]:
        """W1 (time, batch, H, I) and W2 (time, batch, O, H) at the given steps."""
        W1, W2 = self._W1[steps], self._W2[steps]
        return W1 if self._basis is None else W1 @ self._basis.mT, W2

    # ---- backward ----------------------------------------------------------------------

    def start_back(self, weight: Tensor) -> None:
        """Costates of V = −Σ_k weight_k L_k, weight (time, batch), after the last step."""
        self._p1s[self.steps].zero_()
        self._p2s[self.steps].zero_()
        ell = weight[..., None, None]
        torch.mul(self._R, ell, out=self._LR)
        if self._keeps_costates:
            pull = -self.weight_decay * ell
            self._pull1s = list((pull * self._W1).unbind())
            self._pull2s = list((pull * self._W2).unbind())

    @property
    def _keeps_costates(self) -> bool:
        """Gains and a decaying network's speed have gradients that need them."""
        return self.gains or self.weight_decay > 0

    def step_back(self, k: int) -> None:
        """Costates p1, p2 of W1, W2 at step k, from those at step k + 1."""
        p1, p2, new1, new2 = self._p1s[k + 1], self._p2s[k + 1], self._p1s[k], self._p2s[k]
        U1, U2, E, D = self._U1s[k], self._U2s[k], self._Es[k], self._Ds[k]
        U1T, U2T = self._U1Ts[k], self._U2Ts[k]
        q1, q2, X = p1, p2, self._X
        if self.gains:
            q1 = torch.mul(p1, self._A1s[k], out=self._q1)
            q2 = torch.mul(p2, self._A2s[k], out=self._q2)
        # D: cotangent of E, so that of R is −diag(h d) D and X is that of P.
        torch.bmm(U2, q1, out=D)
        D.baddbmm_(q2, U1)
        torch.mul(D, self._hs[k], out=self._G)
        self._take_product(self._LRs[k], self._G, self._segments[k], out=X)
        if self.gains:
            # c1, c2: cotangents of U1, U2.
            c1, c2, keep = self._c1s[k], self._c2s[k], self._keeps[k]
            torch.bmm(self._q2T, E, out=c1).baddbmm_(U2T, X)
            torch.bmm(E, self._q1T, out=c2).baddbmm_(X, U1T)
            torch.addcmul(self._pull1s[k], p1, keep, out=new1).addcmul_(c1, self._A1s[k])
            torch.addcmul(self._pull2s[k], p2, keep, out=new2).addcmul_(c2, self._A2s[k])
            return
        p1T, p2T = self._p1Ts[k + 1], self._p2Ts[k + 1]
        if self.weight_decay:
            keep = self._keeps[k]
            torch.addcmul(self._pull1s[k], p1, keep, out=new1).baddbmm_(p2T, E)
            torch.addcmul(self._pull2s[k], p2, keep, out=new2).baddbmm_(E, p1T)
        else:
            torch.baddbmm(p1, p2T, E, out=new1)
            torch.baddbmm(p2, E, p1T, out=new2)
        new1.baddbmm_(U2T, X)
        new2.baddbmm_(X, U1T)

    def gradient(self) -> Effect:
        """∂V in all that the control of this run does, and in the initial weights."""
        effect, dt = self._effect, self.dt
        found = Effect(W1=self._p1s[0].clone(), W2=self._p2s[0].clone())
        if self._basis is not None:
            found.W1 = self._p1s[0] @ self._basis.mT
        if effect.d is not None:
            speed = dt if effect.u is None else dt * effect.u[..., None]
            found.d = speed * (self._D * self._R).sum(-1)
        if effect.u is not None:
            driven = (self._D * self._R).sum(-1)
            driven = driven if effect.d is None else effect.d * driven
            found.u = dt * driven.sum(-1)
            if self.weight_decay:
                pairs = ((self._p1, self._W1), (self._p2, self._W2))
                decayed = sum((p[1:] * W).sum((-2, -1)) for p, W in pairs)
                found.u -= dt * self.weight_decay * decayed
        if self.gains:
            found.A1 = self._p1[1:] * self._F1 + self._c1 * self._W1
            found.A2 = self._p2[1:] * self._F2 + self._c2 * self._W2
        return found
