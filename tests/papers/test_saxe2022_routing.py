"""Saxe et al. 2022: routing networks, their reduction, sharing and the race."""

from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy.integrate import solve_ivp

from retrograd import gated_networks as gdln
from retrograd.errors import RetrogradError
from retrograd.linear_networks import orthogonal
from retrograd.papers.saxe2022_neural_race import data, reduction, theory, train
from retrograd.papers.saxe2022_neural_race.params import (
    Decoupled,
    Routing,
    Sharing,
    SmallSteps,
)
from retrograd.papers.saxe2022_neural_race.reduction import Course, SubNetwork
from retrograd.papers.saxe2022_neural_race.routing_networks import RoutingNetworks
from saxe2022_setup import CPU, decoupled, network, routed, routing

FIG4: dict[str, Any] = {"M": 7, "K": [4], "h": 64, "epochs": 500, "seeds": 2}


# ---- the task ----------------------------------------------------------------------------


def test_the_target_has_the_singular_values_of_the_specification() -> None:
    s = reduction.target_modes()
    np.testing.assert_allclose(s, [13.601471, 6.403124, 3, 3], atol=1e-6)
    assert (s**2).sum() == pytest.approx(244)
    assert data.routing_target().shape == (data.N_OUT, data.N_ITEMS)


@given(M=st.integers(1, 12), part=st.floats(0, 1))
def test_every_domain_is_trained_with_k_others_in_a_band(M: int, part: float) -> None:
    # "Pitfalls": rows are inputs; the band lies about the diagonal.
    K = 1 + round(part * (M - 1))
    mask = data.trained_pairs(M, K)
    assert (mask.sum(0) == K).all()
    assert (mask.sum(1) == K).all()
    np.testing.assert_array_equal(np.roll(mask, (1, 1), (0, 1)), mask)
    assert np.diagonal(mask).all()


def test_the_band_reaches_further_above_the_diagonal_for_even_k() -> None:
    assert np.flatnonzero(data.trained_pairs(7, 4)[3]).tolist() == [2, 3, 4, 5]
    assert np.flatnonzero(data.trained_pairs(7, 3)[3]).tolist() == [2, 3, 4]


def test_random_weights_have_all_singular_values_sigma_0() -> None:
    params = routing(sigma_0=[0.2, 1.5], seeds=3)
    drawn = data.routing_weights(params)
    scales = np.tile([0.2, 1.5], 3)
    for i in range(params.M):
        encoder = drawn.encoders[:, :, i * data.N_ITEMS : (i + 1) * data.N_ITEMS]
        decoder = drawn.decoders[:, i * data.N_OUT : (i + 1) * data.N_OUT]
        for matrix in (encoder, drawn.hidden, decoder):
            found = np.linalg.svd(matrix, compute_uv=False)
            np.testing.assert_allclose(found, scales[:, None] * np.ones(found.shape[1]))
    # Conditions of a seed share the directions.
    np.testing.assert_allclose(drawn.hidden[1], 7.5 * drawn.hidden[0])
    assert abs(drawn.hidden[2] - drawn.hidden[0]).max() > 0.01


# ---- training (M3) -----------------------------------------------------------------------


def loop_over_pairs(params: Routing, run: int) -> tuple[list[float], torch.Tensor]:
    """One run by autograd, pair by pair as in "Model and training"; losses and outputs."""
    condition = params.conditions()[run % len(params.conditions())]
    drawn = data.routing_weights(params)
    M, n, o = params.M, data.N_ITEMS, data.N_OUT
    encoders = [torch.tensor(drawn.encoders[run, :, i * n : (i + 1) * n]) for i in range(M)]
    decoders = [torch.tensor(drawn.decoders[run, j * o : (j + 1) * o]) for j in range(M)]
    weights = [*encoders, torch.tensor(drawn.hidden[run]), *decoders]
    for w in weights:
        w.requires_grad_()
    Y = torch.tensor(data.routing_target())
    losses = []
    for _ in range(params.epochs):
        loss = torch.zeros((), dtype=torch.float64)
        for i, j in np.argwhere(data.trained_pairs(M, condition.K)):
            outputs = weights[M + 1 + j] @ weights[M] @ weights[i]
            loss = loss + ((Y - outputs) ** 2).mean()
        losses.append(loss.item())
        slopes = torch.autograd.grad(loss, weights)
        with torch.no_grad():
            for w, slope in zip(weights, slopes, strict=True):
                w -= condition.lr * slope
    pairs = [
        [weights[M + 1 + j] @ weights[M] @ weights[i] for j in range(M)] for i in range(M)
    ]
    return losses, torch.stack([torch.stack(row) for row in pairs]).detach()


def test_batched_training_is_the_loop_over_pairs_by_autograd() -> None:
    params = routing(K=[1, 3], sigma_0=[0.3, 1.0], lr_per="K", epochs=40, record_every=1)
    found = train.routing(params, {}, CPU)
    for run in (0, 3, 6):
        losses, outputs = loop_over_pairs(params, run)
        seed, condition = divmod(run, 4)
        of_run = found.isel(seed=seed, condition=condition)
        np.testing.assert_allclose(of_run["loss"][:-1], losses, rtol=1e-6)
        errors = 0.5 * ((outputs.numpy() - data.routing_target()) ** 2).sum((-1, -2))
        mask = data.trained_pairs(params.M, params.conditions()[condition].K) == 1
        assert of_run["trained_error"] == pytest.approx(errors[mask].mean(), rel=1e-10)
        assert of_run["untrained_error"] == pytest.approx(errors[~mask].mean(), rel=1e-10)


def test_a_seed_gives_the_same_bits_alone_and_in_a_batch() -> None:
    changes = {"singular_values_every": 20, "portraits": [0.2]}
    alone, batch = (routed(seeds=seeds, **changes) for seeds in (1, 3))
    xr.testing.assert_identical(alone, batch.isel(seed=[0]))
    assert len(np.unique(batch["loss"].isel(epoch=-1))) == 3


def test_losses_and_errors_have_the_normalisation_of_the_paper() -> None:
    # "Pitfalls": L(0) = 244.0 for tiny weights at M = 7, K = 4; zero output errs by 122.
    run = routed(**FIG4 | {"sigma_0": [1e-6], "epochs": 1, "record_every": 1})
    np.testing.assert_allclose(run["loss"], 244, rtol=1e-6)
    np.testing.assert_allclose(run["trained_error"], 122, rtol=1e-6)
    np.testing.assert_allclose(run["untrained_error"], 122, rtol=1e-6)


def test_dividing_the_rate_by_k_makes_the_speed_independent_of_k() -> None:
    # "Pitfalls", lr/K: half-loss epochs at M = 10 for K = 4 and 10 agree within 15 %.
    changes = {"M": 10, "K": [4, 10], "h": 64, "lr": 0.05, "epochs": 250, "seeds": 3}
    half = routed(**changes, lr_per="K")["half_loss_epoch"].mean("seed")
    assert float(half[0] / half[1]) == pytest.approx(1, abs=0.15)
    undivided = routed(**changes | {"lr": 0.0125})["half_loss_epoch"].mean("seed")
    assert undivided[0] / undivided[1] > 2


def test_the_mean_over_no_untrained_pairs_is_nan_when_read() -> None:
    # "Pitfalls": for K = M. The product itself holds −1, since products hold no NaN.
    run = routed(K=[2, 4], epochs=2)
    assert (run["untrained_error"].isel(condition=1) == -1).all()
    error = data.untrained(run, "error")
    assert np.isnan(error.isel(condition=1)).all()
    assert (error.isel(condition=0) > 0).all()


def test_hidden_values_exceed_those_of_inputs_by_root_m_only_if_shared() -> None:
    # "Pitfalls": K = 1 ratio < 2.3 < K = 4 ratio, at M = 7.
    changes = {"K": [1, 4], "lr": 0.05, "lr_per": "K", "singular_values_every": 500}
    run = routed(**FIG4 | changes)
    end = run.isel(mode=0, sv_epoch=-1)
    ratio = (end["sv_hidden"] / end["sv_in"]).mean("seed")
    assert ratio[0] < 2.3 < ratio[1]


def test_the_share_index_is_one_for_equal_domains_and_zero_for_orthogonal_ones() -> None:
    G = np.random.default_rng(0).standard_normal((4, 4))
    same = np.broadcast_to(G[None, :, None, :], (3, 4, 3, 4))
    assert train.share_index(same) == pytest.approx(1)
    apart = np.einsum("ik,ab->iakb", np.eye(3), G)
    assert train.share_index(apart) == pytest.approx(0)
    assert train.share_index(apart[:1, :, :1]) == 0  # one domain shares with no other


def test_portraits_show_what_the_first_seed_does() -> None:
    params = routing(sigma_0=[0.2, 1.0], portraits=[1.0], epochs=30)
    run = train.routing(params, {}, CPU)
    _, outputs = loop_over_pairs(params, run=1)
    shown = run["prediction"].isel(portrait=0).values
    expected = outputs.permute(1, 2, 0, 3).reshape(shown.shape).numpy()
    assert abs(shown - expected).max() <= 1 / 32 + 1e-6
    assert run["portrait"].values.tolist() == [1.0]
    np.testing.assert_array_equal(run["mask"], data.trained_pairs(4, 2))
    gram = run["gram"].isel(portrait=0).values
    np.testing.assert_array_equal(gram, gram.T)


def test_marks_of_the_course_of_a_loss() -> None:
    losses = np.array([[8.0, 7, 3, 2], [8, 8, 8, 8]])
    assert train.half_loss_epoch(losses).tolist() == [2, -1]
    assert train.steepest_epoch(losses)[0] == 1


def test_a_run_that_diverges_is_named() -> None:
    with pytest.raises(RetrogradError, match="diverged: condition 'K=2, σ₀=2', seed 0"):
        routed(sigma_0=[0.2, 2.0], lr=5, epochs=40)


# ---- the reduction (T2, T5, T6) ----------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {"M": 7, "K": 4, "roots": [7], "b_0": 0.08},
        {"roots": [1], "b_0": 0.5},
        {"roots": [2]},
        {"roots": [4]},
        {"roots": [1, 2, 4]},
        {"M": 6, "K": 6, "roots": [2, 3]},
    ],
)
def test_decoupled_weights_follow_the_reduced_map_exactly(changes: dict[str, Any]) -> None:
    full, reduced = decoupled(changes)
    assert reduced["loss"][0, -1] < 0.9 * reduced["loss"][0, 0]
    xr.testing.assert_allclose(full, reduced, rtol=1e-11)
    xr.align(full, reduced, join="exact")


def test_the_product_holds_every_sub_network_of_every_network() -> None:
    full, _ = decoupled({"name": "a", "roots": [2]}, {"name": "b", "roots": [1, 4]})
    assert full["sub_network"].values.tolist() == ["a, √P=2", "b, √P=1", "b, √P=4"]


def test_the_frames_have_no_effect() -> None:
    runs = [
        train.decoupled(
            Decoupled(
                seed=seed,
                networks=[network(roots=[2])],
                epochs=60,
                record_every=20,
                singular_values_every=60,
            ),
            {},
            CPU,
        )
        for seed in (0, 1)
    ]
    xr.testing.assert_allclose(*runs, rtol=1e-11)
    assert abs(runs[0]["sv_in"] - runs[1]["sv_in"]).max() > 0


def path_graph(M: int, roots: list[int]) -> gdln.Graph:
    """Sub-networks of several degrees as one gated network."""
    sizes: dict[str, int] = {f"x{i}": 4 for i in range(M)} | {f"y{j}": 7 for j in range(M)}
    edges: dict[str, tuple[str, str]] = {}
    for root in roots:
        for a in range(M // root):
            for b in range(M // root):
                name = f"{root}.{a}.{b}"
                sizes |= {f"h{name}": 5, f"k{name}": 5}
                edges[f"H{name}"] = (f"h{name}", f"k{name}")
                for m in range(root):
                    edges[f"I{name}.{m}"] = (f"x{a * root + m}", f"h{name}")
                    edges[f"O{name}.{m}"] = (f"k{name}", f"y{b * root + m}")
    return gdln.Graph(sizes, edges)


def routing_examples(M: int, mask: np.ndarray, graph: gdln.Graph) -> gdln.Examples:
    """All items of all trained pairs, one pair at a time switched on."""
    pairs = np.argwhere(mask == 1)
    Y, n = data.routing_target(), data.N_ITEMS
    x = {f"x{i}": np.tile(np.eye(n), (len(pairs), 1)) for i in range(M)}
    on = {
        f"{kind}{d}": np.repeat((pairs[:, side] == d).astype(float), n)
        for side, kind in enumerate("xy")
        for d in range(M)
    }
    y = {f"y{j}": on[f"y{j}"][:, None] * np.tile(Y.T, (len(pairs), 1)) for j in range(M)}
    # A hidden node is on when its own pair of groups is.
    for node in graph.sizes:
        if node[0] in "hk":
            root, a, b = map(int, node[1:].split("."))
            inside = (pairs[:, 0] // root == a) & (pairs[:, 1] // root == b)
            on[node] = np.repeat(inside.astype(float), n)
    return gdln.Examples(x, y, on)


@pytest.mark.parametrize(
    ("M", "K", "roots", "subs"),
    [
        (3, 2, [3], [SubNetwork.shared_by_all(3, 2)]),
        (4, 4, [2], [SubNetwork.of_degree(2)]),
        (2, 2, [1, 2], [SubNetwork.of_degree(1), SubNetwork.of_degree(2)]),
    ],
)
def test_the_reduced_equations_are_those_of_the_general_class(
    M: int, K: int, roots: list[int], subs: list[SubNetwork]
) -> None:
    # T5 and T6 by pathway counting, from T2 on the whole graph.
    graph = path_graph(M, roots)
    examples = routing_examples(M, data.trained_pairs(M, K), graph)
    of = gdln.correlations(graph, examples)
    U, s, Vt = np.linalg.svd(data.routing_target(), full_matrices=False)
    frames = {v: Vt.T if v[0] == "x" else U for v in (*graph.inputs, *graph.outputs)}
    rng = np.random.default_rng(0)
    frames |= {v: orthogonal(rng, 5, 4) for v in graph.sizes if v[0] in "hk"}
    reduced = gdln.modes(graph, of, frames)
    b = rng.uniform(0.2, 1, (len(subs), 3, 4))
    layers = {"I": 0, "H": 1, "O": 2}
    place = {e: (roots.index(int(e[1:].split(".")[0])), layers[e[0]]) for e in graph.edges}
    B = {edge: b[place[edge]] for edge in graph.edges}
    found = gdln.reduced_descent(B, reduced)
    expected = reduction.reduced_velocity(b, s, subs)
    # T1's mean over K M pairs of 4 items is a 4 K M-th of the unit of `reduced_velocity`.
    items = data.N_ITEMS * K * M
    for edge in graph.edges:
        np.testing.assert_allclose(items * found[edge], expected[place[edge]], rtol=1e-11)
    full = gdln.descent(graph, gdln.decoupled(graph, B, frames), of)
    whole = gdln.decoupled(graph, found, frames)
    for edge in graph.edges:
        np.testing.assert_allclose(full[edge], whole[edge], atol=1e-12)


def fig4_flow(epochs: np.ndarray, b_0: float = 0.08) -> np.ndarray:
    network = [SubNetwork.shared_by_all(7, 4)]
    c = reduction.step_constant(0.02)
    return reduction.reduced_flow(b_0, reduction.target_modes(), network, c, epochs)


def test_the_flow_conserves_the_difference_of_squares() -> None:
    # "Pitfalls": M B1² − B2² = (M − 1) b₀², in the flow to 1e-8; with steps O(lr) off.
    b = fig4_flow(np.linspace(0, 500, 11))[:, 0]
    np.testing.assert_allclose(7 * b[:, 0] ** 2 - b[:, 1] ** 2, 6 * 0.08**2, atol=1e-8)
    np.testing.assert_allclose(b[:, 0], b[:, 2], atol=1e-12)
    full, _ = decoupled({"M": 7, "K": 4, "roots": [7], "h": 64, "b_0": 0.08}, epochs=500)
    end = full.isel(sub_network=0, sv_epoch=-1)
    invariant = 7 * end["sv_in"] ** 2 - end["sv_hidden"] ** 2
    assert invariant.min() > 0.0285
    assert invariant.max() < 0.0384


def test_the_flow_ends_at_the_fixed_point() -> None:
    b = fig4_flow(np.array([1500.0]))[0, 0]
    s = reduction.target_modes()
    np.testing.assert_allclose(b.prod(0), s, rtol=1e-6)
    np.testing.assert_allclose(b[1] / b[0], np.sqrt(7), rtol=0.02)
    np.testing.assert_allclose(b[1], (7 * s) ** (1 / 3), rtol=0.01)


def test_the_step_vanishes_to_first_order() -> None:
    params = SmallSteps(
        M=7,
        K=4,
        b_0=0.08,
        lr=0.02,
        epochs=200,
        record_every=1,
        singular_values_every=100,
        divisors=[4, 16],
    )
    found = theory.routing(params, {})
    deviation = abs(found["loss_small_steps"] - found["loss_flow"]).max("epoch") / 244
    # Of the specification, C7: 0.094 and 0.025; and 0.40 at the whole step.
    np.testing.assert_allclose(deviation, [0.094, 0.025], rtol=0.25)
    whole = abs(found["loss"] - found["loss_flow"]).max() / 244
    assert whole == pytest.approx(0.40, rel=0.1)


def test_full_networks_at_small_steps_are_the_map_at_small_steps() -> None:
    # So that the map may stand for the network in C7.
    full, reduced = decoupled(
        {"M": 7, "K": 4, "roots": [7], "h": 16, "b_0": 0.08, "lr": 0.005}, epochs=600
    )
    xr.testing.assert_allclose(full["loss"], reduced["loss"], rtol=1e-10)


def test_the_theory_must_start_at_the_effective_scale() -> None:
    # "Pitfalls": σ₀/2.5; from σ₀ itself the first drop comes more than twice too early.
    run = routed(**FIG4 | {"record_every": 1, "epochs": 150})
    crossing = data.crossing_epoch(run["loss"].isel(condition=0), 122).mean()
    network, c = [SubNetwork.shared_by_all(7, 4)], reduction.step_constant(0.02)
    times = {}
    for b_0 in (0.08, 0.2):
        b = reduction.reduced_map(
            b_0, reduction.target_modes(), network, c, list(range(151))
        )
        loss = xr.DataArray(reduction.mode_loss(b, 28), {"epoch": range(151)}, ["epoch"])
        times[b_0] = float(data.crossing_epoch(loss, 122))
    assert times[0.08] == pytest.approx(float(crossing), rel=0.1)
    assert times[0.2] < crossing / 2


few = settings(max_examples=15, deadline=None)


@few
@given(
    m=st.integers(1, 12),
    S=st.floats(0.5, 20),
    b_0=st.floats(0.02, 0.3),
    part=st.floats(0.1, 0.95),
)
def test_quadrature_and_ode_reach_a_strength_at_the_same_time(
    m: int, S: float, b_0: float, part: float
) -> None:
    course = Course(m, S, b_0)
    b2 = course.hidden(part * S)
    assert course.strength(b2) == pytest.approx(part * S)
    time = course.time(b2)
    solution = solve_ivp(
        lambda _, b: [
            b[1] * b[0] * (S - b[1] * b[0] ** 2) / m,
            b[0] ** 2 * (S - b[1] * b[0] ** 2),
        ],
        (0, time),
        [b_0, b_0],
        method="DOP853",
        rtol=1e-11,
        atol=1e-13,
    )
    b1, found = solution.y[:, -1]
    assert found == pytest.approx(b2, rel=1e-7)
    assert found * b1**2 == pytest.approx(part * S, rel=1e-7)


@few
@given(S=st.floats(0.5, 20), b_0=st.floats(0.01, 0.3), part=st.floats(0.1, 0.99))
def test_the_closed_form_without_offset_is_the_quadrature(
    S: float, b_0: float, part: float
) -> None:
    course = Course(1, S, b_0)  # C = (m − 1) b₀² = 0
    b2 = course.hidden(part * S)
    assert course.time_without_offset(b2) == pytest.approx(course.time(b2), rel=1e-11)


def sharing(**changes: Any) -> Sharing:
    usual: dict[str, Any] = {
        "M": 10,
        "roots": [1, 2, 5, 10],
        "s": 3,
        "b_0": 0.1,
        "times": 21,
        "race_b_0": 0.08,
        "race_lr": 0.005,
        "race_steps": 300,
    }
    return Sharing(**(usual | changes))


def t6_velocity(b: np.ndarray, root: int) -> list[float]:
    """T6 as it stands, in units of τ: M = 10, S = 3, D = 1."""
    left = 3 - b[1] * b[0] ** 2
    return [root / 100 * b[1] * b[0] * left, root**2 / 100 * b[0] ** 2 * left]


def test_half_times_by_quadrature_are_those_of_the_flow() -> None:
    found = theory.sharing(sharing(), {})
    for i, root in enumerate((1, 2, 5, 10)):
        solution = solve_ivp(
            lambda _, b, root=root: t6_velocity(b, root),
            (0, float(found["half_time"][i])),
            [0.1, 0.1],
            rtol=1e-10,
            atol=1e-12,
        )
        b1, b2 = solution.y[:, -1]
        assert b2 * b1**2 == pytest.approx(1.5, rel=1e-6)


def test_a_lone_network_wins_its_race_and_equals_split_evenly() -> None:
    # Negative control of C14: with nobody more shared, nobody wins.
    s, c = np.array([3.0]), reduction.step_constant(0.05)
    twins = reduction.reduced_map(0.08, s, [SubNetwork.of_degree(4)] * 2, c, [3000])
    np.testing.assert_allclose(twins.prod(-2)[0, :, 0] / 3, [0.5, 0.5], rtol=1e-9)
    lone = reduction.reduced_map(0.08, s, [SubNetwork.of_degree(4)], c, [3000])
    assert lone.prod() == pytest.approx(3)


def test_simulation_and_theory_of_the_routing_network_share_names_and_times() -> None:
    run = routed(epochs=60, record_every=20, singular_values_every=30)
    params = SmallSteps(
        M=4,
        K=2,
        b_0=0.08,
        lr=0.02,
        epochs=60,
        record_every=20,
        singular_values_every=30,
        divisors=[4],
    )
    predicted = theory.routing(params, {})
    for name, dims in (
        ("loss", ["epoch"]),
        *((n, ["mode", "sv_epoch"]) for n in data.SINGULAR_VALUES),
    ):
        xr.align(run[name], predicted[name], join="exact")
        assert list(predicted[name].dims) == dims
        assert list(run[name].dims) == ["seed", "condition", *dims]


# ---- parameters ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"K": [5]}, "at most M = 4 outputs"),
        ({"K": []}, "at least 1 item"),
        ({"portraits": [0.3]}, "0.3 is none of sigma_0"),
        ({"h": 3}, "greater than or equal to 4"),
        ({"lr": 0}, "greater than 0"),
    ],
)
def test_routing_parameters_that_make_no_sense_are_refused(
    changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValidationError, match=message):
        routing(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"roots": [3]}, "each must divide M = 4"),
        ({"K": 5}, "at most M = 4 outputs"),
        ({"K": 2, "roots": [2]}, "only a network shared among all pairs reduces exactly"),
    ],
)
def test_decoupled_networks_that_do_not_reduce_are_refused(
    changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValidationError, match=message):
        decoupled(changes)


@pytest.mark.parametrize(
    ("roots", "message"),
    [([1, 3, 10], "each must divide M = 10"), ([1, 5], "the last must be M = 10")],
)
def test_degrees_of_sharing_must_fit(roots: list[int], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        sharing(roots=roots)


def test_rates_are_divided_as_asked() -> None:
    def rates(**changes: Any) -> list[float]:
        return [c.lr for c in routing(lr=0.1, **changes).conditions()]

    assert rates(K=[1, 2]) == [0.1, 0.1]
    assert rates(K=[1, 2], lr_per="K") == [0.1, 0.05]
    by_scale = rates(sigma_0=[1.0, 8.0], lr_per="cube_root_of_sigma_0")
    np.testing.assert_allclose(by_scale, [0.1, 0.05])


def test_networks_on_several_blocks_see_the_error_of_their_own_pairs_only() -> None:
    # Sub-networks of degree 1 and a mask: a pair that is off learns nothing.
    M = 2
    params = network(M=M, K=M, roots=[1])
    weights = data.decoupled_weights(
        0,
        Decoupled(
            networks=[params], epochs=1, record_every=1, singular_values_every=1
        ).networks[0],
    )
    mask = np.array([[[1.0, 0], [0, 1]]])
    ensemble = RoutingNetworks(
        weights, mask, np.array([0.02]), data.routing_target(), ["one"]
    )
    before = ensemble.predictions()
    ensemble.advance_to(5)
    moved = abs(ensemble.predictions() - before).max((-1, -2))[0]
    assert (moved[[0, 1], [0, 1]] > 1e-4).all()
    assert (moved[[0, 1], [1, 0]] == 0).all()
