"""Networks with one weight and one gate per input, which learn one trial at a time.

All conditions, runs, groups and networks are axes of one program, (condition, seed, group,
network), so that a trial is about 25 operations on whole arrays. They are sums, products
and comparisons of numpy only, whose bits do not depend on the size of an array: a network
is the same in any batch. (numpy beats torch at these sizes, so a GPU is not used.)
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from retrograd import progress
from retrograd.papers.lowe2023_insight import data
from retrograd.papers.lowe2023_insight.data import PARAMETERS, Trials
from retrograd.papers.lowe2023_insight.params import BIN, LEVELS, Learning, Study, Task

Array = NDArray[np.float64]

START = 0.01  # of every weight and gate
W, G = slice(0, None, 2), slice(1, None, 2)  # of PARAMETERS
W_M, G_M, W_C, G_C = range(len(PARAMETERS))
FIRST = 5  # trials from the onset over which the gradient is averaged


class Rule:
    """The update of one trial; all conditions together, along the axis `condition`."""

    def __init__(self, conditions: Sequence[Learning]) -> None:
        def column(value: Callable[[Learning], float]) -> Array:
            values = [value(c) for c in conditions]
            return np.array(values, dtype=np.float64)[:, None, None, None]

        def noise(c: Learning, on: str) -> float:
            scale = c.alpha if c.rule == "code" else 1  # only the code scales it by α
            return scale * c.sigma_xi * (c.noise in ("all", on))

        def pull(c: Learning, penalty: str) -> float:
            scale = 1 if c.rule == "code" else c.alpha  # only the print scales it by α
            return scale * c.lam * (c.penalty == penalty)

        self.alpha = column(lambda c: c.alpha)
        self.sigma_eta = column(lambda c: c.sigma_eta)
        self.noise_w = column(lambda c: noise(c, "weights"))
        self.noise_g = column(lambda c: noise(c, "gates"))
        self.l1 = column(lambda c: pull(c, "l1"))
        self.l2 = column(lambda c: pull(c, "l2"))
        # Only the code treats a gate at 0 and a change of sign in a way of its own.
        self.dead = column(lambda c: c.alpha * c.lam * (c.rule == "code"))
        self.may_flip = column(lambda c: c.rule == "paper") > 0
        self.fixed = np.array([c.gates == "fixed" for c in conditions])

    def start(self, networks: Sequence[int]) -> Array:
        """Initial parameters, (4, condition, seed, group, network)."""
        theta = np.full((len(PARAMETERS), len(self.fixed), *networks), START)
        theta[G, self.fixed] = 1
        return theta

    def error(self, theta: Array, x: Array, label: Array, eta: Array) -> Array:
        """e = ŷ − y, (condition, seed, group, network); eta is standard normal."""
        output = theta[G] * theta[W] * x[:, None]
        error: Array = output[0] + output[1] + (self.sigma_eta * eta - label)
        return error

    def step(self, theta: Array, x: Array, label: Array, eta: Array, xi: Array) -> Array:
        """The parameters after one trial.

        Args:
            theta: before it, (4, condition, seed, group, network).
            x: inputs, motion and colour, (2, seed, group, network).
            label: y, (seed, group, network).
            eta: noise of the output, in the same shape.
            xi: noise of the update, (4, seed, group, network).
        """
        w, g = theta[W], theta[G]
        slope = self.alpha * self.error(theta, x, label, eta) * x[:, None]
        new = np.empty_like(theta)
        np.subtract(w, g * slope, out=new[W])
        new[W] += self.noise_w * xi[W, None]
        moved = g - w * slope
        moved -= self.l1 * np.sign(g)  # of the gate before the step; 0 at 0
        if self.l2.any():
            moved -= self.l2 * g
        moved += self.noise_g * xi[G, None]
        # A gate at 0 leaves by what exceeds αλ; a gate that would change sign stops at 0.
        dead = self.dead * (g == 0)
        moved -= np.minimum(np.maximum(moved, -dead), dead)
        moved *= (g * moved >= 0) | self.may_flip
        moved[:, self.fixed] = g[:, self.fixed]
        new[G] = moved
        return new


class Ensemble:
    """All networks of a study: `theta` (4, condition, seed, group, network), `trial`."""

    def __init__(self, params: Study) -> None:
        self.stimuli = data.Stimuli(params)
        self.rule = Rule([*params.conditions.values()])
        seeds, networks, _ = self.stimuli.mu_m.shape
        self.theta = self.rule.start((seeds, len(data.GROUPS), networks))
        self.trial = 0

    def advance(self, count: int) -> tuple[Trials, Array]:
        """Learn from so many trials; returns them, and theta before each (trial, 4, ...).

        A network that diverges becomes infinite or NaN, for good.
        """
        trials = self.stimuli.next(count)
        before = np.empty((count, *self.theta.shape))
        with np.errstate(over="ignore", invalid="ignore"):
            for t in range(count):
                before[t] = self.theta
                self.theta = self.rule.step(
                    self.theta,
                    trials.inputs[t],
                    trials.label[t],
                    trials.eta[t],
                    trials.xi[t],
                )
        self.trial += count
        return trials, before


@dataclass(frozen=True)
class Recording:
    """What is kept of a study; networks along (condition, seed, group, network).

    theta (time, 4, ...) at the start of every bin and at the end; series (..., bin), the
    accuracy at the hardest level; diverged (...): those have theta 0 and are at chance.
    In detail also accuracy (bin, level, condition, seed, group), means over networks;
    imagined (..., trial), accuracy at the hardest level were there colour, from the onset;
    and gradient (...), mean size of ∂L/∂g_c in the first trials from it. learning_rate
    (bin, condition) is that of the trials of which there is a series.
    """

    theta: Array
    series: Array
    diverged: NDArray[np.bool_]
    accuracy: Array
    imagined: Array
    gradient: Array
    learning_rate: Array

    def at(self, trial: int) -> Array:
        """theta before a trial that starts a bin, (4, ...)."""
        theta: Array = self.theta[trial // BIN]
        return theta


def simulate(params: Study, detailed: bool = False) -> Recording:
    """Run a study, bin by bin."""
    task, ensemble = params.task, Ensemble(params)
    colour = data.colour_means(task)[:, None, None, :, None]  # (trial, 1, 1, group, 1)
    hardest = ensemble.stimuli.mu_m[:, None, :, 0]
    sigma_eta = ensemble.rule.sigma_eta
    states, series, accuracy, imagined, rates = [ensemble.theta], [], [], [], []
    gradient = np.zeros(ensemble.theta.shape[1:])
    with progress.bar(task.trials, f"{params.networks} networks", "trial") as bar:
        for first in range(0, task.trials, BIN):
            trials, before = ensemble.advance(BIN)
            states.append(ensemble.theta)
            bar.update(BIN)
            if first < task.pretraining:
                continue
            motion = ensemble.stimuli.motion_means(trials.level)[:, None]
            says = colour[first : first + BIN]
            right = _accuracy(task, sigma_eta, before, motion, says)
            rates.append(ensemble.rule.alpha.ravel())
            at_level = [(trials.level == k)[:, None] for k in range(LEVELS)]
            series.append(_mean(right, at_level[0], 0))
            if not detailed:
                continue
            accuracy.append([_mean(right, chosen, (0, -1)) for chosen in at_level])
            if first >= task.onset:
                says = np.array(task.M_c)
                imagined.append(_accuracy(task, sigma_eta, before, hardest, says))
            if first == task.onset:
                gradient = _gate_gradient(ensemble.rule, trials, before)
    theta = np.stack(states)
    diverged = ~np.isfinite(theta[-1]).all(0)
    theta[:, :, diverged] = 0
    curves = np.moveaxis(np.concatenate(imagined), 0, -1) if detailed else np.zeros(0)
    return Recording(
        theta,
        np.stack(series, axis=-1),
        diverged,
        np.array(accuracy),
        curves,
        gradient,
        np.array(rates),
    )


def _accuracy(
    task: Task, sigma_eta: Array, theta: Array, motion: Array, colour: Array
) -> Array:
    """Probability correct before each trial, theta (trial, 4, ...); ½ if diverged."""
    with np.errstate(over="ignore", invalid="ignore"):
        drive = theta[:, W] * theta[:, G]
        right = data.probability_correct(drive, motion, colour, task, sigma_eta)
    return np.where(np.isnan(right), 0.5, right)


def _mean(right: Array, chosen: NDArray[np.bool_], axes: int | tuple[int, ...]) -> Array:
    """Mean over the chosen trials; both (trial, condition, seed, group, network)."""
    mean: Array = (right * chosen).sum(axes) / chosen.sum(axes)
    return mean


def _gate_gradient(rule: Rule, trials: Trials, before: Array) -> Array:
    """Mean of abs(∂L/∂g_c) = abs(w_c x_c e) over the first trials, without the penalty."""
    total = np.zeros(before.shape[2:])
    for t in range(FIRST):
        x, theta = trials.inputs[t], before[t]
        total += abs(
            theta[W_C] * x[1] * rule.error(theta, x, trials.label[t], trials.eta[t])
        )
    return total / FIRST
