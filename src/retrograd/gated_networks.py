"""Gated deep linear networks: a graph of linear layers, gates, and the paths between.

A directed acyclic graph of nodes v, with |v| units, and edges e, with matrices W_e of
shape |t(e)| × |s(e)|, where s(e) and t(e) are the nodes that e leaves and enters. Nodes
and edges carry gates g, 0 or 1, that come with each example and are never trained:

    h_v = g_v Σ_{e: t(e) = v} g_e W_e h_{s(e)},    h_v = g_v x_v at the inputs,
    L = ⟨½ Σ_{v output} |y_v − h_v|²⟩.

A path p goes from an input to an output; W_p is the product of its matrices and g_p that
of all its gates. Gradient descent sees the gates only through correlations per path (T1
and T2 of the project's specification, after Saxe, Sodhani & Lewallen 2022). Matrices act
from the left and may have leading axes: those of an ensemble.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property, reduce
from graphlib import CycleError, TopologicalSorter

import numpy as np
from numpy.typing import NDArray

from retrograd.errors import RetrogradError, check_known

Array = NDArray[np.float64]
Path = tuple[str, ...]  # names of edges, from an input to an output
Weights = Mapping[str, Array]  # by edge: (..., |t(e)|, |s(e)|)


@dataclass(frozen=True)
class Graph:
    """Nodes with their numbers of units, and named edges (source, target).

    Inputs are the nodes that no edge enters, outputs those that no edge leaves. Two edges
    may join the same nodes.
    """

    sizes: Mapping[str, int]
    edges: Mapping[str, tuple[str, str]]

    def __post_init__(self) -> None:
        for name, ends in self.edges.items():
            for node in ends:
                check_known(f"edge '{name}'", node, self.sizes, "node")
        for name in sorted(set(self.sizes) & set(self.edges)):
            raise RetrogradError(f"'{name}' names a node and an edge; a gate needs one")
        for name in sorted(set(self.sizes) - {n for e in self.edges.values() for n in e}):
            raise RetrogradError(f"node '{name}' has no edge; remove it or join it")
        try:
            _ = self.order
        except CycleError as error:
            circle = " -> ".join(reversed(error.args[1]))
            raise RetrogradError(f"the edges form a circle: {circle}") from error

    @cached_property
    def order(self) -> tuple[str, ...]:
        """All nodes, every one after those that feed it."""
        feeds: dict[str, list[str]] = {node: [] for node in self.sizes}
        for source, target in self.edges.values():
            feeds[target].append(source)
        return tuple(TopologicalSorter(feeds).static_order())

    @cached_property
    def inputs(self) -> tuple[str, ...]:
        entered = {target for _, target in self.edges.values()}
        return tuple(node for node in self.sizes if node not in entered)

    @cached_property
    def outputs(self) -> tuple[str, ...]:
        left = {source for source, _ in self.edges.values()}
        return tuple(node for node in self.sizes if node not in left)

    @cached_property
    def paths(self) -> tuple[Path, ...]:
        """All paths from an input to an output."""
        return tuple(p for node in self.inputs for p in self._from(node, ()))

    def _from(self, node: str, before: Path) -> Iterator[Path]:
        if node in self.outputs:
            yield before
        for name, (source, target) in self.edges.items():
            if source == node:
                yield from self._from(target, (*before, name))

    def through(self, edge: str) -> tuple[Path, ...]:
        """P(e): the paths that use an edge."""
        return tuple(p for p in self.paths if edge in p)

    def ending(self, node: str) -> tuple[Path, ...]:
        """T(v): the paths that end in an output."""
        return tuple(p for p in self.paths if self.target(p) == node)

    def source(self, path: Path) -> str:
        return self.edges[path[0]][0]

    def target(self, path: Path) -> str:
        return self.edges[path[-1]][1]

    def along(self, path: Path) -> tuple[str, ...]:
        """Names of all nodes and edges of a path: what its gate is the product of."""
        return (self.source(path), *(n for e in path for n in (e, self.edges[e][1])))


# ---- examples --------------------------------------------------------------------------


@dataclass(frozen=True)
class Examples:
    """A data set with its gates.

    Attributes:
        x: by input, (example, unit).
        y: by output, (example, unit).
        gates: by node or edge, (example,); whatever is absent is always on.
        share: weight of every example in means, (example,), of sum 1; equal if absent.
    """

    x: Mapping[str, Array]
    y: Mapping[str, Array]
    gates: Mapping[str, Array] = field(default_factory=dict)
    share: Array | None = None

    def __len__(self) -> int:
        return len(next(iter(self.x.values())))

    def gate(self, names: Iterable[str]) -> Array:
        """Product of the gates of some nodes and edges, (example,)."""
        on = np.ones(len(self))
        return reduce(np.multiply, (self.gates.get(name, on) for name in names), on)

    def mean(self, values: Array) -> Array:
        """Mean over the examples, the last axis."""
        share = np.full(len(self), 1 / len(self)) if self.share is None else self.share
        mean: Array = (values * share).sum(-1)
        return mean


def forward(graph: Graph, W: Weights, examples: Examples) -> dict[str, Array]:
    """Activity of every node, (..., example, unit)."""
    for name in examples.gates:
        check_known("gates", name, [*graph.sizes, *graph.edges], "node or edge")
    h: dict[str, Array] = {}
    for node in graph.order:
        if node in graph.inputs:
            total = examples.x[node]
        else:
            total = sum(
                (
                    examples.gate([name])[:, None] * (h[source] @ _transposed(W[name]))
                    for name, (source, target) in graph.edges.items()
                    if target == node
                ),
                start=np.zeros(()),
            )
        h[node] = examples.gate([node])[:, None] * total
    return h


def loss(graph: Graph, W: Weights, examples: Examples) -> Array:
    """L by the forward pass, (...)."""
    h = forward(graph, W, examples)
    squares = [((examples.y[v] - h[v]) ** 2).sum(-1) for v in graph.outputs]
    return 0.5 * examples.mean(sum(squares[1:], start=squares[0]))


# ---- the path form of gradient descent (T1) ----------------------------------------------


@dataclass(frozen=True)
class Correlations:
    """All that gradient descent sees of the examples, by path.

    Attributes:
        yx: Σ_yx(p) = ⟨g_p y_t(p) x_s(p)ᵀ⟩.
        xx: Σ_x(j, p) = ⟨g_j x_s(j) x_s(p)ᵀ g_p⟩ of paths j, p that end in the same
            output; absent where it is zero.
        yy: ⟨Σ_v |y_v|²⟩.
    """

    yx: Mapping[Path, Array]
    xx: Mapping[tuple[Path, Path], Array]
    yy: float


def correlations(graph: Graph, examples: Examples) -> Correlations:
    """The correlations of a data set with its gates."""

    def gated(path: Path) -> Array:
        gate = examples.gate(graph.along(path))
        return gate[:, None] * examples.x[graph.source(path)]

    def mean_outer(a: Array, b: Array) -> Array:
        return examples.mean(np.einsum("ni,nj->ijn", a, b))

    y = examples.y
    yx = {p: mean_outer(y[graph.target(p)], gated(p)) for p in graph.paths}
    xx = {
        (j, p): mean_outer(gated(j), gated(p))
        for p in graph.paths
        for j in graph.ending(graph.target(p))
    }
    yy = sum(float(examples.mean((y[v] ** 2).sum(-1))) for v in graph.outputs)
    return Correlations(yx, {jp: values for jp, values in xx.items() if values.any()}, yy)


def path_maps(graph: Graph, W: Weights) -> dict[Path, Array]:
    """W_p of every path, (..., |t(p)|, |s(p)|)."""
    return {p: reduce(lambda map, e: W[e] @ map, p[1:], W[p[0]]) for p in graph.paths}


def descent(graph: Graph, W: Weights, of: Correlations) -> dict[str, Array]:
    """−∂L/∂W_e of every edge by its paths, which is τ dW_e/dt (spec T1).

    Σ_{p through e} W_t̄ᵀ E(p) W_s̄ᵀ, where t̄ and s̄ are the parts of p after and before e,
    and E(p) = Σ_yx(p) − Σ_{j ending where p does} W_j Σ_x(j, p).
    """
    maps = path_maps(graph, W)
    errors = dict(of.yx)
    for (j, p), xx in of.xx.items():
        errors[p] = errors[p] - maps[j] @ xx
    found: dict[str, Array] = {name: np.zeros(matrix.shape) for name, matrix in W.items()}
    for p, after in errors.items():
        before: list[Array] = []  # the map of the part of p before each of its edges
        for edge in p[:-1]:
            before.append(W[edge] @ before[-1] if before else W[edge])
        for i in reversed(range(len(p))):
            found[p[i]] += after @ _transposed(before[i - 1]) if i else after
            after = _transposed(W[p[i]]) @ after
    return found


def path_loss(graph: Graph, W: Weights, of: Correlations) -> Array:
    """L by the correlations, (...)."""
    maps = path_maps(graph, W)
    total = np.asarray(of.yy)
    for p, yx in of.yx.items():
        total = total - 2 * (maps[p] * yx).sum((-1, -2))
    for (j, p), xx in of.xx.items():
        total = total + ((maps[j] @ xx) * maps[p]).sum((-1, -2))
    return 0.5 * total


def _transposed(matrix: Array) -> Array:
    return np.swapaxes(matrix, -1, -2)


# ---- the exact reduction to singular values (T2) -----------------------------------------


@dataclass(frozen=True)
class Modes:
    """Correlations that are diagonal in common frames.

    Attributes:
        frames: orthonormal columns R_v by input and output, (|v|, mode), such that
            Σ_yx(p) = R_t(p) S(p) R_s(p)ᵀ and R_s(j)ᵀ Σ_x(j, p) = D(j, p) R_s(p)ᵀ.
        S: by path, (mode,).
        D: by pair of paths, (mode,); absent where it is zero.
        yy: as of the correlations.
    """

    frames: Mapping[str, Array]
    S: Mapping[Path, Array]
    D: Mapping[tuple[Path, Path], Array]
    yy: float


def modes(graph: Graph, of: Correlations, frames: Mapping[str, Array]) -> Modes:
    """Read the correlations in the frames of the inputs and outputs.

    Raises:
        RetrogradError: they are not diagonal there, so that the modes do not decouple.
    """

    def diagonal(left: Array, matrix: Array, right: Array) -> Array:
        values: Array = np.einsum("oa,oi,ia->a", left, matrix, right)
        return values

    def check(what: str, rest: Array, scale: Array) -> None:
        off = abs(rest).max()
        if off > 1e-10 * max(1.0, abs(scale).max()):
            raise RetrogradError(
                f"the {what} is not diagonal in the frames given, off by {off:.2g}: the "
                "reduction to singular values does not hold for these data and gates"
            )

    S, D = {}, {}
    for p, yx in of.yx.items():
        left, right = frames[graph.target(p)], frames[graph.source(p)]
        S[p] = diagonal(left, yx, right)
        what = f"input-output correlation of path {' > '.join(p)}"
        check(what, yx - left * S[p] @ right.T, yx)
    for (j, p), xx in of.xx.items():
        left, right = frames[graph.source(j)], frames[graph.source(p)]
        D[j, p] = diagonal(left, xx, right)
        what = f"input correlation of paths {' > '.join(j)} and {' > '.join(p)}"
        check(what, left.T @ xx - D[j, p][:, None] * right.T, xx)
    return Modes(frames, S, D, of.yy)


def decoupled(
    graph: Graph, B: Mapping[str, Array], frames: Mapping[str, Array]
) -> dict[str, Array]:
    """W_e = R_t(e) diag(B_e) R_s(e)ᵀ of every edge.

    Args:
        graph: the network.
        B: singular values by edge, (..., mode).
        frames: orthonormal columns R_v by node, (|v|, mode).
    """
    return {
        name: (frames[target] * B[name][..., None, :]) @ frames[source].T
        for name, (source, target) in graph.edges.items()
    }


def reduced_descent(B: Mapping[str, Array], of: Modes) -> dict[str, Array]:
    """τ dB_e/dt of decoupled weights (spec T2), (..., mode).

    Σ_{p through e} B_{p∖e} [S(p) − Σ_j B_j D(j, p)], with B_{p∖e} the product of the
    singular values on p without e.
    """
    products = {p: reduce(np.multiply, (B[e] for e in p)) for p in of.S}
    errors = dict(of.S)
    for (j, p), D in of.D.items():
        errors[p] = errors[p] - products[j] * D
    found: dict[str, Array] = {name: np.zeros(values.shape) for name, values in B.items()}
    for p, error in errors.items():
        for edge in p:
            others = (B[e] for e in p if e != edge)
            found[edge] += reduce(np.multiply, others, error)
    return found
