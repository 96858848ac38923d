"""Gradient descent of many two-layer linear networks as one program.

Section 2 of the paper with white inputs, so that a step needs the target Σ alone:
E = Σ − W2 W1, then W1 += η W2ᵀE and W2 += η E W1ᵀ at once. All (seed, λ) of one shape are
members of a batch of small matrix products; how many there are may change a member's
rounding, and nothing else.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from retrograd import ensembles
from retrograd.errors import RetrogradError
from retrograd.papers.domine2024_lazy_to_rich.data import Networks

Array = NDArray[np.float64]
Recorder = Callable[[Array, Array], Mapping[str, Array]]
CHUNK = 500  # steps between two looks at whether all is finite


class Descent:
    """Gradient descent of a batch of networks of one shape, in float64.

    Args:
        networks: leading axes (seed, λ); the target may broadcast.
        eta: learning rate, one for all or with the leading axes.
        record: what is kept of the weights W1, W2 whenever they are recorded.
        device: where the tensors live.
    """

    def __init__(
        self, networks: Networks, eta: ArrayLike, record: Recorder, device: torch.device
    ) -> None:
        self.step = 0
        self._record = record
        self._lead = networks.W1.shape[:-2]
        self._lam = np.broadcast_to(networks.lam, self._lead)
        self._device = device
        self._W1, self._W2 = (self._batch(W) for W in (networks.W1, networks.W2))
        rate = np.broadcast_to(np.asarray(eta, float), self._lead)
        self._eta = self._batch(rate[..., None, None])
        self.aim(networks.target)

    def _batch(self, values: Array) -> torch.Tensor:
        """A copy with one axis for all members in front."""
        whole = np.broadcast_to(values, (*self._lead, *values.shape[-2:]))
        flat = np.ascontiguousarray(whole).reshape(-1, *values.shape[-2:])
        return torch.tensor(flat, dtype=torch.float64, device=self._device)

    def aim(self, target: Array) -> None:
        """Learn another target from now on."""
        self._target = self._batch(target)

    @torch.inference_mode()
    def advance_to(
        self, step: int, report: Callable[[int], object] = lambda taken: None
    ) -> None:
        """Take steps up to `step`, and report how many now and then.

        Raises:
            RetrogradError: a run went non-finite; names λ, seed and step.
        """
        W1, W2 = self._W1, self._W2
        W1_T, W2_T = W1.mT, W2.mT
        error, dW1, dW2 = (torch.empty_like(x) for x in (self._target, W1, W2))
        while self.step < step:
            count = min(CHUNK, step - self.step)
            for _ in range(count):
                torch.baddbmm(self._target, W2, W1, alpha=-1, out=error)
                error.mul_(self._eta)
                torch.bmm(W2_T, error, out=dW1)
                torch.bmm(error, W1_T, out=dW2)
                W1.add_(dW1)
                W2.add_(dW2)
            self.step += count
            self._check_finite()
            report(count)

    def _check_finite(self) -> None:
        finite = torch.isfinite(self._W1).all((1, 2)) & torch.isfinite(self._W2).all((1, 2))
        if not finite.all():
            member = np.unravel_index(int((~finite).nonzero()[0]), self._lead)
            raise RetrogradError(
                f"gradient descent diverged: λ = {self._lam[member]:g}, seed "
                f"{member[0]}, went non-finite by step {self.step}; it is stable only for "
                "eta √(λ² + 4s²) < 2: lower eta"
            )

    def weights(self) -> tuple[Array, Array]:
        """W1 and W2 now, with the ensemble's axes."""
        W1, W2 = (W.cpu().numpy().copy() for W in (self._W1, self._W2))
        return (
            W1.reshape(*self._lead, *W1.shape[1:]),
            W2.reshape(*self._lead, *W2.shape[1:]),
        )

    def record(self) -> Mapping[str, Array]:
        return self._record(*self.weights())


def descend(
    networks: Networks,
    eta: ArrayLike,
    steps: Sequence[int] | NDArray[np.int64],
    record: Recorder,
    device: torch.device,
    what: str,
) -> dict[str, Array]:
    """Gradient descent recorded at `steps`: by name, (seed, λ, time, ...)."""
    ensemble = Descent(networks, eta, record, device)
    return ensembles.follow(ensemble, [int(s) for s in steps], what)


def weights_after(
    networks: Networks, eta: ArrayLike, steps: int, device: torch.device, what: str
) -> tuple[Array, Array]:
    """W1 and W2 after so many steps."""
    recorded = descend(
        networks, eta, [steps], lambda W1, W2: {"W1": W1, "W2": W2}, device, what
    )
    return recorded["W1"][:, :, 0], recorded["W2"][:, :, 0]
