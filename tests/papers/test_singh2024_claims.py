"""Singh et al. 2024: every claim can be refuted, and says what it is said to say.

Trajectories are made so that the statistic is known; the thresholds are the config's.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import xarray as xr
from numpy.typing import NDArray

import judging
from retrograd.config import load_paper
from retrograd.papers.singh2024_induction_heads import figures, theory, train
from retrograd.papers.singh2024_induction_heads.data import LN2, first_below, plateau
from retrograd.papers.singh2024_induction_heads.params import Toy
from singh2024_setup import CPU, SLUG, product, training, trajectory

EITHER = pytest.mark.parametrize("holds", [True, False])
TASKS = ("", " K=100", " K=200", " L=10", " L=15")


def judge(
    name: str, products: Mapping[str, xr.Dataset]
) -> tuple[bool, dict[str, NDArray[Any]]]:
    """Whether the claim is reproduced, and its statistics."""
    found = judging.entry(SLUG, name, products)
    return found["verdict"] == "REPRODUCED", judging.statistics(found)


# ---- what is read off a trajectory -------------------------------------------------------


def test_first_below_and_the_plateau_by_hand() -> None:
    loss = [1.6, LN2, LN2 + 0.069, LN2 - 0.071, 0.3, 0.2]
    made = product({"all": [loss, [1.0] * 6]})
    t = made["sequences"]
    half = first_below(t, made["loss"], LN2 / 2)[0]
    assert half[0] == 4 * 800
    assert np.isnan(half[1])
    assert plateau(t, made["loss"]).values.tolist() == [[2 * 800, 0]]


def test_repeated_records_add_nothing_to_the_plateau() -> None:
    made = product({"all": [[1.6, LN2, LN2, LN2]]})
    made["sequences"].values[0, 0, 2:] = 800
    assert plateau(made["sequences"], made["loss"]).item() == 0


# ---- whole networks ----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["c1", "c1r"])
@pytest.mark.parametrize(
    ("half", "steep", "holds"), [(40, 0.05, True), (40, 0.3, False), (12, 0.05, False)]
)
def test_c1_is_a_long_plateau_and_a_quick_drop(
    name: str, half: float, steep: float, holds: bool
) -> None:
    section = "all" if name == "c1" else "omniglot"
    runs = [trajectory(40), trajectory(half, steep=steep)]
    found, statistics = judge(name, {section: product({"all": runs})})
    assert found is holds
    t = np.arange(125) * 0.8
    below = [np.argmax(runs[1] < f * LN2) for f in (0.95, 0.2)]
    expected = (t[below[1]] - t[below[0]]) / t[below[0]]
    assert statistics["drop_over_begin"][0, 1] == pytest.approx(expected)


def whole(**changes: Any) -> xr.Dataset:
    """Two seeds of a network in which all that is claimed holds."""
    losses = [trajectory(40), trajectory(48)]
    rising = np.stack([1 - loss / LN2 for loss in losses])
    rising[:, 0] = 0
    final = np.array([0.9, 0.7, 0.5, 0.3, 0.02, 0.01])
    strength = rising[..., None] * final / rising[:, -1:, None]
    dims = ("condition", "seed", "record")
    run = ("condition", "seed", "head")
    usual: dict[str, Any] = {
        "induction_strength": ((*dims, "head"), strength[None]),
        "previous_strength": (
            (*dims, "head"),
            np.linspace([[0.5] + [0.3] * 5] * 2, [[0.97] + [0.2] * 5] * 2, 125, axis=1)[
                None
            ],
        ),
        "only_accuracy": (run, np.array([[0.4 + 0.6 * final] * 2])),
        "remove_accuracy": (run, np.ones((1, 2, 6))),
        "cumulative_loss": (
            ("condition", "seed", "heads_kept"),
            np.array([[[0.3, 0.1, 0.05, 0.02, 0.02, 0.02]] * 2]),
        ),
        "other_loss": (
            ("condition", "seed", "other_record", "evaluation_set"),
            np.array([[[[1.6, 1.6], [0.05, 0.3]]] * 2]),
        ),
        "wiring": (
            ("condition", "seed", "source", "head"),
            np.array([[np.outer([1, 1, 0.05, 0, 0, 0], final)] * 2]),
        ),
    }
    made = product({"all": losses}, **(usual | changes))
    return made.assign_coords(
        heads_kept=np.arange(1, 7), evaluation_set=["relabel", "newclass"]
    )


@pytest.mark.parametrize("name", ["c2", "c3", "c4", "c11", "c12", "c15"])
def test_claims_on_whole_networks_can_hold(name: str) -> None:
    found, statistics = judge(name, {"all": whole()})
    assert found
    if name == "c2":
        assert statistics["gap"].max() < 0.05
    if name == "c3":
        assert statistics["induction_heads"].tolist() == [[4, 4]]
    if name == "c4":
        assert statistics["one_over_three"] == pytest.approx(6)
        assert statistics["factor_of_the_next"] == pytest.approx(1)
    if name == "c15":
        assert (statistics["sources_of_one"], statistics["readers_of_one"]) == (2, 4)


def changed(name: str, change: Any) -> xr.Dataset:
    made = whole()
    made[name] = made[name].copy(data=change(made[name].values.copy()))
    return made


def put(values: Any, at: Any, new: Any) -> Any:
    values[at] = new
    return values


@pytest.mark.parametrize(
    ("name", "variable", "change"),
    [
        # Induction heads that rise 30 records, 24 000 sequences, later or earlier.
        ("c2", "induction_strength", lambda v: np.roll(v, 30, axis=2)),
        ("c2", "induction_strength", lambda v: np.roll(v, -30, axis=2)),
        ("c2", "induction_strength", lambda v: v * 0.5),
        ("c2", "induction_strength", lambda v: np.maximum(v, 0.11)),
        ("c3", "induction_strength", lambda v: v * [1, 1, 0, 0, 0, 0]),
        ("c3", "induction_strength", lambda v: v * [1, 1, 1, 0, 0, 0]),
        ("c4", "only_accuracy", lambda v: v[..., ::-1]),
        ("c4", "remove_accuracy", lambda v: put(v, (0, 1, slice(4)), 0.9)),
        ("c4", "cumulative_loss", lambda v: put(v, (0, 1, 4), 0.03)),
        ("c4", "cumulative_loss", lambda v: put(v, (0, 0, 0), 0.09)),
        ("c11", "other_loss", lambda v: put(v, (0, 1, 1, 0), 0.21)),
        ("c11", "other_loss", lambda v: put(v, (0, 1, 1, 1), 0.61)),
        ("c12", "previous_strength", lambda v: v * 0.8),
        ("c12", "previous_strength", lambda v: v + 0.2),
        ("c15", "wiring", lambda v: put(v, (0, 1, 0), 0)),
        ("c15", "wiring", lambda v: put(v, (0, 1, slice(None), slice(1, 4)), 0)),
    ],
)
def test_claims_on_whole_networks_can_fail(name: str, variable: str, change: Any) -> None:
    assert not judge(name, {"all": changed(variable, change)})[0]


@pytest.mark.parametrize(
    ("halves", "holds"),
    [([48, 56, 64, 70], True), ([42, 48, 44, 46], False), ([30, 56, 64, 70], False)],
)
def test_c5_compares_single_heads_with_each_other_and_with_all(
    halves: list[float], holds: bool
) -> None:
    single = {f"only {h}": [trajectory(half)] for h, half in enumerate(halves)}
    found, statistics = judge("c5", {"all": whole(), "single": product(single)})
    assert found is holds
    slowest = statistics["slowest_over_fastest"].item()
    assert slowest == pytest.approx(max(halves) / min(halves), rel=0.04)
    assert statistics["reach_half"] == 1


def test_c5_fails_if_a_head_never_learns() -> None:
    single = {f"only {h}": [trajectory(48 + 8 * h)] for h in range(3)}
    single["only 3"] = [trajectory(500)]
    assert not judge("c5", {"all": whole(), "single": product(single)})[0]


# ---- clamps ------------------------------------------------------------------------------

HALVES = {"none": 40, "prev": 25, "layer1": 8, "copy": 7, "layer1+copy": 6, "match": 2.4}


def clamped(**changes: float) -> dict[str, xr.Dataset]:
    halves = HALVES | {k.replace("_", "+"): v for k, v in changes.items()}
    losses = {
        # What has little to learn has no plateau.
        name: [
            trajectory(h, 1 if h > 10 else 0.8),
            trajectory(1.04 * h, 1 if h > 10 else 0.8),
        ]
        for name, h in halves.items()
    }
    measure = np.linspace(0.6, 0.1, 125)
    made = product(losses, pm_match=(("seed", "record"), np.array([measure] * 2)))
    return {"clamped": made}


def test_c6_c7_and_c13_can_hold() -> None:
    for name in ("c6", "c7", "c13"):
        assert judge(name, clamped())[0]
    _, statistics = judge("c6", clamped())
    assert statistics["none_over_prev"] == pytest.approx(40 / 25, rel=0.05)
    assert statistics["match_over_none"] == pytest.approx(2.4 / 40, rel=0.2)


@pytest.mark.parametrize(
    "changes",
    [{"prev": 36}, {"layer1": 18}, {"copy": 16}, {"match": 8}, {"layer1_copy": 9}],
)
def test_c6_fails_for_each_of_its_ratios(changes: dict[str, float]) -> None:
    assert not judge("c6", clamped(**changes))[0]


def test_a_run_that_never_gets_there_refutes() -> None:
    assert not judge("c6", clamped(none=500))[0]


@pytest.mark.parametrize(
    "changes", [{"none": 12}, {"prev": 5}, {"match": 12}, {"layer1": 12}]
)
def test_c7_fails_for_each_of_its_lengths(changes: dict[str, float]) -> None:
    assert not judge("c7", clamped(**changes))[0]


@pytest.mark.parametrize("shift", [0.35, 0.2])
def test_c13_needs_progress_before_the_drop(shift: float) -> None:
    products = clamped()
    products["clamped"]["pm_match"] += shift
    found, statistics = judge("c13", products)
    assert not found
    loss = products["clamped"]["loss"].sel(condition="none")
    at = (loss[0, 26:].values < 0.98 * LN2).argmax() + 26
    expected = products["clamped"]["pm_match"][0, at]
    assert statistics["measure"][0, 0] == pytest.approx(float(expected))


STRENGTHS = {"1": 3.5, "0.9": 3.5, "0.75": 5, "0.6": 12, "0.5": 500}


@pytest.mark.parametrize(
    ("changes", "holds"),
    [
        ({}, True),
        ({"0.9": 2.5}, False),
        ({"0.75": 3.4}, False),
        ({"0.6": 5}, False),
        ({"0.6": 8}, False),
        ({"0.5": 60}, False),
    ],
)
def test_c14_orders_speeds_by_strength(changes: dict[str, float], holds: bool) -> None:
    halves = STRENGTHS | changes
    losses = {f"match s={s}": [trajectory(h)] * 3 for s, h in halves.items()}
    assert judge("c14", {"strength": product(losses)})[0] is holds


# ---- the toy -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("none", "c", "bc", "holds"),
    [(200, 60, 20, True), (200, 150, 20, False), (100, 60, 20, False)],
)
def test_c8_is_a_median_ratio(none: float, c: float, bc: float, holds: bool) -> None:
    half = np.array([[none] * 5, [c] * 5, [bc] * 5], float)
    half[0, 0], half[1:, 4] = 10_000, 1e6  # one run of five on either side
    made = xr.Dataset(
        {"half": (("condition", "seed"), half)}, {"condition": ["none", "c", "bc"]}
    )
    found, statistics = judge("c8", {"toy": made})
    assert found is holds
    assert statistics["none_over_bc"] == pytest.approx(none / bc)


# ---- properties of the data --------------------------------------------------------------

RATIOS = {
    "none": (1, 1.3, 1.6, 2.5, 3.5),
    "match": (1, 1, 1, 2.5, 3.5),
    "layer1+copy": (1, 1.2, 1.4, 0.9, 0.9),
    "layer1": (1, 1.2, 1.4, 1.1, 1.4),
}


def sweep(circuit: str = "", task: int = 0, ratio: float = 0) -> dict[str, xr.Dataset]:
    """Halves at 20 times the ratios; of one circuit and task, another ratio in one seed."""
    runs: dict[str, Any] = {}
    for name, ratios in RATIOS.items():
        for i, suffix in enumerate(TASKS):
            other = ratio if (name, i) == (circuit, task) else ratios[i]
            runs[name + suffix] = [trajectory(20 * ratios[i]), trajectory(20 * other)]
    others = {n: r for n, r in runs.items() if n.startswith("none ")}
    clamps = {n: r for n, r in runs.items() if not n.startswith("none")}
    # The usual task has a seed more, as in the config.
    return {
        "clamped": product({"none": [*runs["none"], trajectory(77)]}),
        "sweep_none": product(others),
        "sweep_clamped": product(clamps),
    }


@pytest.mark.parametrize("name", ["c9", "c10"])
def test_c9_and_c10_can_hold(name: str) -> None:
    found, statistics = judge(name, sweep())
    assert found
    if name == "c9":
        assert statistics["none_K_200"] == pytest.approx(1.6, rel=0.05)
        assert statistics["none_K_200"].size == 2
    else:
        assert statistics["C_L_15"] == pytest.approx(3.5, rel=0.05)


@pytest.mark.parametrize(
    ("name", "circuit", "task", "ratio"),
    [
        ("c9", "none", 2, 1.1),
        ("c9", "match", 2, 1.3),
        ("c9", "match", 2, 0.7),
        ("c9", "layer1+copy", 2, 1.05),
        ("c9", "layer1", 2, 1.1),
        ("c9", "layer1", 1, 1.6),
        ("c9", "layer1+copy", 1, 0.9),
        ("c9", "none", 1, 1.8),
        ("c9", "none", 2, 25),
        ("c10", "none", 3, 1.3),
        ("c10", "none", 4, 1.3),
        ("c10", "match", 3, 1.5),
        ("c10", "match", 4, 2.2),
        ("c10", "layer1+copy", 3, 1.3),
        ("c10", "layer1+copy", 4, 1.3),
        ("c10", "layer1", 4, 1),
    ],
)
def test_c9_and_c10_fail_for_each_ratio_of_one_seed(
    name: str, circuit: str, task: int, ratio: float
) -> None:
    assert not judge(name, sweep(circuit, task, ratio))[0]


def test_every_claim_that_is_tested_somewhere_was_tried_here() -> None:
    tried = {f"c{i}" for i in range(1, 16)} | {"c1r"}
    assert set(load_paper(SLUG, seed=0).claims) == tried


# ---- figures -----------------------------------------------------------------------------


def tiny_products() -> dict[str, xr.Dataset]:
    """A few steps of everything that is drawn."""
    experiment = load_paper(SLUG, seed=0).scales["smoke"]

    def shortened(section: str) -> Any:
        params = getattr(experiment, section)
        batches = [b.model_copy(update={"steps": 4, "every": 2}) for b in params.batches]
        changes = {"batches": batches, "seeds": 1, "d": 8, "evaluate": 12}
        return params.model_copy(update=changes)

    found = {"all": train.train(shortened("all"), {}, CPU)}
    for name in ("single", "clamped", "sweep_none", "sweep_clamped", "strength"):
        inputs = {} if name == "single" else found
        found[name] = train.train(shortened(name), inputs, CPU)
    toy = Toy(n=4, lr=1, iterations=20, records=10, seeds=2)
    return found | {"toy": train.toy(toy, {}, CPU), "toy_theory": theory.toy(toy, {})}


def test_every_figure_is_drawn_with_labels_and_every_curve() -> None:
    products = tiny_products()
    curves = {}
    for name, figure in load_paper(SLUG, seed=0).figures.items():
        if name == "fig1_real":
            continue
        needed = {need: products[need] for need in figure.need}
        drawn = getattr(figures, name)(needed)
        panels = [axes for axes in drawn.axes if axes.lines]
        assert all(axes.get_ylabel() or name in ("fig2", "fig6") for axes in panels)
        curves[name] = [len(axes.lines) for axes in panels]
    assert curves == {
        "fig1": [4],
        "fig2": [5],
        "fig3": [3, 2],
        "fig4": [6],
        "fig5": [6, 7],
        "fig6": [4] * 8,
        "fig7": [6, 6],
    }


def test_trainings_of_the_config_have_the_conditions_that_claims_and_figures_name() -> None:
    for scale in ("laptop", "published"):
        experiment = load_paper(SLUG, seed=0).scales[scale]  # type: ignore[index]
        assert experiment.clamped.names[0] == "none"
        assert set(experiment.clamped.names) == set(figures.CLAMPS)
        assert experiment.single.names == [f"only {h}" for h in range(8)]
        expected = {
            f"{c}{task}" for c in ("match", "layer1+copy", "layer1") for task in TASKS
        }
        assert set(experiment.sweep_clamped.names) == expected
        assert set(experiment.sweep_none.names) == {f"none{task}" for task in TASKS[1:]}
    assert training("none").names == ["none"]
