"""What the tests of Carrasco-Davis et al. 2023 share: small sections of the config.

Numbers L1 to L22, "Theory" and "Pitfalls" are those of the project's specification.
"""

from typing import Any, get_args

import torch

from retrograd.papers.carrasco_davis2023_learning_effort import data
from retrograd.papers.carrasco_davis2023_learning_effort.network import LinearNetwork
from retrograd.papers.carrasco_davis2023_learning_effort.params import (
    Category,
    Engagement,
    GainSingle,
    GainSwitch,
    Gaussian,
    GradientCase,
    GradientCheck,
    LearningRate,
    Maml,
    RateCondition,
    SingleNeuron,
)

CPU = torch.device("cpu")
CASES: tuple[GradientCase, ...] = get_args(GradientCase)
A, B = Gaussian(mu=(3, 1), p=0.8), Gaussian(mu=(-2, 2), p=0.2)
EASY_TO_HARD = [(0, 1), (7, 1), (8, 9)]
_NETWORK: dict[str, Any] = {"hidden": 5, "init_sd": 0.1, "records": 12, "seeds": 2}
_ASCENT: dict[str, Any] = {"gamma": 0.99, "beta": 0.3, "rate": 0.1, "iterations": 4}


def gradient_check(**changes: Any) -> GradientCheck:
    usual: dict[str, Any] = {
        "cases": list(CASES),
        "hidden": 4,
        "dt": 0.05,
        "steps": 20,
        "init_sd": 0.5,
        "weight_decay": 0.1,
        "gamma": 0.9,
        "beta": 0.2,
        "seeds": 2,
    }
    return GradientCheck(**(usual | changes))


def single_neuron(**changes: Any) -> SingleNeuron:
    usual: dict[str, Any] = {
        "mu": 2,
        "sigma": 1,
        "dt": 1e-3,
        "steps": 200,
        "gamma": 0.99,
        "beta": 0.3,
        "weight_decay": 0.1,
        "rate": 0.3,
        "iterations": 30,
        "batch": 8,
        "records": 20,
        "sweep_records": 8,
        "grids": {},
        "seeds": 3,
    }
    return SingleNeuron(**(usual | changes))


def maml(**changes: Any) -> Maml:
    usual: dict[str, Any] = {
        "images": "digits",
        "pairs": [(0, 1), (8, 9)],
        "dt": 0.02,
        "horizons": [2, 5],
        "rate": 0.01,
        "iterations": 5,
        "eval_steps": 20,
    }
    return Maml(**(_NETWORK | usual | changes))


def learning_rate(**changes: Any) -> LearningRate:
    usual: dict[str, Any] = {
        "levels": 3,
        "dt": 0.2,
        "duration": 6,
        "weight_decay": 0.01,
        "conditions": [RateCondition(gamma=0.9, beta=1), RateCondition(gamma=1, beta=1)],
        "rate": 0.03,
        "iterations": 5,
    }
    return LearningRate(**(_NETWORK | usual | changes))


def engagement(**changes: Any) -> Engagement:
    usual: dict[str, Any] = {
        "images": "digits",
        "pairs": EASY_TO_HARD,
        "variants": ["attentive", "active", "vector"],
        "dt": 0.025,
        "duration": 0.5,
    }
    return Engagement(**(_NETWORK | _ASCENT | usual | changes))


def category(**changes: Any) -> Category:
    usual: dict[str, Any] = {"data": "semantic", "levels": 3, "dt": 0.1, "duration": 2}
    return Category(**(_NETWORK | _ASCENT | usual | changes))


def gain_single(**changes: Any) -> GainSingle:
    usual: dict[str, Any] = {
        "data": "gaussian",
        "gaussian": A,
        "dt": 0.02,
        "duration": 0.6,
        "weight_decay": 0.01,
        "batch": 8,
        "sgd_runs": 2,
    }
    return GainSingle(**(_NETWORK | _ASCENT | usual | changes))


def gain_switch(**changes: Any) -> GainSwitch:
    usual: dict[str, Any] = {
        "tasks": [A, B],
        "segment": 0.6,
        "dt": 0.03,
        "duration": 1.8,
        "weight_decay": 0.001,
    }
    return GainSwitch(**(_NETWORK | _ASCENT | usual | changes))


def network(
    task: data.Task | list[data.Task] | list[list[data.Task]],
    *,
    seeds: int = 2,
    hidden: int = 4,
    sd: float = 0.3,
    **options: Any,
) -> LinearNetwork:
    """A batch of networks with sampled weights, one per seed."""
    tasks = [task] if isinstance(task, data.Task) else task
    first = tasks[0] if isinstance(tasks[0], data.Task) else tasks[0][0]
    W1, W2 = data.initial_weights(0, seeds, hidden, first, sd)
    return LinearNetwork(tasks, W1, W2, device=CPU, **({"dt": 0.02, "steps": 30} | options))
