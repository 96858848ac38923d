"""The few operations of a step of learning, on the batch's small arrays.

On the CPU a call on such arrays costs more than its arithmetic, and numpy's calls cost
half of torch's: so there they are numpy's, on the tensors' own memory. On a GPU they are
torch's. `mm` is the matrix product of the last two axes, `mul` is elementwise; `c` comes
first where something is added to it or taken from it; all write to `out` and return it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

Small = Any  # a numpy array or a tensor, of one step
Operation = Callable[..., Small]


@dataclass(frozen=True)
class Kernels:
    """One device's operations."""

    steps: Callable[[Tensor], list[Small]]
    """views of the steps of a history, (time, ...); memory is shared"""
    one: Callable[[Tensor], Small]
    """a view of something that is no history"""
    add: Operation
    """add(a, b, out): a + b"""
    mul: Operation
    """mul(a, b, out): a ∘ b, where b may be a number"""
    mm: Operation
    """mm(a, b, out): a b"""
    add_mul: Operation
    """add_mul(c, a, b, out): c + a ∘ b, where b may be a number"""
    sub_mul: Operation
    """sub_mul(c, a, b, out): c − a ∘ b"""
    add_mm: Operation
    """add_mm(c, a, b, out): c + a b"""
    sub_mm: Operation
    """sub_mm(c, a, b, out): c − a b"""
    dot: Operation
    """dot(a, b, out): <a, b> of every row of the batch, (batch,) from (batch, ..., ...)"""
    row_dot: Operation
    """row_dot(a, b, out): the same of every row of the matrices, (batch, ...)"""


_HOST = Kernels(
    steps=lambda history: list(history.numpy()),
    one=lambda tensor: tensor.numpy(),
    add=np.add,
    mul=np.multiply,
    mm=np.matmul,
    add_mul=lambda c, a, b, out: np.add(c, np.multiply(a, b), out),
    sub_mul=lambda c, a, b, out: np.subtract(c, np.multiply(a, b), out),
    add_mm=lambda c, a, b, out: np.add(c, np.matmul(a, b), out),
    sub_mm=lambda c, a, b, out: np.subtract(c, np.matmul(a, b), out),
    dot=lambda a, b, out: np.einsum("bij,bij->b", a, b, out=out),
    row_dot=np.vecdot,
)


def _torch_add_mul(c: Tensor, a: Tensor, b: Tensor | float, out: Tensor) -> Tensor:
    if isinstance(b, float):
        return torch.add(c, a, alpha=b, out=out)
    return torch.addcmul(c, a, b, out=out)


_TORCH = Kernels(
    steps=lambda history: list(history.unbind()),
    one=lambda tensor: tensor,
    add=lambda a, b, out: torch.add(a, b, out=out),
    mul=lambda a, b, out: torch.mul(a, b, out=out),
    mm=lambda a, b, out: torch.bmm(a, b, out=out),
    add_mul=_torch_add_mul,
    sub_mul=lambda c, a, b, out: torch.addcmul(c, a, b, value=-1, out=out),
    add_mm=lambda c, a, b, out: torch.baddbmm(c, a, b, out=out),
    sub_mm=lambda c, a, b, out: torch.baddbmm(c, a, b, alpha=-1, out=out),
    dot=lambda a, b, out: torch.sum(a * b, (-2, -1), out=out),
    row_dot=lambda a, b, out: torch.sum(a * b, -1, out=out),
)


def kernels_of(device: torch.device) -> Kernels:
    """Operations for tensors that live there."""
    return _HOST if device.type == "cpu" else _TORCH
