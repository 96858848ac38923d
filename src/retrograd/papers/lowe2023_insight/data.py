"""The task: labels, levels, inputs and noise of every trial; and what answers are worth.

Everything is drawn per run from streams of its own, and network by network, so network n
of run i is the same alone, in any batch of runs and in a population of any size.
Arrays of networks have the axes (seed, group, network); group is test or control.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.special import erf

from retrograd.papers.lowe2023_insight.params import BIN, BLOCK, LEVELS, Study, Task
from retrograd.products import variable
from retrograd.randomness import stream

Array = NDArray[np.float64]
Integers = NDArray[np.int64]

GROUPS = ("test", "control")
TEST, CONTROL = range(2)
PARAMETERS = ("w_m", "g_m", "w_c", "g_c")
PER_BLOCK = (30, 10, 20, 20, 20)  # trials per level, half of them with either label
EASY = (2, 4)  # lowest and highest level of the pre-training
NORMALS = 7  # per trial: motion, colour, output, and the updates of four parameters
SHOWN = 60  # trials of the example, before and after the onset


@dataclass(frozen=True)
class Trials:
    """Successive trials of every network; axes (trial, seed, group, network) at the end.

    label y, level; inputs (trial, 2, ...) of motion and colour; eta (trial, ...) and xi
    (trial, 4, ...), in the order of PARAMETERS, both standard normal.
    """

    label: Array
    level: Integers
    inputs: Array
    eta: Array
    xi: Array


class Stimuli:
    """The trials of every network, in order, in pieces of any length.

    mu_m (seed, network, level) is M_m of a network and of its control.
    """

    def __init__(self, params: Study) -> None:
        self._task, self._next = params.task, 0
        runs = range(params.seeds)
        self.mu_m = np.stack([_coherences(params, run) for run in runs])
        sequences = [[_sequences(params, run, g) for g in GROUPS] for run in runs]
        self._level, self._label, self._colour = (
            np.moveaxis(np.array([[pair[k] for pair in of] for of in sequences]), -1, 0)
            for k in range(3)
        )
        self._normals = [
            stream(params.seed, run, f"normals of {group} network {n}")
            for run in runs
            for group in GROUPS
            for n in range(params.networks)
        ]

    def next(self, count: int) -> Trials:
        """The next `count` trials of every network."""
        piece = slice(self._next, self._next + count)
        self._next += count
        level, label, colour = (a[piece] for a in (self._level, self._label, self._colour))
        normal = self._draw(count)
        sigmas = np.array([self._task.sigma_m, self._task.sigma_c])
        inputs = np.stack([self.motion_means(level) * label, colour], axis=1)
        inputs += sigmas[:, None, None, None] * normal[:, :2]
        return Trials(label, level, inputs, normal[:, 2], normal[:, 3:])

    def motion_means(self, level: Integers) -> Array:
        """M_m at levels (trial, seed, group, network), in that shape."""
        seeds, networks, _ = self.mu_m.shape
        run, n = np.arange(seeds)[:, None, None], np.arange(networks)
        means: Array = self.mu_m[run, n, level]
        return means

    def _draw(self, count: int) -> Array:
        """Standard normals, (trial, NORMALS, seed, group, network)."""
        drawn = np.empty((len(self._normals), count, NORMALS))
        for rng, own in zip(self._normals, drawn, strict=True):
            rng.standard_normal(out=own)
        by_trial = np.moveaxis(drawn, 0, -1)
        return by_trial.reshape(count, NORMALS, *self._level.shape[1:])


def _coherences(params: Study, run: int) -> Array:
    """M_m = max(0, mean + sd·z) of one run, (network, level)."""
    z = stream(params.seed, run, "coherences").standard_normal((params.networks, LEVELS))
    means: Array = np.maximum(
        0, params.task.coherence_mean + np.array(params.task.coherence_sd) * z
    )
    return means


def _sequences(params: Study, run: int, group: str) -> tuple[Integers, Array, Array]:
    """Level, label and mean colour input, each (network, trial)."""
    task, networks = params.task, params.networks

    def draws(what: str) -> np.random.Generator:
        return stream(params.seed, run, f"{what} of {group} networks")

    early = networks, task.pretraining
    easy = draws("easy levels").integers(*EASY, size=early, endpoint=True)
    fair = draws("labels").integers(2, size=early)
    blocks = (task.motion + task.colour) // BLOCK
    order = draws("order").random((networks, blocks, BLOCK)).argsort(-1)
    levels, labels = (a[order].reshape(networks, -1) for a in balanced_block())
    level = np.concatenate([easy, levels], axis=1)
    label = np.concatenate([fair, labels], axis=1).astype(float)
    predicts = colour_means(task)[:, GROUPS.index(group)] > 0
    if task.labels == "0/1":
        return level, label, task.M_c * predicts * label
    label = 2 * label - 1
    sign = 2.0 * draws("colours").integers(2, size=label.shape) - 1
    return level, label, task.M_c * np.where(predicts, label, sign)


def balanced_block() -> tuple[Integers, Integers]:
    """Levels and labels (0 or 1) of a block, before they are shuffled."""
    level = np.repeat(np.arange(LEVELS), PER_BLOCK)
    return level, np.arange(BLOCK) % 2  # all counts are even: half of each level


def colour_means(task: Task) -> Array:
    """M_c(t), what colour is worth in a trial: (trial, group); 0 before the onset."""
    after = np.arange(task.trials) >= task.onset
    return task.M_c * after[:, None] * np.array([group == "test" for group in GROUPS])


def probability_correct(
    drive: Array, motion: Array, colour: Array, task: Task, sigma_eta: Array
) -> Array:
    """P = ½[1 + erf(μ/√(2V))] with the unsigned means of the inputs.

    Args:
        drive: g·w of motion and of colour, (trial, 2, ...).
        motion: M_m of the trials.
        colour: M_c of the trials.
        task: its sigma_m and sigma_c are used.
        sigma_eta: standard deviation of the noise of the output.
    """
    of_motion, of_colour = drive[:, 0], drive[:, 1]
    mean = of_motion * motion + of_colour * colour
    variance = (of_motion * task.sigma_m) ** 2 + (of_colour * task.sigma_c) ** 2
    variance += sigma_eta**2
    probability: Array = 0.5 * (1 + erf(mean / np.sqrt(2 * variance)))
    return probability


# ---- coordinates and the product of this step ------------------------------------------


def coordinates(params: Study, dims: Sequence[str]) -> dict[str, xr.Variable]:
    """Coordinates of the dims that the products of a study share."""
    task = params.task
    of = {
        "seed": (np.arange(params.seeds), "index of the population's random streams", "1"),
        "condition": (list(params.conditions), "condition", "1"),
        "group": (list(GROUPS), "test or control networks", "1"),
        "network": (np.arange(params.networks), "network of the population", "1"),
        "level": (np.arange(LEVELS), "motion coherence, 0 is the hardest", "1"),
        "bin": (
            1 + np.arange(task.bins),
            f"bin of {BIN} trials, 1 starts the motion phase",
            "1",
        ),
        "block": (1 + np.arange(task.bins * BIN // BLOCK), f"block of {BLOCK} trials", "1"),
    }
    return {dim: variable(dim, *of[dim]) for dim in dims}


def instance(params: Study) -> xr.Dataset:
    """What the task looks like: coherences of the networks, and trials of the first one.

    Variables: mean and standard deviation of M_m over networks (level), the part of
    networks without any signal at a level; and label, level, motion and colour of the
    first network of the first run around the onset (trial).
    """
    task = params.task
    stimuli = Stimuli(params.model_copy(update={"seeds": 1, "networks": 1}))
    mu_m = np.concatenate([_coherences(params, run) for run in range(params.seeds)])
    first = max(0, task.onset - SHOWN)
    stimuli.next(first)
    shown = stimuli.next(min(task.onset + SHOWN, task.trials) - first)
    label, level = (a[:, 0, TEST, 0] for a in (shown.label, shown.level))
    motion, colour = shown.inputs[:, :, 0, TEST, 0].T
    trial = first + np.arange(len(label))
    return xr.Dataset(
        {
            "coherence_mean": variable("level", mu_m.mean(0), "mean of M_m over networks"),
            "coherence_sd": variable("level", mu_m.std(0), "sd of M_m over networks"),
            "silent": variable(
                "level", (mu_m == 0).mean(0), "part of networks with M_m = 0"
            ),
            "label": variable("trial", label.astype(np.float32), "label y"),
            "shown_level": variable("trial", level.astype(np.int32), "motion coherence"),
            "motion": variable("trial", motion.astype(np.float32), "motion input"),
            "colour": variable("trial", colour.astype(np.float32), "colour input"),
        },
        coordinates(params, ["level"])
        | {"trial": variable("trial", trial, "trial", "trials")},
    )
