"""What batching gains: lowe2023's networks as one program, against one after the other.

Compared are `networks.Ensemble`, which takes a trial of all networks (conditions, runs,
tests and controls) together, and two loops a newcomer would write, one network and one
trial at a time: with plain Python floats, and with PyTorch's autograd and its SGD. All are
float64, on one thread, with the same trials and noise, drawn before anything is timed;
first they must agree on weights and gates. The loops take 100 trials of a dozen of the
networks: what a network costs them does not depend on how many there are.

Times are µs of CPU per network-trial: medians of turns taken in alternation. The last line
is the sigmoid fit of a network, by closed form on the grid and by scipy's COBYLA, which the
published analysis uses, from its published start. Run from the root.
"""

import math
import sys
from collections.abc import Callable
from functools import partial
from statistics import median
from typing import Any

from retrograd.arithmetic import fix_instruction_set, torch_device
from timing import microseconds, options, report

if "torch" not in sys.modules:  # before the libraries below look at the processor
    fix_instruction_set()

import numpy as np
import torch
from scipy.optimize import minimize

from retrograd.config import load_paper
from retrograd.papers.lowe2023_insight.data import Trials
from retrograd.papers.lowe2023_insight.networks import START, Ensemble, simulate
from retrograd.papers.lowe2023_insight.params import Learning, Study
from retrograd.papers.lowe2023_insight.switch_fit import FREE, Fit

PLAIN_NETWORKS = 12  # of one turn of a loop, picked evenly from all
PLAIN_TRIALS = 100
HEADING = "case      networks  python/µs  autograd/µs  batched/µs  ratio"
ROW = "{:9} {:8} {:10.2f} {:12.0f} {:11.3f} {:6.1f}"
State = list[float]


def cases() -> dict[str, Study]:
    """Populations of one condition, and the laptop's sections."""
    laptop = load_paper("lowe2023_insight", seed=0).scales["laptop"]
    one = laptop.main.model_copy(update={"seeds": 1})
    sizes = {f"{n}+{n}": one.model_copy(update={"networks": n}) for n in (1, 99, 990)}
    return sizes | {name: getattr(laptop, name) for name in ("main", "sweeps", "variants")}


def python_step(
    c: Learning, theta: State, x: Any, label: float, eta: float, xi: Any
) -> State:
    """The update of the authors' code, in scalars."""
    w, g = theta[0::2], theta[1::2]
    error = g[0] * w[0] * x[0] + g[1] * w[1] * x[1] + c.sigma_eta * eta - label
    gradient = [(g[i] * x[i] * error, w[i] * x[i] * error) for i in (0, 1)]
    return regularised(c, theta, [slope for pair in gradient for slope in pair], xi)


def autograd_step(
    c: Learning, theta: State, x: Any, label: float, eta: float, xi: Any
) -> State:
    """The same, the gradient by autograd and the step by torch's SGD."""
    parameters = torch.tensor(theta, dtype=torch.float64, requires_grad=True)
    sgd = torch.optim.SGD([parameters], lr=c.alpha)
    w_m, g_m, w_c, g_c = parameters
    output = g_m * w_m * x[0] + g_c * w_c * x[1] + c.sigma_eta * eta
    loss = (output - label) ** 2 / 2
    loss.backward()
    sgd.step()
    moved = parameters.tolist()
    return regularised(
        c, theta, [(a - b) / c.alpha for a, b in zip(theta, moved, strict=True)], xi
    )


def regularised(c: Learning, theta: State, gradient: State, xi: Any) -> State:
    """Penalty, noise, and the treatment of gates at 0 and of changes of sign."""
    fixed, pull = c.gates == "fixed", c.lam
    moved = list(theta)
    for i in range(4):
        gate = i % 2 == 1
        if gate and fixed:
            continue
        moved[i] -= c.alpha * gradient[i]
        if gate:
            size = theta[i] if c.penalty == "l2" else (theta[i] > 0) - (theta[i] < 0)
            moved[i] -= pull * size
        if c.noise in ("all", "gates" if gate else "weights"):
            moved[i] += c.alpha * c.sigma_xi * xi[i]
        if gate and theta[i] == 0:
            left = max(abs(moved[i]) - c.alpha * c.lam, 0)
            moved[i] = math.copysign(left, moved[i])
        if gate and theta[i] * moved[i] < 0:
            moved[i] = 0.0
    return moved


def one_by_one(
    step: Callable[..., State], params: Study, trials: Trials, chosen: list[Any]
) -> np.ndarray:
    """theta (network, 4) of the chosen (condition, seed, group, network)."""
    learning, end = [*params.conditions.values()], []
    for condition, *network in chosen:
        c, of = learning[condition], (slice(PLAIN_TRIALS), *network)
        theta = [START, 1.0, START, 1.0] if c.gates == "fixed" else [START] * 4
        each = (slice(PLAIN_TRIALS), slice(None), *network)
        x, xi = trials.inputs[each].tolist(), trials.xi[each].tolist()
        label, eta = trials.label[of].tolist(), trials.eta[of].tolist()
        for t in range(PLAIN_TRIALS):
            theta = step(c, theta, x[t], label[t], eta[t], xi[t])
        end.append(theta)
    return np.array(end)


def batched(ensemble: Ensemble, trials: Trials, count: int) -> None:
    """The trials of `Ensemble.advance`, with what is drawn already at hand."""
    for t in range(count):
        ensemble.theta = ensemble.rule.step(
            ensemble.theta, trials.inputs[t], trials.label[t], trials.eta[t], trials.xi[t]
        )


def compare(case: str, params: Study, count: int, repeat: int) -> list[Any]:
    """One row of the table; stops if the three do not do equal work."""
    ensemble = Ensemble(params)
    trials = ensemble.stimuli.next(max(count, PLAIN_TRIALS))
    shape = ensemble.theta.shape[1:]
    every = [*np.ndindex(shape)]
    chosen = every[:: max(1, len(every) // PLAIN_NETWORKS)][:PLAIN_NETWORKS]
    batched(ensemble, trials, PLAIN_TRIALS)
    expected = np.array([ensemble.theta[(slice(None), *index)] for index in chosen])
    steps, times = (python_step, autograd_step), ([], [], [])
    for step in steps:
        own = one_by_one(step, params, trials, chosen)
        np.testing.assert_allclose(own, expected, rtol=0, atol=1e-9, err_msg=case)
    for _ in range(repeat):
        for step, of in zip(steps, times, strict=False):
            act = partial(one_by_one, step, params, trials, chosen)
            of.append(microseconds(act, len(chosen) * PLAIN_TRIALS))
        act = partial(batched, ensemble, trials, count)
        times[2].append(microseconds(act, len(every) * count))
    python, autograd, together = map(median, times)
    return [case, len(every), python, autograd, together, python / together]


def cobyla(series: np.ndarray, fmin: float) -> Any:
    """The published fit, a local search from (fmax, ts, m) = (0.5, 4, 7)."""
    bins = 1 + np.arange(len(series))

    def sse(p: np.ndarray) -> float:
        curve = fmin + (p[0] - fmin) / (1 + np.exp(-p[2] * (bins - p[1])))
        return float(((series - curve) ** 2).sum())

    return minimize(
        sse, (0.5, 4, 7), method="COBYLA", bounds=((0.35, 1), (0, 12), (1e-3, 9))
    )


def fits(repeat: int) -> list[float]:
    """µs per network: grid at steepness 7, grid at any steepness, COBYLA."""
    params = cases()["99+99"]
    series = simulate(params).series.reshape(-1, params.task.bins)
    before = params.task.bins_before
    few = series[:10]
    acts = (
        (partial(Fit.to, series, before), len(series)),
        (partial(Fit.to, series, before, FREE), len(series)),
        (lambda: [cobyla(s, s[:before].mean()) for s in few], len(few)),
    )
    return [median(microseconds(act, n) for _ in range(repeat)) for act, n in acts]


def main() -> None:
    args = options(__doc__, steps=400, repeat=5, of="batched trials per turn").parse_args()
    torch_device("cpu", "laptop")  # with one thread
    rows = [compare(*case, args.steps, args.repeat) for case in cases().items()]
    found = fits(args.repeat)
    report(args.json, HEADING, ROW, rows, fits=found)
    if not args.json:
        grid, free, search = found
        print(f"fit: grid {grid:.1f} µs, free {free:.0f} µs, COBYLA {search:.0f} µs")


if __name__ == "__main__":
    main()
