"""One function per claim: its statistics, from the products.

c1 to c14 are those of the project's specification, t4 is of its theory. Trajectories are
smoothed by a mean of three records before their peak, and its step t*, are taken; `final`
is the mean of the last four records; the transience index TI is peak − final.
"""

import numpy as np
import xarray as xr
from scipy.stats import spearmanr

from retrograd.claims import Products, Statistics
from retrograd.papers.singh2023_transient_icl.reading import (
    accuracy,
    arrival,
    final,
    peak,
    peak_step,
    select,
    smoothed,
    speeds,
)

STRONGEST = 1e-4  # λ of the regulariser at which ICL persists
LEARNT, LOST = 0.02, 0.1  # l1 of the toy below which mechanism 1 is learnt, above lost
SLOW, MIDDLE, FAST = (0.0, 0.0035), 0.007, (0.014, 0.028)  # δ


def c1(products: Products) -> Statistics:
    """Accuracy of icl of every seed: its peak, and at the start."""
    icl = accuracy(products["main"], "icl")
    return {"peak": _by_seed(peak(icl)), "start": _by_seed(icl.isel(step=0))}


def c2(products: Products) -> Statistics:
    """Transience index of icl, mean and of every seed, and of flip."""
    icl, flip = (_transience(products["main"], name) for name in ("icl", "flip"))
    return {"mean_icl": float(icl.mean()), "icl": icl, "flip": flip}


def c3(products: Products) -> Statistics:
    """Final ciwl of every seed, and its rise since the peak of flip."""
    main = products["main"]
    ciwl, when = accuracy(main, "ciwl"), peak_step(accuracy(main, "flip"))
    rise = final(ciwl) - smoothed(ciwl).sel(step=when)
    return {"final": _by_seed(final(ciwl)), "rise": _by_seed(rise)}


def c4(products: Products) -> Statistics:
    """Training loss at the end over that at the peak of flip; its rank correlation with
    the step from there on, of every seed."""
    main = products["main"]
    loss, when = main["train_run"], peak_step(accuracy(main, "flip"))
    ratio = final(loss, "until") / loss.sel(until=when)
    correlations = when.astype(float)
    for run in main["run"].values:
        later = loss.sel(run=run).where(loss["until"] >= when.sel(run=run), drop=True)
        correlations.loc[{"run": run}] = spearmanr(later["until"], later).statistic
    return {"ratio": _by_seed(ratio), "rank_correlation": _by_seed(correlations)}


def c5(products: Products) -> Statistics:
    """Means over seeds at each λ: final flip, icl and its transience."""
    runs = {l2: _regularised(products, l2) for l2 in _strengths(products)}
    flip = [float(final(accuracy(found, "flip")).mean()) for found in runs.values()]
    strongest = runs[STRONGEST]
    return {
        "least_increase_of_flip": float(np.diff(flip).min()),
        "flip_without": flip[0],
        "flip_strongest": flip[-1],
        "icl_strongest": float(final(accuracy(strongest, "icl")).mean()),
        "transience_strongest": float(_transience(strongest, "icl").mean()),
    }


def c6(products: Products) -> Statistics:
    """Least growth of the final training loss from one λ to the next, means over seeds."""
    losses = [
        float(final(_regularised(products, l2)["train_run"], "until").mean())
        for l2 in _strengths(products)
    ]
    return {"least_ratio": float((np.array(losses[1:]) / losses[:-1]).min())}


def c7(products: Products) -> Statistics:
    """Transience index in a wider and in a narrower network."""
    wide, narrow = products["wide"], products["narrow"]
    return {
        "wide_icl": _transience(wide, "icl"),
        "wide_flip": _transience(wide, "flip"),
        "narrow_icl": _transience(narrow, "icl"),
        "narrow_mean_flip": float(_transience(narrow, "flip").mean()),
    }


def c8(products: Products) -> Statistics:
    """Transience index on another data set, means over seeds."""
    alt = products["alt"]
    return {name: float(_transience(alt, name).mean()) for name in ("icl", "flip")}


def c9(products: Products) -> Statistics:
    """Final flip and icl, and the transience of icl, of every seed without δ."""
    control = _control(products)
    return {
        "flip": _by_seed(final(accuracy(control, "flip"))),
        "icl": _by_seed(final(accuracy(control, "icl"))),
        "transience": _transience(control, "icl"),
    }


def c10(products: Products) -> Statistics:
    """Induction strength, summed over heads: at the end over its peak."""

    def kept(product: xr.Dataset) -> xr.DataArray:
        strength = product["ih_strength"].sum("head")
        return _by_seed(final(strength) / peak(strength))

    return {"transient": kept(products["main"]), "control": kept(_control(products))}


def c11(products: Products) -> Statistics:
    """Initial states in which mechanism 1 is learnt and lost; share whose L only falls."""
    toy = products["toy"]
    l1 = toy["l1"]
    lost = (l1.min("iteration") < LEARNT) & (l1.isel(iteration=-1) > LOST)
    # A run that rests repeats its loss, to the bit.
    falling = (toy["L"].diff("iteration") <= 0).all("iteration")
    return {"learnt_and_lost": float(lost.mean()), "falling": float(falling.mean())}


def c12(products: Products) -> Statistics:
    """Final accuracy of iwl over chance, mean over seeds without regulariser."""
    deep = select(products["deep"], l2=0)
    iwl = final(accuracy(deep, "iwl"))
    return {"over_chance": float(iwl.mean()) * int(deep["labels"])}


def c13(products: Products) -> Statistics:
    """Peak and final flip of seed 0 where IWL is slow, in between, and fast."""
    runs = speeds(products)
    flip = accuracy(runs, "flip")
    highest, end = (
        values.swap_dims(run="delta").drop_vars(["run", "seed", "l2"])
        for values in (peak(flip), final(flip))
    )
    return {
        "slow_final": _near(end, SLOW),
        "middle_peak": float(_near(highest, (MIDDLE,))),
        "middle_final": float(_near(end, (MIDDLE,))),
        "fast_peak": _near(highest, FAST),
        "fast_final": _near(end, FAST),
    }


def c14(products: Products) -> Statistics:
    """Nothing to compute: no statistic was given."""
    return {}


def natural(products: Products) -> Statistics:
    """Transience index of icl and flip on characters, means over seeds."""
    runs = products["natural"]
    return {name: float(_transience(runs, name).mean()) for name in ("icl", "flip")}


def l1(products: Products) -> Statistics:
    """Final accuracy of iwl of every seed."""
    return {"final": _by_seed(final(accuracy(products["main"], "iwl")))}


def l2(products: Products) -> Statistics:
    """Final icl without an in-weights route, less what a perfect matcher reaches."""
    ceiling = float(products["ceiling"]["repeated"].isel(case=0))
    icl = final(accuracy(_control(products), "icl"))
    return {"below_ceiling": ceiling - _by_seed(icl)}


def t4(products: Products) -> Statistics:
    """Slope of log step over log δ, where ciwl comes."""
    when = arrival(speeds(products))
    if when.size < 2:
        return {"exponent": np.nan}
    return {"exponent": float(np.polyfit(np.log(when["delta"]), np.log(when), 1)[0])}


# ---- parts -----------------------------------------------------------------------------


def _by_seed(values: xr.DataArray) -> xr.DataArray:
    """Runs of one condition, named by their seeds in the report."""
    others = [name for name in values.coords if name not in ("run", "seed")]
    return values.drop_vars(others).swap_dims(run="seed").drop_vars("run")


def _transience(product: xr.Dataset, name: str) -> xr.DataArray:
    """TI of an evaluator's accuracy, by seed."""
    values = accuracy(product, name)
    return _by_seed(peak(values) - final(values))


def _strengths(products: Products) -> list[float]:
    """All λ, ascending; 0 is the training without any."""
    regularised = products["controls"]["l2"].values
    return [0.0, *np.unique(regularised[regularised > 0]).tolist()]


def _regularised(products: Products, l2: float) -> xr.Dataset:
    """Runs at one λ: the same seeds at each."""
    if l2:
        return select(products["controls"], l2=l2)
    main, controls = products["main"], products["controls"]
    return main.isel(run=np.isin(main["seed"], controls["seed"][controls["l2"] > 0]))


def _control(products: Products) -> xr.Dataset:
    """Runs without an in-weights route."""
    return select(products["controls"], delta=0, l2=0)


def _near(values: xr.DataArray, deltas: tuple[float, ...]) -> xr.DataArray:
    return values.sel(delta=list(deltas), method="nearest", tolerance=1e-6).squeeze()
