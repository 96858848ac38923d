"""The problems: XoR, the contextual task, the routing task, and initial weights.

Everything random is drawn per run from streams of its own. Matrices act from the left.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from retrograd.gated_networks import Correlations, Examples, Graph
from retrograd.linear_networks import orthogonal
from retrograd.papers.saxe2022_neural_race.params import (
    Decoupled,
    DecoupledNetwork,
    Gating,
    Routing,
)
from retrograd.products import variable
from retrograd.randomness import stream

Array = NDArray[np.float64]
N_ITEMS, N_OUT, N_MODES = 4, 7, 4


# ---- XoR (D1, M1, M2) --------------------------------------------------------------------

XOR_X = np.array([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
XOR_Y = np.array([1.0, -1.0, -1.0, 1.0])


def xor_weights(seed: int, run: int, N_h: int, sigma_0: float) -> tuple[Array, Array]:
    """First layer (N_h, 2) and second layer (N_h,), every weight N(0, σ₀²/N_h)."""

    def normals(what: str, *shape: int) -> Array:
        drawn = stream(seed, run, f"xor {what}, N_h={N_h}").standard_normal(shape)
        return sigma_0 / np.sqrt(N_h) * drawn

    return normals("first layer", N_h, 2), normals("second layer", N_h)


def xor_network(N_h: int) -> tuple[Graph, Examples]:
    """The gated network of XoR: a path of two layers per example, on for it alone."""
    paths = range(len(XOR_X))
    graph = Graph(
        {"x": 2, "y": 1} | {f"h{p}": N_h // 4 for p in paths},
        {f"in{p}": ("x", f"h{p}") for p in paths}
        | {f"out{p}": (f"h{p}", "y") for p in paths},
    )
    gates = {f"h{p}": gate for p, gate in zip(paths, np.eye(len(XOR_X)), strict=True)}
    return graph, Examples({"x": XOR_X}, {"y": XOR_Y[:, None]}, gates)


# ---- the contextual task (D2) ------------------------------------------------------------


@dataclass(frozen=True)
class Contextual:
    """Report x_c of x ~ U[−1, 1]², context c = 1 or 2, by the population's correlations.

    `frames`: the input mode that every path learns, as rows, (path, 2).
    """

    graph: Graph
    of: Correlations
    frames: Array


def contextual(paths: int, hidden: int) -> Contextual:
    """With 2 paths of two layers, one per context, or with 1 that is always on."""
    graph = Graph(
        {"x": 2, "y": 1} | {f"h{p}": hidden for p in range(paths)},
        {f"in{p}": ("x", f"h{p}") for p in range(paths)}
        | {f"out{p}": (f"h{p}", "y") for p in range(paths)},
    )
    yx = np.eye(2) / 6 if paths == 2 else np.full((1, 2), 1 / 6)
    power = 1 / 6 if paths == 2 else 1 / 3  # of either input while the path is on
    of = Correlations(
        {path: yx[[p]] for p, path in enumerate(graph.paths)},
        {(path, path): power * np.eye(2) for path in graph.paths},
        yy=1 / 3,
    )
    return Contextual(graph, of, yx / np.linalg.norm(yx, axis=1, keepdims=True))


def hidden_direction(seed: int, path: int, hidden: int) -> Array:
    """A random unit vector (hidden,) for one path of the contextual task."""
    rng = stream(seed, 0, f"contextual direction of path {path}, hidden={hidden}")
    return orthogonal(rng, hidden, 1)[:, 0]


# ---- routing (D3, M3) --------------------------------------------------------------------


def routing_target() -> Array:
    """Y, (feature, item): the items form two groups of two, all with one base line."""
    group = np.array([[4, 4, 0, 0], [0, 0, 4, 4]])
    return np.concatenate([np.full((1, 4), 6), group, 3 * np.eye(4)]).astype(float)


def trained_pairs(M: int, K: int) -> Array:
    """G (input, output), 1 for trained pairs: a band of K around the diagonal, cyclic."""
    mask = np.zeros((M, M))
    for j in range(-((K - 1) // 2), K // 2 + 1):
        mask[np.arange(M), (np.arange(M) + j) % M] = 1
    return mask


@dataclass(frozen=True)
class Weights:
    """Matrices of one or many (sub-)networks of m domains; leading axes are kept.

    Attributes:
        encoders: I_0, ..., I_{m-1} side by side, (..., h, m · items).
        hidden: H, (..., h, h).
        decoders: O_0, ..., O_{m-1} one below the other, (..., m · features, h).
    """

    encoders: Array
    hidden: Array
    decoders: Array


def routing_weights(params: Routing) -> Weights:
    """Random orthogonal weights of all runs, (seed · condition, ...).

    Conditions of one seed start from the same matrices, times their σ₀.
    """
    M, h = params.M, params.h
    scales = np.array([c.sigma_0 for c in params.conditions()])[:, None, None]
    encoders, hidden, decoders = [], [], []
    for run in range(params.seeds):
        rng = stream(params.seed, run, f"routing weights, M={M}, h={h}")
        encoders += [*(scales * np.hstack([orthogonal(rng, h, N_ITEMS) for _ in range(M)]))]
        hidden += [*(scales * orthogonal(rng, h, h))]
        decoders += [*(scales * np.vstack([orthogonal(rng, N_OUT, h) for _ in range(M)]))]
    return Weights(np.stack(encoders), np.stack(hidden), np.stack(decoders))


def decoupled_weights(seed: int, network: DecoupledNetwork) -> list[Weights]:
    """Decoupled weights of every sub-network, (1, blocks, ...): see RoutingNetworks.

    I_i = b₀ R1 Vᵀ, H = b₀ R2 R1ᵀ, O_j = b₀ U R2ᵀ, where Y = U S Vᵀ, and R1, R2 are random
    orthogonal frames, others in every block.
    """
    U, _, Vt = np.linalg.svd(routing_target())
    h, found = network.h, []
    for root in network.roots:
        rng = stream(seed, 0, f"decoupled frames, M={network.M}, √P={root}, h={h}")
        blocks = []
        for _ in range((network.M // root) ** 2):
            R1, R2 = orthogonal(rng, h, h), orthogonal(rng, h, h)
            encoder, decoder = R1[:, :N_ITEMS] @ Vt, U @ R2[:, :N_OUT].T
            blocks.append((np.tile(encoder, root), R2 @ R1.T, np.tile(decoder, (root, 1))))
        stacked = [
            network.b_0 * np.stack(matrices)[None] for matrices in zip(*blocks, strict=True)
        ]
        found.append(Weights(*stacked))
    return found


def record_epochs(epochs: int, *every: int | None) -> list[int]:
    """0, e, 2e, ... for every e, and the last epoch."""
    return sorted({epochs}.union(*(range(0, epochs, e) for e in every if e)))


# ---- products that simulation and theory share -------------------------------------------

XOR_NETWORKS = ("relu", "gated", "linear")
CONTEXTUAL_PATHS = (2, 1)  # one per context, or one that is always on
SINGULAR_VALUES = {
    "sv_in": "singular values of an input matrix",
    "sv_hidden": "singular values of a hidden matrix, the largest",
    "sv_out": "singular values of an output matrix, the largest",
}


def coordinate(dim: str, values: Sequence[object] | NDArray[Any], text: str) -> xr.Variable:
    """A coordinate, whole numbers in int32."""
    array = np.asarray(values)
    return variable(dim, array.astype(np.int32) if array.dtype.kind == "i" else array, text)


def epoch_coordinate(epochs: Sequence[int]) -> dict[str, xr.Variable]:
    return {"epoch": coordinate("epoch", epochs, "epoch, full-batch steps")}


def singular_value_coordinates(epochs: Sequence[int]) -> dict[str, xr.Variable]:
    return {
        "mode": coordinate("mode", range(N_MODES), "mode of the target"),
        "sv_epoch": coordinate("sv_epoch", epochs, "epoch, of singular values"),
    }


def contextual_epochs(params: Gating) -> list[int]:
    task = params.contextual
    return np.unique(np.linspace(0, task.epochs, task.records).round().astype(int)).tolist()


def gating_coordinates(params: Gating) -> dict[str, xr.Variable]:
    epochs = record_epochs(params.xor.epochs, params.xor.record_every)
    return epoch_coordinate(epochs) | {
        "network": coordinate("network", XOR_NETWORKS, "units or gates of the network"),
        "paths": coordinate("paths", CONTEXTUAL_PATHS, "a path per context, or one"),
        "contextual_epoch": coordinate(
            "contextual_epoch", contextual_epochs(params), "epoch on the contextual task"
        ),
    }


def condition_coordinates(seeds: int, M: int, K: Sequence[int]) -> dict[str, xr.Variable]:
    """Of runs that differ in K, among other things."""
    return {
        "seed": coordinate("seed", range(seeds), "index of the run's random streams"),
        "condition": coordinate("condition", range(len(K)), "index of the condition"),
        "fraction": coordinate("condition", [k / M for k in K], "trained pairs, K/M"),
    }


def decoupled_product(
    params: Decoupled, loss: Array, singular_values: Mapping[str, Sequence[Array]]
) -> xr.Dataset:
    """The product of decoupled networks, simulated or predicted.

    Args:
        params: what was run.
        loss: (network, epoch).
        singular_values: by name, (sub_network, mode, sv_epoch) of every network.
    """
    every = params.record_every, params.singular_values_every
    epochs, sv_epochs = (record_epochs(params.epochs, e) for e in every)
    subs = [f"{n.name}, √P={root}" for n in params.networks for root in n.roots]
    dims = ("sub_network", "mode", "sv_epoch")
    return xr.Dataset(
        {"loss": variable(("network", "epoch"), loss, "loss")}
        | {
            name: variable(dims, np.concatenate(singular_values[name]), text)
            for name, text in SINGULAR_VALUES.items()
        },
        epoch_coordinate(epochs)
        | singular_value_coordinates(sv_epochs)
        | {
            "network": coordinate("network", [n.name for n in params.networks], "network"),
            "sub_network": coordinate("sub_network", subs, "network and sub-network"),
        },
    )


# ---- reading products --------------------------------------------------------------------


def crossing_epoch(loss: xr.DataArray, level: float) -> xr.DataArray:
    """When a falling loss first passes a level, between epochs; the last epoch if never."""
    epochs = loss["epoch"].values
    values = loss.transpose(..., "epoch").values
    below = values <= level
    after = np.where(below.any(-1), below.argmax(-1), len(epochs) - 1)
    after = np.maximum(after, 1)
    before = after - 1
    high, low = (
        np.take_along_axis(values, i[..., None], -1)[..., 0] for i in (before, after)
    )
    part = np.clip((high - level) / np.maximum(high - low, 1e-300), 0, 1)
    found = epochs[before] + part * (epochs[after] - epochs[before])
    result: xr.DataArray = loss.isel(epoch=0, drop=True).copy(data=found)
    return result


def untrained(product: xr.Dataset, name: str) -> xr.DataArray:
    """A mean over untrained pairs, NaN where all pairs are trained.

    Products hold no NaN, so such means are stored as −1, at fraction 1.
    """
    values: xr.DataArray = product[f"untrained_{name}"].where(product["fraction"] < 1)
    return values


def by(coordinate: str, values: xr.DataArray) -> xr.DataArray:
    """The conditions of a product along one of their coordinates."""
    return values.swap_dims(condition=coordinate).drop_vars("condition")
