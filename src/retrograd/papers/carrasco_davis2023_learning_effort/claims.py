"""One function per claim: its statistics, from the products of one group of seeds.

The numbers L1 to L22 are those of the project's specification. Orders are judged by the
least step from one to the next, which is positive where all rise. Time integrals are by
the trapezoidal rule over the recorded times.
"""

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.stats import spearmanr

from retrograd.claims import Products, Statistics
from retrograd.errors import RetrogradError

Array = NDArray[np.float64]
NEURON, NETWORKS = "single_neuron", ("engagement", "category_semantic", "category_digits")
GAINS = ("gain_single", "gain_switch")


def l1(products: Products) -> Statistics:
    """SGD against the average dynamics: losses of one neuron, value of a network."""
    gain = products["gain_single"]
    return {
        "neuron_loss_deviation": products[NEURON]["sgd_deviation"],
        "network_value_deviation": abs(gain["V_sgd"] / gain["V_ode"] - 1),
    }


def l2(products: Products) -> Statistics:
    """Derivatives by the adjoint against central differences of the value."""
    adjoint, differences = (
        products[name]["derivative"] for name in ("adjoint", "differences")
    )
    adjoint, differences = xr.align(adjoint, differences, join="exact")
    error = abs(adjoint - differences) / abs(differences)
    return {"relative_error": error.max("seed")}


def l3(products: Products) -> Statistics:
    """Value gained, in the worst run; and the least step of the ascents without Adam."""
    ascents = {name: products[name] for name in (NEURON, *NETWORKS, *GAINS)}
    gained = {
        name: float((p["V"].isel(iteration=-1) - p["V"].isel(iteration=0)).min())
        for name, p in ascents.items()
    }
    least = {name: float(p["V_least_step"].min()) for name, p in ascents.items()}
    swept, objective = products[NEURON], products["maml"]["objective"]
    gained |= {
        "sweeps": float(swept["V_gain"].min()),
        "learning_rate": float(products["learning_rate"]["V_gain"].min()),
        "maml": float((objective.isel(iteration=0) - objective.isel(iteration=-1)).min()),
    }
    least["sweeps"] = float(swept["sweep_V_least_step"].min())
    return {"value_gained": _by_setting(gained), "least_step": _by_setting(least)}


def l4(products: Products) -> Statistics:
    """The single neuron's g, and v with control over v without, v = −L − C."""
    neuron = products[NEURON]
    g, loss = neuron["g"], neuron["loss"]
    advantage = loss.sel(case="baseline") - loss.sel(case="control") - neuron["cost"]
    return {
        "g_at_start": float(g[0]),
        "largest_rise_of_g": float(g.diff("time").max()),
        "g_at_end": float(g[-1]),
        "advantage_at_start": float(advantage[0]),
        "largest_advantage": float(advantage.max()),
    }


def l5(products: Products) -> Statistics:
    """Steps of g along the sweeps."""
    swept = products[NEURON]
    start = {name: _steps(swept, name, "g_start") for name in _SWEPT_G_START}
    patient = _sweep(swept, "gamma").sortby("value").isel(condition=0)
    return {
        "least_step_of_start_in_gamma": float(start["gamma"].min()),
        "largest_step_of_start": _by_setting(
            {n: float(s.max()) for n, s in start.items() if n != "gamma"}
        ),
        "least_step_of_end_in_weight_decay": float(
            _steps(swept, "weight_decay", "g_end").min()
        ),
        "largest_step_of_mean_in_length": float(_steps(swept, "steps", "g_mean").max()),
        "peak_step_at_least_gamma": float(patient["peak_step"]),
    }


def l6(products: Products) -> Statistics:
    """Time integral of the mean loss after meta-learning, along the horizon."""
    integral = products["maml"]["eval_integral"].mean("seed")
    first, last = integral.isel(horizon=0), integral.isel(horizon=-1)
    return {
        "least_fall": float((-integral.diff("horizon")).min()),
        "one_step_over_longest": float(first / last),
    }


def l7(products: Products) -> Statistics:
    """Loss after one step of learning: shortest, best and longest horizon."""
    loss = products["maml"]["eval_loss"].isel(time=1).mean("seed")
    best = float(loss.isel(horizon=slice(1, -1)).min())
    return {
        "best_over_one_step": best / float(loss.isel(horizon=0)),
        "longest_over_best": float(loss.isel(horizon=-1)) / best,
    }


def l8(products: Products) -> Statistics:
    """Optimal u against the closed form, for the cost β = 1 of the deviation."""
    u, law = (_usual(products[n])["u"] for n in ("learning_rate", "learning_rate_theory"))
    u, law = xr.align(u, law, join="exact")
    deviation = abs(u - law)
    return {
        "mean_deviation": deviation.mean("time"),
        "largest_deviation": deviation.max("time"),
    }


def l9(products: Products) -> Statistics:
    """Order of u at the start, and of the time of its peak, in γ and in β."""
    in_gamma = _usual(products["learning_rate"]).sortby("gamma")
    rate = products["learning_rate"]
    chosen = (rate["gamma"] == 1) & (rate["offset"] == 0)
    in_beta = rate.isel(condition=chosen).sortby("beta")
    start = in_gamma["u_start"]
    return {
        "least_step_of_start_in_gamma": start.diff("condition").min("condition"),
        "largest_step_of_peak_time_in_gamma": (
            in_gamma["peak_time"].diff("condition").max("condition")
        ),
        "largest_step_of_start_in_beta": (
            in_beta["u_start"].diff("condition").max("condition")
        ),
        "start_at_least_beta": in_beta["u_start"].isel(condition=0, drop=True),
    }


def l10(products: Products) -> Statistics:
    """Gaps between the times at which the engagement in a task drops."""
    gaps = _drop_time(products["engagement"]["psi"]).diff("task")
    return {
        "gap_easy_to_middle": gaps.isel(task=0, drop=True),
        "gap_middle_to_hard": gaps.isel(task=1, drop=True),
    }


def l11(products: Products) -> Statistics:
    """Effort per task: its centroid in time, and its total."""
    effort = _effort(products["engagement"]["psi"])
    total = effort.integrate("time")
    centroid = (effort * effort["time"]).integrate("time") / total
    return {
        "least_step_of_centroid": centroid.diff("task").min("task"),
        "least_step_of_total": total.diff("task").min("task"),
        "hard_over_easy": total.isel(task=-1, drop=True) / total.isel(task=0, drop=True),
    }


def l12(products: Products) -> Statistics:
    """Mean engagement early on, where it may exceed the usual."""
    psi = products["engagement"]["psi"].sel(variant=["attentive", "vector"])
    early = psi.sel(time=slice(0.5, 2.5)).mean("time")
    return {"least_fall_of_early_engagement": (-early.diff("task")).min("task")}


def l13(products: Products) -> Statistics:
    """Time integral of the loss, with control over without."""
    total = products["engagement"]["loss"].integrate("time")
    ratio = total / total.sel(curve="baseline")
    return {name: ratio.sel(curve=name, drop=True) for name in ("attentive", "active")}


def l14(products: Products) -> Statistics:
    """Engagement by level of the hierarchy: early, when it leads, and what it gains."""
    product = products["category_semantic"]
    early = product["phi"].sel(time=slice(0, 5)).isel(time=slice(None, -1)).mean("time")
    return {
        "least_fall_of_early_engagement": (-early.diff("group")).min("group"),
        "least_step_of_leading_time": _leading_time(product["phi"])
        .diff("group")
        .min("group"),
        "loss_ratio": _loss_ratio(product),
    }


def l15(products: Products) -> Statistics:
    """Rank correlation of engagement in a digit with how well it can be learned."""
    early, late = _ease_correlations(products["category_digits"], (5, 15), (60, 80))
    return {"early": early, "early_minus_late": early - late}


def l16(products: Products) -> Statistics:
    """Gain modulation of one task."""
    gain = products["gain_single"]
    loss, cost = gain["loss"], gain["cost"]
    start = (loss.sel(case="baseline") - loss.sel(case="control") - cost).isel(time=0)
    norm = (gain["gain_norm"] ** 2).sum("layer") ** 0.5
    l1 = gain["weight_norm"].sel(norm="l1").isel(time=-1)
    return {
        "loss_ratio": _loss_ratio(gain),
        "advantage_at_start": start.drop_vars("time"),
        "late_over_first_gain": norm.interp(time=10, method="linear").drop_vars("time")
        / norm.isel(time=0, drop=True),
        "mean_l1_ratio": float((l1.sel(case="control") / l1.sel(case="baseline")).mean()),
    }


def l16b(products: Products) -> Statistics:
    """L16's ratio of the losses for the other tasks, in the worst run."""
    both = {name: products[name] for name in ("gain_semantic", "gain_images")}
    ratios = {name: float(_loss_ratio(p).max()) for name, p in both.items()}
    return {"loss_ratio": _by_setting(ratios)}


def l17(products: Products) -> Statistics:
    """Peaks of the loss at switches: the last over the first of the same kind."""
    product = products["gain_switch"]
    to_B = _last_over_first(product["peak"], product["to_B"] == 1)
    to_A = _last_over_first(product["peak"], product["to_B"] == 0)
    base = [ratio.sel(case="baseline", drop=True) for ratio in (to_A, to_B)]
    return {
        "baseline": xr.concat(base, xr.Variable("task", ["A", "B"])),
        "control_to_B": to_B.sel(case="control", drop=True),
    }


def l18(products: Products) -> Statistics:
    """Cost of control at switches: middle of the block over peak, last over first."""
    product = products["gain_switch"]
    peak = product["cost_peak"]
    return {
        "middle_over_peak": product["cost_middle"] / peak,
        "last_over_first": peak.isel(switch=-1, drop=True) / peak.isel(switch=0, drop=True),
    }


def l19(products: Products) -> Statistics:
    """Root mean square weight at the end, with control over without."""
    rms = products["gain_switch"]["weight_rms_end"]
    return {"rms_ratio": rms.sel(case="control", drop=True) / rms.sel(case="baseline")}


def l20(products: Products) -> Statistics:
    """Orders of L6, L10, L11 and L15 on MNIST, whose ten digits are learned later."""
    engagement, total = l10(products), l11(products)["least_step_of_total"]
    early, late = _ease_correlations(products["category_digits"], (20, 60), (400, 600))
    return {
        "fall_with_horizon": l6(products)["least_fall"],
        **engagement,
        "least_step_of_total": total,
        "digits_early": early,
        "digits_early_minus_late": early - late,
    }


def l21(products: Products) -> Statistics:
    """Not built: the specification leaves these extensions out."""
    raise RetrogradError("L21 is out of scope: it has no statistic")


def l22(products: Products) -> Statistics:
    """Seconds are in no product, so that the same inputs give the same bytes."""
    raise RetrogradError("L22 is measured by benchmarks/carrasco_davis2023_adjoint.py")


_SWEPT_G_START = ("gamma", "sigma", "beta", "weight_decay")


def _by_setting(values: dict[str, float]) -> xr.DataArray:
    return xr.DataArray(
        list(values.values()), coords={"setting": list(values)}, dims="setting"
    )


def _sweep(product: xr.Dataset, parameter: str) -> xr.Dataset:
    """The conditions of one sweep."""
    of_it = [str(c).startswith(f"{parameter}=") for c in product["condition"].values]
    return product.isel(condition=of_it)


def _steps(product: xr.Dataset, parameter: str, name: str) -> xr.DataArray:
    """Steps of a variable from one value of the parameter to the next larger one."""
    return _sweep(product, parameter).sortby("value")[name].diff("condition")


def _usual(product: xr.Dataset) -> xr.Dataset:
    """Conditions of the learning rate with β = 1, whose cost is that of the deviation."""
    chosen = [c.endswith("β=1") for c in product["condition"].values]
    return product.isel(condition=chosen)


def _drop_time(psi: xr.DataArray) -> xr.DataArray:
    """Last time the control is above the middle of its maximum after t = 2 and its end.

    Between two records it is taken to be linear.
    """
    after = psi.sel(time=slice(2, None))
    end = psi.isel(time=-1, drop=True)
    middle = (after.max("time") + end) / 2
    return xr.apply_ufunc(
        _last_crossing, psi, middle, psi["time"],
        input_core_dims=[["time"], [], ["time"]], vectorize=True,
    )  # fmt: skip


def _last_crossing(values: Array, level: float, time: Array) -> float:
    """Where values fall below a level for good; NaN if they never are above it."""
    above = np.nonzero(values > level)[0]
    if not len(above):
        return float("nan")
    k = above[-1]  # not the last one, as the level is not below the end
    part = (values[k] - level) / (values[k] - values[k + 1])
    return float(time[k] + part * (time[k + 1] - time[k]))


def _effort(psi: xr.DataArray) -> xr.DataArray:
    """Engagement that costs: beyond 1 if attentive."""
    return psi - (psi["variant"] == "attentive").astype(float)


def _leading_time(phi: xr.DataArray) -> xr.DataArray:
    """Median of the times before 60 at which a level has the largest engagement."""
    early = phi.sel(time=slice(0, 60)).isel(time=slice(None, -1))
    leader = early.argmax("group")
    levels = xr.DataArray(np.arange(early.sizes["group"]), dims="group")
    return early["time"].where(leader == levels).median("time")


def _loss_ratio(product: xr.Dataset) -> xr.DataArray:
    """Time integral of the loss, with control over without."""
    total = product["loss"].integrate("time")
    return total.sel(case="control", drop=True) / total.sel(case="baseline", drop=True)


def _ease_correlations(
    product: xr.Dataset, *windows: tuple[float, float]
) -> list[xr.DataArray]:
    """Spearman's of mean phi in each window of time and minus the optimal loss: (seed)."""
    ease = -product["optimal_loss"].values
    found = []
    for window in windows:
        phi = product["phi"].sel(time=slice(*window)).mean("time")
        ranks = [float(spearmanr(row.values, ease).statistic) for row in phi]
        found.append(phi.isel(group=0, drop=True).copy(data=ranks))
    return found


def _last_over_first(peak: xr.DataArray, chosen: xr.DataArray) -> xr.DataArray:
    of_kind = peak.isel(switch=np.nonzero(chosen.values)[0])
    return of_kind.isel(switch=-1, drop=True) / of_kind.isel(switch=0, drop=True)
