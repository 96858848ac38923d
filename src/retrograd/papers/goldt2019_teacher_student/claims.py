"""One function per claim: its statistics, from the products of one group of seeds.

The numbers G1 to P1 are those of the project's specification. A final error is the mean
of eg over the run's window.
"""

import numpy as np
import xarray as xr

from retrograd.claims import Products, Statistics
from retrograd.papers.goldt2019_teacher_student.data import (
    by_K,
    order_parameter_deviation,
)


def g1(products: Products) -> Statistics:
    """RMS over time of ln(eg_sgd / eg_ode), per run."""
    ratio = products["traj_sgd"]["eg"] / products["traj_ode"]["eg"]
    log_ratio = xr.apply_ufunc(np.log, ratio)
    per_run = (log_ratio**2).mean("time") ** 0.5
    return {
        "log_deviation_median": float(per_run.median()),
        "log_deviation_90th_percentile": float(per_run.quantile(0.9)),
    }


def g2(products: Products) -> Statistics:
    """d_N, the mean over seeds of the largest RMS deviation of (Q, R, v) along a run."""
    sgd, ode = products["nscale_sgd"], products["nscale_ode"]
    deviation = order_parameter_deviation(sgd, ode).max("time")
    d = deviation.mean(["seed", "condition"])
    slope = np.polyfit(np.log(d["size"]), np.log(d), 1)[0]
    return {"slope": float(slope), "scaled_deviation": d * d["size"] ** 0.5}


def g3(products: Products) -> Statistics:
    """SGD over the fixed point F8, per K."""
    return {"sgd_over_fixed_point": _sgd_over_theory(products, "scm_erf", "eg_final")}


def g4(products: Products) -> Statistics:
    """Slope of eg* against L, over that of the first-order law, ησ²v*²/2π."""
    sgd = by_K(products["scm_erf_sgd"]["eg_final"].mean("seed"))
    law = by_K(products["scm_erf_theory"]["eg_first_order"])
    slopes = [np.polyfit(eg["K"], eg, 1)[0] for eg in (sgd, law)]
    return {"slope_over_law": slopes[0] / slopes[1]}


def g4b(products: Products) -> Statistics:
    """F8/F2 at the larger learning rate, and how its excess over 1 shrinks."""
    theory = products["small_eta_theory"]
    excess = theory["eg_final"] / theory["eg_first_order"] - 1
    larger, smaller = (
        by_K(excess.where(excess["eta"] == eta, drop=True))
        for eta in (excess["eta"].max(), excess["eta"].min())
    )
    return {
        "fixed_point_over_law": 1 + larger,
        "excess_when_eta_halves": smaller / larger,
    }


def g4c(products: Products) -> Statistics:
    """F8 at σ over F8 at σ/2."""
    eg = products["small_sigma_theory"]["eg_final"]
    larger, smaller = (
        by_K(eg.where(eg["sigma"] == sigma, drop=True))
        for sigma in (eg["sigma"].max(), eg["sigma"].min())
    )
    return {"error_ratio": larger / smaller}


def g5(products: Products) -> Statistics:
    """SGD over F3, per K."""
    return {"sgd_over_law": _sgd_over_theory(products, "scm_lin", "eg_final")}


def g6(products: Products) -> Statistics:
    """SGD over F4 at the smallest K, where O(η²) is small; and the growth with K."""
    ratio = _sgd_over_theory(products, "scm_relu", "eg_final")
    sgd = by_K(products["scm_relu_sgd"]["eg_final"].mean("seed"))
    return {"sgd_over_law": ratio.isel({"K": [0]}), "growth": _largest_over_smallest(sgd)}


def g7(products: Products) -> Statistics:
    """Mean final errors over that of the smallest K."""
    eg = by_K(products["both_erf_sgd"]["eg_final"].mean("seed"))
    return {
        "largest_over_smallest": _largest_over_smallest(eg),
        "second_over_smallest": float(eg.isel(K=1) / eg.isel(K=0)),
    }


def g8(products: Products) -> Statistics:
    """F8 from the denoiser over F5, per K."""
    theory = products["denoiser_ode"]
    ratio = by_K(theory["eg_final"] / theory["eg_first_order"])
    return {"fixed_point_over_law": ratio}


def g8b(products: Products) -> Statistics:
    """SGD from the denoiser over F5, per K."""
    return {"sgd_over_law": _sgd_over_theory(products, "denoiser", "eg_first_order")}


def g9(products: Products) -> Statistics:
    """Median final errors, and SGD against F6 with the measured Σ v²."""
    sgd, theory = products["both_lin_sgd"], products["both_lin_theory"]
    deviation = abs(sgd["eg_final"] / theory["eg_final"] - 1)
    return {
        "largest_over_smallest": _largest_over_smallest(_median(sgd)),
        "law_deviation_median": float(deviation.median()),
    }


def g10(products: Products) -> Statistics:
    """Median final errors; the largest among the runs that can reach the solution.

    The gradient flow conserves Q_kk − v_k², which is negative at small initial weights,
    so v_k never changes sign. A ReLU unit whose sign is not the teacher's can only die,
    and a student with fewer than M units of the right sign cannot fit M teacher units.
    """
    sgd = products["both_relu_sgd"]
    able = (sgd["v_start"] > 0).sum("student") >= sgd.sizes["teacher"]
    return {
        "largest_over_smallest": _largest_over_smallest(_median(sgd)),
        "largest_error_of_able_runs": float(sgd["eg_final"].where(able).max()),
    }


def g10b(products: Products) -> Statistics:
    """The largest final error of any run."""
    return {"largest_error": float(products["both_relu_sgd"]["eg_final"].max())}


def g11(products: Products) -> Statistics:
    """s = Σ v² max_m abs(ρ_km) / Σ v²: 1 if every unit follows one teacher unit."""
    s = {name: _specialisation(products[f"both_{name}_sgd"]) for name in _ACTIVATIONS}
    return {
        "erf_least": float(s["erf"].min()),
        "lin_largest": float(s["lin"].max()),
        "relu_median": float(s["relu"].median()),
    }


def g12(products: Products) -> Statistics:
    """(Σ abs(v))² / Σ v² over the units of teacher m, mean over m and runs, largest K."""
    sgd = products["both_erf_sgd"].isel(condition=[-1])
    v = sgd["v_end"]
    assigned = abs(sgd["rho_end"]).argmax("teacher")
    copies = []
    for m in range(sgd.sizes["teacher"]):
        of_m = abs(v).where(assigned == m, 0)
        total = (of_m**2).sum("student")
        # A teacher unit that no student follows has no copies.
        copies.append(xr.where(total > 0, of_m.sum("student") ** 2 / total, 0))
    return {"copies_per_teacher_unit": float(np.mean(copies))}


def g13(products: Products) -> Statistics:
    """eg* of the largest K over that of the smallest; finite set over online SGD."""
    growth = {
        name: _largest_over_smallest(by_K(products[f"{name}_sgd"]["eg_final"].mean("seed")))
        for name in ("scm_erf", "scm_lin", "scm_relu", "both_erf")
    }
    first = [growth[f"scm_{name}"] for name in _ACTIVATIONS]
    finite, online = (
        by_K(products[name]["eg_final"].mean("seed")).isel(K=0)
        for name in ("finite_sgd", "scm_erf_sgd")
    )
    return {
        "first_layer_growth": xr.DataArray(
            first, coords={"activation": list(_ACTIVATIONS)}, dims="activation"
        ),
        "both_layers_erf": growth["both_erf"],
        "both_layers_lin": _largest_over_smallest(_median(products["both_lin_sgd"])),
        "both_layers_relu": _largest_over_smallest(_median(products["both_relu_sgd"])),
        "finite_over_online": float(finite / online),
    }


def g14(products: Products) -> Statistics:
    """eg at the end of the runs with K = 1."""
    sgd, ode = (products[name]["eg"].isel(time=-1) for name in ("traj_sgd", "traj_ode"))
    sgd, ode = (eg.where(eg["K"] == 1, drop=True) for eg in (sgd, ode))
    return {"error_at_end": float(sgd.min()), "ode_over_sgd": ode / sgd}


def p1(products: Products) -> Statistics:
    """Mean error at the end of the ODE, and how far above it the mean is at α = 2000."""
    eg = by_K(products["tail_ode"]["eg"].mean("seed"))
    final = eg.isel(time=-1)
    at_2000 = eg.interp(time=2000)
    return {
        "largest_over_smallest": _largest_over_smallest(final),
        "error_at_2000_over_final": at_2000 / final,
    }


def p1b(products: Products) -> Statistics:
    """Mean final errors of SGD over that of the smallest K."""
    eg = by_K(products["both_erf_sgd"]["eg_final"].mean("seed"))
    return {"largest_over_smallest": _largest_over_smallest(eg)}


_ACTIVATIONS = ("erf", "lin", "relu")


def _sgd_over_theory(products: Products, name: str, variable: str) -> xr.DataArray:
    sgd = products[f"{name}_sgd"]["eg_final"].mean("seed")
    return by_K(sgd / products[f"{name}_theory"][variable])


def _largest_over_smallest(eg: xr.DataArray) -> float:
    return float(eg.sel(K=eg["K"].max()) / eg.sel(K=eg["K"].min()))


def _median(sgd: xr.Dataset) -> xr.DataArray:
    """Median over seeds: some runs from small weights end in dead-unit minima."""
    return by_K(sgd["eg_final"].median("seed"))


def _specialisation(sgd: xr.Dataset) -> xr.DataArray:
    weight = sgd["v_end"] ** 2
    best = abs(sgd["rho_end"]).max("teacher")
    return (weight * best).sum("student") / weight.sum("student")
