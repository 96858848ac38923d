"""The simulation: online SGD of all runs and conditions as one batched program.

Eq. (4) of the paper. The loop over steps is sequential; each step is about a dozen
elementwise tensor operations on (seed, condition, student, N). Products and sums instead
of matrix products: at these sizes they are faster, and a seed's bits do not depend on how
many others are in the batch. (Padding to more units may change the last bit of a sum.)
"""

import math
from collections.abc import Callable, Mapping

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor

from retrograd import ensembles
from retrograd.errors import RetrogradError
from retrograd.papers.goldt2019_teacher_student import data
from retrograd.papers.goldt2019_teacher_student.params import SizeSweep, Training

Array = NDArray[np.float64]
CHUNK_BYTES = 4_000_000  # of inputs drawn ahead: enough to hide the drawing, fits a cache


def train(
    params: Training | SizeSweep, inputs: Mapping[str, xr.Dataset], device: torch.device
) -> xr.Dataset:
    """Train every run and record it.

    Args:
        params: one section of the config.
        inputs: not used; the weights are drawn from the streams that made the data.
        device: where the tensors live.

    Returns:
        What `data.trajectories` describes; a sweep adds the axis `size`.

    Raises:
        RetrogradError: a run went non-finite; names seed, condition and step.
    """
    if isinstance(params, SizeSweep):
        unit = params.N[0]
        runs = [_train_one(params.at(N), device, unit) for N in params.N]
        return data.concat_sizes(params, runs)
    return _train_one(params, device)


def _train_one(
    params: Training, device: torch.device, unit: int | None = None
) -> xr.Dataset:
    steps = data.record_steps(params, unit)
    ensemble = Ensemble(params, device)
    recorded = ensembles.follow(ensemble, steps.tolist(), f"N={params.N}")
    Q, R, v = (recorded[name] for name in data.ORDER_PARAMETERS)
    drawn = ensemble.weights
    T = data.overlaps(drawn.w_star, drawn.w_star)
    return data.trajectories(params, steps / params.N, Q, R, v, T, drawn.v_star, unit)


class Ensemble:
    """All runs of one experiment: state, samples, and the batched SGD step.

    `w` (seed, condition, student, N) and `v` (seed, condition, student) in float64.
    """

    def __init__(self, params: Training, device: torch.device) -> None:
        self.params = params
        self.step = 0
        self.weights = data.sample_weights(params)
        self._samples = data.Samples(params)
        self._device = device
        self.w, self.v, self._w_star = (
            torch.tensor(a, device=device)
            for a in (self.weights.w, self.weights.v, self.weights.w_star)
        )
        both = [c.layers == "both" for c in params.conditions()]
        # What the second layer learns and loses per step: nothing if it is fixed.
        trained = torch.tensor(both, dtype=torch.float64, device=device)[:, None]
        self._rate_v = -params.eta / params.N * trained
        self._keep_v = 1 - params.kappa / params.N * trained
        self._chunk = max(1, CHUNK_BYTES // (8 * params.seeds * params.N))

    def advance_to(
        self, step: int, report: Callable[[int], object] = lambda taken: None
    ) -> None:
        """Take SGD steps up to `step`, and report how many now and then.

        Raises:
            RetrogradError: a run went non-finite; names seed, condition and step.
        """
        while self.step < step:
            count = min(self._chunk, step - self.step)
            x, zeta = (
                torch.from_numpy(a).to(self._device) for a in self._samples.next(count)
            )
            x = x[:, :, None, None, :] / math.sqrt(self.params.N)
            y = self._teacher(x[:, :, 0]) + self.params.sigma * zeta[..., None]
            errors = self._sgd(x, y)
            self._check_finite(errors)
            self.step += count
            report(count)

    def _teacher(self, x: Tensor) -> Tensor:
        """Noiseless labels of x (steps, seed, 1, N): (steps, seed, 1)."""
        rho = (self._w_star * x).sum(-1)
        outputs = _value(self.params.activation, rho, torch.empty_like(rho))
        return self.params.v_star * outputs.sum(-1, keepdim=True)

    @torch.inference_mode()
    def _sgd(self, x: Tensor, y: Tensor) -> Tensor:
        """One SGD step per row of x; returns the errors φ − y (steps, seed, condition).

        x (steps, seed, 1, 1, N) is divided by √N, so that both updates are plain
        gradient descent, with rates η and η/N.
        """
        w, v, activation = self.w, self.v, self.params.activation
        keep = 1 - self.params.kappa / self.params.N
        trains_second = bool(self._rate_v.any())
        product, field = torch.empty_like(w), torch.empty_like(v)
        value, slope, scratch = (torch.empty_like(v) for _ in range(3))
        errors = torch.empty(len(x), *v.shape[:2], dtype=v.dtype, device=v.device)
        for x_t, y_t, e_t in zip(x.unbind(), y.unbind(), errors.unbind(), strict=True):
            torch.mul(w, x_t, out=product)
            torch.sum(product, -1, out=field)
            _value(activation, field, value)
            _slope(activation, field, slope)
            torch.mul(v, value, out=scratch)
            torch.sum(scratch, -1, out=e_t).sub_(y_t)
            e = e_t[..., None]
            slope.mul_(v).mul_(e * -self.params.eta)  # the old v: before its update
            if keep != 1:
                w.mul_(keep)
                v.mul_(self._keep_v)
            w.addcmul_(slope[..., None], x_t)
            if trains_second:
                v.addcmul_(value, e * self._rate_v)
        return errors

    def _check_finite(self, errors: Tensor) -> None:
        finite = torch.isfinite(errors)
        if not finite.all():
            step, seed, condition = (~finite).nonzero()[0].tolist()
            label = self.params.conditions()[condition].label
            raise RetrogradError(
                f"the run diverged: condition '{label}', seed {seed}, went non-finite at "
                f"step {self.step + step} (α = {(self.step + step) / self.params.N:.3g}); "
                "SGD is stable only for eta Σ v² ⟨g'²⟩ < 2: lower eta, K or v_star"
            )

    def record(self) -> dict[str, Array]:
        """The order parameters now, in float64 on the CPU."""
        w, v = self.w.cpu().numpy(), self.v.cpu().numpy().copy()
        w_star = self.weights.w_star[:, None]
        return {"Q": data.overlaps(w, w), "R": data.overlaps(w, w_star), "v": v}


def _value(activation: str, field: Tensor, out: Tensor) -> Tensor:
    """g(field) into `out`."""
    if activation == "erf":
        return torch.mul(field, math.sqrt(0.5), out=out).erf_()
    if activation == "relu":
        return torch.clamp(field, min=0, out=out)
    return out.copy_(field)


def _slope(activation: str, field: Tensor, out: Tensor) -> Tensor:
    """g'(field) into `out`."""
    if activation == "erf":
        torch.mul(field, field, out=out)
        return out.mul_(-0.5).exp_().mul_(math.sqrt(2 / math.pi))
    if activation == "relu":
        return torch.gt(field, 0, out=out)
    return out.fill_(1)
