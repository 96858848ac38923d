"""One function per figure: products in, Figure out."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import Affine2D

from retrograd.papers.saxe2022_neural_race.data import (
    N_ITEMS,
    N_OUT,
    XOR_X,
    XOR_Y,
    by,
    crossing_epoch,
    untrained,
)

Products = Mapping[str, xr.Dataset]
TRAINED, UNTRAINED = "C0", "C3"
FRACTION = "fraction of trained pairs K/M"
ERROR = "error of a pair, ½|Y − ŷ|²"
COLORS = colormaps["RdBu_r"].resampled(33)  # few, since a PNG has 256 in all


def fig1(products: Products) -> Figure:
    """XoR: what the ReLU units become, and the losses; the contextual task."""
    simulated, theory = products["gating"], products["gating_theory"]
    figure = Figure(figsize=(10, 3.4))
    plane, xor, contextual = figure.subplots(1, 3)
    _cells(plane, simulated)
    # Shown until twice the time at which the loss is halved: nothing happens later.
    half = crossing_epoch(theory["xor_loss"].sel(network="relu"), 0.25)
    early = {"epoch": slice(None, 2 * float(half))}
    curves, laws = (p["xor_loss"].sel(early) for p in (simulated, theory))
    seeds = curves.sizes["seed"]
    for name, color, count, label in (
        ("relu", "C0", seeds, f"ReLU network, {seeds} seeds"),
        ("gated", "C2", 1, "gated linear network"),
        ("linear", "0.5", 1, "linear network"),
    ):
        runs = curves.sel(network=name).isel(seed=slice(count))
        _bundle(xor, runs["epoch"], runs.T, color, label, alpha=0.35 if count > 1 else 1)
    law = laws.sel(network="relu")
    xor.plot(law["epoch"], law, "k--", linewidth=1, label="closed form, $a_0$ fitted")
    xor.set(xlabel="epoch", ylabel="loss", title="XoR")
    xor.legend(loc="center right")
    for paths, label in ((1, "one path, always on"), (2, "a path per context")):
        loss, law = (p["contextual_loss"].sel(paths=paths) for p in (simulated, theory))
        color = {1: "0.5", 2: "C2"}[paths]
        contextual.plot(loss["contextual_epoch"], loss, ".", color=color, label=label)
        text = "closed form" if paths == 2 else None
        contextual.plot(law["contextual_epoch"], law, "k--", linewidth=1, label=text)
    contextual.set(xlabel="epoch", ylabel="loss", title="contextual task", ylim=(0, None))
    contextual.legend()
    return figure


def fig2(products: Products) -> Figure:
    """The routing network: losses, singular values, representation and outputs."""
    runs, theory = products["routing"].isel(condition=0), products["routing_theory"]
    exact = products["decoupled"].isel(network=0, sub_network=0)
    figure = Figure(figsize=(10, 8.6))
    grid = figure.add_gridspec(2, 2, height_ratios=(1, 1.25))
    loss, strengths, gram, outputs = (
        figure.add_subplot(grid[i, j]) for i in (0, 1) for j in (0, 1)
    )
    shown = exact.sel(epoch=slice(None, int(runs["epoch"][-1])))
    label = f"random weights, {runs.sizes['seed']} seeds"
    every_other = runs["loss"].isel(epoch=slice(None, None, 2))
    _bundle(loss, every_other["epoch"], every_other.T, "C0", label)
    loss.plot(theory["epoch"], theory["loss"], "k--", label="reduction, $b_0$ = σ₀/2.5")
    loss.plot(theory["epoch"], theory["loss_flow"], "k:", label="its limit of small steps")
    loss.plot(shown["epoch"], shown["loss"], "C1o", label="decoupled weights")
    loss.set(xlabel="epoch", ylabel="loss, sum over trained pairs")
    loss.legend()
    for name, color, label in (("sv_hidden", "C2", "hidden"), ("sv_in", "C4", "input")):
        values = runs[name].isel(seed=slice(3)).transpose("sv_epoch", "seed", "mode")
        flat = values.values.reshape(values.sizes["sv_epoch"], -1)
        label = f"{label} matrix, all modes of {values.sizes['seed']} seeds"
        _bundle(strengths, values["sv_epoch"], flat, color, label)
        law = strengths.plot(theory["sv_epoch"], theory[name].T, "k.")
        if name == "sv_in":
            law[0].set_label("reduction")
    strengths.set(xlabel="epoch", ylabel="singular value")
    strengths.legend(loc="upper right", bbox_to_anchor=(1, 0.94))
    portrait = products["routing"].isel(portrait=0)
    _gram(gram, portrait)
    gram.set_title("similarity in the first hidden layer")
    _outputs(outputs, portrait)
    outputs.set_title("outputs of all pairs (framed: trained)")
    return figure


def fig3(products: Products) -> Figure:
    """Sharing: speed, exactness, the race, and zero-shot by trained fraction."""
    theory, fractions = products["sharing_theory"], products["fractions"]
    figure = Figure(figsize=(9.4, 6.8))
    (alone, exact), (race, error) = figure.subplots(2, 2)
    for i, root in enumerate(theory["root"].values):
        curve, share = theory["strength"].sel(root=root), theory["share"].sel(root=root)
        alone.plot(curve["time"], curve, f"C{i}", label=f"P = {root**2}")
        race.plot(share["step"], share, f"C{i}", label=f"P = {root**2}")
    alone.set(xlabel="time t/τ", ylabel="$B_2 B_1^2 / S$", xscale="log")
    alone.set_title("networks whose P pairs share a hidden matrix")
    race.set(xlabel="step", ylabel="part of the mode", title="sub-networks in one network")
    race.set(xscale="log", yscale="log", ylim=(1e-4, 2))
    simulated, reduced = products["decoupled"], products["decoupled_theory"]
    for i, name in enumerate(simulated["network"].values):
        law, found = (p["loss"].sel(network=name) for p in (reduced, simulated))
        start = float(law[0])
        before_end = law.shift(epoch=1, fill_value=start) > 1e-8 * start
        law, found = (p.where(before_end, drop=True) for p in (law, found))
        exact.plot(law["epoch"], law / start, f"C{i}-", linewidth=1)
        exact.plot(found["epoch"], found / start, f"C{i}.", label=name)
    exact.set(xlabel="epoch", ylabel="loss / initial loss", yscale="log", ylim=(1e-8, 2))
    exact.set_title("weight matrices (dots), reduced map (lines)")
    _mean_sd(error, "fraction", fractions["trained_error"], TRAINED, "trained pairs")
    _mean_sd(error, "fraction", untrained(fractions, "error"), UNTRAINED, "untrained pairs")
    error.axhline(122, color="0.6", linewidth=1, linestyle=":", label="zero output")
    error.set(xlabel=FRACTION, ylabel=ERROR)
    for axes in (alone, exact, race, error):
        axes.legend()
        axes.minorticks_off()
    return figure


def fig4(products: Products) -> Figure:
    """Initial scale, from rich to lazy: losses, errors, representations and outputs."""
    runs = products["scales"]
    figure = Figure(figsize=(11, 9.2))
    rows: Any = figure.subfigures(3, 1, height_ratios=(1.05, 1, 1.25))
    top, middle, bottom = rows
    loss, error = top.subplots(1, 2)
    for i, sigma_0 in enumerate(runs["sigma_0"].values):
        curves = runs["loss"].isel(condition=i, seed=slice(2))
        _bundle(loss, curves["epoch"], curves.T, f"C{i}", f"σ₀ = {sigma_0:g}", alpha=0.7)
    loss.set(xlabel="epoch", ylabel="loss, sum over trained pairs")
    loss.legend()
    _mean_sd(error, "sigma_0", runs["trained_error"], TRAINED, "trained pairs")
    _mean_sd(error, "sigma_0", untrained(runs, "error"), UNTRAINED, "untrained pairs")
    error.axhline(122, color="0.6", linewidth=1, linestyle=":", label="zero output")
    error.set(xlabel="initial singular values σ₀", ylabel=ERROR)
    error.legend()
    count = runs.sizes["portrait"]
    panels: Any = zip(
        middle.subplots(1, count), bottom.subplots(1, count), range(count), strict=True
    )
    largest = float(abs(runs["prediction"]).max())
    for gram, outputs, i in panels:
        portrait, scale = runs.isel(portrait=i), i == count - 1
        _gram(gram, portrait, scale)
        gram.set_title(f"similarity, σ₀ = {float(portrait['portrait']):g}")
        _outputs(outputs, portrait, scale, largest)
        outputs.set_title(f"outputs, σ₀ = {float(portrait['portrait']):g}")
    return figure


def fig5(products: Products) -> Figure:
    """Images, linear networks: test accuracy by trained fraction, error rate by gain."""
    images = products["images"]
    linear = images.isel(condition=np.flatnonzero(images["leaky"] == 0))
    figure = Figure(figsize=(8.4, 3.5))
    accuracy, rate = figure.subplots(1, 2)
    small = linear.isel(condition=np.flatnonzero(linear["gain"] == 0.1))
    _accuracies(accuracy, small, "o-", "")
    accuracy.set(title="initial weights of gain 0.1")
    # The fraction at which the gain is varied.
    varied = float(linear["fraction"][np.flatnonzero(linear["gain"] != 0.1)[0]])
    gains = linear.isel(condition=np.flatnonzero(linear["fraction"] == varied))
    for kind, color in (("trained", TRAINED), ("untrained", UNTRAINED)):
        error_rate = 1 - gains[f"{kind}_accuracy"]
        _mean_sd(rate, "gain", error_rate, color, f"{kind} pairs", standard_error=True)
    rate.set(xlabel="gain of the initial weights", xscale="log", ylim=(0, 1))
    rate.set(ylabel="test error rate", title=f"{varied:.3g} of all pairs trained")
    rate.legend()
    return figure


def fig6(products: Products) -> Figure:
    """Images, leaky ReLU units: test accuracy by trained fraction; single runs."""
    images, relaxed = products["images"], products["relaxed"]
    figure = Figure(figsize=(8.4, 3.5))
    accuracy, single = figure.subplots(1, 2)
    for leaky, style, text in ((0, "o--", ", linear"), (1, "s-", ", leaky ReLU")):
        chosen = (images["leaky"] == leaky) & (images["gain"] == 0.1)
        _accuracies(accuracy, images.isel(condition=np.flatnonzero(chosen)), style, text)
    for kind, color in (("trained", TRAINED), ("untrained", UNTRAINED)):
        both = by("leaky", relaxed[f"{kind}_accuracy"])
        _bundle(single, [0, 1], both.T, color, None)
        single.plot([0, 1], both.mean("seed"), "o-", color=color, label=f"{kind} pairs")
    single.set(xticks=[0, 1], xticklabels=["linear", "leaky ReLU"], ylim=(0, 1))
    single.set_xlim(-0.2, 1.2)
    fraction = float(relaxed["fraction"][0])
    seeds = relaxed.sizes["seed"]
    single.set_title(f"{fraction:.3g} of all pairs trained, {seeds} seeds and mean")
    single.set_ylabel("test accuracy")
    single.legend(loc="lower center")
    return figure


# ---- parts -----------------------------------------------------------------------------


def _cells(axes: Axes, simulated: xr.Dataset) -> None:
    """Examples of XoR and the first-layer weights, by the sign of the second layer."""
    W1, w2 = simulated["W1_end"].values, simulated["w2_end"].values
    size = np.linalg.norm(W1, axis=1)
    W1, w2 = (w[size > size.max() / 20] for w in (W1, w2))  # others are a dot at 0
    for sign, color, label in ((1, "C0", "$w_2 > 0$"), (-1, "C3", "$w_2 < 0$")):
        rows, label_x = W1[np.sign(w2) == sign], "y = +1" if sign > 0 else "y = −1"
        axes.plot(*rows.T, "x", color=color, label=f"units, {label}")
        axes.plot(*XOR_X[sign == XOR_Y].T, "o", color=color, label=label_x, markersize=8)
    axes.set(xlabel="$x_1$", ylabel="$x_2$", title="units of the ReLU network", aspect=1)
    axes.set(xlim=(-1.4, 1.4), ylim=(-1.4, 2.2))
    axes.legend(loc="upper center", ncols=2, columnspacing=0.8, handletextpad=0.2)


def _bundle(
    axes: Axes, x: Any, runs: Any, color: str, label: str | None, alpha: float = 0.35
) -> None:
    """Thin lines of many runs (x, run), with an opaque one for the legend."""
    lines = [np.column_stack([x, run]) for run in np.asarray(runs).T]
    axes.add_collection(LineCollection(lines, color=color, alpha=alpha, linewidth=0.8))
    axes.autoscale_view()
    if label:
        axes.plot([], [], color=color, label=label)


def _gram(axes: Axes, portrait: xr.Dataset, scale: bool = True) -> None:
    gram = portrait["gram"].values / abs(portrait["gram"].values).max()
    image = axes.imshow(gram, cmap=COLORS, vmin=-1, vmax=1, interpolation="none")
    end = len(gram) - 0.5
    borders = np.arange(N_ITEMS, len(gram), N_ITEMS) - 0.5
    axes.hlines(borders, -0.5, end, colors="k", linewidth=0.4, alpha=0.6)
    axes.vlines(borders, -0.5, end, colors="k", linewidth=0.4, alpha=0.6)
    axes.set(xlabel="input domain and item", ylabel="input domain and item")
    axes.set(xticks=[], yticks=[])
    if scale:
        _scale(axes, image, "similarity / largest")


def _outputs(
    axes: Axes, portrait: xr.Dataset, scale: bool = True, largest: float | None = None
) -> None:
    outputs, mask = portrait["prediction"].values, portrait["mask"].values
    limit = largest or abs(outputs).max()
    look: Any = {"cmap": COLORS, "interpolation": "none", "aspect": "auto"}
    image = axes.imshow(outputs, vmin=-limit, vmax=limit, **look)
    axes.set(xticks=[], yticks=[], xlabel="input domain and item")
    axes.set_ylabel("output domain and feature")
    axes.grid(visible=False)
    square = Path.unit_rectangle().transformed(Affine2D().scale(N_ITEMS, N_OUT))
    frames = [
        square.transformed(Affine2D().translate(i * N_ITEMS - 0.5, j * N_OUT - 0.5))
        for i, j in np.argwhere(mask == 1)
    ]
    axes.add_patch(PathPatch(Path.make_compound_path(*frames), fill=False))
    if scale:
        _scale(axes, image, "output")


def _scale(axes: Axes, image: Any, label: str) -> None:
    bar = axes.figure.colorbar(image, ax=axes, shrink=0.8, label=label)
    bar.ax.yaxis.set_major_locator(MaxNLocator(5))


def _mean_sd(
    axes: Axes,
    along: str,
    values: xr.DataArray,
    color: str,
    label: str,
    standard_error: bool = False,
    style: str = "o-",
) -> None:
    """Mean and standard deviation, or error, over seeds, where there is a value."""
    values = by(along, values).dropna(along, how="all").sortby(along)
    spread = values.std("seed")
    if standard_error:
        spread = spread / np.sqrt(values.sizes["seed"])
    mean, filled = values.mean("seed"), "none" if style.endswith("--") else "full"
    axes.errorbar(
        mean[along],
        mean,
        spread,
        fmt=style,
        color=color,
        capsize=3,
        label=label,
        fillstyle=filled,
    )


def _accuracies(axes: Axes, runs: xr.Dataset, style: str, text: str) -> None:
    for kind, color in (("trained", TRAINED), ("untrained", UNTRAINED)):
        values = untrained(runs, "accuracy") if kind == "untrained" else None
        values = runs["trained_accuracy"] if values is None else values
        label = f"{kind} pairs{text}"
        _mean_sd(axes, "fraction", values, color, label, standard_error=True, style=style)
    axes.set(xlabel=FRACTION, ylabel="test accuracy, mean ± s.e.", ylim=(0, 1))
    axes.legend()
