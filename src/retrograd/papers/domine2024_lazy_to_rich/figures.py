"""One function per figure: products in, Figure out."""

from collections.abc import Mapping
from typing import Any

import matplotlib as mpl
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

Products = Mapping[str, xr.Dataset]
TIME = "t = η·steps"
SEEN = 1e-4  # of the initial loss
DISTANCE = "kernel distance from the start"
THEORY: Any = {"color": "k", "linestyle": ":", "linewidth": 1}
ENTRIES = ("-", "--")  # line styles of the entries shown, in their order
LATER = slice(1, None)  # t = 0 has no place on a logarithmic axis


def fig1(products: Products) -> Figure:
    """Rms deviation from λ-balance against the width; the balance of a few units."""
    balance = products["lecun"]
    N, rms = balance["size"], balance["rms_deviation"]
    figure = Figure(figsize=(7.4, 3.1))
    left, right = figure.subplots(1, 2, width_ratios=(1.2, 1))
    for run in range(balance.sizes["seed"]):
        label = "one run" if run == 0 else None
        left.loglog(N, rms.isel(seed=run), "C0x", label=label)
    guide = float((rms * N**0.5).mean()) * N**-0.5
    left.loglog(N, guide, "k--", linewidth=1, label="slope −1/2")
    left.set(xlabel="inputs N (N/2 hidden units, 2N outputs)")
    left.set_ylabel("rms entry of W2ᵀW2 − W1W1ᵀ − λ̂I")
    left.set_title(f"LeCun weights: λ̂ = {float(balance['lam'][:, -1].mean()):.2f}")
    left.legend()
    _heat_map(right, balance["balance"].values, "viridis", colorbar=True)
    right.set(title="W2ᵀW2 − W1W1ᵀ", xlabel="hidden unit", ylabel="hidden unit")
    left.set_xticks(N, [f"{n}" for n in N.values], minor=False)
    left.xaxis.minorticks_off()
    return figure


def fig2(products: Products) -> Figure:
    """Gradient descent and exact solution: loss, kernel distance, and some entries."""
    gd, theory = (products[name].isel(time=LATER) for name in ("exact_gd", "exact_theory"))
    figure = Figure(figsize=(9.6, 5.4))
    axes = figure.subplots(2, 3, sharex=True)
    for curve, panel in zip(("loss", "kernel_distance"), axes[0], strict=False):
        for color, lam in zip(_colors(gd.sizes["lam"]), gd["lam"].values, strict=True):
            label = f"λ = {lam:g}"
            simulated = gd[curve].sel(lam=lam)
            panel.plot(gd["time"], simulated, color=color, linewidth=3, label=label)
            panel.plot(theory["time"], theory[curve].sel(lam=lam), **THEORY)
    axes[0, 0].set(ylabel="loss", title="loss", ylim=(0, None))
    axes[0, 1].set(ylabel=DISTANCE, title="tangent kernel moves", ylim=(0, None))
    axes[0, 0].legend()
    panels = {"map": axes[0, 2], "A": axes[1, 0], "B": axes[1, 1]}
    titles = {"map": "W2W1", "A": "A = W1ᵀW1", "B": "B = W2W2ᵀ"}
    for name, panel in panels.items():
        entries = [d["matrix"].sel(block=name, row=0) for d in (gd, theory)]
        _entries(panel, *entries)
        panel.set(title=f"{titles[name]}, first row", ylabel="entry")
    _entries(axes[1, 2], _kernel_entries(gd), _kernel_entries(theory))
    axes[1, 2].set(title="tangent kernel, first output", ylabel="entry")
    for panel in axes[1]:
        panel.set(xlabel=TIME, xscale="log")
    return _without_minor_ticks(figure)


def _kernel_entries(run: xr.Dataset) -> xr.DataArray:
    """K of the first output at the inputs √N e_p: N (A_pp + B_00), along `column`."""
    n = run.sizes["row"]
    A, B = (run["matrix"].sel(block=name) for name in ("A", "B"))
    diagonal = [A.isel(row=p, column=p, drop=True) for p in range(n)]
    kernel: xr.DataArray = n * (
        xr.concat(diagonal, "column") + B.isel(row=0, column=0, drop=True)
    )
    return kernel


def _entries(axes: Axes, gd: xr.DataArray, theory: xr.DataArray) -> None:
    """Entries along `column`, one line style each; λ by colour; theory as fine dots."""
    for color, lam in zip(_colors(gd.sizes["lam"]), gd["lam"].values, strict=True):
        for column in range(len(ENTRIES)):
            simulated, exact = (d.sel(lam=lam).isel(column=column) for d in (gd, theory))
            axes.plot(gd["time"], simulated, ENTRIES[column], color=color, linewidth=2)
            axes.plot(theory["time"], exact, **THEORY)


def fig3(products: Products) -> Figure:
    """Aligned modes: strength, transition function, and the distance to its limits."""
    gd, theory = (
        products[name].isel(time=LATER) for name in ("aligned_gd", "aligned_theory")
    )
    chosen = theory["lam"].where(theory["lam"] > 0, drop=True).values
    s = float(theory["mode"][-1])
    start = products["aligned_theory"]["a"].isel(time=0, mode=-1)
    figure = Figure(figsize=(11, 3.4))
    left, middle, right = figure.subplots(1, 3)
    for color, lam in zip(_colors(len(chosen)), chosen, strict=True):
        a, simulated = (d["a"].sel(lam=lam).isel(mode=-1) for d in (theory, gd))
        left.plot(a["time"], a, color=color, label=f"{lam:g}")
        left.plot(simulated["time"], simulated, ".", color=color, markevery=4)
        a0 = float(start.sel(lam=lam))
        rescaled = a["time"] * np.hypot(lam, 2 * s)
        if lam in chosen[1::2]:
            middle.plot(rescaled, (a - a0) / (s - a0), color=color)
    x = np.geomspace(0.05, 20, 40)
    a0 = float(start[0])
    sigmoid = s / (1 + (s / a0 - 1) * np.exp(-x))
    limit = {"linewidth": 1, "color": "k"}
    middle.plot(x, (sigmoid - a0) / (s - a0), ":", label="λ = 0: sigmoid", **limit)
    middle.plot(x, 1 - np.exp(-x), "--", label="|λ| → ∞: exponential", **limit)
    left.set(xscale="log", xlabel=TIME, ylabel=f"mode strength a, s = {s:g}")
    left.legend(title="λ", ncols=1)
    middle.set(xscale="log", xlim=(0.05, 20), xlabel="t √(λ² + 4s²)")
    middle.set_ylabel("transition (a − a₀)/(s − a₀)")
    middle.legend()
    positive = theory.sel(lam=chosen)
    for name, marker, text in (
        ("from_sigmoid", "C0o-", "to the sigmoid"),
        ("from_exponential", "C1s-", "to the exponential"),
    ):
        far = positive[name] if name == "from_sigmoid" else positive[name][chosen >= 1]
        right.loglog(far["lam"], far, marker, label=text)
    right.set(xlabel="λ", ylabel="largest distance of a(t)", title="limits of the mode")
    right.legend()
    return _without_minor_ticks(figure)


def fig4(products: Products) -> Figure:
    """Map and representations after training; loss under noise."""
    gd, theory = products["semantic_gd"], products["semantic_theory"]
    figure = Figure(figsize=(11, 4.6))
    panels: Any = figure.subfigures(1, 2, width_ratios=(1.9, 1))
    maps, noise = panels
    networks = gd["network"].values
    grid = maps.subplots(3, len(networks), squeeze=False)
    names = {"map": "W2W1", "A": "A (items)", "B": "B (features)"}
    for row, (block, text) in enumerate(names.items()):
        for column, network in enumerate(networks):
            axes = grid[row, column]
            matrix = gd["matrix"].sel(block=block, network=network).values
            _heat_map(axes, matrix, "RdBu_r")
            axes.set(xticks=[], yticks=[])
            if row == 0:
                axes.set_title(str(network) if "=" in network else f"Gaussian,\n{network}")
        grid[row, 0].set_ylabel(text)
    axes = noise.subplots()
    for color, name in enumerate(("parameters", "inputs")):
        of = f"loss with noisy {name}"
        exact = theory["statistic"].sel(name=of).mean("seed")
        axes.plot(exact["lam"], exact, f"C{color}-", label=f"noisy {name}: theory")
        simulated = gd["statistic"].sel(name=of).mean("seed")
        axes.plot(simulated["lam"], simulated, f"C{color}o", label="gradient descent")
        for init, style in zip(gd["init"].values, (":", "--"), strict=False):
            level = float(gd["gaussian_statistic"].sel(name=of, init=init).mean("seed"))
            label = f"Gaussian, {init}" if name == "parameters" else None
            axes.axhline(level, color=f"C{color}", linestyle=style, label=label)
    axes.set(yscale="log", xlabel="λ", ylabel="mean loss under noise")
    noise.legend(loc="outside lower center", ncols=2)
    return _without_minor_ticks(figure)


def fig5(products: Products) -> Figure:
    """Final kernel distance against λ by architecture; the two phases of a funnel."""
    theory, gd, delayed = (
        products[name] for name in ("arch_theory", "arch_gd", "delayed_theory")
    )
    figure = Figure(figsize=(11, 3.6))
    left, middle, right = figure.subplots(1, 3)
    for color, shape in enumerate(theory["shape"].values):
        final, reached = (
            d.sel(shape=shape)
            for d in (theory["final_distance"], theory["kernel_distance"])
        )
        band = final["lam"], final.min("seed"), final.max("seed")
        left.fill_between(*band, color=f"C{color}", alpha=0.3, linewidth=0)
        left.plot(final["lam"], final.mean("seed"), f"C{color}-", label=str(shape))
        done = (abs(reached / final - 1) < 0.01).isel(seed=0)
        simulated = gd["kernel_distance"].sel(shape=shape).isel(seed=0)[done]
        left.plot(simulated["lam"], simulated, f"C{color}x")
    left.set(yscale="log", xlabel="λ", ylabel=f"final {DISTANCE}")
    left.set_xscale("symlog", linthresh=0.5)
    left.set_xticks([-50, -5, -0.5, 0.5, 5, 50], ["−50", "−5", "−½", "½", "5", "50"])
    left.legend()
    _delayed(middle, right, delayed.isel(seed=0))
    return _without_minor_ticks(figure)


def _delayed(middle: Axes, right: Axes, run: xr.Dataset) -> None:
    for color, lam in zip(_colors(run.sizes["lam"]), run["lam"].values, strict=True):
        one = run.sel(lam=lam)
        middle.plot(one["time"], one["kernel_distance"], color=color, label=f"λ = {lam:g}")
        right.plot(one["time"], one["loss"], color=color)
        right.axhline(float(one["plateau"]), color=color, linestyle=":", linewidth=1)
    middle.set(xscale="log", xlabel=TIME, ylabel=DISTANCE, title="funnel, λ < 0: delayed")
    right.set(xscale="log", yscale="log", xlabel=TIME, ylabel="loss")
    right.set(ylim=(1e-3, 5), title="plateau: outside the rows of W1")
    middle.legend()


def fig6(products: Products) -> Figure:
    """A sequence of tasks; reversal; transfer; fine-tuning."""
    figure = Figure(figsize=(8.6, 6.4))
    (top_left, top_right), (low_left, low_right) = figure.subplots(2, 2)
    _task_sequence(top_left, products["continual_gd"], products["continual_theory"])
    switches = [products[f"switch_{name}"].isel(seed=0) for name in ("gd", "theory")]
    _second_task(top_right, "reversal", *switches)
    _transfer(low_left, products["semantic_gd"], products["semantic_theory"])
    _second_task(low_right, "fine-tuning", *switches)
    top_right.set(title="reversal Σ → −Σ", ylim=(SEEN, 2))
    low_right.set(title="fine-tuning, items permuted", ylim=(SEEN, 2))
    return _without_minor_ticks(figure)


def _task_sequence(axes: Axes, gd: xr.Dataset, theory: xr.Dataset) -> None:
    tasks = theory.sizes["task"]
    # Time within each task on a logarithmic scale, the tasks side by side.
    place = _place(theory["time"].values, float(theory["time"][-1]) / tasks)
    lams = theory["lam"].values
    rich, lazy = lams[abs(lams).argmin()], lams[-1]
    for task in theory["task"].values:
        curve = theory["loss"].sel(task=task)
        axes.plot(place, curve.sel(lam=rich), f"C{task}-", label=f"task {task + 1}")
        axes.plot(place, curve.sel(lam=lazy), f"C{task}--")
        simulated = gd["loss"].sel(task=task, lam=rich)
        axes.plot(place, simulated, f"C{task}.", markevery=3)
    for edge in range(1, tasks):
        axes.axvline(edge, color="k", linewidth=0.6)
    axes.set_xticks(np.arange(tasks) + 0.5, [f"learn {k + 1}" for k in range(tasks)])
    axes.set(ylabel="loss", ylim=(0, None), xlabel="log t within each task")
    axes.set_title(f"one task after another, λ = {rich:g} (dashed: {lazy:g})")
    axes.legend()


def _place(times: np.ndarray, length: float) -> np.ndarray:
    """Times of equally long tasks, each task on a logarithmic unit interval."""
    task = np.ceil(times / length - 1e-9) - 1
    within = times - task * length
    low, high = np.log(within.min()), np.log(length)
    place: np.ndarray = task + (np.log(within) - low) / (high - low)
    return place


def _second_task(axes: Axes, name: str, gd: xr.Dataset, theory: xr.Dataset) -> None:
    simulated, exact = (d["loss"].sel(switch=name) for d in (gd, theory))
    chosen = [lam for lam in exact["lam"].values if lam >= 0][::2]
    for color, lam in zip(_colors(len(chosen)), chosen, strict=True):
        line, dots = (d.sel(lam=lam) for d in (exact, simulated))
        later = line["time"][LATER], line[LATER] / line[0]
        axes.plot(*later, color=color, label=f"{lam:g}")
        ratio = dots[LATER] / dots[0]
        seen = ratio.where(ratio > SEEN, drop=True)
        axes.plot(seen["time"], seen, ".", color=color)
    axes.set(xscale="log", yscale="log", xlabel=TIME, ylabel="loss / initial loss")
    if name == "reversal":  # the colours of the fine-tuning are the same
        axes.legend(title="λ", loc="lower left")


def _transfer(axes: Axes, gd: xr.Dataset, theory: xr.Dataset) -> None:
    for color, relation in enumerate(("sibling", "cousin", "far")):
        exact, simulated = (
            d["statistic"].sel(name=f"transfer to {relation}").mean("seed")
            for d in (theory, gd)
        )
        axes.plot(exact["lam"], exact, f"C{color}-", label=relation)
        axes.plot(simulated["lam"], simulated, f"C{color}o")
    axes.set(xlabel="λ", ylabel="prediction (1 for the taught item)")
    axes.set(title="transfer to another item")
    axes.legend()


def _colors(count: int) -> list[Any]:
    """One colour per λ, dark to light in its order."""
    return list(mpl.colormaps["viridis"](np.linspace(0, 0.88, count)))


def _without_minor_ticks(figure: Figure) -> Figure:
    """Hundreds of small ticks are half of an SVG with logarithmic axes."""
    for axes in figure.axes:
        axes.minorticks_off()
    return figure


def _heat_map(axes: Axes, matrix: Any, cmap: str, colorbar: bool = False) -> None:
    limit = float(abs(matrix).max())
    low = -limit if cmap == "RdBu_r" else None
    high = limit if cmap == "RdBu_r" else None
    image = axes.imshow(matrix, cmap=cmap, vmin=low, vmax=high)
    axes.grid(visible=False)
    if colorbar:
        axes.figure.colorbar(image, ax=axes, shrink=0.9)
