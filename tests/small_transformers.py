"""Small transformers and sequences for them, shared by tests."""

import numpy as np
import torch
from torch import Tensor

from retrograd.randomness import stream
from retrograd.transformer import Architecture, Weights, embed, forward, initial_weights

ROTARY = Architecture(inputs=12, labels=5, d=16, heads=4)


def networks(architecture: Architecture, members: int = 3) -> Weights:
    return initial_weights(architecture, [stream(0, i, "weights") for i in range(members)])


def sequences(
    architecture: Architecture, members: int = 3, batch: int = 6
) -> tuple[Tensor, Tensor]:
    """Exemplars (E, B, N + 1, D) and labels (E, B, N)."""
    drawn = [stream(0, i, "sequences") for i in range(members)]
    shape = (batch, architecture.pairs)
    exemplars = [rng.standard_normal((batch, shape[1] + 1, 12)) for rng in drawn]
    labels = [rng.integers(architecture.labels, size=shape) for rng in drawn]
    return torch.from_numpy(np.array(exemplars)).float(), torch.from_numpy(np.array(labels))


def embedded(weights: Weights, exemplars: Tensor) -> Tensor:
    return embed(weights, exemplars.flatten(1, 2)).unflatten(1, exemplars.shape[1:3])


def answer(
    architecture: Architecture, weights: Weights, x: Tensor, labels: Tensor
) -> Tensor:
    return forward(architecture, weights, embedded(weights, x), labels).logits
