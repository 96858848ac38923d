"""Gated deep linear networks: paths, gates, the path form of descent, the reduction."""

from collections.abc import Mapping
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from retrograd import gated_networks as gdln
from retrograd.errors import RetrogradError
from retrograd.gated_networks import Array, Examples, Graph
from retrograd.linear_networks import orthogonal
from retrograd.randomness import stream

SEEDS = st.integers(0, 2**32 - 1)
few = settings(max_examples=20, deadline=None)

# Six nodes, two inputs, two outputs; c, f and i skip a layer.
SKIPPING = Graph(
    sizes={"x": 3, "z": 2, "h": 4, "k": 5, "y": 2, "w": 3},
    edges={
        "a": ("x", "h"),
        "b": ("z", "h"),
        "c": ("x", "k"),
        "d": ("h", "k"),
        "e": ("k", "y"),
        "f": ("h", "y"),
        "g": ("k", "w"),
        "i": ("z", "w"),
    },
)


def random_graph(rng: np.random.Generator) -> Graph:
    """Six nodes in a line of edges, with every skip edge there or not."""
    names = [f"v{i}" for i in range(6)]
    edges = {
        f"{s}-{t}": (names[s], names[t])
        for s, t in product(range(6), range(6))
        if s < t and (t == s + 1 or rng.random() < 0.5)
    }
    return Graph({name: int(rng.integers(1, 5)) for name in names}, edges)


def random_examples(rng: np.random.Generator, graph: Graph, count: int = 7) -> Examples:
    """Normal inputs and targets, a gate on every node and edge, uneven shares."""
    return Examples(
        {v: rng.standard_normal((count, graph.sizes[v])) for v in graph.inputs},
        {v: rng.standard_normal((count, graph.sizes[v])) for v in graph.outputs},
        {
            name: rng.integers(0, 2, count).astype(float)
            for name in (*graph.sizes, *graph.edges)
            if rng.random() < 0.7
        },
        rng.dirichlet(np.ones(count)),
    )


def random_weights(
    rng: np.random.Generator, graph: Graph, lead: tuple[int, ...] = ()
) -> dict[str, Array]:
    return {
        name: rng.standard_normal((*lead, graph.sizes[t], graph.sizes[s]))
        for name, (s, t) in graph.edges.items()
    }


def autograd(graph: Graph, W: Mapping[str, Array], examples: Examples) -> dict[str, Array]:
    """−∂L/∂W of the forward pass written example by example."""
    tensors = {name: torch.tensor(w, requires_grad=True) for name, w in W.items()}
    share = np.full(len(examples), 1 / len(examples))
    share = share if examples.share is None else examples.share
    total = torch.zeros((), dtype=torch.float64)

    def gate(name: str, n: int) -> float:
        return float(examples.gates[name][n]) if name in examples.gates else 1.0

    for n in range(len(examples)):
        h = {v: gate(v, n) * torch.tensor(examples.x[v][n]) for v in graph.inputs}
        for node in graph.order:
            if node not in h:
                fed = torch.zeros(graph.sizes[node], dtype=torch.float64)
                for name, (s, t) in graph.edges.items():
                    if t == node:
                        fed = fed + gate(name, n) * (tensors[name] @ h[s])
                h[node] = gate(node, n) * fed
        for v in graph.outputs:
            miss = torch.tensor(examples.y[v][n]) - h[v]
            total = total + 0.5 * share[n] * (miss**2).sum()
    total.backward()
    return {
        name: np.zeros(W[name].shape) if w.grad is None else -w.grad.numpy()
        for name, w in tensors.items()
    }


# ---- the graph -------------------------------------------------------------------------


def test_paths_are_all_the_ways_from_inputs_to_outputs() -> None:
    assert (SKIPPING.inputs, SKIPPING.outputs) == (("x", "z"), ("y", "w"))
    assert set(map("".join, SKIPPING.paths)) == {
        *("ade", "adg", "af", "ce", "cg", "bde", "bdg", "bf", "i"),
    }
    assert set(map("".join, SKIPPING.through("d"))) == {"ade", "adg", "bde", "bdg"}
    assert set(map("".join, SKIPPING.ending("w"))) == {"adg", "cg", "bdg", "i"}
    assert SKIPPING.along(("c", "g")) == ("x", "c", "k", "g", "w")


def test_parallel_edges_are_paths_of_their_own() -> None:
    graph = Graph({"x": 2, "y": 1}, {"a": ("x", "y"), "b": ("x", "y")})
    assert graph.paths == (("a",), ("b",))


@pytest.mark.parametrize(
    ("sizes", "edges", "message"),
    [
        ({"x": 1, "y": 1}, {"a": ("x", "z")}, "edge 'a': unknown node 'z'"),
        ({"x": 1, "y": 1}, {"x": ("x", "y")}, "names a node and an edge"),
        ({"x": 1, "y": 1, "z": 1}, {"a": ("x", "y")}, "node 'z' has no edge"),
        ({"x": 1, "y": 1}, {"a": ("x", "y"), "b": ("y", "x")}, "form a circle: "),
    ],
)
def test_graphs_that_make_no_sense_are_refused(
    sizes: dict[str, int], edges: dict[str, tuple[str, str]], message: str
) -> None:
    with pytest.raises(RetrogradError, match=message):
        Graph(sizes, edges)


def test_a_gate_of_something_unknown_is_refused() -> None:
    graph = Graph({"x": 1, "y": 1}, {"a": ("x", "y")})
    one = np.ones((1, 1))
    examples = Examples({"x": one}, {"y": one}, {"b": np.ones(1)})
    with pytest.raises(RetrogradError, match="gates: unknown node or edge 'b'"):
        gdln.forward(graph, {"a": one}, examples)


# ---- the path form -----------------------------------------------------------------------


@few
@given(seed=SEEDS)
def test_the_path_form_of_descent_is_autograd_on_random_graphs(seed: int) -> None:
    # "Pitfalls", general graph: max abs difference < 1e-12 of the largest entry.
    rng = np.random.default_rng(seed)
    graph = random_graph(rng)
    W, examples = random_weights(rng, graph), random_examples(rng, graph)
    found = gdln.descent(graph, W, gdln.correlations(graph, examples))
    expected = autograd(graph, W, examples)
    scale = max(1.0, *(abs(e).max() for e in expected.values()))
    for name, by_hand in expected.items():
        np.testing.assert_allclose(found[name], by_hand, rtol=0, atol=1e-12 * scale)


def test_the_path_form_of_descent_is_autograd_with_two_inputs_and_outputs() -> None:
    rng = np.random.default_rng(0)
    W = random_weights(rng, SKIPPING)
    examples = random_examples(rng, SKIPPING)
    found = gdln.descent(SKIPPING, W, gdln.correlations(SKIPPING, examples))
    for name, by_hand in autograd(SKIPPING, W, examples).items():
        assert abs(by_hand).max() > 0.01
        np.testing.assert_allclose(found[name], by_hand, rtol=0, atol=1e-12)


@few
@given(seed=SEEDS)
def test_the_loss_by_correlations_is_that_of_the_forward_pass(seed: int) -> None:
    rng = np.random.default_rng(seed)
    graph = random_graph(rng)
    W, examples = random_weights(rng, graph, (2, 3)), random_examples(rng, graph)
    forward = gdln.loss(graph, W, examples)
    by_path = gdln.path_loss(graph, W, gdln.correlations(graph, examples))
    assert forward.shape == (2, 3)
    np.testing.assert_allclose(by_path, forward, rtol=1e-9)


@few
@given(seed=SEEDS)
def test_members_of_an_ensemble_do_not_see_each_other(seed: int) -> None:
    rng = np.random.default_rng(seed)
    graph = random_graph(rng)
    of = gdln.correlations(graph, random_examples(rng, graph))
    W = random_weights(rng, graph, (3,))
    together = gdln.descent(graph, W, of)
    for member in range(3):
        alone = gdln.descent(graph, {n: w[member] for n, w in W.items()}, of)
        for name, values in alone.items():
            np.testing.assert_allclose(together[name][member], values, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("closed", ["d", "k"])
def test_a_closed_gate_removes_edge_or_node_forward_and_in_the_gradient(
    closed: str,
) -> None:
    rng = np.random.default_rng(1)
    W, drawn = random_weights(rng, SKIPPING), random_examples(rng, SKIPPING)
    examples = Examples(drawn.x, drawn.y, {closed: np.zeros(len(drawn))})
    gone = {closed} if closed == "d" else {"c", "d", "e", "g"}
    kept = {n: ends for n, ends in SKIPPING.edges.items() if n not in gone}
    nodes = {v for ends in kept.values() for v in ends}
    smaller = Graph({v: n for v, n in SKIPPING.sizes.items() if v in nodes}, kept)
    without = Examples(drawn.x, drawn.y)
    np.testing.assert_allclose(
        gdln.loss(SKIPPING, W, examples), gdln.loss(smaller, W, without), rtol=1e-14
    )
    found = gdln.descent(SKIPPING, W, gdln.correlations(SKIPPING, examples))
    expected = gdln.descent(smaller, W, gdln.correlations(smaller, without))
    for name in SKIPPING.edges:
        if name in kept:
            np.testing.assert_allclose(found[name], expected[name], rtol=1e-12)
        else:
            assert (found[name] == 0).all()


# ---- the reduction -----------------------------------------------------------------------


def shared_hidden(rng: np.random.Generator) -> tuple[Graph, Examples, dict[str, Array]]:
    """Two inputs, one hidden layer that both share, two outputs; one pair is never on."""
    graph = Graph(
        {"x0": 4, "x1": 4, "h": 6, "k": 5, "y0": 3, "y1": 3},
        {
            "i0": ("x0", "h"),
            "i1": ("x1", "h"),
            "m": ("h", "k"),
            "o0": ("k", "y0"),
            "o1": ("k", "y1"),
        },
    )
    U, V = orthogonal(rng, 3, 3), orthogonal(rng, 4, 4)
    target = U @ np.diag([3.0, 2.0, 1.0]) @ V[:, :3].T
    pairs = [(0, 0), (1, 0), (1, 1)]
    x, y, gates = {}, {}, {}
    for d in (0, 1):
        gate_in, gate_out = (
            np.repeat([float(pair[side] == d) for pair in pairs], 4) for side in (0, 1)
        )
        gates |= {f"i{d}": gate_in, f"o{d}": gate_out}
        x[f"x{d}"] = np.tile(np.eye(4), (3, 1))
        y[f"y{d}"] = gate_out[:, None] * np.tile(target.T, (3, 1))
    frames = {"x0": V[:, :3], "x1": V[:, :3], "y0": U, "y1": U}
    frames |= {"h": orthogonal(rng, 6, 3), "k": orthogonal(rng, 5, 3)}
    return graph, Examples(x, y, gates), frames


@few
@given(seed=SEEDS)
def test_decoupled_weights_stay_decoupled_and_follow_the_reduced_flow(seed: int) -> None:
    rng = np.random.default_rng(seed)
    graph, examples, frames = shared_hidden(rng)
    of = gdln.correlations(graph, examples)
    reduced = gdln.modes(graph, of, frames)
    B = {name: rng.uniform(0.1, 1, (2, 3)) for name in graph.edges}
    for _ in range(5):
        W = gdln.decoupled(graph, B, frames)
        full = gdln.descent(graph, W, of)
        small = gdln.reduced_descent(B, reduced)
        expected = gdln.decoupled(graph, small, frames)
        for name in graph.edges:
            np.testing.assert_allclose(full[name], expected[name], rtol=0, atol=1e-12)
        B = {name: B[name] + 0.1 * small[name] for name in B}


def test_an_edge_on_many_paths_moves_faster() -> None:
    # Pathway counting: all paths alike, the hidden edge lies on three, i1 on two.
    graph, examples, frames = shared_hidden(stream(0, 0, "counting"))
    reduced = gdln.modes(graph, gdln.correlations(graph, examples), frames)
    B = {name: np.full(3, 0.1) for name in graph.edges}
    flow = gdln.reduced_descent(B, reduced)
    for edge, count in (("m", 3), ("i1", 2), ("o0", 2), ("i0", 1)):
        np.testing.assert_allclose(flow[edge], count * flow["o1"])


def test_correlations_that_do_not_decouple_are_refused() -> None:
    graph, examples, frames = shared_hidden(stream(0, 0, "refused"))
    of = gdln.correlations(graph, examples)
    turned = frames | {"x0": orthogonal(stream(0, 1, "turn"), 4, 3)}
    with pytest.raises(RetrogradError, match="path i0 > m > o0 is not diagonal"):
        gdln.modes(graph, of, turned)


def test_an_orthonormal_frame_gives_its_singular_values_to_the_weights() -> None:
    graph, _, frames = shared_hidden(stream(0, 0, "frames"))
    B = {name: np.array([3.0, 2.0, 1.0]) for name in graph.edges}
    for matrix in gdln.decoupled(graph, B, frames).values():
        np.testing.assert_allclose(np.linalg.svd(matrix)[1][:3], [3, 2, 1])
