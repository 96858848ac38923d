"""The empirical tangent kernel of a batch of networks: how large a learning rate may be.

K = J Jᵀ, where J holds the gradients of all outputs at some inputs with respect to all
weights. Gradient descent on the squared error of the linearised network, with loss
½ Σ (f − y)², is stable for learning rates below 2 over the largest eigenvalue of K.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def kernel(outputs: "Tensor", weights: Sequence["Tensor"]) -> "Tensor":
    """K of every network, (member, n · d_out, n · d_out) in float64.

    The members share nothing, so one backward pass per output serves them all.

    Args:
        outputs: f at n inputs, (member, n, d_out), computed from the weights with their
            gradients asked for.
        weights: every one with the member axis in front, (member, ...).
    """
    import torch

    members = len(outputs)
    rows = []
    for output in outputs.flatten(1).unbind(1):
        gradients = torch.autograd.grad(output.sum(), weights, retain_graph=True)
        rows.append(torch.cat([g.reshape(members, -1) for g in gradients], dim=1).double())
    jacobian = torch.stack(rows, dim=1)
    return jacobian @ jacobian.mT


def largest_eigenvalue(outputs: "Tensor", weights: Sequence["Tensor"]) -> "Tensor":
    """The largest eigenvalue of `kernel`, (member,)."""
    import torch

    return torch.linalg.eigvalsh(kernel(outputs, weights).cpu())[:, -1]
