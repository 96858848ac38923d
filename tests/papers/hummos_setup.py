"""What the tests of Hummos et al. 2024 share: tiny experiments, and a check of gradients.

Names C1 to T2 and "Pitfalls" are those of the project's specification of the paper.
"""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from retrograd.papers.hummos2024_gradient_based_inference.lstm import Weights
from retrograd.papers.hummos2024_gradient_based_inference.params import (
    Images,
    Language,
    Toy,
)

CPU = torch.device("cpu")
SLUG = "hummos2024_gradient_based_inference"


def toy(**changes: Any) -> Toy:
    usual: dict[str, Any] = {
        "mu": (0.2, 0.8),
        "sigma": 0.1,
        "blocks": 6,
        "H": 8,
        "window": 6,
        "rate": 0.001,
        "early_blocks": 5,
        "test_means": [0.2, 0.5, 0.8],
        "test_steps": 40,
        "switch_steps": 30,
        "new_steps": 60,
        "floor_blocks": 40,
        "seeds": 2,
    }
    return Toy(**(usual | changes))


def images(**changes: Any) -> Images:
    usual: dict[str, Any] = {
        "images": "digits",
        "outside": "photographs",
        "H": 16,
        "autoencoders": {"d=2": {"d": 2}, "no task input": {"d": 2, "task_input": False}},
        "epochs": 1,
        "batch": 64,
        "inference_steps": 3,
        "outside_images": 60,
        "seeds": 2,
    }
    return Images(**(usual | changes))


def language(**changes: Any) -> Language:
    usual: dict[str, Any] = {
        "corpora": "grammars",
        "tokens": (600, 200),
        "picks": [["language 0", "language 1"]],
        "novel": [["language 2", "language 3"]],
        "V": 100,
        "E": 8,
        "H": 12,
        "T": 5,
        "batch": 8,
        "steps": 6,
        "evaluate_every": 3,
        "test_windows": 4,
        "words": [1, 5],
        "adapt_steps": 4,
        "adapt_batch": 4,
        "adapt_windows": 4,
        "adapt_every": 2,
        "seeds": 1,
    }
    return Language(**(usual | changes))


def assert_gradient(
    found: Weights, weights: Weights, loss: Callable[[Weights], Tensor]
) -> None:
    """Gradients against central differences along random directions, in float64."""
    assert set(found) == set(weights)
    generator, step = torch.Generator().manual_seed(0), 1e-6
    for name, w in weights.items():
        for _ in range(3):
            v = torch.randn(w.shape, generator=generator, dtype=torch.float64)
            ahead, behind = (
                float(loss(weights | {name: w + sign * step * v})) for sign in (1, -1)
            )
            slope = (ahead - behind) / (2 * step)
            assert float((found[name] * v).sum()) == pytest.approx(
                slope, rel=2e-5, abs=1e-7
            ), name
