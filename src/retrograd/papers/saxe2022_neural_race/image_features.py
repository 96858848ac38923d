"""Frozen features of natural images: the first two blocks of a residual network.

The paper passes each rotated CIFAR-10 image through the first two residual blocks of a
ResNet-18 trained on CIFAR-10, 512 features. Its weights are not published, so a network
of these two blocks is trained here, with a linear read-out that is then dropped (ours:
its schedule, and the pooling of 128 channels to 2 × 2).
"""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from retrograd.datasets import Labelled
from retrograd.randomness import stream

CHANNELS = (64, 128)
EPOCHS, BATCH, LR = 20, 128, 0.05
AT_ONCE = 1000  # images


def frozen_network(
    base: Labelled, device: torch.device
) -> Callable[[NDArray[np.float32]], Tensor]:
    """Train on upright images, and give the function from images to features.

    Its argument is (image, 3, 32, 32), its result (image, 512). Deterministic: nothing
    depends on the master seed.
    """
    rng = stream(0, 0, "frozen network of natural images")
    blocks = _Blocks().to(device)
    head = nn.Linear(4 * CHANNELS[1], 10).to(device)
    _draw([blocks, head], int(rng.integers(2**62)))
    weights = [*blocks.parameters(), *head.parameters()]
    optimiser = torch.optim.SGD(weights, lr=LR, momentum=0.9, weight_decay=5e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, EPOCHS)
    x = torch.from_numpy(base.train_x).view(-1, 3, 32, 32)
    y = torch.from_numpy(base.train_y)
    for _ in range(EPOCHS):
        for chosen in torch.from_numpy(rng.permutation(len(x))).split(BATCH):
            logits = head(blocks(x[chosen].to(device)))
            loss = nn.functional.cross_entropy(logits, y[chosen].to(device))
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        schedule.step()
    blocks.eval()

    @torch.inference_mode()
    def features(images: NDArray[np.float32]) -> Tensor:
        parts = torch.from_numpy(images).split(AT_ONCE)
        return torch.cat([blocks(part.to(device)) for part in parts])

    return features


def _draw(modules: list[nn.Module], seed: int) -> None:
    """Draw all matrices from a generator of our own (He et al.); biases are zero."""
    generator = torch.Generator().manual_seed(seed)
    for module in modules:
        for name, parameter in module.named_parameters():
            if parameter.ndim > 1:
                drawn = torch.empty(parameter.shape)
                nn.init.kaiming_normal_(drawn, generator=generator)
                parameter.data.copy_(drawn)
            elif name.endswith("bias"):
                nn.init.zeros_(parameter)


class _Residual(nn.Module):
    """Two 3 × 3 convolutions with batch normalisation, and the way around them."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.first = _convolution(before, after, stride)
        self.second = _convolution(after, after)
        around = _convolution(before, after, stride, size=1)
        self.around = nn.Identity() if before == after else around

    def forward(self, x: Tensor) -> Tensor:
        through = self.second(torch.relu(self.first(x)))
        return torch.relu(through + self.around(x))


class _Blocks(nn.Sequential):
    """Images (image, 3, 32, 32) to features (image, 512)."""

    def __init__(self) -> None:
        first, second = CHANNELS
        super().__init__(
            _convolution(3, first),
            nn.ReLU(),
            _Residual(first, first, stride=1),
            _Residual(first, second, stride=2),
        )

    def forward(self, x: Tensor) -> Tensor:
        maps = super().forward(x)
        # Means over quarters; adaptive pooling has no deterministic gradient on CUDA.
        return maps.unflatten(-1, (2, -1)).unflatten(-3, (2, -1)).mean((-3, -1)).flatten(1)


def _convolution(before: int, after: int, stride: int = 1, size: int = 3) -> nn.Module:
    convolution = nn.Conv2d(before, after, size, stride, padding=size // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(after))
