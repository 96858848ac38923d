"""van Rossem & Saxe 2024: the statistics of the claims, on products that are known.

Every claim gets products that must pass, and the same with one thing wrong, of which it
must say what is wrong. The thresholds are those of the config.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
import pytest
import xarray as xr

import judging
from retrograd import convergence
from retrograd.papers.vanrossem2024_representations_align import (
    claims,
    data,
    effective,
    figures,
    observables,
    theory,
)
from vanrossem_setup import SLUG, Array, paper, product, setting, two_points

Products = dict[str, xr.Dataset]
Change = tuple[str, str, dict[str, Any], Any]  # product, variable, where, value
SEEDS, LAYERS = 4, 20
WORST = {"seed": 2}  # the run that is spoiled and discarded, where there are seeds


def dataset(
    coords: Mapping[str, Sequence[Any]], **variables: tuple[tuple[str, ...], Any]
) -> xr.Dataset:
    """A dataset whose values are broadcast to their dims."""
    sizes = {name: len(values) for name, values in coords.items()}
    return xr.Dataset(
        {
            name: (dims, np.broadcast_to(values, [sizes[d] for d in dims]).copy())
            for name, (dims, values) in variables.items()
        },
        {name: list(values) for name, values in coords.items()},
    )


def failing(name: str, products: Mapping[str, xr.Dataset]) -> set[str]:
    """Names of the statistics that do not hold; the verdict must agree with them."""
    entry = judging.entry(SLUG, name, products)
    found = {s["name"] for s in entry["statistics"] if not s["holds"]}
    assert entry["verdict"] == ("NOT_REPRODUCED" if found else "REPRODUCED")
    return found


def needed(name: str, made: Products) -> Products:
    return {n: made[n] for n in paper().claims[name].need}


def changed(products: Products, changes: Sequence[Change]) -> Products:
    """A copy with other values at some places."""
    found = {name: made.copy(deep=True) for name, made in products.items()}
    for name, variable, where, value in changes:
        found[name][variable].loc[where] = value
    return found


# ---- products of which all claims hold -------------------------------------------------


@cache
def good() -> Products:
    """All products, small, as the claims of the laptop scale would have them; not to be
    changed."""
    axes = {
        "architecture": ["leaky ReLU", "CNN", "dropout"],
        "gain": [0.8, 1.0, 1.4, 1.7, 2.0],
        "width": [6, 20, 100],
    }
    pairs = {axis: pair(axis, values) for axis, values in axes.items()}
    runs, fits = ({axis: both[i] for axis, both in pairs.items()} for i in (0, 1))
    grid, grid_theory = other_tasks()
    images, images_theory = digits()
    return {
        "two_points": data.joined(runs),
        "two_points_theory": data.joined(fits),
        "other_tasks": grid,
        "other_tasks_theory": grid_theory,
        "digits": images,
        "digits_theory": images_theory,
        "context": context(),
    }


def pair(axis: str, settings: list[Any]) -> tuple[xr.Dataset, xr.Dataset]:
    """Runs and fits of two points; by gain h2 grows 40-fold or hardly changes."""
    run = ("setting", "seed")
    coords: dict[str, Any] = {"setting": settings, "seed": range(SEEDS)}
    start, error, spread = 0.02, 0.05, 0.1
    if axis == "gain":
        start = np.where(np.array(settings) < 1.5, 0.02, 0.9)[:, None]
        error = np.where(np.array(settings) < 1.3, 0.05, 0.9)[:, None]
    if axis == "width":
        spread = np.array([0.6, 0.4, 0.1])[:, None]
    h2 = np.stack(np.broadcast_arrays(start * np.ones((len(settings), 1)), 0.8), axis=-1)
    runs = dataset(
        coords | {"time": [0, 1]},
        h2=((*run, "time"), h2[:, :1]),
        converged=(run, 1),
    )
    runs["converged"].attrs["loss_threshold"] = 0.01
    signs = np.array([-1, 1, -1, 1])
    fits = dataset(
        coords | {"layer": range(LAYERS)},
        **{f"nrmse_{name}": (run, error) for name in data.PAIR},
        eta_h=(run, 0.01 * (1 + spread * signs)),
        h_final=(run, 0.8 * 1.04),
        cost=(run, 1.0),
        cost_no_encoder_term=(("seed",), 2.3),
        cost_doubled_encoder=(("seed",), 1.4),
        layer_cost=(("layer", "seed"), layer_costs(LAYERS, best=5)),
        layer_eta_h=(("layer", "seed"), np.geomspace(1, 10, LAYERS)[:, None]),
        layer_eta_y=(("layer", "seed"), 1.0),
    )
    if axis != "architecture":
        runs, fits = (d.assign_coords({axis: ("setting", settings)}) for d in (runs, fits))
    return runs, fits


def layer_costs(layers: int, best: int) -> Array:
    """1 at the best layer, 400 at layer 0, 20 at the last one."""
    costs: Array = np.interp(range(layers), [0, best, layers - 1], [400.0, 1.0, 20.0])
    return costs[:, None]


def other_tasks() -> tuple[xr.Dataset, xr.Dataset]:
    """A grid that lies on the identity to 5 %, and XOR: rich, and lazy."""
    dx, dy = [0.5, 0.75, 1.0, 1.25, 1.5], [0.0, 0.25, 0.5, 0.75, 1.0]
    coords: dict[str, Any] = {
        "dx": dx,
        "dy": dy,
        "setting": ["rich", "lazy"],
        "seed": range(SEEDS),
        "point": range(4),
        "other_point": range(4),
    }
    predicted = np.outer(dx, dy) + 0.1
    task = data.xor()
    dx2, dy2 = (theory.squared_distances(a) for a in (task.x, task.y))
    rich = np.sqrt(dx2 * dy2)
    merged = np.where(np.eye(4), 0, np.maximum(rich, 0.02))
    run, pair, cell = ("setting", "seed"), ("point", "other_point"), ("dx", "dy")
    end = np.stack([merged, dx2])[:, None]
    start = np.stack([0.001 * dx2, 0.95 * dx2])[:, None]
    runs = dataset(
        coords,
        h2=(cell, predicted * (1 + 0.05 * np.cos(np.arange(5)))),
        converged=(cell, 1),
        distance2=((*run, *pair), end),
        distance2_start=((*run, *pair), start),
        xor_converged=(run, 1),
    )
    return runs, dataset(coords, h2=(cell, predicted), rich=(pair, rich))


def class_prediction() -> Array:
    """Symmetric, (class, class): 0.7 to 1.3 off the diagonal, 0 on it."""
    drawn = np.random.default_rng(0).uniform(0.7, 1.3, (10, 10))
    found: Array = np.triu(drawn, 1) + np.triu(drawn, 1).T
    return found


def digits() -> tuple[xr.Dataset, xr.Dataset]:
    """Images whose classes merge where D² is as predicted (rich), or keep D (lazy)."""
    run, classes = ("regime", "seed"), ("image_class", "other_class")
    coords: dict[str, Any] = {
        "regime": ["rich", "lazy"],
        "seed": range(SEEDS),
        "image_class": range(10),
        "other_class": range(10),
    }
    predicted = class_prediction()
    mean = np.stack([predicted + 0.08 * np.eye(10), predicted + 0.6 * np.eye(10)])[:, None]
    runs = dataset(
        coords,
        class_mean=((*run, *classes), mean),
        class_mean_square=((*run, *classes), mean**2 + 0.005),
        relative_change=(run, [[6.0], [0.3]]),
        regime_converged=(run, 1),
        converged=(("seed",), 1),
    )
    runs["per_class"] = 10
    errors: dict[str, Any] = {f"nrmse_{name}": (("seed",), 0.05) for name in data.PAIR}
    return runs, dataset(coords, class_distance2=(classes, predicted), **errors)


def context() -> xr.Dataset:
    run = ("regime", "seed")
    return dataset(
        {"regime": ["rich", "lazy"], "seed": range(SEEDS)},
        relevant=(run, 2.0),
        irrelevant=(run, [[0.004], [1.2]]),
        converged=(run, 1),
    )


def at_published_depth() -> Products:
    """The fit is best at layer 11, as the authors' stored run has it."""
    costs = layer_costs(LAYERS, best=11)
    return changed(good(), [("two_points_theory", "architecture_layer_cost", {}, costs)])


def made(claim: str) -> Products:
    return needed(claim, at_published_depth() if claim == "C13" else good())


# ---- what makes a claim fail -----------------------------------------------------------


def runs(axis: str, name: str, value: Any, **where: Any) -> Change:
    """Of the two-point runs; seed, time and layer belong to the axis."""
    own = {k if k == axis else f"{axis}_{k}": v for k, v in where.items()}
    return "two_points", f"{axis}_{name}", own, value


def fits(axis: str, name: str, value: Any, **where: Any) -> Change:
    return "two_points_theory", *runs(axis, name, value, **where)[1:]


def grid(name: str, value: Any, **where: Any) -> Change:
    return "other_tasks", name, where, value


def image(name: str, value: Any, **where: Any) -> Change:
    return "digits", name, where, value


def grid_of(slope: float, noise: float) -> Change:
    """The grid on a line through the mean of the prediction, and noise that is normal to
    it: as large as the prediction's spread if it is 1."""
    predicted = other_tasks()[1]["h2"].values
    deviation = predicted - predicted.mean()
    drawn = np.random.default_rng(1).standard_normal(predicted.shape)
    drawn -= drawn.mean()
    drawn -= (drawn * deviation).sum() / (deviation**2).sum() * deviation
    drawn *= np.sqrt((deviation**2).sum() / (drawn**2).sum())
    return grid("h2", predicted.mean() + slope * deviation + noise * drawn)


def shifted_grid(by: float) -> Change:
    return grid("h2", other_tasks()[1]["h2"].values + by)


def xor_pairs(pairs: Sequence[tuple[int, int]], value: float, regime: str) -> list[Change]:
    return [
        grid("distance2", value, setting=regime, point=i, other_point=j)
        for a, b in pairs
        for i, j in ((a, b), (b, a))
    ]


SAME_OUTPUT = ((0, 3), (1, 2))
OTHERS = class_prediction()[np.random.default_rng(2).permutation(10)]
SHUFFLED = np.where(np.eye(10), 0.08, (OTHERS + OTHERS.T) / 2)
LAYER = "layer_cost"

WRONG: dict[str, list[tuple[set[str], list[Change]]]] = {
    "C1": [
        ({"h2_error"}, [fits("architecture", "nrmse_h2", 0.1, architecture="CNN")]),
        ({"y2_error"}, [fits("architecture", "nrmse_y2", 0.1, architecture="CNN")]),
        ({"w_error"}, [fits("architecture", "nrmse_w", 0.21, architecture="CNN")]),
        ({"dropout_h2_error"},
         [fits("architecture", "nrmse_h2", 0.1, architecture="dropout")]),
        ({"dropout_y2_error"},
         [fits("architecture", "nrmse_y2", 0.17, architecture="dropout")]),
        ({"dropout_w_error"},
         [fits("architecture", "nrmse_w", 0.31, architecture="dropout")]),
        ({"kept_runs"},
         [runs("architecture", "converged", 0, architecture="CNN", seed=[0, 1, 2])]),
    ],
    "C2": [
        ({"deviation"},
         [fits("architecture", "h_final", 0.7, architecture="CNN", seed=3)]),
        ({"kept_runs"},
         [runs("architecture", "converged", 0, architecture="CNN", seed=[0, 1, 2])]),
    ],
    "C3": [
        ({"correlation"}, [grid_of(1.0, 0.6)]),
        ({"R2_of_identity"}, [shifted_grid(0.4)]),
        ({"slope"}, [grid_of(1.3, 0.1)]),
        ({"slope", "R2_of_identity"}, [grid_of(0.55, 0.1)]),
        ({"kept_cells"},
         [grid("converged", 0, dx=0.5), grid("converged", 0, dx=1.5, dy=1.0)]),
    ],
    "C4": [
        ({"no_encoder_term"}, [fits("architecture", "cost_no_encoder_term", 1.4)]),
        ({"doubled_encoder"}, [fits("architecture", "cost_doubled_encoder", 1.05)]),
        ({"no_encoder_term", "doubled_encoder"}, [fits("architecture", "cost", 2.0)]),
        ({"kept_runs"}, [runs("architecture", "converged", 0, seed=[0, 1, 2])]),
    ],
    "C5": [
        ({"rich_growth"}, [runs("gain", "h2", 0.28, gain=0.8, seed=1, time=1)]),
        ({"lazy_growth_least"}, [runs("gain", "h2", 0.4, gain=1.7, seed=1, time=1)]),
        ({"lazy_growth_most"}, [runs("gain", "h2", 1.1, gain=2.0, seed=1, time=1)]),
        ({"kept_runs"}, [runs("gain", "converged", 0, gain=1.0, seed=[0, 1, 2])]),
    ],
    "C6": [
        ({"small_gain"}, [fits("gain", "nrmse_w", 0.2, gain=0.8)]),
        # The largest of the three errors counts, so all of them must be small to fail.
        ({"large_gain"},
         [fits("gain", f"nrmse_{name}", 0.4, gain=1.4) for name in data.PAIR]),
        (set(), [fits("gain", f"nrmse_{name}", 0.4, gain=1.4) for name in ("h2", "w")]),
        ({"kept_runs"}, [runs("gain", "converged", 0, gain=1.0, seed=[0, 1, 2])]),
    ],
    "C7a": [
        ({"within_over_between"}, xor_pairs(SAME_OUTPUT, 0.12, "rich")),
        ({"correlation"},
         xor_pairs([(0, 1)], 2.0, "rich") + xor_pairs([(2, 3)], 0.5, "rich")),
        ({"relative_change"},
         [grid("distance2_start", 0.05 * other_tasks()[0]["distance2"][1, 0].values,
               setting="rich")]),
        ({"kept_runs"}, [grid("xor_converged", 0, setting="rich", seed=[0, 1, 2])]),
    ],
    "C7b": [
        # A distance of √1.1 and a fourth of the way from the start: both are wrong then.
        ({"within_over_between", "relative_change"}, xor_pairs(SAME_OUTPUT, 1.1, "lazy")),
        ({"relative_change"},
         [grid("distance2_start", 0.8 * other_tasks()[0]["distance2"][1, 0].values,
               setting="lazy")]),
        ({"kept_runs"}, [grid("xor_converged", 0, setting="lazy", seed=[0, 1, 2])]),
    ],
    "C8": [
        ({"best_layer"}, [fits("architecture", LAYER, 0.5, layer=7)]),
        ({"best_layer", "first_layer_over_best"},
         [fits("architecture", LAYER, 0.5, layer=0)]),
        ({"first_layer_over_best"}, [fits("architecture", LAYER, 5.0, layer=0)]),
        ({"encoder_rate_growth"},
         [fits("architecture", "layer_eta_h", 4.0, layer=LAYERS - 1)]),
        ({"kept_runs"}, [runs("architecture", "converged", 0, seed=[0, 1, 2])]),
    ],
    "C9": [
        ({"wide"}, [fits("width", "eta_h", [0.013, 0.007] * 2, width=100),
                    fits("width", "eta_h", [0.02, 0.001] * 2, width=6)]),
        ({"narrow_over_wide"}, [fits("width", "eta_h", [0.009, 0.011] * 2, width=6)]),
        ({"kept_runs"}, [runs("width", "converged", 0, width=20, seed=[0, 1, 2])]),
    ],
    "C10": [
        ({"correlation", "correlation_between"},
         [image("class_mean_square", digits()[0]["class_mean"].values[0] ** 2 + 1,
                regime="rich")]),
        ({"correlation_between"}, [image("class_mean", SHUFFLED, regime="rich"),
                                   image("class_mean_square", SHUFFLED**2, regime="rich")]),
        ({"within_over_between"},
         [image(name, value, regime="rich", image_class=i, other_class=i)
          for i in range(10)
          for name, value in (("class_mean", 0.2), ("class_mean_square", 0.05))]),
        ({"kept_runs"}, [image("regime_converged", 0, regime="rich", seed=[0, 1, 2])]),
    ],
    "C10b": [
        ({"within_over_between"}, [image("class_mean", SHUFFLED, regime="lazy", seed=1)]),
        ({"lazy_change"}, [image("relative_change", 0.7, regime="lazy", seed=1)]),
        ({"rich_change"}, [image("relative_change", 2.5, regime="rich", seed=1)]),
    ],
    "C11": [
        ({"h2_error"}, [("digits_theory", "nrmse_h2", {"seed": 1}, 0.09)]),
        ({"y2_error"}, [("digits_theory", "nrmse_y2", {"seed": 1}, 0.41)]),
        ({"w_error"}, [("digits_theory", "nrmse_w", {"seed": 1}, 0.46)]),
        ({"kept_runs"}, [image("converged", 0, seed=[0, 1, 2])]),
    ],
    "C12": [
        ({"rich"}, [("context", "irrelevant", {"regime": "rich", "seed": 1}, 0.2)]),
        ({"lazy"}, [("context", "irrelevant", {"regime": "lazy", "seed": 1}, 0.6)]),
    ],
    "C13": [
        ({"best_layer"}, [fits("architecture", LAYER, 0.5, layer=14)]),
        ({"first_layer_over_best"}, [fits("architecture", LAYER, 40.0, layer=0)]),
        ({"last_layer_over_best"}, [fits("architecture", LAYER, 4.0, layer=LAYERS - 1)]),
        ({"kept_runs"}, [runs("architecture", "converged", 0, seed=[0, 1, 2])]),
    ],
}  # fmt: skip


def test_every_claim_is_tested() -> None:
    assert set(paper().claims) == set(WRONG) == set(SPOILED)
    for name, cases in WRONG.items():
        wrong = set().union(*(expected for expected, _ in cases))
        assert wrong == set(paper().claims[name].thresholds)


@pytest.mark.parametrize("name", WRONG)
def test_a_claim_holds_for_what_it_says(name: str) -> None:
    assert failing(name, made(name)) == set()


@pytest.mark.parametrize(
    ("name", "expected", "changes"),
    [(name, *case) for name, cases in WRONG.items() for case in cases],
)
def test_a_claim_fails_where_something_is_wrong_and_says_what(
    name: str, expected: set[str], changes: list[Change]
) -> None:
    assert failing(name, changed(made(name), changes)) == expected


# ---- runs that did not converge --------------------------------------------------------

FAR = 1e3
LAZY = other_tasks()[0]["distance2"][1, 0].values
# What a run has that went wrong, and its mask; a claim's other runs are good.
SPOILED: dict[str, tuple[list[Change], Change]] = {
    "C1": (
        [fits("architecture", "nrmse_h2", FAR, seed=s) for s in (1, 2)],
        runs("architecture", "converged", 0, seed=[1, 2]),
    ),
    "C2": (
        [fits("architecture", "h_final", FAR, **WORST)],
        runs("architecture", "converged", 0, **WORST),
    ),
    "C3": (
        [grid("h2", FAR, dx=0.5, dy=0.0)],
        grid("converged", 0, dx=0.5, dy=0.0),
    ),
    "C4": (
        [fits("architecture", "cost", FAR, **WORST)],
        runs("architecture", "converged", 0, **WORST),
    ),
    "C5": (
        [runs("gain", "h2", FAR, time=1, **WORST)],
        runs("gain", "converged", 0, **WORST),
    ),
    "C6": (
        [fits("gain", "nrmse_h2", FAR, seed=s) for s in (1, 2)],
        runs("gain", "converged", 0, seed=[1, 2]),
    ),
    "C7a": (
        [grid("distance2", FAR * LAZY, setting="rich", seed=s) for s in (1, 2)],
        grid("xor_converged", 0, setting="rich", seed=[1, 2]),
    ),
    "C7b": (
        [grid("distance2", FAR * LAZY, setting="lazy", seed=s) for s in (1, 2)],
        grid("xor_converged", 0, setting="lazy", seed=[1, 2]),
    ),
    "C8": (
        [fits("architecture", LAYER, FAR, layer=[4, 5, 6], **WORST)],
        runs("architecture", "converged", 0, **WORST),
    ),
    "C9": (
        [fits("width", "eta_h", FAR, **WORST)],
        runs("width", "converged", 0, **WORST),
    ),
    "C10": (
        [image("class_mean", FAR * np.eye(10), regime="rich", seed=s) for s in (1, 2)],
        image("regime_converged", 0, regime="rich", seed=[1, 2]),
    ),
    "C10b": (
        [image("relative_change", FAR, regime="lazy", **WORST)],
        image("regime_converged", 0, regime="lazy", **WORST),
    ),
    "C11": (
        [("digits_theory", "nrmse_h2", WORST, FAR)],
        image("converged", 0, **WORST),
    ),
    "C12": (
        [("context", "irrelevant", {"regime": "rich", **WORST}, FAR)],
        ("context", "converged", {"regime": "rich", **WORST}, 0),
    ),
    "C13": (
        [fits("architecture", LAYER, FAR, layer=[*range(9, 14)], **WORST)],
        runs("architecture", "converged", 0, **WORST),
    ),
}


@pytest.mark.parametrize("name", SPOILED)
def test_a_run_that_was_discarded_does_not_count(name: str) -> None:
    spoil, discard = SPOILED[name]
    spoiled = changed(made(name), spoil)
    assert failing(name, spoiled)
    assert failing(name, changed(spoiled, [discard])) == set()


@pytest.mark.parametrize("name", SPOILED)
def test_a_claim_all_of_whose_runs_were_discarded_is_not_reproduced(name: str) -> None:
    products = made(name)
    for one in products.values():
        for mask in (str(v) for v in one if str(v).endswith("converged")):
            one[mask][:] = 0
    entry = judging.entry(SLUG, name, products)
    assert entry["verdict"] == "NOT_REPRODUCED"
    # Nothing is left that any statistic could hold for.
    assert not any(s["holds"] for s in entry["statistics"])


@pytest.mark.parametrize("regime", ["rich", "lazy"])
@pytest.mark.parametrize("name", ["C10b", "C12"])
def test_a_regime_without_runs_is_not_reproduced_whatever_the_other(
    name: str, regime: str
) -> None:
    mask = {"C10b": ("digits", "regime_converged"), "C12": ("context", "converged")}
    discard = (*mask[name], {"regime": regime}, 0)
    assert failing(name, changed(made(name), [discard]))


# ---- altered theories ------------------------------------------------------------------


def of_theory(**altered: float) -> Products:
    """Trajectories that a theory makes, as if they were of networks, with their fits."""
    params = two_points(
        setting(steps=600),
        seeds=2,
        records=21,
        controls=["no_encoder_term", "doubled_encoder"],
    )
    steps = data.record_steps(600, 21).astype(float)
    start = np.array([[0.04, 0.03**2, 0.03 * (0.03 - np.sqrt(0.5))]] * 2)
    rates = np.array([[0.02, 0.05], [0.03, 0.04]])
    path = theory.trajectory_fits.runge_kutta(
        lambda state: effective.velocity(
            state, rates[:, :1], rates[:, 1:], params.dx2, params.dy2, **altered
        ),
        start[:, None],
        np.stack([steps] * 2),
        theory.SUBSTEPS,
    )[:, 0]
    columns = {n: path[None, ..., i] for i, n in enumerate(data.PAIR)}
    simulated = xr.Dataset(
        data.trajectory(("setting", "seed", "time"), columns)
        | {
            "converged": convergence.mask(("setting", "seed"), np.zeros((1, 2)), 0.01),
        },
        data.two_point_coordinates(params),
    )
    fitted = theory.fits(params, simulated)
    return {
        "two_points": data.joined({"architecture": simulated}),
        "two_points_theory": data.joined({"architecture": fitted}),
    }


@pytest.mark.parametrize("control", [None, *theory.CONTROLS])
def test_c4_holds_for_what_the_theory_makes_and_not_for_what_altered_ones_make(
    control: Any,
) -> None:
    wrong = failing("C4", of_theory(**(theory.CONTROLS[control] if control else {})))
    # An altered theory fits its own runs better, and then C4 must not hold.
    assert control in wrong if control else not wrong


# ---- reductions ------------------------------------------------------------------------


def test_moments_of_classes_give_the_correlation_over_all_pairs_of_images() -> None:
    rng, per_class = np.random.default_rng(3), 3
    classes = np.repeat(np.arange(10), per_class)
    h = rng.standard_normal((1, 30, 4)) + 2 * rng.standard_normal((10, 4))[classes]
    distance2 = observables.squared_distances(h)
    first, second = np.triu_indices(30, 1)
    predicted = class_prediction()[classes[first], classes[second]]
    measured = distance2[0, first, second]
    of_classes = dataset(
        {"seed": [0], "image_class": range(10), "other_class": range(10)},
        **{
            name: (
                ("seed", "image_class", "other_class"),
                observables.class_means(values, classes),
            )
            for name, values in {
                "class_mean": distance2,
                "class_mean_square": distance2**2,
            }.items()
        },
    )
    of_classes["per_class"] = per_class
    theory_ = digits()[1]["class_distance2"]
    found = claims.class_correlation(of_classes, theory_)
    np.testing.assert_allclose(found, np.corrcoef(predicted, measured)[0, 1])
    other = classes[first] != classes[second]
    between = xr.DataArray(1 - np.eye(10), dims=theory_.dims)
    found = claims.class_correlation(of_classes, theory_, between)
    np.testing.assert_allclose(found, np.corrcoef(predicted[other], measured[other])[0, 1])
    ratio = measured[~other].mean() / measured[other].mean()
    np.testing.assert_allclose(claims.within_over_between(of_classes), ratio)


# ---- figures ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", paper().figures)
def test_every_figure_is_drawn_from_what_it_needs(name: str) -> None:
    need = paper().figures[name].need
    draw: Callable[[Products], Any] = getattr(figures, name)
    figure = draw({other: product(other) for other in need})
    assert figure.axes
    for axes in figure.axes:
        assert axes.has_data()


def test_claims_read_what_simulation_and_theory_write() -> None:
    # The same statistics as there are thresholds, whatever their values. Left out are
    # those of settings that the smoke scale has not.
    for name in sorted(set(paper().claims) - {"C1", "C5", "C6", "C9"}):
        need = {other: product(other) for other in paper().claims[name].need}
        found = {s["name"] for s in judging.entry(SLUG, name, need)["statistics"]}
        assert found == set(paper().claims[name].thresholds)
