"""The networks as batched programs: seeds and conditions are axes in front of all arrays.

Gradients are written out; the spec's "Model and training" has them. Per step a network
needs only X̂ = XᵀX/B of the batch: with the error map D = W* − (its own map), G = D X̂ is
what all gradients share, and the task loss is ½ tr(D Gᵀ), summed over outputs.
"""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from retrograd import curricula
from retrograd.errors import RetrogradError
from retrograd.papers.sandbrink2024_flexible_task_abstractions import data
from retrograd.papers.sandbrink2024_flexible_task_abstractions.params import (
    Gated,
    Norm,
    Stream,
    TwoLayer,
)

Array = NDArray[np.float64]
CHUNK_BYTES = 4_000_000  # of covariances drawn ahead: hides the drawing, fits a cache


class Bounds:
    """L_reg = λ_norm ½ (‖c‖_k − 1)² + λ_nonneg Σ max(0, −c), condition by condition."""

    def __init__(
        self, norm: Norm, lambda_norm: Tensor, lambda_nonneg: Tensor, dims: tuple[int, ...]
    ) -> None:
        """Strengths broadcast against the bounded values; `dims` are pooled in the norm."""
        self._norm, self._dims = norm, dims
        self._lambda_norm, self._lambda_nonneg = lambda_norm, lambda_nonneg
        self._present = bool(lambda_norm.any() or lambda_nonneg.any())

    def descend(self, drive: Tensor, c: Tensor) -> None:
        """Subtract dL_reg/dc from `drive`; at c = 0 both bounds are silent."""
        if not self._present:
            return
        if self._norm == 1:
            excess = c.abs().sum(self._dims, keepdim=True).sub_(1).mul_(self._lambda_norm)
            drive.addcmul_(c.sign(), excess, value=-1)
        else:
            norm = (c * c).sum(self._dims, keepdim=True).sqrt_()
            drive.addcmul_(c, (1 - 1 / norm).mul_(self._lambda_norm), value=-1)
        drive.addcmul_(c < 0, self._lambda_nonneg)


class Network:
    """What the networks share: targets, the stream of tasks and batches, losses.

    `losses` (step, seed, condition) is the task loss on a step's batch before its update.
    """

    def __init__(self, params: Stream, device: torch.device) -> None:
        self.params, self.device = params, device
        self.step = 0
        self.dtype = torch.float32 if params.gradient == "sampled" else torch.float64
        self._targets = self.tensor(data.targets(params))
        streams = [data.curriculum(params, c.tau_B) for c in params.conditions()]
        self._tasks = curricula.side_by_side(streams)
        changes = np.diff(self._tasks, axis=1, prepend=-1).any(axis=0)
        self._switches = set(np.flatnonzero(changes).tolist())
        self._target = self._targets[:1]
        self._inputs = data.Covariances(params) if params.gradient == "sampled" else None
        self._chunk = self.tensor(np.empty((0, params.seeds, 1, 1)))
        self._chunk_start = 0
        shape = (params.steps, params.seeds, len(streams))
        self.losses = torch.zeros(shape, dtype=self.dtype, device=device)

    def tensor(self, values: Array) -> Tensor:
        return torch.tensor(values, dtype=self.dtype, device=self.device)

    def per_condition(self, values: list[float], dims: int) -> Tensor:
        """One number per condition, broadcast over `dims` axes behind that one."""
        return self.tensor(np.array(values, float)).reshape(-1, *[1] * dims)

    def bounds(self, dims: int) -> Bounds:
        """The bounds of values (seed, condition, ...) with `dims` axes to pool."""
        regimes = [c.regime for c in self.params.conditions()]
        norm = self.params.norm
        return Bounds(
            norm,
            self.per_condition([r.lambda_norm(norm) for r in regimes], dims),
            self.per_condition([r.lambda_nonneg for r in regimes], dims),
            tuple(range(-dims, 0)),
        )

    def rates(self, which: str, dims: int) -> Tensor:
        """dt / τ of every condition, for τ_w or τ_c."""
        taus = [getattr(c.regime, which) for c in self.params.conditions()]
        return self.per_condition([self.params.dt / tau for tau in taus], dims)

    @torch.inference_mode()
    def advance_to(
        self, step: int, report: Callable[[int], object] = lambda taken: None
    ) -> None:
        """Take steps up to `step`.

        Raises:
            RetrogradError: a run went non-finite; names seed, condition and step.
        """
        first = self.step
        while self.step < step:
            if self.step in self._switches:
                # (condition, d_out, d_in), with one row for all if they switch together.
                tasks = np.unique(self._tasks[:, self.step])
                index = tasks if len(tasks) == 1 else self._tasks[:, self.step]
                self._target = self._targets[torch.from_numpy(index).to(self.device)]
            self._update(self._next_covariance())
            self.step += 1
        self._check_finite(first)
        report(self.step - first)

    def _update(self, covariance: Tensor | None) -> None:
        """One step of gradient descent; writes its loss."""
        raise NotImplementedError

    def _next_covariance(self) -> Tensor | None:
        if self._inputs is None:
            return None
        offset = self.step - self._chunk_start
        if offset == len(self._chunk):
            of_a_step = 8 * self.params.seeds * self.params.d_in**2
            steps = min(max(1, CHUNK_BYTES // of_a_step), self.params.steps - self.step)
            self._chunk = self.tensor(self._inputs.next(steps))
            self._chunk_start, offset = self.step, 0
        return self._chunk[offset]

    def _back_propagate(self, error: Tensor, covariance: Tensor | None) -> Tensor:
        """G = D X̂, of D (seed, condition, d_out, d_in); and the loss ½ tr(D Gᵀ)."""
        if covariance is None:
            G = error
        else:
            G = torch.matmul(error.flatten(1, 2), covariance).view_as(error)
        torch.sum(error * G, (-2, -1), out=self.losses[self.step]).mul_(0.5)
        return G

    def _check_finite(self, first: int) -> None:
        finite = torch.isfinite(self.losses[first : self.step])
        if not finite.all():
            step, seed, condition = (~finite).nonzero()[0].tolist()
            step += first
            name = self.params.conditions()[condition].name
            raise RetrogradError(
                f"the run diverged: condition '{name}', seed {seed}, went "
                f"non-finite at step {step} (t = {step * self.params.dt:.3g}); gradient "
                "descent is stable only for dt well below tau_w and tau_c: lower dt"
            )


class GatedNetwork(Network):
    """y = Σ_p c^p W^p x, with one gate per student, or per student and output.

    `W` is (seed, condition, path, d_out, d_in) and `c` (seed, condition, path, row, 1),
    whose axis row has length 1 or d_out; `gates` (step, seed, condition, path, row) keeps
    the gates before every update.
    """

    def __init__(self, params: Gated, device: torch.device) -> None:
        super().__init__(params, device)
        self.W = self.tensor(data.students(params))
        rows = params.d_out if params.gates == "row" else 1
        shape = (*self.W.shape[:2], params.paths, rows, 1)
        self.c = torch.full(shape, 0.5, dtype=self.dtype, device=device)
        self.gates = torch.zeros(params.steps, *shape[:-1], dtype=self.dtype, device=device)
        self._gate_dims = (-1,) if params.gates == "row" else (-2, -1)
        self._rate_w, self._rate_c = self.rates("tau_w", 3), self.rates("tau_c", 3)
        self._bounds = self.bounds(3)
        self._buffer = torch.empty_like(self.W)
        self._w_star = torch.tensor(data.teachers(params), device=device)
        self._seen: tuple[int, Tensor] | None = None

    def _update(self, covariance: Tensor | None) -> None:
        W, c, buffer = self.W, self.c, self._buffer
        self.gates[self.step] = c[..., 0]
        torch.mul(W, c, out=buffer)
        error = self._target - buffer.sum(2)
        G = self._back_propagate(error, covariance)[:, :, None]
        torch.mul(W, G, out=buffer)
        drive = buffer.sum(self._gate_dims, keepdim=True)  # ⟨W^p, G⟩, of the old W
        W.addcmul_(c * self._rate_w, G)
        self._bounds.descend(drive, c)
        c.addcmul_(drive, self._rate_c)

    @torch.inference_mode()
    def record(self) -> dict[str, Array]:
        """The students now, in float64 on the CPU.

        cos (seed, condition, task, path), the mean over outputs of the cosine of the rows;
        w_norm (seed, condition, path), Frobenius; weight_speed (seed, condition), norm of
        the change of all normalised students per time since the last record (or 0); and
        c (seed, condition, path, row).
        """
        W = self.W.double()
        rows = W / W.norm(dim=-1, keepdim=True)
        w_star = self._w_star / self._w_star.norm(dim=-1, keepdim=True)
        cos = (rows[:, :, None] * w_star[:, None]).sum(-1).mean(-1)
        w_norm = W.flatten(3).norm(dim=-1)
        direction = W / w_norm[..., None, None]
        before, seen = self._seen or (self.step, direction)
        elapsed = max(self.step - before, 1) * self.params.dt
        weight_speed = (direction - seen).flatten(2).norm(dim=-1) / elapsed
        self._seen = self.step, direction
        found = {"cos": cos, "w_norm": w_norm, "weight_speed": weight_speed}
        found["c"] = self.c[..., 0].double()
        return {name: values.cpu().numpy().copy() for name, values in found.items()}


class TwoLayerNetwork(Network):
    """y = W2 W1 x, with the entries of W2 bounded as gates are.

    `W1` is (seed, condition, hidden, d_in), `W2` (seed, condition, d_out, hidden).
    """

    def __init__(self, params: TwoLayer, device: torch.device) -> None:
        super().__init__(params, device)
        self.W1, self.W2 = map(self.tensor, data.layers(params))
        self._rate_1, self._rate_2 = self.rates("tau_w", 2), self.rates("tau_c", 2)
        self._bounds = self.bounds(2)

    def _update(self, covariance: Tensor | None) -> None:
        W1, W2 = self.W1, self.W2
        G = self._back_propagate(self._target - W2 @ W1, covariance)
        step_1 = W2.mT @ G
        drive = G @ W1.mT
        W1.addcmul_(step_1, self._rate_1)
        self._bounds.descend(drive, W2)
        W2.addcmul_(drive, self._rate_2)

    def record(self) -> dict[str, Array]:
        """W1 and W2 now, in float64 on the CPU."""
        return {
            name: W.double().cpu().numpy().copy()
            for name, W in (("W1", self.W1), ("W2", self.W2))
        }
