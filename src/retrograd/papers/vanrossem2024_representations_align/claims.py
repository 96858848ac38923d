"""One function per claim: its statistics, from the products.

The numbers C1 to C13 are those of the project's specification. Runs that have not
converged are left out (`retrograd.convergence`); every claim says how many were kept.
"""

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from retrograd import convergence
from retrograd.claims import Products, Statistics
from retrograd.papers.vanrossem2024_representations_align import data

Array = NDArray[np.float64]


# ---- two points ------------------------------------------------------------------------


def c1(products: Products) -> Statistics:
    """Median over the kept seeds of the error over the range, per architecture."""
    runs, fits = _two_points(products, "architecture")
    found: dict[str, float | xr.DataArray] = {}
    for name in data.PAIR:
        median = convergence.median(fits[f"nrmse_{name}"], runs["converged"])
        dropout = median["setting"] == "dropout"
        found[f"{name}_error"] = median.isel(setting=np.flatnonzero(~dropout))
        found[f"dropout_{name}_error"] = float(median.sel(setting="dropout"))
    return found | {"kept_runs": convergence.count(runs["converged"])}


def c2(products: Products) -> Statistics:
    """abs(|dh(∞)|² predicted / at the end − 1), the largest of the kept seeds."""
    runs, fits = _two_points(products, "architecture")
    deviation = abs(fits["h_final"] / runs["h2"].isel(time=-1) - 1)
    return {
        "deviation": convergence.largest(deviation, runs["converged"]),
        "kept_runs": convergence.count(runs["converged"]),
    }


def c3(products: Products) -> Statistics:
    """Final distances of the grid against the prediction: correlation, R² of the identity
    line, and slope of the regression on the prediction."""
    runs, predicted = products["other_tasks"], products["other_tasks_theory"]["h2"]
    kept = (runs["converged"] == 1).values
    measured = convergence.kept(runs["h2"], runs["converged"]).values[kept]
    theory = predicted.transpose(*runs["h2"].dims).values[kept]
    if kept.sum() < MIN_CELLS:
        names = ("correlation", "R2_of_identity", "slope")
        return dict.fromkeys(names, np.nan) | {"kept_cells": float(kept.sum())}
    residual = ((measured - theory) ** 2).sum()
    return {
        "correlation": float(np.corrcoef(theory, measured)[0, 1]),
        "R2_of_identity": float(1 - residual / ((measured - measured.mean()) ** 2).sum()),
        "slope": float(np.polyfit(theory, measured, 1)[0]),
        "kept_cells": float(kept.sum()),
    }


def c4(products: Products) -> Statistics:
    """Costs of altered theories over that of the theory, summed over the kept seeds."""
    runs, fits = _two_points(products, "architecture")
    converged = runs["converged"].isel(setting=0)

    def total(cost: xr.DataArray) -> float:
        return float(convergence.kept(cost, converged).sum("seed", min_count=1))

    own = total(fits["cost"].isel(setting=0))
    return {
        "no_encoder_term": total(fits["cost_no_encoder_term"]) / own,
        "doubled_encoder": total(fits["cost_doubled_encoder"]) / own,
        "kept_runs": float(convergence.count(converged)),
    }


def c5(products: Products) -> Statistics:
    """|dh|² at the end over that at the start, from small and from large weights."""
    runs, _ = _two_points(products, "gain")
    growth = runs["h2"].isel(time=-1) / runs["h2"].isel(time=0)
    least = convergence.smallest(growth, runs["converged"])
    most = convergence.largest(growth, runs["converged"])
    large = least["setting"] >= LAZY_GAIN
    return {
        "rich_growth": float(least.isel(setting=int(least["setting"].values.argmin()))),
        "lazy_growth_least": float(least.where(large, drop=True).min()),
        "lazy_growth_most": float(most.where(large, drop=True).max()),
        "kept_runs": _by(convergence.count(runs["converged"]), "gain"),
    }


def c6(products: Products) -> Statistics:
    """The largest of the median errors of h, y, w, at a small and at a large gain."""
    runs, fits = _two_points(products, "gain")
    errors = [
        convergence.median(fits[f"nrmse_{name}"], runs["converged"]) for name in data.PAIR
    ]
    worst = xr.concat(errors, "quantity").max("quantity")
    return {
        "small_gain": float(worst.isel(setting=int(worst["setting"].values.argmin()))),
        "large_gain": float(worst.sel(setting=FAILING_GAIN)),
        "kept_runs": _by(convergence.count(runs["converged"]), "gain"),
    }


def c8(products: Products) -> Statistics:
    """Costs of the fits by layer, summed over the kept seeds, and mean rates."""
    layers = _layer_fits(products)
    eta_h = layers["eta_h"]
    growth = float(eta_h.isel(layer=-1) / eta_h.isel(layer=0))
    return {**_layer_costs(layers), "encoder_rate_growth": growth}


def c9(products: Products) -> Statistics:
    """Coefficient of variation over networks of the encoder's rate, wide and narrow."""
    runs, fits = _two_points(products, "width")
    eta_h = convergence.kept(fits["eta_h"], runs["converged"])
    variation = eta_h.std("seed") / eta_h.mean("seed")
    wide, narrow = (float(variation.sel(setting=P)) for P in (WIDE, NARROW))
    return {
        "wide": wide,
        "narrow_over_wide": narrow / wide,
        "kept_runs": _by(convergence.count(runs["converged"]), "width"),
    }


def c13(products: Products) -> Statistics:
    """The costs of C8 at the published depth."""
    layers = _layer_fits(products)
    last = float(layers["cost"].isel(layer=-1) / layers["cost"].min())
    return {**_layer_costs(layers), "last_layer_over_best": last}


# ---- XOR -------------------------------------------------------------------------------


def c7a(products: Products) -> Statistics:
    """Rich: medians over the kept nets."""
    nets = xor_geometry(products, "rich")
    return {
        name: float(nets[name].median())
        for name in ("within_over_between", "correlation", "relative_change")
    } | {"kept_runs": float(nets.sizes["seed"])}


def c7b(products: Products) -> Statistics:
    """Lazy: medians over the kept nets."""
    nets = xor_geometry(products, "lazy")
    return {
        name: float(nets[name].median())
        for name in ("within_over_between", "relative_change")
    } | {"kept_runs": float(nets.sizes["seed"])}


def xor_geometry(products: Products, setting: str) -> xr.Dataset:
    """Of every kept net: distance within an output over that between outputs, correlation
    of D² with |dx| |dy| over the pairs, and change of D relative to the start."""
    runs = products["other_tasks"].sel(setting=setting)
    kept = convergence.kept(runs["distance2"], runs["xor_converged"]).dropna("seed")
    pair = ("seed", "point", "other_point")
    end2 = kept.transpose(*pair).values.astype(float)
    start2 = runs["distance2_start"].sel(seed=kept["seed"]).transpose(*pair)
    end, start = np.sqrt(end2), np.sqrt(start2.values.astype(float))
    rich = products["other_tasks_theory"]["rich"].values
    first, second = np.triu_indices(len(rich), 1)
    upper = rich[first, second]
    distances, squares = end[:, first, second], end2[:, first, second]
    change = np.linalg.norm(end - start, axis=(1, 2)) / np.linalg.norm(start, axis=(1, 2))
    within = distances[:, upper == 0].mean(1) / distances[:, upper > 0].mean(1)
    correlation = [np.corrcoef(upper, row)[0, 1] for row in squares]
    return xr.Dataset(
        {
            "within_over_between": ("seed", within),
            "correlation": ("seed", correlation),
            "relative_change": ("seed", change),
        },
        {"seed": kept["seed"]},
    )


# ---- classes of images -----------------------------------------------------------------


def c10(products: Products) -> Statistics:
    """Squared distances among 100 images against the prediction, median of kept nets."""
    runs, predicted = products["digits"], products["digits_theory"]["class_distance2"]
    between = xr.DataArray(1 - np.eye(data.CLASSES), dims=predicted.dims)
    return {
        name: float(_kept(values, runs, "rich").median())
        for name, values in {
            "correlation": class_correlation(runs, predicted),
            "correlation_between": class_correlation(runs, predicted, between),
            "within_over_between": within_over_between(runs),
        }.items()
    } | {"kept_runs": float(runs["regime_converged"].sel(regime="rich").sum())}


def c10b(products: Products) -> Statistics:
    """The same geometry from large weights, per kept net; change of D in both regimes."""
    runs = products["digits"]
    change = runs["relative_change"]
    return {
        "within_over_between": _kept(within_over_between(runs), runs, "lazy"),
        "lazy_change": _kept(change, runs, "lazy"),
        "rich_change": _kept(change, runs, "rich"),
    }


def c11(products: Products) -> Statistics:
    """Error of the fit to a pair of images over the range, the largest of the kept nets."""
    runs, fits = products["digits"], products["digits_theory"]
    return {
        f"{name}_error": float(
            convergence.largest(fits[f"nrmse_{name}"], runs["converged"])
        )
        for name in data.PAIR
    } | {"kept_runs": float(convergence.count(runs["converged"]))}


def class_correlation(
    runs: xr.Dataset, predicted: xr.DataArray, chosen: xr.DataArray | float = 1.0
) -> xr.DataArray:
    """Pearson's r of prediction and D² over pairs of two images, (regime, seed).

    The prediction is the same for all pairs of two classes, so means of D² and of its
    square over these pairs are enough.

    Args:
        runs: the simulation.
        predicted: by class.
        chosen: 0 for pairs of classes that are left out.
    """
    classes = ["image_class", "other_class"]
    same = xr.DataArray(np.eye(data.CLASSES), dims=classes)
    count = float(runs["per_class"])
    weight = (count**2 - same * count) * chosen
    weight = weight / weight.sum()

    def mean(values: xr.DataArray) -> xr.DataArray:
        return (weight * values).sum(classes)

    theory = predicted * (1 - same)
    measured, square = runs["class_mean"], runs["class_mean_square"]
    covariance = mean(theory * measured) - mean(theory) * mean(measured)
    spread = mean(theory**2) - mean(theory) ** 2
    spread_measured = mean(square) - mean(measured) ** 2
    r: xr.DataArray = covariance / (spread * spread_measured) ** 0.5
    return r


def within_over_between(runs: xr.Dataset) -> xr.DataArray:
    """Mean D² of two images of one class over that of two classes, (regime, seed)."""
    classes = ["image_class", "other_class"]
    same = xr.DataArray(np.eye(data.CLASSES), dims=classes)
    mean = runs["class_mean"].astype(float)
    within = (mean * same).sum(classes) / same.sum()
    between = (mean * (1 - same)).sum(classes) / (1 - same).sum()
    ratio: xr.DataArray = within / between
    return ratio


# ---- context ---------------------------------------------------------------------------


def c12(products: Products) -> Statistics:
    """Variance of the irrelevant feature's class means over the relevant one's, per net."""
    runs = products["context"]
    ratio = runs["irrelevant"] / runs["relevant"]
    return {name: _kept(ratio, runs, name, "converged") for name in ("rich", "lazy")}


# ---- what they share -------------------------------------------------------------------

FAILING_GAIN, LAZY_GAIN = 1.4, 1.6
WIDE, NARROW = 100, 6
MIN_CELLS = 3  # of a correlation


def _two_points(products: Products, axis: str) -> tuple[xr.Dataset, xr.Dataset]:
    """Runs and fits along one axis, which is called `setting`."""
    runs, fits = (
        data.part(products[name], axis) for name in ("two_points", "two_points_theory")
    )
    return runs, fits


def _layer_fits(products: Products) -> xr.Dataset:
    """By layer of the default network: summed cost, mean rates, and how many were kept."""
    runs, fits = _two_points(products, "architecture")
    converged = runs["converged"].isel(setting=0)
    rates = {
        name: convergence.mean(fits[f"layer_{name}"], converged)
        for name in ("eta_h", "eta_y")
    }
    cost = convergence.kept(fits["layer_cost"], converged).sum("seed")
    return xr.Dataset({"cost": cost, "kept": convergence.count(converged)} | rates)


def _layer_costs(layers: xr.Dataset) -> dict[str, float]:
    """Where the summed cost is least, and how much more it is at the first layer."""
    cost = layers["cost"]
    return {
        "best_layer": float(cost["layer"][int(cost.values.argmin())]),
        "first_layer_over_best": float(cost.isel(layer=0) / cost.min()),
        "kept_runs": float(layers["kept"]),
    }


def _by(values: xr.DataArray, name: str) -> xr.DataArray:
    """The same with `setting` called by its name, for the labels of the report."""
    return values.drop_vars([c for c in values.coords if c != "setting"]).rename(
        setting=name
    )


def _kept(
    values: xr.DataArray, runs: xr.Dataset, regime: str, mask: str = "regime_converged"
) -> xr.DataArray:
    """Values of one regime's runs that converged; their labels say which these are."""
    chosen = values.sel(regime=regime, drop=True)
    left = convergence.kept(chosen, runs[mask].sel(regime=regime, drop=True))
    return left.dropna("seed") if left.notnull().any() else left
