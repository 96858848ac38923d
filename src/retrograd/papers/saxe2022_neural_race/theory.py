"""The prediction: closed forms of the small tasks, and routing networks by reduction.py.

Numbers T3 to T6 are those of the project's specification. Shares no code with the
simulations. Symbols: s singular value of the target per mode, b singular values of the
layers (input, hidden, output), K outputs trained per input, M domains, P pairs that share
a hidden matrix. Time is epochs unless said otherwise.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from retrograd.papers.saxe2022_neural_race import data
from retrograd.papers.saxe2022_neural_race.params import (
    Decoupled,
    DecoupledNetwork,
    Gating,
    Sharing,
    SmallSteps,
)
from retrograd.papers.saxe2022_neural_race.reduction import (
    Course,
    SubNetwork,
    mode_loss,
    reduced_flow,
    reduced_map,
    step_constant,
    target_modes,
)
from retrograd.products import variable

Array = NDArray[np.float64]
ArrayOrFloat = TypeVar("ArrayOrFloat", Array, float)


# ---- two-layer paths: XoR (T3) and the contextual task (T4) ------------------------------


@dataclass(frozen=True)
class TwoLayerPath:
    """A path of two balanced layers that learns one mode: τ da/dt = 2a(s − d a)."""

    s: float
    d: float
    tau: float

    @property
    def end(self) -> float:
        return self.s / self.d

    def product(self, a_0: float, t: ArrayOrFloat) -> ArrayOrFloat:
        """a(t), the product of both layers, from a₀ at t = 0."""
        grown = np.exp(-2 * self.s * t / self.tau)
        a: ArrayOrFloat = self.end / (1 - (1 - self.end / a_0) * grown)
        return a

    def start(self, a: float, t: float) -> float:
        """a₀ such that a(t) = a."""
        gap = (self.end / a - 1) * np.exp(2 * self.s * t / self.tau)
        return float(self.end / (1 + gap))


def xor_path(tau: float) -> TwoLayerPath:
    """Each of the four paths of XoR: s = √2/4, d = 2/4."""
    return TwoLayerPath(np.sqrt(2) / 4, 0.5, tau)


def xor_loss(a: Array) -> Array:
    """Four paths alike: ½ − √2 a + a²."""
    return 0.5 - np.sqrt(2) * a + a**2


def gating(params: Gating, inputs: Mapping[str, xr.Dataset]) -> xr.Dataset:
    """Closed forms of the networks of `train.gating`, with its names.

    Args:
        params: the section that the simulation reads too.
        inputs: the simulation: a₀ of XoR is one fitted number per network, such that L
            crosses ¼ when the simulated mean does.

    Returns:
        xor_loss (network, epoch), xor_a_0 (network,), contextual_loss (paths,
        contextual_epoch). A linear network stays at ½ on XoR.
    """
    (simulated,) = inputs.values()
    epochs = simulated["epoch"].values
    path = xor_path(params.xor.tau)
    losses, starts = [], []
    for network in simulated["network"].values:
        if network == "linear":
            losses.append(np.full(len(epochs), 0.5))
            starts.append(0.0)
            continue
        mean = data.crossing_epoch(simulated["xor_loss"].sel(network=network), 0.25).mean()
        at_quarter = 1 / np.sqrt(2) - 0.5
        starts.append(path.start(at_quarter, float(mean)))
        losses.append(xor_loss(path.product(starts[-1], epochs.astype(float))))
    t = simulated["contextual_epoch"].values.astype(float)
    both = [contextual_loss(params, paths, t) for paths in data.CONTEXTUAL_PATHS]
    text = "fitted product of both layers at the start; 0 where nothing is learned"
    return xr.Dataset(
        {
            "xor_loss": variable(("network", "epoch"), np.stack(losses), "loss on XoR"),
            "xor_a_0": variable("network", starts, text),
            "contextual_loss": variable(
                ("paths", "contextual_epoch"),
                np.stack(both),
                "loss on the contextual task",
            ),
        },
        data.gating_coordinates(params),
    )


def contextual_loss(params: Gating, paths: int, t: Array) -> Array:
    """Loss (time,) of a network with a path per context, or one path that is always on."""
    task = params.contextual
    if paths == 2:
        path = TwoLayerPath(1 / 6, 1 / 6, task.tau)
        return (1 - path.product(task.a_0, t)) ** 2 / 6
    path = TwoLayerPath(np.sqrt(2) / 6, 1 / 3, task.tau)
    a = path.product(task.a_0, t)
    return 1 / 6 - path.s * a + path.d * a**2 / 2


# ---- products ----------------------------------------------------------------------------


def routing(params: SmallSteps, inputs: Mapping[str, xr.Dataset]) -> xr.Dataset:
    """The routing network of `train.routing` by its reduced map and flow.

    Returns:
        By the map: loss (epoch,), sv_in, sv_hidden, sv_out (mode, sv_epoch), as the
        simulation names them. By the flow: loss_flow (epoch,). By maps of smaller steps:
        loss_small_steps (divisor, epoch).
    """
    epochs = data.record_epochs(params.epochs, params.record_every)
    sv_epochs = data.record_epochs(params.epochs, params.singular_values_every)
    network = [SubNetwork.shared_by_all(params.M, params.K)]
    pairs, c, s = params.K * params.M, step_constant(params.lr), target_modes()
    b = reduced_map(params.b_0, s, network, c, epochs)
    flow = reduced_flow(params.b_0, s, network, c, np.array(epochs, float))
    finer = [
        mode_loss(
            reduced_map(params.b_0, s, network, c / n, [n * e for e in epochs]), pairs
        )
        for n in params.divisors
    ]
    losses = {
        "loss": ("epoch", mode_loss(b, pairs), "loss by the reduced map"),
        "loss_flow": ("epoch", mode_loss(flow, pairs), "loss by the reduced flow"),
        "loss_small_steps": (
            ("divisor", "epoch"),
            np.stack(finer),
            "loss by the reduced map with smaller steps",
        ),
    }
    b_sv = reduced_map(params.b_0, s, network, c, sv_epochs)
    strengths = {
        name: (("mode", "sv_epoch"), b_sv[:, 0, layer].T, text)
        for layer, (name, text) in enumerate(data.SINGULAR_VALUES.items())
    }
    return xr.Dataset(
        {name: variable(*entry) for name, entry in (losses | strengths).items()},
        data.epoch_coordinate(epochs)
        | data.singular_value_coordinates(sv_epochs)
        | {
            "divisor": data.coordinate(
                "divisor", params.divisors, "steps per epoch, each at lr over their number"
            )
        },
    )


def decoupled(params: Decoupled, inputs: Mapping[str, xr.Dataset]) -> xr.Dataset:
    """Every network of `train.decoupled` by its reduced map, with the same variables."""
    s = target_modes()
    losses, values = [], []
    for network in params.networks:
        at_loss, at_values = (
            reduced_map(
                network.b_0,
                s,
                sub_networks(network),
                step_constant(network.lr),
                data.record_epochs(params.epochs, every),
            )
            for every in (params.record_every, params.singular_values_every)
        )
        losses.append(mode_loss(at_loss, network.K * network.M))
        values.append(np.moveaxis(at_values, 0, -1))  # (sub-network, layer, mode, time)
    by_name = {
        name: [b[:, layer] for b in values]
        for layer, name in enumerate(data.SINGULAR_VALUES)
    }
    return data.decoupled_product(params, np.stack(losses), by_name)


def sub_networks(network: DecoupledNetwork) -> list[SubNetwork]:
    if network.roots == [network.M]:
        return [SubNetwork.shared_by_all(network.M, network.K)]
    return [SubNetwork.of_degree(root) for root in network.roots]


def sharing(params: Sharing, inputs: Mapping[str, xr.Dataset]) -> xr.Dataset:
    """Networks of several degrees of sharing, alone by the flow, and racing by the map.

    Returns:
        half_time (root,), when B2 B1² reaches S/2, by quadrature; strength (root, time),
        B2 B1²/S of networks alone; share (root, step), b1 b2 b3/s of each in the race.
        Time is in units of the τ of T6.
    """
    subs = [SubNetwork.of_degree(root) for root in params.roots]
    courses = [Course(root, params.s, params.b_0) for root in params.roots]
    # T6 is T5 for m = √P at a time constant of M²τ/P.
    half = np.array(
        [
            course.time(course.hidden(params.s / 2)) * (params.M / course.m) ** 2
            for course in courses
        ]
    )
    times = np.geomspace(half.min() / 10, 2 * half.max(), params.times)
    s = np.array([params.s])
    alone = [
        reduced_flow(params.b_0, s, [sub], 1 / params.M**2, times).prod(-2)[:, 0, 0]
        for sub in subs
    ]
    steps = np.geomspace(10, params.race_steps, params.times).round().astype(int)
    steps = np.unique(steps)
    race = reduced_map(
        params.race_b_0, s, subs, step_constant(params.race_lr), steps.tolist()
    )
    shares = race.prod(-2)[..., 0].T / params.s
    return xr.Dataset(
        {
            "half_time": variable("root", half, "time to half of the mode", "τ"),
            "strength": variable(
                ("root", "time"),
                (np.stack(alone) / params.s).astype(np.float32),
                "B2 B1²/S, alone",
            ),
            "share": variable(
                ("root", "step"),
                shares.astype(np.float32),
                "part of the mode, in the race",
            ),
        },
        {
            "root": data.coordinate("root", params.roots, "√P, pairs per outer matrix"),
            "time": variable("time", times, "time", "τ"),
            "step": data.coordinate("step", steps, "step of the race"),
        },
    )
