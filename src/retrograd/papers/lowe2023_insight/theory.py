"""The prediction: a hidden weight walks at random until it is large enough to escape.

While the colour gate g_c is held at 0 (and the colour input is about 0) the colour weight
w_c feels nothing but noise: a random walk of steps s = ασ_ξ (spec T3). Once colour
predicts, it pushes the gate by α|w_c|M_c(1 − ŷ) in half of the trials, and the penalty
pulls by λ in all: the gate opens where |w_c| > w* = 2λ/(αM_c) (spec T5, with ŷ ≈ 0 in hard
trials). Shares no code with the simulation.
"""

from collections.abc import Mapping

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr

from retrograd.errors import RetrogradError
from retrograd.papers.lowe2023_insight.data import coordinates
from retrograd.papers.lowe2023_insight.params import BIN, Learning, OneCondition, Study
from retrograd.products import variable

Array = NDArray[np.float64]
SPACING = 0.125  # of the grid of weights, in steps of the walk
FARTHEST = 8  # longest jump between two trials, in steps of the walk


def walk_sd(learning: Learning, trials: ArrayLike) -> Array:
    """T3: sd of w_c after so many trials, ασ_ξ√t; independent of λ."""
    sd: Array = _step(learning) * np.sqrt(trials)
    return sd


def gate_at_zero(learning: Learning, trials: ArrayLike) -> Array:
    """T4: probability that g_c is exactly 0 after so many trials, from a gate near 0.

    A gate at 0 leaves with q = 2(1 − Φ(λ/σ_ξ)) and is clipped back in the next trial:
    z ← (1 − q)z + (1 − z), whose solution from z = 0 tends to 1/(1 + q). Few gates stay
    away for a second trial; they make it 0.01 less.
    """
    q = 2 * ndtr(-learning.lam / learning.sigma_xi)
    probability: Array = (1 - (-q) ** np.asarray(trials)) / (1 + q)
    return probability


def escape_weight(learning: Learning, M_c: float) -> float:
    """T5: w* = 2λ/(αM_c), the size of the colour weight from which its gate opens."""
    return 2 * learning.lam / (learning.alpha * M_c)


def escape_fraction(learning: Learning, M_c: float, onset: int, trials: int) -> float:
    """T5: probability that the walk's |w_c| exceeds w* in a trial onset ... onset + trials.

    The density of walks that never did is followed on a grid, trial by trial.
    """
    if learning.sigma_xi == 0:
        return 0.0
    bound = escape_weight(learning, M_c) / _step(learning)  # in steps of the walk
    cells = max(1, round(2 * bound / SPACING))
    spacing = 2 * bound / cells
    w = spacing * np.arange(0.5, cells) - bound
    density = _normal_density(w, np.sqrt(onset))
    reach = int(np.ceil(FARTHEST / spacing)) if spacing else 0
    jumps = spacing * _normal_density(spacing * np.arange(-reach, reach + 1.0), 1)
    for _ in range(trials):
        density = np.convolve(density, jumps)[reach : reach + cells]
    return float(1 - density.sum() * spacing)


def _normal_density(x: Array, sd: float) -> Array:
    """Density of N(0, sd²)."""
    density: Array = np.exp(-((x / sd) ** 2) / 2) / (np.sqrt(2 * np.pi) * sd)
    return density


def _step(learning: Learning) -> float:
    """Standard deviation of what one trial adds to a weight without input."""
    scale = learning.alpha if learning.rule == "code" else 1.0
    return scale * learning.sigma_xi


# ---- products --------------------------------------------------------------------------


def walk(params: OneCondition, inputs: Mapping[str, xr.Dataset]) -> xr.Dataset:
    """Moments of w_c and g_c before colour predicts, (trial).

    Args:
        params: the section that the simulation reads too.
        inputs: empty.
    """
    trial = np.arange(0, params.task.onset + 1, BIN)
    sd = walk_sd(params.learning, trial)
    of = {
        "w_c_sd": (sd, "standard deviation of the colour weight"),
        "w_c_mean_size": (np.sqrt(2 / np.pi) * sd, "mean absolute colour weight"),
        "g_c_zero": (
            gate_at_zero(params.learning, trial),
            "part of colour gates that are exactly 0",
        ),
    }
    return xr.Dataset(
        {name: variable("trial", *values) for name, values in of.items()},
        {"trial": variable("trial", trial, "trial", "trials")},
    )


def escape(params: Study, inputs: Mapping[str, xr.Dataset]) -> xr.Dataset:
    """The escape heuristic for every condition, the same for all runs.

    Args:
        params: the section that the simulation reads too; its conditions follow the
            authors' code with an L1 penalty.
        inputs: empty.

    Returns:
        insight_fraction (condition, seed) and escape_weight (condition).
    """
    task, weights, fractions = params.task, [], []
    for name, learning in params.conditions.items():
        usual = learning.rule, learning.penalty, learning.gates, learning.noise
        if usual != ("code", "l1", "trained", "all"):
            raise RetrogradError(
                f"escape heuristic: condition '{name}' has {', '.join(usual)}; it is known "
                "for rule code, penalty l1, gates trained, noise all"
            )
        weights.append(escape_weight(learning, task.M_c))
        fractions.append(escape_fraction(learning, task.M_c, task.onset, task.colour))
    every_run = np.repeat(np.array(fractions)[:, None], params.seeds, axis=1)
    return xr.Dataset(
        {
            "insight_fraction": variable(
                ("condition", "seed"), every_run, "part of test networks with insight"
            ),
            "escape_weight": variable(
                "condition", np.array(weights), "size of w_c from which its gate opens"
            ),
        },
        coordinates(params, ["condition", "seed"]),
    )
