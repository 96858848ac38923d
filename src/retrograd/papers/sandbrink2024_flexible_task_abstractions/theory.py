"""The prediction: gated networks in the effective eigenspace of the teachers.

Symbols: W^p = Σ_m a_pm W*_m + R^p with R^p orthogonal to all teachers; σ = ⟨W*_m, W*_m⟩;
ε_m = δ_{m, m(t)} − Σ_q c^q a_qm is the error along teacher m. Every singular mode of a
teacher obeys the same equation and the gates sum over modes, hence the factor σ. R^p stays
within the span of its initial values, so its Gram matrix N_pq = ⟨R^p, R^q⟩ closes the
equations. Steps are explicit Euler, as training takes them. Numbers R1 to R3 are those of
the project's specification; shares no code with the training.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from retrograd.curricula import steps_of
from retrograd.papers.sandbrink2024_flexible_task_abstractions import data
from retrograd.papers.sandbrink2024_flexible_task_abstractions.params import (
    Gated,
    Regime,
    Toy,
)
from retrograd.products import variable

Array = NDArray[np.float64]
Integers = NDArray[np.int64]
CROSSED = 0.1  # a switch is over when the loss falls below this


@dataclass(frozen=True)
class State:
    """a (..., path, task), c (..., path) and N (..., path, other_path)."""

    a: Array
    c: Array
    N: Array

    @classmethod
    def within_the_span(cls, a: ArrayLike, c: ArrayLike) -> "State":
        """Students without a part outside of the teachers' span."""
        a, c = np.array(a, float), np.array(c, float)
        return cls(a, c, np.zeros((*c.shape, c.shape[-1])))


@dataclass(frozen=True)
class Reduction:
    """R1. All numbers broadcast against the leading axes of a state.

    `norm` is k of the bound λ_norm ½ (‖c‖_k − 1)².
    """

    sigma: ArrayLike
    tau_w: ArrayLike
    tau_c: ArrayLike
    lambda_norm: ArrayLike
    lambda_nonneg: ArrayLike
    norm: int
    dt: float

    def errors(self, state: State, task: int | Integers) -> Array:
        """ε_m, (..., task), while `task` is on: one for all, or (...)."""
        asked = np.eye(state.a.shape[-1])[task]
        held: Array = (state.c[..., None] * state.a).sum(-2)
        return asked - held

    def loss(self, state: State, task: int | Integers) -> Array:
        """½ σ Σ ε² + ½ Σ_pq c^p N_pq c^q, (...)."""
        outside = (state.c[..., None] * state.N * state.c[..., None, :]).sum((-2, -1))
        within = (self.errors(state, task) ** 2).sum(-1)
        found: Array = 0.5 * (np.asarray(self.sigma) * within + outside)
        return found

    def step(self, state: State, task: int | Integers) -> State:
        """One Euler step."""
        a, c, N = state.a, state.c, state.N
        sigma, to_w, to_c = map(
            _column,
            (
                self.sigma,
                self.dt / np.asarray(self.tau_w),
                self.dt / np.asarray(self.tau_c),
            ),
        )
        eps = self.errors(state, task)
        mixed = (N * c[..., None, :]).sum(-1)  # ⟨R^p, Σ_q c^q R^q⟩
        force = sigma * (a * eps[..., None, :]).sum(-1) - mixed - self._bounds(c)
        # R^p loses to_w c^p Σ_q c^q R^q: to second order in dt, as the weights' step does.
        share = to_w * c
        total = (c * mixed).sum(-1)[..., None, None]
        cross = share[..., :, None] * mixed[..., None, :]
        both = share[..., :, None] * share[..., None, :]
        return State(
            a + (to_w * c)[..., None] * eps[..., None, :],
            c + to_c * force,
            N - (cross + np.swapaxes(cross, -1, -2)) + both * total,
        )

    def _bounds(self, c: Array) -> Array:
        """dL_reg/dc; silent at c = 0."""
        if self.norm == 1:
            slope = (abs(c).sum(-1, keepdims=True) - 1) * np.sign(c)
        else:
            length = np.sqrt((c**2).sum(-1, keepdims=True))
            slope = (length - 1) * c / length
        found: Array = _column(self.lambda_norm) * slope - _column(self.lambda_nonneg) * (
            c < 0
        )
        return found

    def run(
        self, state: State, tasks: Integers, record: Integers
    ) -> tuple[State, Array, State]:
        """Follow `tasks` (step, ...) from a state.

        Returns:
            The states before the steps in `record`, stacked in front; their losses
            (record, ...); and the state at the end.
        """
        wanted, kept, losses = set(record.tolist()), [], []
        for number, task in enumerate(tasks):
            if number in wanted:
                kept.append(state)
                losses.append(self.loss(state, task))
            state = self.step(state, task)
        stacked = State(*(np.stack([getattr(s, n) for s in kept]) for n in ("a", "c", "N")))
        return stacked, np.stack(losses), state


def _column(values: ArrayLike) -> Array:
    return np.asarray(values, float)[..., None]


# ---- R1 against the full model ---------------------------------------------------------


def theory(params: Gated, inputs: Mapping[str, xr.Dataset]) -> xr.Dataset:
    """The reduced dynamics of the runs that `population` trains, from their own start.

    Returns:
        What `data.trajectories` describes, by the closed equations with N; loss_within, of
        the eigenspace alone, R = 0; and t_frozen, R3: how long a switch of frozen,
        specialised students takes under the first condition.
    """
    (start,) = inputs.values()
    (tau_B,) = params.tau_B
    tasks = data.curriculum(params, tau_B)
    kept = data.kept_steps(params, tasks)
    regimes = [c.regime for c in params.conditions()]
    sigma = params.d_out / params.d_in
    rules = Reduction(
        sigma,
        np.array([r.tau_w for r in regimes]),
        np.array([r.tau_c for r in regimes]),
        np.array([r.lambda_norm(params.norm) for r in regimes]),
        np.array([r.lambda_nonneg for r in regimes]),
        params.norm,
        params.dt,
    )
    a, gram = start["a"].values, start["gram"].values
    c = np.full(a.shape[:-1], 0.5)
    every_task = tasks.task_of_every_step()
    path, losses, _ = rules.run(State(a, c, gram), every_task, kept)
    _, within, _ = rules.run(State(a, c, 0 * gram), every_task, kept)
    run = ("seed", "condition", "time")
    text = "task loss, were there nothing outside of the teachers' span"
    t_frozen = frozen_crossing(sigma, regimes[0].tau_c, CROSSED)
    return data.trajectories(
        params,
        kept,
        np.moveaxis(losses, 0, 2),
        np.moveaxis(path.c, 0, 2),
        loss_within=variable(run, np.moveaxis(within, 0, 2), text),
        t_frozen=variable(
            (), t_frozen, "time until the loss is below 0.1, were the students frozen (R3)"
        ),
    )


def frozen_switch(t: ArrayLike, sigma: float, tau_c: float) -> Array:
    """R3: c_A(t) after a switch from A to B with frozen students a = 1, c = (1, 0).

    c_B = 1 − c_A, and the loss is σ c_A². Neither bound acts, as ‖c‖₁ = 1 and c > 0.
    """
    return np.exp(-sigma * np.asarray(t, float) / tau_c)


def frozen_crossing(sigma: float, tau_c: float, loss: float) -> float:
    """R3: when the loss of `frozen_switch` falls to `loss`; 0 if it starts there."""
    return max(0.0, tau_c / (2 * sigma) * np.log(sigma / loss))


# ---- R2: gates against students --------------------------------------------------------


def gate_difference(c: Array) -> Array:
    """c̄ = c¹ − c², of two paths."""
    return c[..., 0] - c[..., 1]


def specialisation(a: Array) -> Array:
    """w̄ = ½ (a_11 − a_21 + a_22 − a_12), of two paths and two tasks."""
    own, other = a[..., 0, 0] + a[..., 1, 1], a[..., 1, 0] + a[..., 0, 1]
    found: Array = 0.5 * (own - other)
    return found


def specialisation_at(
    c_bar: ArrayLike, sigma: float, tau_c: ArrayLike, tau_w: float
) -> Array:
    """R2: w̄ at a gate difference c̄ during a switch that starts from c̄² = w̄ = 1.

    Holds for balanced students (w̄_1 = w̄_2), opposite errors and positive gates. Requires
    τ_c < 2 σ τ_w: slower gates let the students flip before they do.
    """
    dip = np.asarray(tau_c, float) / (2 * sigma * tau_w)
    found: Array = np.sqrt(1 - dip * (1 - np.asarray(c_bar, float) ** 2))
    return found


# ---- the toy of Fig. 4 -----------------------------------------------------------------


def toy(params: Toy, inputs: Mapping[str, xr.Dataset]) -> xr.Dataset:
    """Two tasks and two students in the plane of the teachers, σ = 1.

    Returns:
        One switch: a (switch_time, start, path, task). Equal times with blocks of several
        lengths: specialisation (tau_B) at the end. A long run: cycle_c and cycle_w
        (shown_block, phase), gate difference and specialisation; cycle_distance
        (later_block), of a block's end to the state two blocks earlier; cycle_end,
        specialisation at the end. Switches with several gate speeds: switch_w and
        switch_law, R2, (tau_c, travel) at the first step with a gate difference below
        `travel`, where switch_reached says so; law_deviation and w_min (tau_c) over all.
    """
    parts = (_one_switch, _block_lengths, _cycle, _gate_speeds)
    return xr.merge([part(params) for part in parts], compat="no_conflicts", join="outer")


def _rules(params: Toy, regime: Regime, tau_c: ArrayLike | None = None) -> Reduction:
    bounds = Regime(tau_w=1, tau_c=1, strength=params.strength, weights=params.weights)
    return Reduction(
        1.0,
        regime.tau_w,
        regime.tau_c if tau_c is None else tau_c,
        bounds.lambda_norm(1),
        bounds.lambda_nonneg,
        1,
        params.dt,
    )


def _one_switch(params: Toy) -> xr.Dataset:
    """Task B from students that both know A, and from students that know A and B."""
    students = np.array([[[1, 0], [1, 0]], [[1, 0], [0, 1]]])
    start = State.within_the_span(students, np.array([[0.5, 0.5], [1, 0]]))
    steps = steps_of(params.switch_time, params.dt)
    record = np.unique(np.geomspace(1, steps, 40).astype(np.int64)) - 1
    path, *_ = _rules(params, params.switch).run(start, np.ones(steps, int), record)
    dims = ("switch_time", "start")
    return xr.Dataset(
        {
            "a": _float32((*dims, "path", "task"), path.a, "teacher content of students"),
        },
        {
            "switch_time": variable("switch_time", record * params.dt, "time since switch"),
            "start": variable("start", ["unspecialised", "specialised"], "students before"),
            "path": data.index("path", 2, "student"),
            "task": data.index("task", 2, "teacher"),
        },
    )


def _small(params: Toy, *runs: int) -> State:
    """Students that are barely specialised, behind equal gates."""
    a = np.broadcast_to(params.start * np.eye(2), (*runs, 2, 2))
    return State.within_the_span(a, np.full((*runs, 2), 0.5))


def _block_lengths(params: Toy) -> xr.Dataset:
    steps = steps_of(params.block_lengths_time, params.dt)
    lengths = np.array([steps_of(tau_B, params.dt) for tau_B in params.tau_B])
    tasks = np.arange(steps)[:, None] // lengths % 2
    rules = _rules(params, params.block_lengths)
    *_, end = rules.run(_small(params, len(lengths)), tasks, np.array([0]))
    w = abs(specialisation(end.a))
    return xr.Dataset(
        {"specialisation": variable("tau_B", w, "specialisation w̄ at the end")},
        {"tau_B": variable("tau_B", params.tau_B, "length of a block")},
    )


def _cycle(params: Toy) -> xr.Dataset:
    """Blocks of length 1; w̄ is made positive: its sign says which path has which task."""
    length, blocks = steps_of(1, params.dt), params.cycle_blocks
    phase = np.unique(
        (np.linspace(0, 1, 20, endpoint=False) ** 2 * length).astype(np.int64)
    )
    record = (np.arange(blocks)[:, None] * length + phase).ravel()
    tasks = np.repeat(np.arange(blocks) % 2, length)
    path, _, end = _rules(params, params.cycle).run(_small(params), tasks, record)
    sign = np.sign(specialisation(end.a))
    c, w = (
        sign * values.reshape(blocks, len(phase))
        for values in (gate_difference(path.c), specialisation(path.a))
    )
    ends = np.array(
        [
            np.append(of[1:, 0], sign * last)
            for of, last in ((c, gate_difference(end.c)), (w, specialisation(end.a)))
        ]
    )
    distance = np.linalg.norm(ends[:, 2:] - ends[:, :-2], axis=0)
    shown = [*range(min(8, blocks - 2)), blocks - 2, blocks - 1]
    dims = ("shown_block", "phase")
    return xr.Dataset(
        {
            "cycle_c": _float32(dims, c[shown], "gate difference c̄"),
            "cycle_w": _float32(dims, w[shown], "specialisation w̄"),
            "cycle_end": variable((), ends[1, -1], "specialisation w̄ at the end"),
            "cycle_distance": variable(
                "later_block", distance, "distance of (c̄, w̄) to two blocks earlier"
            ),
        },
        {
            "shown_block": variable("shown_block", shown, "block"),
            "phase": variable("phase", phase * params.dt, "time since the switch"),
            "later_block": variable("later_block", np.arange(2, blocks), "block"),
        },
    )


def _gate_speeds(params: Toy) -> xr.Dataset:
    tau_c = np.array(params.tau_c)
    steps = steps_of(params.tau_c_time, params.dt)
    one = State.within_the_span([[1, 0], [0, 1]], [1, 0])
    start = State(*(np.repeat(v[None], len(tau_c), 0) for v in (one.a, one.c, one.N)))
    rules = _rules(params, Regime(tau_w=1, tau_c=1), tau_c)
    path, *_ = rules.run(start, np.ones(steps, int), np.arange(steps))
    c, w = gate_difference(path.c), specialisation(path.a)  # (step, tau_c)
    law = specialisation_at(np.clip(c, -1, 1), 1.0, tau_c, 1.0)
    within = abs(c) <= 1
    deviation = np.where(within, abs(w - law), 0).max(0)
    # As seen along the switch: every curve at the same gate differences.
    travel = np.linspace(0.98, -0.98, 25)
    first = np.array(
        [[np.argmax(c[:, i] <= at) for at in travel] for i in range(len(tau_c))]
    )
    reached = (c.min(0)[:, None] <= travel).astype(np.int32)
    columns = np.arange(len(tau_c))[:, None]
    dims = ("tau_c", "travel")
    return xr.Dataset(
        {
            "switch_w": _float32(dims, w[first, columns], "specialisation w̄"),
            "switch_law": _float32(dims, law[first, columns], "specialisation w̄ by R2"),
            "switch_reached": variable(dims, reached, "whether the switch came this far"),
            "law_deviation": variable("tau_c", deviation, "largest deviation from R2"),
            "w_min": variable("tau_c", w.min(0), "smallest specialisation w̄"),
        },
        {
            "tau_c": variable("tau_c", tau_c, "time scale of the gates"),
            "travel": variable("travel", travel, "gate difference c̄"),
        },
    )


def _float32(dims: tuple[str, ...], values: Array, long_name: str) -> xr.Variable:
    return variable(dims, values.astype(np.float32), long_name)
