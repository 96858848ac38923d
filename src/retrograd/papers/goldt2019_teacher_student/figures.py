"""One function per figure: products in, Figure out."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from retrograd.papers.goldt2019_teacher_student.data import (
    by_K,
    order_parameter_deviation,
)

Products = Mapping[str, xr.Dataset]
ALPHA = "α = steps / N"
FINAL = "final error $\\epsilon_g^*$"


def fig1(products: Products) -> Figure:
    """SGD and ODE trajectories for first and both layers; R and Q of the largest K."""
    sgd, ode = products["traj_sgd"].isel(seed=0), products["traj_ode"].isel(seed=0)
    figure = Figure(figsize=(8.4, 5.6))
    grid = figure.add_gridspec(2, 4, height_ratios=(1.5, 1))
    titles = {"first": "first layer trained (committee machine)", "both": "both layers"}
    for column, (layers, title) in enumerate(titles.items()):
        axes = figure.add_subplot(grid[0, 2 * column : 2 * column + 2])
        chosen = sgd["layers"] == layers
        curves = sgd["eg"].where(chosen, drop=True), ode["eg"].where(chosen, drop=True)
        _trajectories(axes, *map(by_K, curves))
        axes.set_title(title)
        largest = sgd.isel(condition=chosen).isel(condition=-1)
        for offset, name in enumerate(("R", "Q")):
            heat = figure.add_subplot(grid[1, 2 * column + offset])
            K = int(largest["K"])
            matrix = largest[f"{name}_end"].values[:K]
            matrix = matrix[:, :K] if name == "Q" else matrix
            label = f"{name}, K={K}, α={float(sgd['time'][-1]):g}"
            _heat_map(heat, matrix, label, "km" if name == "R" else "kl")
    return figure


def fig2(products: Products) -> Figure:
    """Final error of the erf soft committee machine against L = K − M."""
    sgd, theory = products["scm_erf_sgd"], products["scm_erf_theory"]
    M = sgd.sizes["teacher"]
    figure = Figure(figsize=(4.6, 3.4))
    axes = figure.add_subplot()
    for name, style, label in (
        ("eg_final", "C0-", "fixed point of the ODE (F8)"),
        ("eg_first_order", "C1--", "first order in η (F2)"),
    ):
        law = by_K(theory[name])
        axes.plot(law["K"] - M, law, style, label=label)
    _points(axes, sgd, "SGD, mean ± sd", "C3", shift=-M)
    axes.set(xlabel="superfluous units L = K − M", ylabel=FINAL, ylim=(0, None))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_title(f"committee machine, erf, M={M}, {_of(sgd)}")
    axes.legend()
    return figure


def fig3(products: Products) -> Figure:
    """Both layers, erf: trajectories, what one student looks like, final error with K."""
    sgd = products["both_erf_sgd"]
    figure = Figure(figsize=(11, 4.2))
    panels: Any = figure.subfigures(1, 3, width_ratios=(1, 0.95, 1))
    left, middle, right = panels

    axes = left.subplots()
    for i, (K, curve) in enumerate(by_K(sgd["eg"].mean("seed")).groupby("K")):
        curve = curve.squeeze().isel(time=slice(1, None))
        axes.loglog(curve["time"], curve, f"C{i}-", label=f"K={K}")
    axes.set(xlabel=ALPHA, ylabel="$\\epsilon_g$, mean over seeds")
    axes.set_title(f"random init, M={sgd.sizes['teacher']}, {_of(sgd)}")
    axes.legend()

    _portrait(middle, sgd.isel(seed=[0], condition=[-1]))

    axes = right.subplots()
    _scaled_errors(axes, sgd, products["both_erf_theory"], "random init", "C0")
    denoiser = products["denoiser_sgd"], products["denoiser_theory"]
    _scaled_errors(axes, *denoiser, "denoiser init", "C2")
    theory = products["denoiser_theory"]
    unit = _unit(products["denoiser_sgd"])
    for name, style, label in (
        ("eg_first_order", "k-", "F5: 1/K"),
        ("eg_first_layer", "k:", "F2: first layer only"),
    ):
        law = by_K(theory[name]) / unit
        axes.plot(law["K"], law, style, linewidth=1, label=label)
    axes.set(xlabel="student units K", ylabel=f"{FINAL} / ησ²v*²", yscale="log")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    right.legend(loc="outside lower center", ncols=2)
    return figure


def fig4(products: Products) -> Figure:
    """Linear and ReLU: final error with K, first layer and both layers."""
    figure = Figure(figsize=(8.4, 3.6))
    panels = zip(figure.subplots(1, 2), ("lin", "relu"), strict=True)
    laws = {"lin": ("F3", "F6"), "relu": ("F4", "F7")}
    for axes, name in panels:
        settings = zip(
            ("scm", "both"), ("first layer", "both layers"), laws[name], strict=True
        )
        for i, (kind, text, law_name) in enumerate(settings):
            sgd, theory = (products[f"{kind}_{name}_{s}"] for s in ("sgd", "theory"))
            unit = _unit(sgd)
            law = theory["eg_final"]
            law = by_K(law.median("seed") if "seed" in law.dims else law) / unit
            axes.plot(law["K"], law, f"C{i}-", label=f"{text}, {law_name}")
            eg = by_K(sgd["eg_final"]) / unit
            middle, low, high = (eg.quantile(q, "seed") for q in (0.5, 0.25, 0.75))
            bars = np.stack([middle - low, high - middle])
            text = f"{text}, SGD, {_of(sgd)}"
            axes.errorbar(eg["K"], middle, bars, fmt=f"C{i}o", capsize=3, label=text)
        title = {"lin": "linear", "relu": "ReLU"}[name]
        axes.set(xlabel="student units K", ylabel=f"{FINAL} / ησ²v*²", title=title)
        axes.set_ylim(0, None)
        axes.legend()
    return figure


def fig5(products: Products) -> Figure:
    """Largest deviation of SGD from the ODE against N."""
    pair = products["nscale_sgd"], products["nscale_ode"]
    deviation = order_parameter_deviation(*pair).max("time").squeeze("condition")
    mean = deviation.mean("seed")
    error = deviation.std("seed", ddof=1) / np.sqrt(deviation.sizes["seed"])
    N = mean["size"]
    figure = Figure(figsize=(4.4, 3.4))
    axes = figure.add_subplot()
    axes.errorbar(N, mean, error, fmt="C0o", capsize=3, label="SGD − ODE, mean ± s.e.")
    guide = float((mean * N**0.5).mean()) * N**-0.5
    axes.plot(N, guide, "k--", linewidth=1, label="slope −1/2")
    axes.set(xscale="log", yscale="log", xlabel="input dimension N")
    axes.set_ylabel("largest RMS deviation of (Q, R, v)")
    axes.legend()
    return figure


def fig6(products: Products) -> Figure:
    """Final error with K: a fresh sample every step, and a fixed training set."""
    online, finite = products["scm_erf_sgd"], products["finite_sgd"]
    figure = Figure(figsize=(4.6, 3.4))
    axes = figure.add_subplot()
    _points(axes, finite, "fixed set, P = 4N", "C3")
    _points(axes, online, "fresh samples (online)", "C0")
    axes.set(xlabel="student units K", ylabel=FINAL, yscale="log")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_title(f"committee machine, erf, {_of(online)}")
    axes.legend()
    return figure


def _trajectories(axes: Axes, sgd: xr.DataArray, ode: xr.DataArray) -> None:
    for i, K in enumerate(sgd["K"].values):
        later = slice(1, None)  # α = 0 has no place on a logarithmic axis
        simulated, predicted = (eg.sel(K=K).isel(time=later) for eg in (sgd, ode))
        axes.plot(simulated["time"], simulated, f"C{i}x", label=f"SGD, K={K}")
        axes.plot(predicted["time"], predicted, f"C{i}-", label=f"ODE, K={K}")
    axes.set(xscale="log", yscale="log", xlabel=ALPHA, ylabel="$\\epsilon_g$")
    axes.legend(ncols=2)


def _heat_map(axes: Axes, matrix: Any, title: str, indices: str) -> None:
    limit = max(1.0, float(abs(matrix).max()))
    image = axes.imshow(matrix, cmap="RdBu_r", vmin=-limit, vmax=limit, aspect="auto")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(nbins=4, integer=True))
    axes.set(ylabel=f"unit {indices[0]}", xlabel=f"unit {indices[1]}")
    axes.set_title(title)
    axes.grid(visible=False)
    axes.figure.colorbar(image, ax=axes, shrink=0.9)


def _portrait(panel: Any, run: xr.Dataset) -> None:
    """Normalised overlaps, Q and second layer of one student."""
    K = int(run["K"][0])
    top, bottom = panel.subplots(2, 2, height_ratios=(1.4, 1))
    rho = abs(run["rho_end"].values[0, 0, :K])
    _heat_map(top[0], rho, "|R| / √(QT)", "km")
    _heat_map(top[1], run["Q_end"].values[0, 0, :K, :K], "Q", "kl")
    for axes in bottom:
        axes.remove()
    bars = panel.add_subplot(bottom[0].get_gridspec()[1, :])
    bars.bar(range(K), run["v_end"].values[0, 0, :K], color="C0")
    bars.set(xlabel="unit k", title="second layer v", xticks=range(K))


def _points(axes: Axes, sgd: xr.Dataset, label: str, color: str, shift: int = 0) -> None:
    eg = by_K(sgd["eg_final"])
    mean, deviation = eg.mean("seed"), eg.std("seed", ddof=1)
    axes.errorbar(
        eg["K"] + shift, mean, deviation, fmt="o", color=color, capsize=3, label=label
    )


def _scaled_errors(
    axes: Axes, sgd: xr.Dataset, theory: xr.Dataset, text: str, color: str
) -> None:
    unit = _unit(sgd)
    eg = by_K(sgd["eg_final"]) / unit
    sd = eg.std("seed", ddof=1)
    axes.errorbar(eg["K"], eg.mean("seed"), sd, fmt="o", color=color, label=f"SGD, {text}")
    law = by_K(theory["eg_final"]) / unit
    axes.plot(law["K"], law, "--", color=color, label=f"F8, {_of(sgd)}")


def _unit(sgd: xr.Dataset) -> float:
    """ησ²v*² of a product whose conditions share them."""
    eta, sigma, v_star = (float(sgd[n][0]) for n in ("eta", "sigma", "v_star"))
    return eta * sigma**2 * v_star**2


def _of(sgd: xr.Dataset) -> str:
    return f"η={float(sgd['eta'][0]):g}, σ={float(sgd['sigma'][0]):g}"
