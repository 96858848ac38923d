"""One function per figure: products in, Figure out."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from retrograd.papers.singh2023_transient_icl.reading import (
    RISEN,
    accuracy,
    arrival,
    final,
    peak,
    select,
    speeds,
)

Products = Mapping[str, xr.Dataset]
NAMES = {
    "train": "train: as in training",
    "icl": "icl: new labels 0, 1",
    "flip": "flip: labels swapped (ICL right, CIWL wrong)",
    "ciwl": "ciwl: weights choose among labels in context",
}
COLORS = {"train": "0.45", "icl": "C0", "flip": "C3", "ciwl": "C2"}


def fig1(products: Products) -> Figure:
    """Accuracies of the evaluators, and the training loss: mean and every seed."""
    main, ceiling = products["main"], products["ceiling"]
    figure = Figure(figsize=(8.6, 3.9))
    left, right = figure.subplots(1, 2, width_ratios=[1.5, 1])
    for name, text in NAMES.items():
        _curves(left, accuracy(main, name), COLORS[name], text)
    best = float(ceiling["repeated"].isel(case=0))
    left.axhline(best, color="C0", linestyle=":", linewidth=1)
    left.annotate("a perfect matcher", (0, best), (2, 2), textcoords="offset points")
    left.axhline(0.5, color="k", linestyle=":", linewidth=1)
    left.set(xlabel="step", ylabel="accuracy", ylim=(0, 1.08))
    _curves(right, main["train_run"], "k", "training loss", "until")
    right.set(xlabel="step", ylabel="training loss, nats", yscale="log")
    iwl = accuracy(main, "iwl")
    twin: Axes = right.twinx()
    _curves(twin, iwl, "C4", "iwl: query's label absent")
    chance = 1 / int(main["labels"])
    twin.axhline(chance, color="C4", linestyle=":", linewidth=1)
    twin.set(ylim=(0, 0.2), ylabel="accuracy of iwl (dotted: chance)")
    twin.spines["right"].set_visible(True)
    twin.grid(visible=False)
    figure.legend(loc="outside upper center", ncols=3)
    return figure


def fig2(products: Products) -> Figure:
    """ICL over training in networks of other widths, and on other data."""
    figure = Figure(figsize=(8.6, 3.6))
    sizes, sets = figure.subplots(1, 2, sharey=True)
    main = products["main"]
    for i, name in enumerate(("narrow", "main", "wide")):
        product, text = products[name], f"d = {int(products[name]['width'])}"
        _curves(sizes, accuracy(product, "icl"), f"C{i}", text)
        _curves(sizes, accuracy(product, "flip"), f"C{i}", "", style="--")
    for i, (product, text) in enumerate(
        ((main, "as in Fig. 1"), (products["alt"], "another mixture"))
    ):
        _curves(sets, accuracy(product, "icl"), f"C{1 + 2 * i}", text)
        _curves(sets, accuracy(product, "flip"), f"C{1 + 2 * i}", "", style="--")
    for axes, title in ((sizes, "width of the network"), (sets, "data set")):
        axes.axhline(0.5, color="k", linestyle=":", linewidth=1)
        axes.set(xlabel="step", title=title, ylim=(0, 1))
        axes.legend(title="lines: icl, dashed: flip", title_fontsize="small")
    sizes.set_ylabel("accuracy")
    return figure


def fig3(products: Products) -> Figure:
    """ICL with L2 regularisation: over training, and at the end."""
    main, controls = products["main"], products["controls"]
    regularised = controls.isel(run=controls["l2"].values > 0)
    runs = {0.0: main.isel(run=np.isin(main["seed"], regularised["seed"]))}
    for l2 in np.unique(regularised["l2"]):
        runs[float(l2)] = select(regularised, l2=l2)
    figure = Figure(figsize=(9.2, 3.4))
    *panels, last = figure.subplots(1, 3, width_ratios=[1.2, 1.2, 1])
    for axes, name in zip(panels, ("icl", "flip"), strict=True):
        for i, (l2, found) in enumerate(runs.items()):
            _curves(axes, accuracy(found, name), f"C{i}", f"λ = {l2:g}")
        axes.axhline(0.5, color="k", linestyle=":", linewidth=1)
        axes.set(xlabel="step", title=name, ylim=(0, 1))
    panels[0].set_ylabel("accuracy")
    panels[0].legend()
    places = np.arange(len(runs))
    for name in ("icl", "flip"):
        ends = [final(accuracy(found, name)) for found in runs.values()]
        mean = [float(end.mean()) for end in ends]
        last.plot(places, mean, "o-", color=COLORS[name], label=name)
        for place, end in zip(places, ends, strict=True):
            last.plot(np.full(end.size, place), end, ".", color=COLORS[name], alpha=0.5)
    last.set_xticks(places, [f"{l2:g}" for l2 in runs])
    last.set(xlabel="λ", title="at the end", ylim=(0, 1))
    last.legend()
    return figure


def fig4(products: Products) -> Figure:
    """With and without an in-weights route: flip, and induction heads."""
    control = select(products["controls"], delta=0, l2=0)
    main = products["main"]
    pair = ((main, "C3", "with"), (control, "C0", "without (δ = 0)"))
    figure = Figure(figsize=(9.2, 3.4))
    flips, strengths, heads = figure.subplots(1, 3)
    for product, color, text in pair:
        _curves(flips, accuracy(product, "flip"), color, text)
        _curves(strengths, product["ih_strength"].sum("head"), color, text)
    flips.axhline(0.5, color="k", linestyle=":", linewidth=1)
    flips.set(ylabel="accuracy of flip", ylim=(0, 1), title="labels swapped")
    flips.legend(title="in-weights route", title_fontsize="small")
    strengths.set(ylabel="induction strength", title="sum over heads")
    shown = {"-": main.isel(run=0), "--": control.isel(run=0)}
    for style, run in shown.items():
        for head in run["head"].values:
            strength = run["ih_strength"].sel(head=head)
            heads.plot(run["step"], strength, f"C{head}{style}", linewidth=1)
    heads.set(ylabel="induction strength", title="heads of seed 0 (dashed: δ = 0)")
    for axes in (flips, strengths, heads):
        axes.set_xlabel("step")
        axes.xaxis.set_major_locator(MaxNLocator(4))
    return figure


def fig5(products: Products) -> Figure:
    """Two competing mechanisms: losses of one run and of all, descent and flow."""
    toy, theory = products["toy"], products["toy_theory"]
    figure = Figure(figsize=(8.6, 3.4))
    one, every = figure.subplots(1, 2)
    # The run that loses most of what it had learnt.
    lost = toy["l1"].isel(iteration=-1) - toy["l1"].min("iteration")
    run = int(lost.values.argmax())
    texts = {"L": "L", "l1": "$l_1$ (like ICL)", "l2": "$l_2$ (like CIWL)"}
    for name, color in (("L", "k"), ("l1", "C0"), ("l2", "C2")):
        for product, style in ((toy, "-"), (theory, "--")):
            values = product[name].isel(seed=run)
            wide = {"linewidth": 2.2, "alpha": 0.5} if style == "-" else {"linewidth": 1.1}
            label = texts[name] if style == "-" else None
            x = 1 + values["iteration"]
            one.plot(x, values, style, color=color, label=label, **wide)
    one.plot([], [], "k--", linewidth=1.1, label="gradient flow")
    one.set(title=f"initial state {run}", ylabel="loss")
    one.legend()
    for seed in toy["seed"].values:
        l1 = toy["l1"].sel(seed=seed)
        every.plot(1 + l1["iteration"], l1, color="C0", alpha=0.6, linewidth=1)
    every.set(title="all initial states", ylabel="$l_1$")
    for axes in (one, every):
        axes.set(xscale="log", xlabel="1 + step")
    return figure


def fig6(products: Products) -> Figure:
    """What the speed δ of in-weights learning decides, and when it has come."""
    runs = speeds(products)
    figure = Figure(figsize=(8.6, 3.4))
    ends, times = figure.subplots(1, 2)
    places = np.arange(runs.sizes["run"])
    for name in ("icl", "flip"):
        values = accuracy(runs, name)
        ends.plot(places, peak(values), "^--", color=COLORS[name], label=f"{name}, peak")
        ends.plot(places, final(values), "o-", color=COLORS[name], label=f"{name}, final")
    ends.set_xticks(places, [f"{delta:g}" for delta in runs["delta"].values])
    ends.axhline(0.5, color="k", linestyle=":", linewidth=1)
    ends.set(
        xlabel="δ", ylabel="accuracy", ylim=(0, 1), title="persistent, transient, absent"
    )
    ends.legend()
    when = arrival(runs)
    delta = when["delta"].values
    times.plot(delta, when, "C2o-", label=f"ciwl reaches {RISEN:g}")
    if when.size:
        middle = when.size // 2
        times.plot(delta, float(when[middle]) * delta[middle] / delta, "k:", label="∝ 1/δ")
        times.set(xscale="log", yscale="log")
        times.set_xticks(delta, [f"{x:g}" for x in delta])
        times.set_yticks(when.values, [f"{x:g}" for x in when.values])
        times.minorticks_off()
    times.set(xlabel="δ", ylabel="step")
    times.set_title("in-weights learning comes at ~1/δ")
    times.legend()
    return figure


# ---- parts -----------------------------------------------------------------------------


def _curves(
    axes: Axes,
    values: xr.DataArray,
    color: str,
    label: str,
    time: str = "step",
    style: str = "-",
) -> None:
    """The mean over the runs, and thinner every run."""
    options: dict[str, Any] = {"color": color, "linestyle": style}
    for run in values["run"].values:
        axes.plot(values[time], values.sel(run=run), alpha=0.3, linewidth=0.6, **options)
    axes.xaxis.set_major_locator(MaxNLocator(4))
    mean = values.mean("run")
    axes.plot(mean[time], mean, label=label or None, linewidth=1.6, **options)
