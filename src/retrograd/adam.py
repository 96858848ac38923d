"""Adam on the weights of an ensemble, with a penalty per member."""

from collections.abc import Sequence

import torch
from torch import Tensor


class Adam:
    """torch's Adam on the stacked weights, with a coupled L2 penalty per member.

    Members do not mix: a member's loss reaches its own weights only, and Adam works
    element by element. (Its fused kernel rounds an element by its place in the tensor, so
    a member would not have the same bits alone and in a batch.)
    """

    def __init__(
        self, weights: dict[str, Tensor], lr: float, l2: Tensor | None = None
    ) -> None:
        """
        Args:
            lr: learning rate; set `lr` later for a schedule.
            l2: λ of the penalty λ/2 · |θ|² on all weights, (E,).
        """
        self.weights = weights
        self.l2 = l2
        self._adam = torch.optim.Adam(weights.values(), lr=lr)

    @property
    def lr(self) -> float:
        return float(self._adam.param_groups[0]["lr"])

    @lr.setter
    def lr(self, value: float) -> None:
        self._adam.param_groups[0]["lr"] = value

    def step(self, losses: Tensor) -> None:
        """Descend by one step from the members' losses, (E,)."""
        losses.sum().backward()
        if self.l2 is not None:
            for weight in self.weights.values():
                if weight.grad is not None:
                    shape = (-1, *[1] * (weight.dim() - 1))
                    weight.grad.addcmul_(self.l2.view(shape), weight.detach())
        self._adam.step()
        self._adam.zero_grad()

    def keep(self, members: Sequence[int]) -> dict[str, Tensor]:
        """Go on with some of the members only; their weights, in place of the old ones."""
        index = list(members)
        before = [self._adam.state[weight] for weight in self.weights.values()]
        lr = self.lr
        self.weights = {
            name: weight.detach()[index].requires_grad_()
            for name, weight in self.weights.items()
        }
        self.l2 = None if self.l2 is None else self.l2[index]
        self._adam = torch.optim.Adam(self.weights.values(), lr=lr)
        for weight, state in zip(self.weights.values(), before, strict=True):
            self._adam.state[weight] = {
                name: value[index] if value.dim() else value
                for name, value in state.items()
            }
        return self.weights
