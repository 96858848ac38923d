"""Carrasco-Davis et al. 2023: the hand-derived gradient of every kind of control."""

from dataclasses import replace

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from torch import Tensor

from carrasco_setup import CASES, CPU, gradient_check, network
from retrograd.control import run, value_and_gradient
from retrograd.papers.carrasco_davis2023_learning_effort import (
    data,
    gradient,
    kernels,
    neuron,
    theory,
)
from retrograd.papers.carrasco_davis2023_learning_effort import network as network_module
from retrograd.papers.carrasco_davis2023_learning_effort import settings as kinds
from retrograd.papers.carrasco_davis2023_learning_effort.data import GradientProblem, Task
from retrograd.papers.carrasco_davis2023_learning_effort.params import (
    GradientCase,
    GradientCheck,
)

each_case = pytest.mark.parametrize("case", CASES)
few = settings(max_examples=10, deadline=None)


# ---- autograd through the unrolled dynamics --------------------------------------------


def unrolled(params: GradientCheck, problem: GradientProblem, control: Tensor) -> Tensor:
    """V of one run by plain tensor operations: what autograd sees."""
    case, dt, steps = problem.case, params.dt, params.steps
    discount = params.gamma ** (torch.arange(steps).double() * dt) * dt
    if case == "neuron":
        losses, w, s = [], torch.zeros(()).double(), data.MU**2 + data.SIGMA**2
        for g in control[:, 0]:
            G = 1 + g
            fit = 1 - 2 * data.MU * w * G + s * (w * G) ** 2
            losses.append((fit + params.weight_decay * w**2) / 2)
            w = w + dt * (data.MU * G - s * w * G**2 - params.weight_decay * w)
        return -(discount * (torch.stack(losses) + cost(params, case, control))).sum()
    W1, W2 = torch.tensor(problem.W1), torch.tensor(problem.W2)
    if case.startswith("init"):
        first, second = control.split([W1.numel(), W2.numel()])
        W = first.reshape(W1.shape), second.reshape(W2.shape)
        runs = [learned(params, [t] * steps, *W, None, case) for t in problem.tasks]
        mean = torch.stack(runs).mean(0)
        return -dt * (mean[-1] if case == "init_final" else mean.sum())
    turns = np.arange(steps) * len(problem.tasks) // steps
    tasks = [problem.tasks[t] for t in turns]
    losses = learned(params, tasks, W1, W2, control, case)
    return -(discount * (losses + cost(params, case, control))).sum()


def learned(
    params: GradientCheck,
    tasks: list[Task],
    W1: Tensor,
    W2: Tensor,
    control: Tensor | None,
    case: str,
) -> Tensor:
    losses, sizes = [], [W1.numel(), W2.numel()]
    for k, task in enumerate(tasks):
        Sx, Syx = torch.tensor(task.Sx), torch.tensor(task.Syx)
        A1, A2 = torch.ones_like(W1), torch.ones_like(W2)
        d, u = torch.ones(len(W2)).double(), torch.ones(()).double()
        if control is not None:
            if case in ("gain", "switch"):
                first, second = (1 + control[k]).split(sizes)
                A1, A2 = first.reshape(W1.shape), second.reshape(W2.shape)
            elif case == "category":
                d = control[k] ** 2
            elif case.startswith("rate"):
                u = 1 + control[k, 0]
            else:
                d = control[k].repeat_interleave(2)
        U1, U2 = W1 * A1, W2 * A2
        P = U2 @ U1
        fit = task.Syy.sum() - 2 * (P * Syx).sum() + (P @ Sx * P).sum()
        losses.append((fit + params.weight_decay * (W1**2).sum() + 0) / 2)
        losses[-1] = losses[-1] + params.weight_decay * (W2**2).sum() / 2
        E = d[:, None] * (Syx - P @ Sx)
        step = params.dt * u
        W1, W2 = (
            W1 + step * (U2.T @ E * A1 - params.weight_decay * W1),
            W2 + step * (E @ U1.T * A2 - params.weight_decay * W2),
        )
    return torch.stack(losses)


def cost(params: GradientCheck, case: str, control: Tensor) -> Tensor:
    squares = (control**2).sum(1)
    if case in ("gain", "switch"):
        return torch.exp(params.beta * squares) - 1
    if case == "category":
        return params.beta * (squares - control.shape[1]) ** 2 / control.shape[1]
    free = {"attentive": 1.0, "rate_total": -1.0}.get(case, 0.0)
    return params.beta * ((control - free) ** 2).sum(1)


@each_case
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_the_adjoint_gives_the_gradient_of_autograd(
    case: GradientCase, weight_decay: float
) -> None:
    params = gradient_check(weight_decay=weight_decay)
    dynamics, control, _ = gradient.problem(params, case, CPU)
    values, gradients = value_and_gradient(dynamics, control)
    for seed in range(params.seeds):
        drawn = data.gradient_problem(params, case, seed)
        point = torch.tensor(drawn.control, requires_grad=True)
        expected = unrolled(params, drawn, point)
        expected.backward()
        assert float(values[seed]) == pytest.approx(expected.item(), rel=1e-12)
        found = gradients[seed].reshape(point.shape)
        error = (found - point.grad).norm() / point.grad.norm()
        assert error <= 1e-10


@each_case
@few
@given(seed=st.integers(0, 2**32), weight_decay=st.sampled_from([0.0, 0.3]))
def test_the_adjoint_gives_the_central_differences_of_the_value(
    case: GradientCase, seed: int, weight_decay: float
) -> None:
    params = gradient_check(
        cases=[case], seed=seed, weight_decay=weight_decay, steps=8, seeds=1
    )
    adjoint = gradient.derivatives(params, CPU)
    differences = theory.differences(params, {})
    np.testing.assert_allclose(adjoint["value"], differences["value"], rtol=1e-12)
    # Relative to the whole gradient: a direction may happen to be flat.
    dynamics, control, _ = gradient.problem(params, case, CPU)
    size = float(value_and_gradient(dynamics, control)[1].norm())
    error = abs(adjoint["derivative"] - differences["derivative"])
    assert float(error.max()) <= 1e-8 * size


def test_every_kind_of_control_has_a_derivative_better_than_1e_8() -> None:
    params = gradient_check(steps=30, seeds=3)
    adjoint, differences = gradient.derivatives(params, CPU), theory.differences(params, {})
    error = abs(adjoint["derivative"] / differences["derivative"] - 1)
    assert float(error.max()) <= 1e-8


@few
@given(degree=st.integers(1, 8), h=st.floats(0.05, 0.5))
def test_the_differences_are_exact_for_polynomials_up_to_degree_eight(
    degree: int, h: float
) -> None:
    found = theory.directional_derivative(lambda x: (1 + x) ** degree, h)
    assert found == pytest.approx(degree, rel=1e-9)


# ---- the same numbers by other ways ----------------------------------------------------


@each_case
def test_torchs_operations_give_the_numbers_of_numpys(
    case: GradientCase, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What a GPU would run.
    params = gradient_check()
    own = gradient.derivatives(params, CPU).sel(problem=case)
    for module in (network_module, neuron):
        monkeypatch.setattr(module, "kernels_of", lambda device: kernels._TORCH)
    other = gradient.derivatives(params, CPU).sel(problem=case)
    np.testing.assert_allclose(other["value"], own["value"], rtol=1e-12)
    np.testing.assert_allclose(other["derivative"], own["derivative"], rtol=1e-8)


@each_case
def test_a_gradient_is_the_same_to_the_bit_alone_and_in_a_batch(
    case: GradientCase,
) -> None:
    (value, alone), (values, batch) = (
        value_and_gradient(*gradient.problem(gradient_check(seeds=n), case, CPU)[:2])
        for n in (1, 4)
    )
    assert torch.equal(alone[0], batch[0])
    # The value is a sum over time, which torch takes in an order that knows the batch.
    torch.testing.assert_close(value[0], values[0], rtol=1e-14, atol=0)
    assert len(values.unique()) == 4


def test_ones_as_gains_change_nothing() -> None:
    task = data.compose([data.semantic(2), data.semantic(3)])
    plain, gained = (
        network(task, gains=gains, weight_decay=0.2) for gains in (False, True)
    )
    O, I, H = len(task.Syy), len(task.Sx), 4  # noqa: E741
    ones = network_module.Effect(
        A1=torch.ones(30, 2, H, I).double(), A2=torch.ones(30, 2, O, H).double()
    )
    weight = torch.rand(30, 2).double()
    found = []
    for one, effect in ((plain, network_module.Effect()), (gained, ones)):
        losses = one.run(effect)
        one.start_back(weight)
        for k in reversed(range(30)):
            one.step_back(k)
        back = one.gradient()
        found.append((losses, back.W1, back.W2))
    # One is worked out in the eigenbasis of Sx, the other is not (Theory 3).
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


def test_the_gradient_in_the_last_control_is_that_of_its_own_loss_and_cost() -> None:
    # "Pitfalls": the loss at step k uses the gains of step k.
    params = gradient_check(cases=["gain"])
    dynamics, control, _ = gradient.problem(params, "gain", CPU)
    before = run(dynamics, control)
    moved = control.clone()
    moved[:, -1] += 0.01
    losses = dynamics.network.losses().clone()  # type: ignore[attr-defined]
    assert (run(dynamics, moved) != before).all()
    changed = dynamics.network.losses() != losses  # type: ignore[attr-defined]
    assert changed[-1].all()
    assert not changed[:-1].any()


# ---- what controls cost ----------------------------------------------------------------


def test_costs_are_those_of_the_table() -> None:
    # "Pitfalls": vector and category differ, the gain's cost is of the sum of squares.
    psi = torch.tensor([[[0.5, 1.5]]], dtype=torch.float64)
    one = torch.ones(1, 1, 1).double()
    vector = kinds.TaskEngagement(0.1, torch.eye(2).double(), 0 * one, 2 * one)
    assert float(vector.cost(psi)) == pytest.approx(0.1 * 2.5)
    attentive = replace(vector, free=one)
    assert float(attentive.cost(psi)) == pytest.approx(0.1 * 0.5)
    category = kinds.CategoryEngagement(0.1)
    assert float(category.cost(psi)) == pytest.approx(0.1 * (2.5 - 2) ** 2 / 2)
    gain = kinds.Gain(0.1, H=1, I=1, O=1)
    assert float(gain.cost(psi)) == pytest.approx(np.exp(0.25) - 1)
    rate = kinds.LearningRate(torch.tensor([[0.1]]), torch.tensor([[-1.0]]))
    assert float(rate.cost(psi)) == pytest.approx(0.1 * 1.5**2)
    initial = kinds.InitialWeights(H=1, I=1, O=1, tasks=3, beta=0.1)
    assert float(initial.cost(psi[0])) == pytest.approx(0.5 * 0.1 * 2.5)


def test_the_cost_of_initial_weights_has_its_gradient() -> None:
    params = gradient_check(cases=["init_cumulative"])
    found = []
    for beta in (0.0, 0.7):
        dynamics, control, _ = gradient.problem(params, "init_cumulative", CPU)
        assert isinstance(dynamics, kinds.Controlled)
        dynamics.setting = replace(dynamics.setting, beta=beta)  # type: ignore[type-var]
        found.append(value_and_gradient(dynamics, control))
    (V, slope), (V_cost, slope_cost) = found
    torch.testing.assert_close(V - V_cost, 0.35 * control.square().sum(1))
    torch.testing.assert_close(slope - slope_cost, 0.7 * control)


def test_the_discount_is_per_unit_of_time_and_not_per_step() -> None:
    # "Pitfalls": the last weight of the single neuron's T = 600, dt = 1e-3 is .99^.599.
    weight = kinds.discounted(torch.tensor([0.99], dtype=torch.float64), 1e-3, 600)
    assert float(weight[-1]) == pytest.approx(0.99400 * 1e-3, rel=1e-5)
    one = {
        "mu": 2.0,
        "s": 5.0,
        "weight_decay": 0.1,
        "beta": 0.3,
        "gamma": 0.99,
        "steps": 600,
    }
    constants = {name: torch.tensor([v], dtype=torch.float64) for name, v in one.items()}
    neurons = neuron.Neurons(neuron.Constants(**constants), 1e-3)
    torch.testing.assert_close(neurons.weight, weight, rtol=1e-15, atol=0)
