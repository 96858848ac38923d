"""One function per figure: products in, Figure out. Runs of the first seed are bold."""

from collections.abc import Mapping
from typing import Any

import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from retrograd.papers.singh2024_induction_heads.data import LN2, TOY_CONDITIONS

Products = Mapping[str, xr.Dataset]
SEEN = "sequences seen, thousands"
LOSS = "loss"
CLAMPS = ("none", "prev", "layer1", "copy", "layer1+copy", "match")
LEARNED = {
    "none": "A, B, C (none)",
    "prev": "half A, B, C (prev)",
    "layer1": "B, C (layer1)",
    "copy": "A, B (copy)",
    "layer1+copy": "B (layer1+copy)",
    "match": "C (match)",
}
SETS = {"train": "training", "relabel": "held-out label pairs", "newclass": "new classes"}


def fig1(products: Products) -> Figure:
    """Loss of whole networks on the three evaluation sets."""
    (product,) = products.values()
    whole = product.sel(condition="all")
    figure = Figure(figsize=(5.4, 3.4))
    axes = figure.add_subplot()
    for i, (name, text) in enumerate(SETS.items()):
        if name == "train":
            t, loss = whole["sequences"], whole["loss"]
        else:
            t = whole["other_sequences"]
            loss = whole["other_loss"].sel(evaluation_set=name)
        _seeds(axes, t, loss, f"C{i}", text)
    _loss_axes(axes)
    axes.legend()
    return figure


def fig2(products: Products) -> Figure:
    """Induction strength of the heads of layer 1, per seed, and the loss."""
    whole = products["all"].sel(condition="all")
    figure = Figure(figsize=(9.0, 3.0))
    panels = figure.subplots(1, whole.sizes["seed"], sharey=True, squeeze=False)[0]
    for seed, axes in enumerate(panels):
        run = whole.isel(seed=seed)
        t = run["sequences"] / 1e3
        for head in run["head"].values:
            strength = run["induction_strength"].sel(head=head)
            axes.plot(t, strength, f"C{head % 10}", label=f"head {head}")
        axes.plot(t, run["loss"] / LN2, "k:", linewidth=1, label="loss / ln 2")
        axes.set(xlabel=SEEN, title=f"seed {seed}", ylim=(-0.1, 1.5))
    panels[0].set_ylabel("induction strength")
    panels[-1].legend(fontsize="x-small", ncols=3, loc="upper right")
    return figure


def fig3(products: Products) -> Figure:
    """Heads alone and networks without them; heads added; who reads whom."""
    whole = products["all"].sel(condition="all")
    strength = whole["induction_strength"].isel(record=-1)
    figure = Figure(figsize=(9.0, 3.2))
    left, middle, right = figure.subplots(1, 3)
    for seed in range(whole.sizes["seed"]):
        run, x, color = whole.isel(seed=seed), strength.isel(seed=seed), f"C{seed}"
        left.plot(x, run["only_accuracy"], f"{color}o", label=f"seed {seed}")
        left.plot(x, run["remove_accuracy"], f"{color}^", fillstyle="none")
        kept = run["heads_kept"]
        middle.plot(kept, run["cumulative_loss"], f"{color}o-", label=f"seed {seed}")
    left.axhline(0.5, color="k", linestyle="--", linewidth=0.8)  # a guess
    left.set(xlabel="induction strength of a head", ylabel="accuracy")
    title = "dots: only this head\ntriangles: without it"
    left.legend(title=title, title_fontsize="small", loc="center left")
    middle.axhline(LN2, color="k", linestyle="--", linewidth=0.8)
    middle.set(xlabel="strongest heads kept", ylabel=LOSS, yscale="log")
    middle.legend()
    wiring = whole["wiring"].isel(seed=0).transpose("source", "head")
    limit = float(abs(wiring).max())
    image = right.imshow(wiring, cmap="RdBu_r", vmin=-limit, vmax=limit)
    figure.colorbar(image, ax=right, label="fall of induction strength")
    right.set(xlabel="head of layer 1", ylabel="layer 0 head taken out", title="seed 0")
    right.grid(visible=False)
    return figure


def fig4(products: Products) -> Figure:
    """Networks with one head in layer 1 each, and the whole network."""
    single, whole = products["single"].isel(seed=0), products["all"].sel(condition="all")
    figure = Figure(figsize=(5.4, 3.4))
    axes = figure.add_subplot()
    for i, name in enumerate(single["condition"].values):
        run = single.sel(condition=name)
        axes.plot(run["sequences"] / 1e3, run["loss"], f"C{i}", label=name, linewidth=1)
    run = whole.isel(seed=0)
    axes.plot(run["sequences"] / 1e3, run["loss"], "k--", label="all")
    _loss_axes(axes)
    axes.set_xlim(0, 1.1 * float(single["sequences"].max()) / 1e3)
    axes.legend(ncols=2)
    return figure


def fig5(products: Products) -> Figure:
    """The toy with vectors held, and networks with subcircuits clamped."""
    figure = Figure(figsize=(9.0, 3.6))
    left, right = figure.subplots(1, 2)
    for i, name in enumerate(TOY_CONDITIONS):
        for kind, style in (("toy", "-"), ("toy_theory", "k:")):
            product = products[kind].sel(condition=name)
            loss = product["loss"] / product["loss"].isel(iteration=0)
            label = f"held: {name}" if kind == "toy" else ("flow" if i == 2 else None)
            color = f"C{i}" if kind == "toy" else ""
            median = loss.median("seed")
            left.plot(1 + product["iteration"], median, color + style, label=label)
    left.set(xscale="log", xlabel="1 + iteration", ylabel="loss over its start, median")
    left.legend(title="toy")
    _clamped(right, products["clamped"])
    return figure


def fig6(products: Products) -> Figure:
    """More classes and more labels, by what remains to be learned."""
    columns = ("none", "layer1+copy", "match", "layer1")
    figure = Figure(figsize=(9.6, 4.6))
    grid = figure.subplots(2, len(columns), sharey=True)
    for panels, letter in zip(grid, "KL", strict=True):
        for axes, circuit in zip(panels, columns, strict=True):
            usual = products["clamped" if circuit == "none" else "sweep_clamped"]
            other = products["sweep_none" if circuit == "none" else "sweep_clamped"]
            tasks = [
                other.sel(condition=name)
                for name in other["condition"].values.tolist()
                if name.startswith(f"{circuit} {letter}=")
            ]
            for i, run in enumerate([usual.sel(condition=circuit), *tasks]):
                number = int(run["classes" if letter == "K" else "labels"])
                text = f"{letter} = {number}"
                _seeds(axes, run["sequences"], run["loss"], f"C{i}", text)
            _loss_axes(axes)
            axes.set(ylabel="", title=LEARNED[circuit], ylim=(0, 2.4))
            axes.locator_params(axis="x", nbins=4)
        panels[0].set_ylabel(LOSS)
        panels[0].legend()
    for axes in grid[0]:
        axes.set_xlabel("")
    return figure


def fig7(products: Products) -> Figure:
    """Progress measures against clamped training; imposed heads of graded strength."""
    clamped, strength = products["clamped"], products["strength"]
    figure = Figure(figsize=(9.0, 3.4))
    left, right = figure.subplots(1, 2)
    none = clamped.sel(condition="none")
    _seeds(left, none["sequences"], none["loss"], "k", "none")
    for i, name in enumerate(("match", "prev")):
        run = clamped.sel(condition=name)
        _seeds(left, run["sequences"], run["loss"], f"C{i}", f"trained with {name}")
        text = f"none, evaluated with {name}"
        _seeds(left, none["sequences"], none[f"pm_{name}"], f"C{i}", text, linestyle="--")
    _loss_axes(left)
    left.legend(fontsize="x-small")
    for i, name in enumerate(strength["condition"].values):
        run = strength.sel(condition=name)
        _seeds(right, run["sequences"], run["loss"], f"C{i}", name.removeprefix("match "))
    _loss_axes(right)
    right.legend(title="match", loc="upper right")
    return figure


# ---- parts -------------------------------------------------------------------------------


def _clamped(axes: Axes, clamped: xr.Dataset) -> None:
    """Loss of every clamp, in the order of how much is left to be learned."""
    for i, name in enumerate(CLAMPS):
        run = clamped.sel(condition=name)
        _seeds(axes, run["sequences"], run["loss"], f"C{i}", LEARNED[name])
    _loss_axes(axes)
    axes.legend(title="to be learned", fontsize="x-small")


def _seeds(
    axes: Axes,
    t: xr.DataArray,
    loss: xr.DataArray,
    color: str,
    label: str,
    **style: Any,
) -> None:
    """A curve per seed, the first one bold."""
    for seed in reversed(range(loss.sizes["seed"])):
        first = seed == 0
        axes.plot(
            t.isel(seed=seed) / 1e3,
            loss.isel(seed=seed),
            color=color,
            label=label if first else None,
            linewidth=1.4 if first else 0.7,
            alpha=1 if first else 0.5,
            **style,
        )


def _loss_axes(axes: Axes) -> None:
    axes.axhline(LN2, color="k", linestyle="--", linewidth=0.8)
    axes.set(xlabel=SEEN, ylabel=LOSS, ylim=(0, None))
