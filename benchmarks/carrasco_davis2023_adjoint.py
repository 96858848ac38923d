"""What the hand-derived adjoint gains: value and gradient, against a loop of autograd.

Compared are `control.value_and_gradient` on a batch of runs (seeds × conditions), and the
loop a newcomer would write: one run at a time, the learning unrolled in torch, the
gradient of its value by `backward()`. Both on one thread, in float64, from the same
weights and controls, over the same number of steps; first their values and gradients
must agree.

Times are µs of CPU per run and step, for one value and gradient, so waiting for other
jobs does not count: medians of turns taken in alternation. Run from the root.
"""

from collections.abc import Callable
from statistics import median
from typing import Any

import timing
from retrograd.arithmetic import fix_instruction_set, torch_device

if __name__ == "__main__":  # before the libraries below look at the processor
    fix_instruction_set()

import numpy as np
import torch
from torch import Tensor

from retrograd.config import load_paper
from retrograd.control import Dynamics, value_and_gradient
from retrograd.papers.carrasco_davis2023_learning_effort import data, optimise, settings
from retrograd.papers.carrasco_davis2023_learning_effort.neuron import Constants, Neurons
from retrograd.papers.carrasco_davis2023_learning_effort.rows import tensor

CPU = torch_device("cpu", "laptop")  # with one thread
HEADING = "case             H   I   O   runs  steps  autograd/µs  adjoint/µs  ratio"
ROW = "{:13} {:4} {:3} {:3} {:6} {:6} {:12.0f} {:11.2f} {:6.1f}"
Value = Callable[[Tensor, int], Tensor]  # of one run's control (time, unit), and its row


def neuron_value(params: Any, steps: int) -> Value:
    """V of one neuron, by plain tensor operations."""
    s, t = params.mu**2 + params.sigma**2, params.dt * torch.arange(steps).double()
    weight = params.gamma**t * params.dt

    def value(g: Tensor, row: int) -> Tensor:
        w, total = (
            torch.zeros((), dtype=torch.float64),
            torch.zeros((), dtype=torch.float64),
        )
        for k in range(steps):
            G = 1 + g[k, 0]
            loss = 0.5 * (1 - 2 * params.mu * w * G + s * (w * G) ** 2)
            loss = loss + 0.5 * params.weight_decay * w**2
            total = total - weight[k] * (loss + params.beta * g[k, 0] ** 2)
            w = w + params.dt * (params.mu * G - w * G**2 * s - params.weight_decay * w)
        return total

    return value


def network_value(params: Any, task: data.Task, steps: int, kind: str, runs: int) -> Value:
    """V of one network under psi, phi or gains, by plain tensor operations."""
    Sx, Syx = torch.tensor(task.Sx), torch.tensor(task.Syx)
    first, second = data.initial_weights(0, runs, params.hidden, task, params.init_sd)
    weight = params.gamma ** (params.dt * torch.arange(steps).double()) * params.dt

    def value(control: Tensor, row: int) -> Tensor:
        W1, W2 = torch.tensor(first[row]), torch.tensor(second[row])
        total = torch.zeros((), dtype=torch.float64)
        for k in range(steps):
            c, squares = control[k], (control[k] ** 2).sum()
            U1, U2, d, A1, A2 = W1, W2, None, None, None
            if kind == "gain":
                A1 = 1 + c[: W1.numel()].view_as(W1)
                A2 = 1 + c[W1.numel() :].view_as(W2)
                U1, U2 = W1 * A1, W2 * A2
                cost = torch.exp(params.beta * squares) - 1
            elif kind == "category":
                d, cost = c**2, params.beta * (squares - len(c)) ** 2 / len(c)
            else:
                d, cost = c.repeat_interleave(2), params.beta * ((c - 1) ** 2).sum()
            P = U2 @ U1
            PS = P @ Sx
            loss = 0.5 * task.Syy.sum() - (P * Syx).sum() + 0.5 * (PS * P).sum()
            if params.weight_decay:
                squares = (W1**2).sum() + (W2**2).sum()
                loss = loss + 0.5 * params.weight_decay * squares
            total = total - weight[k] * (loss + cost)
            E = Syx - PS if d is None else d[:, None] * (Syx - PS)
            d1, d2 = U2.T @ E, E @ U1.T
            if A1 is not None:
                d1, d2 = d1 * A1, d2 * A2
            W1, W2 = (
                W1 + params.dt * (d1 - params.weight_decay * W1),
                W2 + params.dt * (d2 - params.weight_decay * W2),
            )
        return total

    return value


def case_of(name: str, runs: int, steps: int) -> tuple[Value, Dynamics, Tensor, list[int]]:
    """The plain value, the batched dynamics, a control of every run, and H, I, O."""
    laptop = load_paper("carrasco_davis2023_learning_effort", seed=0).scales["laptop"]
    rng = np.random.default_rng(0)
    if name == "neuron":
        params = laptop.single_neuron
        values = {"mu": params.mu, "s": params.mu**2 + params.sigma**2, "steps": steps}
        for field in ("weight_decay", "beta", "gamma"):
            values[field] = getattr(params, field)
        constants = Constants(**{k: tensor([v] * runs, CPU) for k, v in values.items()})
        control = tensor(rng.uniform(0, 0.5, (runs, steps)), CPU)
        return neuron_value(params, steps), Neurons(constants, params.dt), control, [1] * 3
    params = {
        "engagement": laptop.engagement,
        "category": laptop.category_semantic,
        "gain": laptop.gain_single,
    }[name].model_copy(update={"seeds": runs})
    params = params.model_copy(update={"duration": steps * params.dt})
    task = data.task(params)
    O, I = task.Syx.shape  # noqa: E741
    labels = [str(run) for run in range(runs)]
    weights = data.initial_weights(0, runs, params.hidden, task, params.init_sd)
    gains = name == "gain"
    network = optimise.network_of(params, [task], weights, labels, CPU, gains=gains)
    setting: settings.Setting
    if name == "gain":
        units, (low, high) = params.hidden * (I + O), (-0.1, 0.1)
        setting = settings.Gain(params.beta, params.hidden, I, O)
    elif name == "category":
        units, (low, high) = O, (0.5, 1.5)
        setting = settings.CategoryEngagement(params.beta)
    else:
        units, (low, high) = O // 2, (0.5, 1.5)
        one = tensor([1.0], CPU)
        membership = tensor(np.repeat(np.eye(units), 2, axis=1), CPU)
        setting = settings.TaskEngagement(params.beta, membership, one, 2 * one)
    control = tensor(rng.uniform(low, high, (runs, steps, units)), CPU)
    weight = settings.discounted(tensor([params.gamma] * runs, CPU), params.dt, steps)
    dynamics = settings.Controlled(network, setting, weight)
    plain = network_value(params, task, steps, name, runs)
    return plain, dynamics, control, [params.hidden, I, O]


def autograd(value: Value, control: Tensor) -> tuple[Tensor, Tensor]:
    """V (run) and its gradient, one run after the other."""
    values, gradients = [], []
    for row, one in enumerate(control):
        point = (one if one.ndim > 1 else one[:, None]).clone().requires_grad_()
        V = value(point, row)
        V.backward()
        values.append(V.detach())
        gradients.append(point.grad.reshape(one.shape))
    return torch.stack(values), torch.stack(gradients)


def compare(name: str, runs: int, steps: int, repeat: int) -> list[Any]:
    """One row of the table; stops if the two do not give the same numbers."""
    value, dynamics, control, sizes = case_of(name, runs, steps)
    found, expected = value_and_gradient(dynamics, control), autograd(value, control)
    for own, its in zip(found, expected, strict=True):
        torch.testing.assert_close(own, its, rtol=1e-9, atol=1e-12, msg=f"{name}: unequal")
    slow, fast = [], []
    for _ in range(repeat):
        slow.append(timing.microseconds(lambda: autograd(value, control[:1]), steps))
        turns = [lambda: value_and_gradient(dynamics, control)] * 3
        fast.append(min(timing.microseconds(turn, runs * steps) for turn in turns))
    a, b = median(slow), median(fast)
    return [f"{name}, {runs}", *sizes, runs, steps, a, b, a / b]


def main() -> None:
    args = timing.options(__doc__, steps=300, repeat=7, of="of learning").parse_args()
    cases = [("neuron", 1), ("neuron", 43), ("engagement", 1), ("engagement", 9)]
    cases += [("category", 1), ("category", 3), ("gain", 1), ("gain", 3)]
    rows = [compare(name, runs, args.steps, args.repeat) for name, runs in cases]
    timing.report(args.json, HEADING, ROW, rows)


if __name__ == "__main__":
    main()
