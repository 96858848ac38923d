"""One function per claim: its statistics, from the products.

c1 to c15 are those of the project's specification. Times are in sequences seen; half is the
first record whose loss is below half of ln 2.
"""

import numpy as np
import xarray as xr

from retrograd.claims import Products, Statistics
from retrograd.papers.singh2024_induction_heads.data import LN2, first_below, plateau

SETTLED = 15_000  # sequences; before, the loss falls from ln L to ln 2
EARLY, LATE = 10_000, 20_000  # sequences, of c13
INDUCTION_HEAD = 0.25  # induction strength
TASKS = ("K=100", "K=200", "L=10", "L=15")


# ---- whole networks ----------------------------------------------------------------------


def c1(products: Products) -> Statistics:
    """Length of the plateau; how long the drop takes over when it begins, per seed."""
    (product,) = products.values()
    whole = product.sel(condition="all")
    t, loss = whole["sequences"], whole["loss"]
    begin, end = (first_below(t, loss, f * LN2) for f in (0.95, 0.2))
    return {"plateau": plateau(t, loss), "drop_over_begin": (end - begin) / begin}


def c2(products: Products) -> Statistics:
    """Steepest rise of the mean induction strength against steepest fall of the loss.

    And the strongest head's induction strength before the drop, and at the end.
    """
    whole = products["all"].sel(condition="all")
    t, loss, strength = (
        whole[name] for name in ("sequences", "loss", "induction_strength")
    )
    rise, fall = _steepest(t, strength.mean("head")), _steepest(t, -loss)
    strongest = strength.max("head")
    before = t <= 0.8 * first_below(t, loss, LN2)
    return {
        "gap": abs(rise - fall) / fall,
        "strongest_before": strongest.isel(record=before.sum("record") - 1),
        "strongest_at_the_end": strongest.isel(record=-1),
    }


def c3(products: Products) -> Statistics:
    """Heads whose induction strength is above 0.25 at the end: per seed, and the median."""
    strength = products["all"]["induction_strength"].sel(condition="all").isel(record=-1)
    count = (strength > INDUCTION_HEAD).sum("head")
    return {"induction_heads": count, "median": float(count.median())}


def c4(products: Products) -> Statistics:
    """How heads add up at the end, per seed.

    Correlation over heads of induction strength and the accuracy of that head alone; the
    median accuracy without one; the largest factor by which the next head raises the loss;
    the loss of the strongest alone over that of three.
    """
    whole = products["all"].sel(condition="all")
    strength = whole["induction_strength"].isel(record=-1)
    loss = whole["cumulative_loss"]
    factor = loss.shift(heads_kept=-1) / loss
    one, three = (loss.sel(heads_kept=n, drop=True) for n in (1, 3))
    return {
        "correlation": xr.corr(strength, whole["only_accuracy"], "head"),
        "without_one": whole["remove_accuracy"].median("head"),
        "factor_of_the_next": factor.max("heads_kept"),
        "one_over_three": one / three,
    }


def c5(products: Products) -> Statistics:
    """Single heads of the first seed: how many reach half, slowest over fastest, and the
    whole network over the fastest."""
    single = products["single"].isel(seed=0)
    half = first_below(single["sequences"], single["loss"], LN2 / 2)
    whole = products["all"].sel(condition="all").isel(seed=0)
    of_all = float(first_below(whole["sequences"], whole["loss"], LN2 / 2))
    return {
        "reach_half": float(half.notnull().mean()),
        "slowest_over_fastest": float(half.max() / half.min()),
        "all_over_fastest": of_all / float(half.min()),
    }


def c11(products: Products) -> Statistics:
    """Loss at the end on held-out label pairs and on classes never trained, per seed."""
    loss = products["all"]["other_loss"].sel(condition="all").isel(other_record=-1)
    return {name: loss.sel(evaluation_set=name) for name in ("relabel", "newclass")}


def c12(products: Products) -> Statistics:
    """Of the head of layer 0 that attends most to the token before, start and end."""
    strength = products["all"]["previous_strength"].sel(condition="all").max("head")
    return {"start": strength.isel(record=0), "end": strength.isel(record=-1)}


def c15(products: Products) -> Statistics:
    """Layer 0 heads that an induction head reads, and induction heads that read one.

    A head of layer 1 reads one of layer 0 if its induction strength falls by a tenth or
    more without that one. The most of each, over seeds the least.
    """
    whole = products["all"].sel(condition="all")
    strength = whole["induction_strength"].isel(record=-1)
    reads = (whole["wiring"] >= 0.1 * strength) & (strength > INDUCTION_HEAD)
    return {
        "sources_of_one": float(reads.sum("source").max("head").min()),
        "readers_of_one": float(reads.sum("head").max("source").min()),
    }


# ---- clamps ------------------------------------------------------------------------------


def c6(products: Products) -> Statistics:
    """Ratios of the medians over seeds of the time to half, by what is clamped."""
    half = _half(products["clamped"]).median("seed", skipna=False)
    none, prev, layer1, match, copy, both = (
        float(half.sel(condition=name))
        for name in ("none", "prev", "layer1", "match", "copy", "layer1+copy")
    )
    return {
        "none_over_prev": none / prev,
        "prev_over_layer1": prev / layer1,
        "none_over_layer1": none / layer1,
        "copy_over_none": copy / none,
        "match_over_none": match / none,
        "layer1_copy_over_copy": both / copy,
    }


def c7(products: Products) -> Statistics:
    """Length of the plateau, per seed, by what is clamped."""
    clamped = products["clamped"]
    length = plateau(clamped["sequences"], clamped["loss"])
    return {
        name: length.sel(condition=name) for name in ("match", "layer1", "none", "prev")
    }


def c13(products: Products) -> Statistics:
    """Progress of C while the loss is on the plateau, per seed of `none`.

    The measure when the loss first is below 0.98 ln 2 after 20 000 sequences; and the least
    gap to the loss from 10 000 sequences to then.
    """
    none = products["clamped"].sel(condition="none")
    t, loss, measure = none["sequences"], none["loss"], none["pm_match"]
    leaves = (t > LATE) & (loss < 0.98 * LN2)
    record = leaves.argmax("record")
    left = leaves.any("record")
    until = (t >= EARLY) & (none["record"] <= record)
    return {
        "measure": measure.isel(record=record).where(left),
        "gap": (loss - measure).where(until).min("record").where(left),
    }


def c14(products: Products) -> Statistics:
    """Ratios of the median times to half of imposed strengths s; the least loss at 0.5."""
    strength = products["strength"]
    half = _half(strength).median("seed", skipna=False)
    full, most, three_quarters, little = (
        float(half.sel(condition=f"match s={s}")) for s in ("1", "0.9", "0.75", "0.6")
    )
    return {
        "s_0_9_over_1": most / full,
        "s_0_75_over_0_9": three_quarters / most,
        "s_0_6_over_0_75": little / three_quarters,
        "s_0_6_over_1": little / full,
        "least_loss_at_0_5": float(strength["loss"].sel(condition="match s=0.5").min()),
    }


# ---- the toy -----------------------------------------------------------------------------


def c8(products: Products) -> Statistics:
    """Median ratios of iterations to half: nothing held over one or two vectors held."""
    half = products["toy"]["half"]
    none = half.sel(condition="none", drop=True)
    return {
        f"none_over_{name}": float((none / half.sel(condition=name)).median())
        for name in ("bc", "c")
    }


# ---- properties of the data --------------------------------------------------------------


def c9(products: Products) -> Statistics:
    """Time to half with 200 classes over that with 50, per seed, by what is clamped.

    in_between: whether 100 classes lie in between, where the number of classes matters.
    """
    ratio = {name: _ratio(products, name) for name in _WORDS}
    statistics = {
        f"{_WORDS[name]}_K_200": of.sel(task="K=200") for name, of in ratio.items()
    }
    between = []
    for name in ("none", "layer1+copy", "layer1"):
        some, most = (ratio[name].sel(task=task) for task in ("K=100", "K=200"))
        between.append(float(((some >= 1) & (some <= most)).mean()))
    return statistics | {"in_between": min(between)}


def c10(products: Products) -> Statistics:
    """Time to half with more labels over that with 5, per seed, by what is clamped.

    Of B it is exactly 1: with layer1+copy no label enters a score, and runs of a seed have
    the same weights and classes.
    """
    return {
        f"{_WORDS[name]}_L_{L}": _ratio(products, name).sel(task=f"L={L}")
        for name, labels in (
            ("none", (10, 15)),
            ("match", (10, 15)),
            ("layer1+copy", (10, 15)),
            ("layer1", (15,)),
        )
        for L in labels
    }


_WORDS = {"none": "none", "match": "C", "layer1+copy": "B", "layer1": "B_and_C"}


def _ratio(products: Products, circuit: str) -> xr.DataArray:
    """Time to half of each other task over that of the usual one, (task, seed)."""
    usual = _half(products["clamped" if circuit == "none" else "sweep_clamped"])
    other = _half(products["sweep_none" if circuit == "none" else "sweep_clamped"])
    of_task = [other.sel(condition=f"{circuit} {task}", drop=True) for task in TASKS]
    # Seeds that the sweep lacks drop out.
    ratio: xr.DataArray = xr.concat(of_task, "task") / usual.sel(
        condition=circuit, drop=True
    )
    return ratio.assign_coords(task=list(TASKS))


def _half(product: xr.Dataset) -> xr.DataArray:
    """First t with a loss below half of ln 2, (condition, seed); NaN if there is none."""
    return first_below(product["sequences"], product["loss"], LN2 / 2)


def _steepest(t: xr.DataArray, y: xr.DataArray) -> xr.DataArray:
    """Time of the largest rise of y over two records, once settled, (seed)."""
    earlier, later = slice(None, -2), slice(2, None)
    numbers = {"record": np.arange(y.sizes["record"] - 2)}

    def between(values: xr.DataArray, part: slice) -> xr.DataArray:
        return values.isel(record=part).assign_coords(numbers)

    rise = between(y, later) - between(y, earlier)
    settled = between(t, earlier) >= SETTLED
    steepest = rise.where(settled, -np.inf).argmax("record")
    return between(t, slice(1, -1)).isel(record=steepest)
