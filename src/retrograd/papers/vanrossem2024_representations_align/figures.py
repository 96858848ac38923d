"""One function per figure: products in, Figure out."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from retrograd import convergence
from retrograd.papers.vanrossem2024_representations_align import data

Products = Mapping[str, xr.Dataset]
CURVES = {"h2": ("$|dh|^2$", "C0"), "y2": ("$|d\\hat{y}|^2$", "C1"), "w": ("w", "C2")}
SIMULATION: dict[str, Any] = {"linestyle": "-", "linewidth": 2.4, "alpha": 0.45}
THEORY: dict[str, Any] = {"linestyle": "--", "linewidth": 1.2}


def fig1(products: Products) -> Figure:
    """Trajectories of two points, networks and fitted theory, for every architecture."""
    runs, fits = _two_points(products, "architecture")
    figure = Figure(figsize=(10.5, 4.6))
    panels = _panels(figure, runs.sizes["setting"])
    for i, axes in enumerate(panels):
        run, fit = _shown(runs, fits, i)
        for name, (label, color) in CURVES.items():
            axes.plot(run["step"], run[name], color=color, label=label, **SIMULATION)
            axes.plot(run["step"], fit[name], color=color, **THEORY)
        axes.set_title(str(run["setting"].values))
        axes.xaxis.set_major_locator(MaxNLocator(3))
    _label_outer(panels, "step", "squared distance, w")
    handles, labels = panels[0].get_legend_handles_labels()
    lines = [
        panels[0].plot([], [], color="k", **style)[0] for style in (SIMULATION, THEORY)
    ]
    figure.legend(
        [*handles, *lines],
        [*labels, "network", "theory, two fitted rates"],
        loc="outside upper center",
        ncols=5,
    )
    return figure


def fig2(products: Products) -> Figure:
    """Losses of the same runs, and the theory with one more rate."""
    runs, fits = _two_points(products, "architecture")
    figure = Figure(figsize=(10.5, 4.2))
    panels = _panels(figure, runs.sizes["setting"])
    for i, axes in enumerate(panels):
        run, fit = _shown(runs, fits, i)
        axes.plot(run["step"], run["loss"], color="C0", label="network", **SIMULATION)
        axes.plot(run["step"], fit["loss"], color="C3", label="theory", **THEORY)
        axes.set_title(str(run["setting"].values))
        axes.xaxis.set_major_locator(MaxNLocator(3))
    _label_outer(panels, "step", "loss")
    handles = panels[0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside upper center", ncols=2)
    return figure


def fig3(products: Products) -> Figure:
    """Final distances: of all architectures with their own rates, and of other data sets
    with the rates of one."""
    runs, fits = _two_points(products, "architecture")
    figure = Figure(figsize=(9.2, 4.0))
    left, right = figure.subplots(1, 2)
    kept = runs["converged"] == 1
    for i, name in enumerate(runs["setting"].values):
        chosen = kept.isel(setting=i)
        theory, net = (
            values.isel(setting=i).where(chosen, drop=True)
            for values in (fits["h_final"], runs["h2"].isel(time=-1))
        )
        marker = "o" if i < 5 else "^"
        left.plot(theory, net, f"C{i}{marker}", label=str(name), alpha=0.8)
    _identity(left)
    left.set_title("ten architectures, rates fitted to each run")
    left.legend(ncols=2)

    grid, predicted = products["other_tasks"], products["other_tasks_theory"]["h2"]
    for i, dy in enumerate(grid["dy"].values):
        at = {"dy": dy}
        chosen = grid["converged"].sel(at) == 1
        theory, net = (
            values.sel(at).where(chosen, drop=True) for values in (predicted, grid["h2"])
        )
        right.plot(theory, net, "o", color=f"{0.8 - 0.2 * i:g}", label=f"|dy| = {dy:g}")
    _identity(right)
    right.set_title("25 data sets, rates fitted to |dx| = 1, |dy| = 0.71")
    right.legend()
    for axes in (left, right):
        axes.set(xlabel="$|dh(\\infty)|^2$, theory", ylabel="$|dh|^2$ at the end, network")
    return figure


def fig4(products: Products) -> Figure:
    """What the fits depend on: the layer, the gain of the weights, and the width."""
    runs, fits = _two_points(products, "architecture")
    figure = Figure(figsize=(11, 5.6))
    (cost, rates, growth), (error, width, controls) = figure.subplots(2, 3)
    converged = runs["converged"].isel(setting=0)
    _layers(cost, rates, fits, converged)
    gains = _two_points(products, "gain")
    _growth(growth, *gains)
    _errors(error, *gains)
    _widths(width, *_two_points(products, "width"))
    own = convergence.kept(fits["cost"].isel(setting=0), converged)
    altered = {
        "no encoder term\nin $d|d\\hat{y}|^2/dt$": fits["cost_no_encoder_term"],
        "$d|dh|^2/dt$\ndoubled": fits["cost_doubled_encoder"],
    }
    ratios = [float(c.where(own.notnull()).sum() / own.sum()) for c in altered.values()]
    controls.bar(["theory", *altered], [1, *ratios], color=["C0", "C3", "C3"], width=0.6)
    controls.set_ylabel("cost of the fit / theory's")
    controls.set_title("altered theories fit worse")
    return figure


def fig5(products: Products) -> Figure:
    """XOR: distances by theory, and of networks from small to large weights."""
    runs, theory = products["other_tasks"], products["other_tasks_theory"]
    settings = runs["setting"].values.tolist()
    figure = Figure(figsize=(8.6, 4.4))
    grid = figure.subplots(2, len(settings), squeeze=False)
    for column, setting in enumerate(settings):
        converged = runs["xor_converged"].sel(setting=setting)
        for row, (source, text) in enumerate(((theory, "theory"), (runs, "networks"))):
            distances = source["distance2"].sel(setting=setting) ** 0.5
            matrix = convergence.mean(distances, converged)
            title = f"{setting}: {text}"
            _matrix(figure, grid[row, column], matrix.values, title, "|dh|")
            ticks = ["00", "01", "10", "11"]
            grid[row, column].set_xticks(range(4), ticks)
            grid[row, column].set_yticks(range(4), ticks)
    return figure


def fig6(products: Products) -> Figure:
    """Images: distances of classes by theory and of networks; one pair with its fit."""
    runs, theory = products["digits"], products["digits_theory"]
    figure = Figure(figsize=(11, 5.4))
    panels: Any = figure.subplots(2, 3)
    first: Axes = panels[0, 0]
    predicted = theory["class_distance2"].values.copy()
    np.fill_diagonal(predicted, 0)
    title = "theory, rich: $|dh|^2 / \\sqrt{\\rho}$"
    _matrix(figure, first, predicted, title, "|dx| |dy|")
    regimes = runs["regime"].values.tolist()
    for unused in panels[0, 1 + len(regimes) :]:
        unused.remove()
    for axes, regime in zip(panels[0, 1:], regimes, strict=False):
        converged = runs["regime_converged"].sel(regime=regime)
        mean = convergence.mean(runs["class_mean"].sel(regime=regime), converged)
        _matrix(figure, axes, mean.values, f"networks, {regime}: $|dh|^2$", "$|dh|^2$")
    for axes in panels[0, : 1 + len(regimes)]:
        axes.set(xlabel="class", ylabel="class", xticks=range(0, 10, 3))
        axes.set_yticks(range(0, 10, 3))
    seed = int(runs["converged"].values.argmax())
    for axes, (name, (label, color)) in zip(panels[1], CURVES.items(), strict=True):
        run, fit = (d[name].isel(seed=seed) for d in (runs, theory))
        axes.plot(runs["step"], run, color=color, label="network", **SIMULATION)
        axes.plot(runs["step"], fit, color=color, label="theory, fitted", **THEORY)
        axes.set(xlabel="step", ylabel=label, title=f"an image of 0 and one of 1: {label}")
        axes.legend()
    return figure


def fig7(products: Products) -> Figure:
    """The context task: representations, and what is left of the irrelevant feature."""
    runs = products["context"]
    regimes = runs["regime"].values.tolist()
    figure = Figure(figsize=(10.6, 5.2))
    grid = figure.add_gridspec(2, len(regimes) + 1, width_ratios=[*[1] * len(regimes), 0.8])
    for column, regime in enumerate(regimes):
        points = runs["embedding"].sel(regime=regime)
        for row, kind in enumerate(("relevant", "irrelevant")):
            axes = figure.add_subplot(grid[row, column])
            for context, marker in enumerate("os"):
                relevant_first = (context == 0) == (kind == "relevant")
                places = points["first" if relevant_first else "second"]
                x, y = points.sel(context=context)
                colors = (places + 0 * x).transpose(*x.dims)
                found = axes.scatter(
                    x, y, c=colors, marker=marker, s=11, cmap="viridis", rasterized=True
                )
            axes.set(title=f"{regime}: {kind} feature", xticks=[], yticks=[])
        axes.set_xlabel("principal axes of h; ○, □: contexts")
    figure.colorbar(found, ax=axes, label="place", location="right")
    bars = figure.add_subplot(grid[:, -1])
    start = runs["irrelevant_start"] / runs["relevant_start"]
    end = runs["irrelevant"] / runs["relevant"]
    for i, (values, label) in enumerate(((start, "start"), (end, "end"))):
        kept = convergence.kept(values, runs["converged"])
        middle = kept.mean("seed")
        at = np.arange(len(regimes)) + 0.2 * (2 * i - 1)
        bars.bar(at, middle, 0.38, color=f"C{i}", alpha=0.6, label=label)
        for place, regime in zip(at, regimes, strict=True):
            one = kept.sel(regime=regime)
            bars.plot(np.full(one.sizes["seed"], place), one, "k.", markersize=4)
    bars.set_xticks(range(len(regimes)), regimes)
    bars.set(ylabel="variance of class means,\nirrelevant / relevant", yscale="log")
    bars.legend()
    return figure


# ---- parts -----------------------------------------------------------------------------


def _two_points(products: Products, axis: str) -> tuple[xr.Dataset, xr.Dataset]:
    runs, fits = (
        data.part(products[name], axis) for name in ("two_points", "two_points_theory")
    )
    return runs, fits


def _panels(figure: Figure, count: int) -> list[Axes]:
    columns = min(count, 5)
    grid = figure.subplots(-(-count // columns), columns, squeeze=False)
    panels = list(grid.ravel())
    for empty in panels[count:]:
        empty.remove()
    return panels[:count]


def _label_outer(panels: list[Axes], x: str, y: str) -> None:
    for axes in panels:
        place = axes.get_subplotspec()
        if place is None:
            continue
        if place.is_last_row():
            axes.set_xlabel(x)
        if place.is_first_col():
            axes.set_ylabel(y)


def _shown(runs: xr.Dataset, fits: xr.Dataset, i: int) -> tuple[xr.Dataset, xr.Dataset]:
    """The run of a setting whose fitted curves are recorded, and these."""
    fit = fits.isel(setting=i)
    return runs.isel(setting=i).sel(seed=int(fit["shown"])), fit


def _identity(axes: Axes) -> None:
    largest = max(axes.get_xlim()[1], axes.get_ylim()[1])
    axes.plot([0, largest], [0, largest], "k:", linewidth=1)
    axes.set(xlim=(0, largest), ylim=(0, largest), aspect="equal")


def _matrix(figure: Figure, axes: Axes, matrix: Any, title: str, label: str) -> None:
    image = axes.imshow(matrix, cmap="viridis", vmin=0)
    axes.grid(visible=False)
    axes.set_title(title)
    figure.colorbar(image, ax=axes, shrink=0.85, label=label)


def _layers(
    cost_axes: Axes, rate_axes: Axes, fits: xr.Dataset, converged: xr.DataArray
) -> None:
    cost = convergence.kept(fits["layer_cost"], converged).sum("seed")
    cost_axes.semilogy(cost["layer"], cost, "C0o-")
    cost_axes.set(ylabel="cost of the fit, sum over seeds", title="middle layers fit best")
    for color, name, label in (
        ("C0", "eta_h", "encoder, $\\eta_h$"),
        ("C1", "eta_y", "decoder, $\\eta_y$"),
    ):
        rate = convergence.mean(fits[f"layer_{name}"], converged)
        rate_axes.semilogy(rate["layer"], rate, "o-", color=color, label=label)
    rate_axes.set(ylabel="effective rate, per step", title="mean over seeds")
    rate_axes.legend()
    for axes in (cost_axes, rate_axes):
        axes.set_xlabel("hidden layer")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _growth(axes: Axes, runs: xr.Dataset, fits: xr.Dataset) -> None:
    growth = runs["h2"].isel(time=-1) / runs["h2"].isel(time=0)
    _points(axes, growth, runs["converged"], "C0", "")
    axes.axhline(1, color="k", linestyle=":", linewidth=1)
    axes.set(xlabel="gain g", ylabel="$|dh|^2$, end / start", title="from rich to lazy")
    axes.set_yscale("log")


def _errors(axes: Axes, runs: xr.Dataset, fits: xr.Dataset) -> None:
    for name, (label, color) in CURVES.items():
        median = convergence.median(fits[f"nrmse_{name}"], runs["converged"])
        axes.plot(median["setting"], median, "o-", color=color, label=label)
    axes.set(xlabel="gain g", ylabel="rms error / range, median", yscale="log")
    axes.set_title("the theory fails at large weights")
    axes.legend()


def _widths(axes: Axes, runs: xr.Dataset, fits: xr.Dataset) -> None:
    _points(axes, fits["eta_h"], runs["converged"], "C0", "")
    axes.set(xlabel="width P", ylabel="$\\eta_h$ per step", xscale="log", yscale="log")
    axes.set_title("wide networks behave alike")


def _points(
    axes: Axes, values: xr.DataArray, converged: xr.DataArray, color: str, label: str
) -> None:
    """Every run that converged, and the median."""
    kept = convergence.kept(values, converged)
    for seed in kept["seed"].values:
        axes.plot(kept["setting"], kept.sel(seed=seed), ".", color=color, alpha=0.5)
    axes.plot(kept["setting"], kept.median("seed"), "-", color=color, label=label)
