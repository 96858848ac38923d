"""One function per claim: its statistics, from the products of one group of seeds.

The numbers I1 to I19 are those of the project's specification. A test network has had an
insight if the score of its sigmoid exceeds ROBUST. Conditions are pooled over the runs.
"""

import numpy as np
import xarray as xr

from retrograd.claims import Products, Statistics
from retrograd.errors import RetrogradError
from retrograd.papers.lowe2023_insight.switch_fit import ROBUST

SIGMA_XI = (0, 0.01, 0.03, 0.05, 0.1)  # of I7, increasing
LAMBDA = (0.01, 0.03, 0.05, 0.07, 0.1)  # of I9, increasing
DEFAULT = {"lam": 0.07, "sigma_xi": 0.05}
PREDICTED = [(0.07, s) for s in (0.01, 0.03, 0.05, 0.1)]
PREDICTED += [(lam, 0.05) for lam in (0.03, 0.05, 0.1)]  # (λ, σ_ξ) of I15
LARGE, SMALL = 1.06, 0.3  # sizes of the hidden weight in I6


def i1(products: Products) -> Statistics:
    """Part of the networks and of the controls with insight."""
    insight = products["main"]["score"] > ROBUST
    return {
        "insight_fraction": float(insight.sel(group="test").mean()),
        "false_positives": float(insight.sel(group="control").mean()),
    }


def i1b(products: Products) -> Statistics:
    """Networks of 99 that score higher than all 99 controls, mean over the batches."""
    return {"mean_count": float(products["batches"]["published"].mean())}


def i2(products: Products) -> Statistics:
    """Delays of the insights, in trials."""
    delay = _split(products["main"], "delay")[0]
    return {"delay_mean": float(delay.mean()), "delay_sd": float(delay.std())}


def i3(products: Products) -> Statistics:
    """The jump across the switch, and slopes of single networks and of their mean."""
    main = products["main"]
    insight, others = _split(main, "jump")
    slope = _split(main, "free_slope")[0].median()
    group = main["group_slope"].sel(kind="insight").mean()
    return {
        "jump_insight": float(insight.mean()),
        "jump_others": float(others.mean()),
        "slope_over_group": float(slope / group),
    }


def i3b(products: Products) -> Statistics:
    """Trials from 10 % to 90 % of the rise: median network over their mean curve."""
    main = products["main"]
    median = _split(main, "width")[0].median()
    group = main["group_width"].sel(kind="insight").mean()
    return {"width_over_group": float(median / group)}


def i4(products: Products) -> Statistics:
    """The hidden weight at the onset, and how well it tells who will have an insight."""
    insight, others = (abs(w) for w in _split(products["main"], "w_c_onset"))
    other = others.rename(seed="other_seed", network="other_network")
    larger = (insight > other).where(insight.notnull() & other.notnull())
    return {
        "weight_ratio": float(insight.mean() / others.mean()),
        "area_under_curve": float(larger.mean()),
    }


def i5(products: Products) -> Statistics:
    """The gate at the onset, and what behaviour shows of the hidden weight before it."""
    main = products["main"]
    gate = main["g_c_onset"]
    insight, others = _split(main, "right_before")
    return {
        "gate_size": float(abs(gate).mean()),
        "gate_at_zero": float((gate == 0).mean()),
        "accuracy_difference": float(insight.mean() - others.mean()),
    }


def i6(products: Products) -> Statistics:
    """Part with insight among networks of large and of small hidden weight."""
    main = products["main"]
    insight = main["score"].sel(group="test") > ROBUST
    weight = abs(main["w_c_onset"])
    return {
        "given_large": float(insight.where(weight > LARGE).mean()),
        "given_small": float(insight.where(weight < SMALL).mean()),
    }


def i7(products: Products) -> Statistics:
    """Part with insight as the noise of the update grows."""
    sweeps = products["sweeps"]
    fraction = [
        _fraction(_condition(sweeps, DEFAULT["lam"], sigma_xi)) for sigma_xi in SIGMA_XI
    ]
    return {
        "without_noise": fraction[0],
        "least_increase": float(np.diff(fraction).min()),
        "at_0_1": fraction[-1],
    }


def i8(products: Products) -> Statistics:
    """Part with insight if noise moves the weights only, or the gates only."""
    variants = products["variants"]
    return {
        name: _fraction(variants.sel(condition=f"noise on {name}"))
        for name in ("weights", "gates")
    }


def i9(products: Products) -> Statistics:
    """Steps of the part with insight and of its delay as the penalty grows."""
    sweeps = products["sweeps"]
    swept = [_condition(sweeps, lam, DEFAULT["sigma_xi"]) for lam in LAMBDA]
    return {
        "largest_step_of_fraction": float(np.diff([_fraction(c) for c in swept]).max()),
        "least_step_of_delay": float(np.diff([_delay(c) for c in swept]).min()),
    }


def i10(products: Products) -> Statistics:
    """Networks without a penalty, and networks without gates."""
    none, no_gates = (
        products["variants"].sel(condition=name) for name in ("no penalty", "no gates")
    )
    return {
        "fraction_without_penalty": _fraction(none),
        "delay_without_penalty": _delay(none),
        "gate_without_penalty": float(none["g_c_onset"].mean()),
        "fraction_without_gates": _fraction(no_gates),
        "delay_without_gates": _delay(no_gates),
    }


def i11(products: Products) -> Statistics:
    """An L2 penalty on the gates."""
    l1, l2 = (products["variants"].sel(condition=name) for name in ("L1", "L2"))
    return {
        "fraction": _fraction(l2),
        "delay": _delay(l2),
        "gate_over_l1": float(l2["g_c_onset"].mean() / l1["g_c_onset"].mean()),
    }


def i12(products: Products) -> Statistics:
    """Mean sizes of the gates at the end."""
    found: dict[str, float] = {}
    for gate, name in (("colour", "g_c_end"), ("motion", "g_m_end")):
        insight, others = _split(products["main"], name)
        found |= {
            f"{gate}_insight": float(abs(insight).mean()),
            f"{gate}_others": float(abs(others).mean()),
        }
    return found


def i13(products: Products) -> Statistics:
    """Hardest accuracy in the colour phase."""
    insight, others = _split(products["main"], "right_after")
    return {"accuracy_difference": float(insight.mean() - others.mean())}


def i14(products: Products) -> Statistics:
    """How much the learning rate varied over trials, and I1 to I3 of the same runs."""
    rate = products["main"]["learning_rate"]
    return {
        "learning_rate_range": float(rate.max() - rate.min()),
        **i1(products),
        **i2(products),
        **i3(products),
    }


def i15(products: Products) -> Statistics:
    """Distance of the escape heuristic from the networks, for every λ and σ_ξ."""
    deviations = {}
    for lam, sigma_xi in PREDICTED:
        measured = _condition(products["sweeps"], lam, sigma_xi)
        (name,) = measured["condition"].values.tolist()
        predicted = products["escape"]["insight_fraction"].sel(condition=name).mean()
        deviations[name] = abs(_fraction(measured) - float(predicted))
    names = {"condition": list(deviations)}
    return {"deviation": xr.DataArray([*deviations.values()], names, ["condition"])}


def i16(products: Products) -> Statistics:
    """Standard deviation of w_c at the onset over that of the random walk."""
    measured = products["main"]["w_c_onset"].std()
    return {"sd_ratio": float(measured / products["walk"]["w_c_sd"][-1])}


def i17(products: Products) -> Statistics:
    """The rule and the task as printed."""
    printed = products["printed"]
    return {"fraction": _fraction(printed), "delay": _delay(printed)}


def i18(products: Products) -> Statistics:
    """The human data are not public here."""
    raise RetrogradError("I18 is about people: no product has their answers")


def i19(products: Products) -> Statistics:
    """Not built: the architecture with a hidden layer is not known in enough detail."""
    raise RetrogradError("I19 is out of scope: it has no statistic")


def _split(main: xr.Dataset, name: str) -> tuple[xr.DataArray, xr.DataArray]:
    """A statistic of the test networks with insight, and of the others; NaN elsewhere."""
    insight = main["score"].sel(group="test") > ROBUST
    values = main[name].astype(float)
    return values.where(insight), values.where(~insight)


def _condition(sweeps: xr.Dataset, lam: float, sigma_xi: float) -> xr.Dataset:
    """The one condition with that penalty and noise, as an axis of length 1."""
    chosen = np.isclose(sweeps["lam"], lam) & np.isclose(sweeps["sigma_xi"], sigma_xi)
    return sweeps.isel(condition=chosen)


def _fraction(condition: xr.Dataset) -> float:
    return float(condition["insight_fraction"].mean())


def _delay(condition: xr.Dataset) -> float:
    """Mean delay of the insights of all runs."""
    insights = condition["insights"]
    return float((condition["delay"] * insights).sum() / insights.sum())
