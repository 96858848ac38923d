"""The prediction: the exact solution, its limits and its consequences, as products.

The mathematics is in exact.py; nothing here knows of train.py.
"""

from collections.abc import Callable, Mapping

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq

from retrograd.linear_networks import balance, gradient_flow, kernel_distance
from retrograd.papers.domine2024_lazy_to_rich import data, exact, observables
from retrograd.papers.domine2024_lazy_to_rich.data import Networks
from retrograd.papers.domine2024_lazy_to_rich.observables import (
    Blocks,
    blocks,
    gram,
    loss,
    record_steps,
    stack,
)
from retrograd.papers.domine2024_lazy_to_rich.params import (
    Aligned,
    Architectures,
    Continual,
    Delayed,
    FlowAgreement,
    Semantic,
    Shape,
    Switch,
    Trajectories,
)
from retrograd.products import variable

Array = NDArray[np.float64]
FORMS = ("stable", "propagator")
Limit = Callable[[float, float, float, Array], Array]
LEARNED = 0.01  # of the loss at the start of a task
LONGEST = 1e3  # time within which a reversal at λ ≠ 0 is looked for


def trajectories(params: Trajectories, inputs: Mapping[str, xr.Dataset]) -> xr.Dataset:
    """What `observables.trajectories` describes, by the stable form."""
    networks = data.sample(params, params.shape, params.lam, runs=1)
    times = params.eta * record_steps(params)
    grams = exact.solution(networks, times)[0]
    return observables.trajectories(grams, networks.target[0, 0], params.lam, times)


# ---- the exact solution against its differential equation --------------------------------


def flow_agreement(params: FlowAgreement, inputs: Mapping[str, xr.Dataset]) -> xr.Dataset:
    """Exact solution against accurately integrated gradient flow, network by network.

    Returns:
        deviation (form, seed, case): largest |QQᵀ_exact − QQᵀ_flow| over the times, of the
        stable form and of the propagator (−1: hidden > modes has no stable form); scale
        (case), the largest |QQᵀ|; balance_error (seed, case), of the flow at the end;
        late_residual (seed, case), largest |W2W1 − Σ| at `late` by the stable form
        (−1: not a square network, and not converged by then).
    """
    cases = [(case.shape, lam) for case in params.cases for lam in case.lam]
    deviation, scale, balance_error, residual = (
        np.stack(parts, axis=-1)
        for parts in zip(*(_flow_case(params, *case) for case in cases), strict=True)
    )
    per_run = ("seed", "case")
    of_flow = "largest |W2ᵀW2 − W1W1ᵀ − λI| of the flow"
    at_late = f"largest |W2W1 − Σ| of a square network at t = {params.late:g}"
    return xr.Dataset(
        {
            "deviation": variable(
                ("form", *per_run), deviation, "largest |QQᵀ_exact − QQᵀ_flow|"
            ),
            "scale": variable("case", scale, "largest |QQᵀ|"),
            "balance_error": variable(per_run, balance_error, of_flow),
            "late_residual": variable(per_run, residual, at_late),
        },
        observables.coordinates(
            seeds=params.seeds,
            case=([f"{shape.label}, λ={lam:g}" for shape, lam in cases], "sizes and λ"),
            form=(FORMS, "form of the exact solution"),
        ),
    )


def _flow_case(
    params: FlowAgreement, shape: Shape, lam: float
) -> tuple[Array, Array, Array, Array]:
    networks = data.sample(params, shape, [lam])
    start, target = stack(networks.W1, networks.W2), networks.target
    W1, W2 = gradient_flow(
        networks.W1,
        networks.W2,
        target,
        params.times,
        f"the flow of {shape.label}, λ={lam:g}",
    )
    flow = gram(stack(W1, W2))
    deviation = np.full((len(FORMS), params.seeds), -1.0)
    residual = np.full(params.seeds, -1.0)
    Q = exact.propagate(start, target, networks.lam, params.times)
    deviation[FORMS.index("propagator")] = abs(gram(Q) - flow).max((1, 2, 3, 4))
    if shape.hidden == shape.modes:
        found = exact.solution(networks, [*params.times, params.late])
        off = abs(found[:, :, :-1] - flow)
        deviation[FORMS.index("stable")] = off.max((1, 2, 3, 4))
        if shape.inputs == shape.outputs:
            late = blocks(found[:, :, -1], shape.inputs).map
            residual = abs(late - target).max((1, 2, 3))
    off = balance(W1[:, 0, -1], W2[:, 0, -1]) - lam * np.eye(shape.hidden)
    return deviation, abs(flow).max(), abs(off).max((1, 2)), residual


# ---- aligned modes and their limits ----------------------------------------------------


def aligned(params: Aligned, inputs: Mapping[str, xr.Dataset]) -> xr.Dataset:
    """Strengths of aligned modes in closed form.

    Returns:
        a (lam, mode, time); and for the mode `mode`, from_sigmoid (lam), the largest
        distance to the sigmoid of λ = 0 over the run; from_exponential (lam), to the
        exponential of |λ| → ∞ within 6/|λ|.
    """
    s, lam = np.array(params.singular_values), np.array(params.lam)
    times = params.eta * record_steps(params)
    a = exact.aligned_mode(s[:, None], params.a0, lam[:, None, None], times)
    product = observables.aligned_modes(a, params.singular_values, params.lam, times)
    distances = {"from_sigmoid": _sigmoid, "from_exponential": _exponential}
    for name, limit in distances.items():
        found = [_distance(params, limit, value) for value in params.lam]
        text = f"largest {name.replace('_', ' ')} of mode {params.mode:g}"
        product[name] = variable("lam", found, text)
    return product


def _distance(params: Aligned, limit: Limit, lam: float) -> float:
    # The exponential is compared while it lasts; the sigmoid over the whole run.
    lasts = 6 / abs(lam) if limit is _exponential and lam else params.t_max
    t = np.linspace(0, lasts, params.dense)
    a = exact.aligned_mode(params.mode, params.a0, lam, t)
    return float(abs(a - limit(params.mode, params.a0, lam, t)).max())


def _sigmoid(s: float, a0: float, lam: float, t: Array) -> Array:
    """λ = 0."""
    return s / (1 + (s / a0 - 1) * np.exp(-2 * s * t))


def _exponential(s: float, a0: float, lam: float, t: Array) -> Array:
    """|λ| → ∞, to order λ⁻²."""
    return s + (a0 - s) * np.exp(-abs(lam) * t)


# ---- rich to lazy ----------------------------------------------------------------------


def architectures(params: Architectures, inputs: Mapping[str, xr.Dataset]) -> xr.Dataset:
    """Kernel distances over λ and architecture.

    Returns:
        kernel_distance (shape, seed, lam), when gradient descent ends; final_distance of
        the same axes, at `t_end`; closed_form (lam), the final one of square networks.
    """
    shapes = params.shapes
    times = params.steps * data.learning_rates(params, params.hi)
    found = np.empty((2, len(shapes), params.seeds, len(params.lam)))
    for row, shape in enumerate(shapes.values()):
        networks = data.sample(params, shape, params.lam)
        start = _start(networks)
        for column, (lam, time) in enumerate(zip(params.lam, times, strict=True)):
            one = _at_lam(networks, column, lam)
            ends = blocks(exact.solution(one, [time, params.t_end]), shape.inputs)
            A, B = start.A[:, column, None, None], start.B[:, column, None, None]
            found[:, row, :, column] = kernel_distance(A, B, ends.A, ends.B)[:, 0].T
    product = observables.kernel_distances(found[0], list(shapes), params.lam, times)
    axes = ("shape", "seed", "lam")
    text = f"distance of the NTK at t = {params.t_end:g} from its start"
    product["final_distance"] = variable(axes, found[1], text)
    square = next(shape for shape in shapes.values() if len(set(shape)) == 1)
    s = np.linspace(params.hi, params.lo, square.modes)
    law = exact.final_kernel_distance(s, np.array(params.lam))
    product["closed_form"] = variable("lam", law, "final distance of a square network")
    return product


def _start(networks: Networks) -> Blocks:
    Q = stack(networks.W1, networks.W2)
    return blocks(gram(Q), networks.W1.shape[-1])


def _at_lam(networks: Networks, column: int, lam: float) -> Networks:
    one = slice(column, column + 1)
    return Networks(
        networks.W1[:, one], networks.W2[:, one], networks.target, np.array([lam])
    )


def delayed(params: Delayed, inputs: Mapping[str, xr.Dataset]) -> xr.Dataset:
    """The fast and the slow phase of a funnel network with λ < 0.

    Returns:
        loss, kernel_distance (seed, lam, time); plateau (seed, lam), ½ ‖Σ(I − W1⁺W1)‖²
        of the initial W1. Times are log-spaced, and early/|λ| of every λ.
    """
    lam = np.array(params.lam)
    spaced = np.geomspace(params.t_min, params.t_max, params.records)
    times = np.unique(np.concatenate([spaced, params.early / abs(lam)]))
    networks = data.sample(params, params.shape, params.lam)
    start, now = _start(networks), blocks(exact.solution(networks, times), params.shape[0])
    A, B = start.A[:, :, None], start.B[:, :, None]
    seen = np.linalg.pinv(networks.W1) @ networks.W1  # projects on the row space of W1
    path = ("seed", "lam", "time")
    curves = {
        "loss": (loss(now.map, networks.target[:, :, None]), "loss"),
        "kernel_distance": (
            kernel_distance(A, B, now.A, now.B),
            observables.KERNEL_DISTANCE,
        ),
    }
    plateau = loss(networks.target @ seen, networks.target)
    return xr.Dataset(
        {
            name: variable(path, values.astype(np.float32), text)
            for name, (values, text) in curves.items()
        }
        | {"plateau": variable(("seed", "lam"), plateau, "loss outside W1's row space")},
        observables.coordinates(seeds=params.seeds, lam=params.lam, time=times),
    )


# ---- one task after another ------------------------------------------------------------


def switch(params: Switch, inputs: Mapping[str, xr.Dataset]) -> xr.Dataset:
    """What becomes of networks that have learned another task.

    The reversal mode by mode, from a = −s; the fine-tuning by the propagator.

    Returns:
        What `observables.switches` describes; and of the reversal growing (seed, lam), the
        largest entry of B, and time_to_learn (lam), until the loss is 1 % of the initial
        one, −1 where it never is.
    """
    steps = record_steps(params)
    times, lam = params.eta * steps, np.array(params.lam)
    problems = data.switched(params)
    tuned = problems["fine-tuning"]
    Q = exact.propagate(stack(tuned.W1, tuned.W2), tuned.target, tuned.lam, times.tolist())
    map = blocks(gram(Q), tuned.W1.shape[-1]).map
    s = np.linspace(params.hi, params.lo, params.shape.modes)
    reversed_loss = np.stack([_reversal_loss(s, value, times) for value in lam])
    losses = {
        "reversal": np.broadcast_to(reversed_loss, (params.seeds, *reversed_loss.shape)),
        "fine-tuning": loss(map, tuned.target[:, :, None]),
    }
    product = observables.switches(
        list(problems), np.stack([losses[name] for name in problems]), params.lam, times
    )
    B = exact.growing_directions(problems["reversal"])
    product["growing"] = variable(
        ("seed", "lam"), abs(B).max((-1, -2)), "largest entry of B in the reversal"
    )
    product["time_to_learn"] = variable(
        "lam",
        [_time_to_learn(s, value) if value else -1.0 for value in lam],
        "t until the loss of the reversal is 1 % of the initial one; -1 if never",
    )
    return product


def _reversal_loss(s: Array, lam: float, times: ArrayLike) -> Array:
    a = exact.aligned_mode(s, -s, lam, np.asarray(times)[..., None])
    total: Array = 0.5 * ((s - a) ** 2).sum(-1)
    return total


def _time_to_learn(s: Array, lam: float) -> float:
    wanted = np.log(LEARNED * _reversal_loss(s, lam, 0.0))

    def excess(time: float) -> float:
        return float(np.log(_reversal_loss(s, lam, time)) - wanted)

    # After convergence the loss is rounding, or 0, but it has been 1 % before.
    latest = next(t for t in np.geomspace(1e-3, LONGEST, 200) if excess(t) < 0)
    return float(brentq(excess, latest / 1.2, latest, xtol=1e-12))


def continual(params: Continual, inputs: Mapping[str, xr.Dataset]) -> xr.Dataset:
    """What `observables.task_sequence` describes, by the propagator."""
    networks, targets = data.sample_tasks(params)
    steps = observables.task_steps(params)
    times = (params.eta * steps[0]).tolist()
    Q, maps = stack(networks.W1, networks.W2), []
    for task in range(params.tasks):
        # Continued from a factor Q, which QQᵀ determines up to a rotation.
        path = exact.propagate(Q, targets[:, task, None], networks.lam, times)
        maps.append(blocks(gram(path), params.shape.inputs).map)
        Q = path[..., -1, :, :]
    map = np.concatenate(maps, axis=2)[:, :, :, None]
    losses = loss(map, targets[:, None, None])
    return observables.task_sequence(
        losses, targets, params.lam, params.eta * steps.ravel()
    )


# ---- the hierarchy ---------------------------------------------------------------------


def semantic(params: Semantic, inputs: Mapping[str, xr.Dataset]) -> xr.Dataset:
    """λ-balanced networks that have learned the hierarchy, by the stable form at `t_end`.

    Returns:
        What `observables.learned_hierarchy` describes; from_fixed_point (seed, lam), the
        largest deviation of A and B from Ṽ(S ∓ λ/2)Ṽᵀ and Ũ(S ± λ/2)Ũᵀ.
    """
    target, lam = data.hierarchy(), np.array(params.lam)
    networks = data.hierarchy_networks(params)
    start = _start(networks)
    end = blocks(exact.solution(networks, [params.t_end])[:, :, 0], data.ITEMS)
    represented = np.diagonal(end.A, axis1=-2, axis2=-1)[..., None]
    statistics = observables.hierarchy_statistics(
        learned=end,
        target=target,
        kernel_distance=kernel_distance(start.A, start.B, end.A, end.B),
        # The row learned on item i is h_i / |h_i|², and says A_ij / A_ii of item j.
        transfer=observables.by_relation(end.A / represented),
        noisy_loss=_noisy_losses(params, end, target),
    )
    product = observables.learned_hierarchy(
        statistics, ("lam", params.lam, "λ, balance of the layers")
    )
    A, B = exact.fixed_point(target, lam)
    off = np.maximum(abs(end.A - A).max((-1, -2)), abs(end.B - B).max((-1, -2)))
    text = "largest deviation of A and B from the fixed point"
    product["from_fixed_point"] = variable(("seed", "lam"), off, text)
    return product


def _noisy_losses(params: Semantic, end: Blocks, target: Array) -> Array:
    """Mean loss under i.i.d. noise of the parameters, and of the inputs: (..., 2).

    ½ [σ_p² (N_o tr A + N_i tr B) + σ_p⁴ N_i N_h N_o], and ½ σ_x² ‖W2W1‖².
    """
    outputs, inputs = target.shape
    hidden = min(outputs, inputs)
    trace_A, trace_B = (np.trace(M, axis1=-2, axis2=-1) for M in (end.A, end.B))
    square = params.sigma_p**2
    of_parameters = square * (outputs * trace_A + inputs * trace_B)
    of_parameters += square**2 * inputs * hidden * outputs
    of_inputs = params.sigma_x**2 * (end.map**2).sum((-1, -2))
    clean = loss(end.map, target)
    return np.stack([clean + of_parameters / 2, clean + of_inputs / 2], axis=-1)
