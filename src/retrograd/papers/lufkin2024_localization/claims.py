"""One function per claim: its statistics, from the products.

C1 to C8 are those of the project's specification; L1 to L5 are the limits it names. An IPR
without a time is that at the end of a run.
"""

from typing import TypeVar

import numpy as np
import xarray as xr
from scipy.stats import spearmanr

from retrograd.claims import Products, Statistics
from retrograd.papers.lufkin2024_localization.data import (
    at_time,
    cosine,
    final_ipr,
    mean_over_runs,
)
from retrograd.papers.lufkin2024_localization.params import ELLIPTICAL

xrT = TypeVar("xrT", xr.Dataset, xr.DataArray)
EARLY, LATE = 4.0, 60.0  # times t of the trajectories that are compared


def c1(products: Products) -> Statistics:
    """Mean IPR of nlgp 10 at the start and at the end."""
    ipr = products["kurtosis_sgd"]["ipr"].sel(condition="nlgp 10").mean("seed")
    return {"initial": float(ipr.isel(record=0)), "final": float(ipr.isel(record=-1))}


def c2a(products: Products) -> Statistics:
    """Mean cosine of simulated and predicted weights at t = 4."""
    cosine = _cosine(products, EARLY)
    return {
        f"cosine_g_{g}".replace(".", "_"): float(cosine.sel(condition=f"nlgp {g}"))
        for g in ("0.1", "0.774", "3", "100")
    }


def c2b(products: Products) -> Statistics:
    """The same of g = 0.1 at t = 60."""
    return {"cosine": float(_cosine(products, LATE).sel(condition="nlgp 0.1"))}


def c2c(products: Products) -> Statistics:
    """Mean over seeds of simulated over predicted norm, per condition."""
    ratio = products["kurtosis_sgd"]["norm"] / products["kurtosis_theory"]["norm"]
    return {"norm_over_theory": ratio.mean("seed")}


def c2d(products: Products) -> Statistics:
    """Share of the seeds of g = 100 with the predicted largest entry at t = 60."""
    peaks = [
        abs(at_time(products[name], LATE)).sel(condition="nlgp 100").argmax("pos")
        for name in ("trajectory_sgd", "trajectory_theory")
    ]
    return {"share_of_winners": float((peaks[0] == peaks[1]).mean())}


def c3a(products: Products) -> Statistics:
    """Rank correlation of IPR and −(excess kurtosis)."""
    ipr = final_ipr(products["kurtosis_sgd"])
    return {"rank_correlation": _rank_correlation(-ipr["excess_kurtosis"], ipr)}


def c3b(products: Products) -> Statistics:
    """The largest mean IPR of nearly zero or positive, the least of negative kurtosis."""
    ipr = final_ipr(products["kurtosis_sgd"])
    excess = ipr["excess_kurtosis"]
    return {
        "largest_not_negative": float(ipr.where(excess >= -0.1).max()),
        "least_negative": float(ipr.where(excess <= -0.6).min()),
    }


def c3c(products: Products) -> Statistics:
    """Rank correlation of simulated and predicted IPR."""
    pair = (final_ipr(products[f"kurtosis_{name}"]) for name in ("sgd", "theory"))
    return {"rank_correlation": _rank_correlation(*pair)}


def c3d(products: Products) -> Statistics:
    """Mean IPR on the Ising ring."""
    return {"final": float(final_ipr(products["other_sgd"]).sel(condition="ising"))}


def c4a(products: Products) -> Statistics:
    """The largest IPR of any seed, per elliptical family."""
    ipr = _elliptical(products["other_sgd"])["ipr"].isel(record=-1)
    return {"largest": ipr.max("seed")}


def c4b(products: Products) -> Statistics:
    """The least share of power in wavenumbers 0 and 1, per elliptical family."""
    share = _elliptical(products["other_sgd"])["spectrum"].sel(wavenumber=[0, 1])
    return {"least_low_power": share.sum("wavenumber").min("seed")}


def c4c(products: Products) -> Statistics:
    """Simulated over predicted norm of every seed and elliptical family."""
    ratio = products["other_sgd"]["norm"] / products["other_theory"]["norm"]
    return {"norm_over_theory": _elliptical(ratio)}


def c5a(products: Products) -> Statistics:
    """Mean IPR of the units, per family."""
    return _per_family(final_ipr(products["many_sgd"]))


def c5b(products: Products) -> Statistics:
    """Mean number of sites at which the units of nlgp 100 peak."""
    peaks = products["many_sgd"]["peak"].sel(condition="nlgp 100")
    distinct = [len(np.unique(peaks.sel(seed=seed))) for seed in peaks["seed"]]
    return {"distinct_peaks": float(np.mean(distinct))}


def c6(products: Products) -> Statistics:
    """Mean IPR of independent components, per family; the runs that converged.

    Inputs that are nearly Gaussian have no components to converge to.
    """
    components = products["components"]
    gaussian = abs(components["excess_kurtosis"]) < 0.1
    converged = components["converged"].where(~gaussian, drop=True).min()
    return _per_family(mean_over_runs(components["ipr"])) | {"converged": float(converged)}


def c7(products: Products) -> Statistics:
    """Mean IPR of units on a torus, in units of that of a constant."""
    torus = products["torus_sgd"]
    return {"ipr_over_constant": float(final_ipr(torus).mean()) * int(torus["inputs"])}


def c8(products: Products) -> Statistics:
    """Nothing to compute: an argument, not a measurement."""
    return {}


def l1(products: Products) -> Statistics:
    """Simulated minus predicted IPR of nlgp 0.774, whose kurtosis is intermediate."""
    sgd, predicted = (
        float(final_ipr(products[f"kurtosis_{name}"]).sel(condition="nlgp 0.774"))
        for name in ("sgd", "theory")
    )
    return {"sgd": sgd, "sgd_minus_theory": sgd - predicted}


def l2(products: Products) -> Statistics:
    """IPR of a heavy-tailed law over that of a nearly uniform one, ReLU units."""
    ipr = final_ipr(products["relu_sgd"])
    ratio = ipr.sel(condition="alg 4.3") / ipr.sel(condition="alg 50")
    return {"positive_over_negative": float(ratio)}


def l3(products: Products) -> Statistics:
    """Share of the power in low wavenumbers, with either order of the classes."""
    low = products["models_theory"]["low_power"]
    return {
        f"if_y_1_is_{which}": float(low.sel(order=f"y = 1 {which}"))
        for which in ("longer", "shorter")
    }


def l4(products: Products) -> Statistics:
    """Share of localized runs at lr/B = 1e-4 with the predicted largest entry."""
    sgd, predicted = (products[f"kurtosis_{name}"] for name in ("sgd", "theory"))
    same = (sgd["peak"] == predicted["peak"]).mean("seed")
    localized = same.where(same["excess_kurtosis"] <= -0.6)
    return {"share_of_winners": float(localized.mean())}


def l5(products: Products) -> Statistics:
    """Mean of simulated over predicted norm on the Ising ring."""
    ratio = products["other_sgd"]["norm"] / products["other_theory"]["norm"]
    return {"norm_over_theory": float(ratio.sel(condition="ising").mean())}


def _cosine(products: Products, t: float) -> xr.DataArray:
    """Cosine of simulated and predicted weights at time t, mean over seeds."""
    pair = (at_time(products[f"trajectory_{name}"], t) for name in ("sgd", "theory"))
    return cosine(*pair).mean("seed")


def _elliptical(product: xrT) -> xrT:
    """Without the Ising ring and others in the same product."""
    labels = product["condition"].values
    return product.sel(condition=[x for x in labels if x.split()[0] in ELLIPTICAL])


def _rank_correlation(a: xr.DataArray, b: xr.DataArray) -> float:
    return float(spearmanr(a, b).statistic)


def _per_family(ipr: xr.DataArray) -> dict[str, float]:
    """A statistic for every condition, named after it: alg_4_3, nlgp_100."""
    return {
        str(label).replace(" ", "_").replace(".", "_"): float(ipr.sel(condition=label))
        for label in ipr["condition"].values
    }
