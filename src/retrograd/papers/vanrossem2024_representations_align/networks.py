"""The networks as batched programs: members (settings × seeds) are the axis in front.

Weights W (member, out, in) and biases b (member, 1, out) act on points (member, point,
in). Two points give a gradient of rank two, so the update W ← W − δᵀ a is made in place
and the gradient of a matrix is never stored (spec "Performance"). Convolutions are
grouped over members, and their gradients are torch's. A member's numbers may depend on
the others in its batch by rounding.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from retrograd.papers.vanrossem2024_representations_align.params import Architecture

Array = NDArray[np.float64]
Activate = Callable[[Tensor], tuple[Tensor, Tensor | None]]
SLOPE = 0.01  # of leaky ReLU below zero


class Optimiser(Protocol):
    """How a step goes down; `lr` (member, 1, 1) may be set to 0 for a member that rests."""

    lr: Tensor

    def drive(self, error: Tensor) -> Tensor:
        """What is propagated back from the gradient at the outputs."""

    def update(
        self, layer: int, weight: Tensor, bias: Tensor, delta: Tensor, a: Tensor
    ) -> None:
        """Move one layer, given δ (member, point, out) and its inputs a."""


class Descent:
    """Plain gradient descent, by updates of low rank in place."""

    def __init__(self, lr: Tensor) -> None:
        self.lr = lr

    def drive(self, error: Tensor) -> Tensor:
        return error * self.lr  # once here instead of once per weight

    def update(
        self, layer: int, weight: Tensor, bias: Tensor, delta: Tensor, a: Tensor
    ) -> None:
        weight.baddbmm_(delta.mT, a, alpha=-1)
        bias.sub_(delta.sum(1, keepdim=True))


class Adam:
    """Adam with its usual constants."""

    def __init__(self, lr: Tensor, beta: tuple[float, float] = (0.9, 0.999)) -> None:
        self.lr, self._beta = lr, beta
        self._moments: dict[tuple[int, int], tuple[Tensor, Tensor]] = {}
        self._steps: dict[tuple[int, int], int] = {}

    def drive(self, error: Tensor) -> Tensor:
        return error

    def update(
        self, layer: int, weight: Tensor, bias: Tensor, delta: Tensor, a: Tensor
    ) -> None:
        self._move((layer, 0), weight, torch.bmm(delta.mT, a))
        self._move((layer, 1), bias, delta.sum(1, keepdim=True))

    def _move(self, key: tuple[int, int], weight: Tensor, gradient: Tensor) -> None:
        zeros = torch.zeros_like
        first, second = self._moments.setdefault(key, (zeros(weight), zeros(weight)))
        step = self._steps[key] = self._steps.get(key, 0) + 1
        beta, gamma = self._beta
        first.mul_(beta).add_(gradient, alpha=1 - beta)
        second.mul_(gamma).addcmul_(gradient, gradient, value=1 - gamma)
        scale = (second / (1 - gamma**step)).sqrt_().add_(1e-8)
        weight.sub_(self.lr * first / (1 - beta**step) / scale)


class Network(Protocol):
    """What training needs of a batch of networks."""

    weights: list[Tensor]
    biases: list[Tensor]

    def forward(self, x: Tensor) -> tuple[list[Tensor], Tensor]:
        """Hidden activations, each (member, point, unit), and outputs, as evaluated."""

    def descend(self, x: Tensor, y: Tensor, factor: float, optimiser: Optimiser) -> Tensor:
        """One step on factor · mean squared error; gives the errors before it."""


class Dense:
    """Multi-layer perceptrons, also with skips (resnet) or dropout."""

    def __init__(
        self,
        network: Architecture,
        weights: Sequence[Tensor],
        masks: Iterator[list[Tensor]] | None = None,
    ) -> None:
        """Weights are trained in place.

        Args:
            network: its kind and activation.
            weights: (member, out, in) per layer.
            masks: of dropout, per step: what the inputs of every layer are multiplied by.
        """
        self.weights = list(weights)
        self.biases = [w.new_zeros(len(w), 1, w.shape[1]) for w in weights]
        self._skips = network.kind == "resnet"
        self._masks = masks
        self._activate = activation(network.activation, weights[0])

    def forward(self, x: Tensor) -> tuple[list[Tensor], Tensor]:
        hidden, _, _, output = self._pass(x, None)
        return hidden, output

    def _pass(
        self, x: Tensor, masks: list[Tensor] | None
    ) -> tuple[list[Tensor], list[Tensor], list[Tensor | None], Tensor]:
        """Hidden activations, inputs of every linear layer, slopes, and outputs."""
        hidden: list[Tensor] = []
        inputs: list[Tensor] = []
        slopes: list[Tensor | None] = []
        a = x
        for layer, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            if masks is not None:
                a = a * masks[layer]
            inputs.append(a)
            z = torch.baddbmm(bias, a, weight.mT)
            if layer == len(self.weights) - 1:
                break
            a, slope = self._activate(z)
            if self._skips and layer >= 2:
                a = a + hidden[layer - 2]
            hidden.append(a)
            slopes.append(slope)
        return hidden, inputs, slopes, z

    def descend(self, x: Tensor, y: Tensor, factor: float, optimiser: Optimiser) -> Tensor:
        masks = next(self._masks) if self._masks is not None else None
        # What the last step made stays until this one has made its own: were all of it
        # freed at once, the memory would go back to the system, to be cleared again.
        self._held = _, inputs, slopes, output = self._pass(x, masks)
        error = output - y
        delta = optimiser.drive(error * (2 * factor / y[0].numel()))
        into: dict[int, Tensor] = {}  # gradients at hidden activations, for the skips
        for layer in reversed(range(len(self.weights))):
            weight = self.weights[layer]
            # The layer's old weights carry the gradient on, before they are moved.
            back = torch.bmm(delta, weight) if layer else None
            optimiser.update(layer, weight, self.biases[layer], delta, inputs[layer])
            if back is None:
                break
            if masks is not None:
                back.mul_(masks[layer])
            if self._skips:
                if layer + 1 in into:
                    back.add_(into[layer + 1])
                into[layer - 1] = back.clone()
            slope = slopes[layer - 1]
            delta = back if slope is None else back.mul_(slope)
        return error


class Convolutional:
    """A linear layer, valid 1-D convolutions, and a linear layer to the outputs."""

    def __init__(self, network: Architecture, weights: Sequence[Tensor]) -> None:
        """Weights (member, out, in), kernels (member, out, in, kernel) between them."""
        self.weights = list(weights)
        self.biases = [w.new_zeros(len(w), 1, w.shape[1]) for w in weights]
        self._activate = activation(network.activation, weights[0])

    def forward(self, x: Tensor) -> tuple[list[Tensor], Tensor]:
        first, *kernels, last = zip(self.weights, self.biases, strict=True)
        members, points = x.shape[:2]
        a, _ = self._activate(torch.baddbmm(first[1], x, first[0].mT))
        hidden = [a]
        a = a.transpose(0, 1)
        for kernel, bias in kernels:
            z = torch.nn.functional.conv1d(
                a, kernel.flatten(0, 1), bias.flatten(), groups=members
            )
            a, _ = self._activate(z)
            by_member = a.reshape(points, members, -1).transpose(0, 1)
            hidden.append(by_member)
        return hidden, torch.baddbmm(last[1], hidden[-1], last[0].mT)

    def descend(self, x: Tensor, y: Tensor, factor: float, optimiser: Optimiser) -> Tensor:
        trained = [*self.weights, *self.biases]
        with torch.enable_grad():
            for tensor in trained:
                tensor.requires_grad_(True)
            error = self.forward(x)[1] - y
            total = factor / y[0].numel() * (error * error).sum()
            gradients = torch.autograd.grad(total, trained)
        for tensor, gradient in zip(trained, gradients, strict=True):
            tensor.requires_grad_(False)
            lr = optimiser.lr.reshape(-1, *[1] * (tensor.ndim - 1))
            tensor.addcmul_(lr, gradient, value=-1)
        return error.detach()


def activation(name: str, like: Tensor) -> Activate:
    """An activation that also gives its slope; None says that the slope is 1."""
    one, low = like.new_tensor(1.0), like.new_tensor(SLOPE if name == "leaky_relu" else 0.0)

    def rectified(z: Tensor) -> tuple[Tensor, Tensor]:
        slope = torch.where(z > 0, one, low)
        return z.mul_(slope), slope

    def tanh(z: Tensor) -> tuple[Tensor, Tensor]:
        a = torch.tanh(z)
        return a, 1 - a * a

    def elu(z: Tensor) -> tuple[Tensor, Tensor]:
        a = torch.nn.functional.elu(z)
        return a, a.clamp(max=0) + 1

    def silu(z: Tensor) -> tuple[Tensor, Tensor]:
        gate = torch.sigmoid(z)
        a = z * gate
        return a, gate + a * (1 - gate)

    return {
        "leaky_relu": rectified,
        "relu": rectified,
        "tanh": tanh,
        "elu": elu,
        "silu": silu,
        "linear": lambda z: (z, None),
    }[name]
