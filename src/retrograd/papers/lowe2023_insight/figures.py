"""One function per figure: products in, Figure out."""

from collections.abc import Mapping
from typing import Any

import matplotlib as mpl
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.special import expit

from retrograd.papers.lowe2023_insight.params import BIN
from retrograd.papers.lowe2023_insight.switch_fit import ROBUST

Products = Mapping[str, xr.Dataset]

# Of the paper, for comparison only: 49 of 99 people and 46 of 99 networks switched.
PEOPLE, NETWORKS = 49 / 99, 46 / 99
COLORS = {"insight": "C1", "others": "C7"}
NAMES = {"insight": "insight", "others": "no insight"}
ONSET: Any = {"color": "k", "linestyle": ":", "linewidth": 1}
THEORY: Any = {"color": "k", "linestyle": "--", "linewidth": 1}
HARDEST = "accuracy, hardest level"
TRIALS = "trial"


def fig1(products: Products) -> Figure:
    """The inputs around the onset; accuracy of test and control networks per level."""
    task, main = products["task"], products["main"]
    figure = Figure(figsize=(10.4, 5))
    grid = figure.add_gridspec(2, 3, width_ratios=(1.15, 1, 1))
    onset = _onset(main)
    for row, (name, text) in enumerate((("motion", "x_m"), ("colour", "x_c"))):
        axes = figure.add_subplot(grid[row, 0])
        for label, marker in ((0, "C0."), (1, "C3.")):
            shown = task.where(task["label"] == label, drop=True)
            axes.plot(
                shown["trial"], shown[name], marker, markersize=3, label=f"y = {label}"
            )
        axes.axvline(onset, **ONSET)
        axes.set(ylabel=f"{name} input ${text}$", title=f"{name}, one network")
        axes.set_ylim(top=1.35 * float(task[name].max()))
        axes.legend(ncols=2, loc="upper left")
    axes.set_xlabel(TRIALS)
    panels = [figure.add_subplot(grid[:, column]) for column in (1, 2)]
    for axes, group in zip(panels, main["group"].values, strict=True):
        accuracy = main["accuracy"].sel(group=group).mean("seed")
        for color, level in zip(_shades(main.sizes["level"]), main["level"], strict=True):
            mean = float(task["coherence_mean"].sel(level=level))
            label = f"{int(level)} ($M_m$ ≈ {mean:.2f})"
            axes.plot(
                _centre(main, main["bin"]),
                accuracy.sel(level=level),
                color=color,
                label=label,
            )
        axes.axvline(onset, **ONSET)
        title = (
            "colour predicts from the dotted line" if group == "test" else "it never does"
        )
        axes.set(ylim=(0.5, 1), xlabel=TRIALS, title=f"{group} networks: {title}")
    panels[0].set_ylabel("accuracy, mean over networks")
    panels[1].legend(title="motion level, hardest first", loc="upper left")
    return figure


def fig2(products: Products) -> Figure:
    """Scores and thresholds; four fits; delays; the part with insight."""
    main, batches = products["main"], products["batches"]
    figure = Figure(figsize=(8.6, 6.2))
    (scores, fits), (delays, parts) = figure.subplots(2, 2)
    edges = np.linspace(-0.1, 0.9, 41)
    for group, color in (("control", "C7"), ("test", "C1")):
        values = main["score"].sel(group=group).values.ravel()
        scores.hist(values, edges, color=color, alpha=0.6, label=f"{group} networks")
    scores.axvline(ROBUST, color="k", label="robust rule: score > 0.2")
    published = batches["threshold"]
    scores.axvspan(
        float(published.min()),
        float(published.max()),
        color="C0",
        alpha=0.15,
        linewidth=0,
        label="published rule: the largest of 99 controls",
    )
    scores.set(xlabel="score = slope − SSE (steepness 7)", ylabel="networks", yscale="log")
    scores.legend()
    _examples(fits, main)
    insight = main["score"].sel(group="test") > ROBUST
    delay = main["delay"].values[insight.values]
    delays.hist(delay, np.arange(-200, 401, 25), color="C1", alpha=0.6)
    text = f"mean {delay.mean():.0f}, sd {delay.std():.0f}"
    delays.axvline(delay.mean(), color="k", label=text)
    delays.axvline(175, **THEORY, label="published networks: 175 ± 105")
    delays.set(xlabel="delay of the switch (trials from the onset)", ylabel="networks")
    delays.legend()
    _parts(parts, insight.mean("network").values, batches)
    return figure


def _parts(axes: Axes, robust: np.ndarray, batches: xr.Dataset) -> None:
    axes.plot(np.arange(len(robust)), robust, "C1o", label="robust rule, large populations")
    counts = batches["published"] / batches["size"]
    place = len(robust) + 1 + np.arange(len(counts))
    axes.plot(place, counts, "C0s", label="published rule, batches of 99")
    axes.axhline(PEOPLE, **THEORY, label="people (49 of 99, cited)")
    axes.axhline(NETWORKS, color="k", linestyle=":", label="published networks (46 of 99)")
    axes.set(xticks=[], ylim=(0, 1), ylabel="part with insight", xlabel="population")
    axes.legend()


def _examples(axes: Axes, main: xr.Dataset) -> None:
    bins = main["bin"].values
    fine = np.linspace(bins[0], bins[-1], 67)
    for i, network in enumerate(main["example"].values):
        fit = {
            name: float(main[f"example_{name}"][i])
            for name in ("fmin", "amplitude", "steepness", "inflection")
        }
        color = f"C{i}" if i < main.sizes["example"] - 1 else COLORS["others"]
        axes.plot(_centre(main, main["bin"]), main["example_series"][i], "o", color=color)
        curve = expit(fit["steepness"] * (fine - fit["inflection"]))
        curve = fit["fmin"] + fit["amplitude"] * curve
        axes.plot(_centre(main, fine), curve, color=color, label=f"network {network}")
    axes.axvline(_onset(main), **ONSET)
    axes.set(xlabel=TRIALS, ylabel=HARDEST, ylim=(0.45, 1.02))
    axes.legend()


def fig3(products: Products) -> Figure:
    """Accuracy aligned to the switches, and not; how fast single networks rise."""
    main = products["main"]
    figure = Figure(figsize=(10.4, 3.3))
    locked, group, widths = figure.subplots(1, 3)
    for kind in main["kind"].values:
        of, style = main.sel(kind=kind), {"color": COLORS[kind], "label": NAMES[kind]}
        runs, mean = of["locked"], of["locked"].mean("seed")
        locked.fill_between(
            runs["offset"],
            runs.min("seed"),
            runs.max("seed"),
            alpha=0.3,
            linewidth=0,
            color=COLORS[kind],
        )
        locked.plot(mean["offset"], mean, "o-", **style)
        series = of["mean_series"].mean("seed")
        group.plot(_centre(main, main["bin"]), series, "o-", **style)
    locked.axvline(0, **ONSET)
    locked.set(xlabel=f"bins of {BIN} trials from the own switch", ylabel=HARDEST)
    locked.set_title("aligned to the switch: abrupt")
    locked.legend()
    group.axvline(_onset(main), **ONSET)
    group.set(xlabel=TRIALS, title="not aligned: gradual", ylim=locked.get_ylim())
    insight = (main["score"].sel(group="test") > ROBUST).values
    rise = main["width"].values[insight]
    text = f"networks, median {np.median(rise):.0f}"
    widths.hist(rise, np.arange(0, 376, 15), color="C1", alpha=0.6, label=text)
    mean = float(main["group_width"].sel(kind="insight").mean())
    widths.axvline(mean, color="k", label=f"their mean curve, {mean:.0f}")
    widths.set(xlabel="trials from 10 % to 90 % of the rise", ylabel="networks")
    widths.set_title("imagined colour trials")
    widths.legend()
    return figure


def fig4(products: Products) -> Figure:
    """Part with insight and its delay against the noise and against the penalty."""
    sweeps, escape = products["sweeps"], products["escape"]
    figure = Figure(figsize=(7.6, 5.4))
    axes = figure.subplots(2, 2, sharex="col", sharey="row")
    swept = (
        ("sigma_xi", "lam", "noise of the update $σ_ξ$"),
        ("lam", "sigma_xi", "penalty on the gates λ"),
    )
    for (top, bottom), (name, other, text) in zip(axes.T, swept, strict=True):
        usual = sweeps[other].sel(condition="default")
        chosen = sweeps.where(sweeps[other] == usual, drop=True).sortby(name)
        predicted = escape["insight_fraction"].sel(condition=chosen["condition"])
        top.plot(chosen[name], predicted.mean("seed"), **THEORY, label="escape heuristic")
        _over_runs(top, chosen[name], chosen["insight_fraction"])
        some = chosen.isel(condition=(chosen["insights"] > 0).all("seed").values)
        _over_runs(bottom, some[name], some["delay"])
        bottom.set_xlabel(text)
    axes[0, 0].set(ylabel="part with insight", ylim=(-0.03, 1.03))
    axes[1, 0].set(ylabel="mean delay (trials)", ylim=(0, None))
    axes[0, 0].legend()
    return figure


def _over_runs(axes: Axes, x: xr.DataArray, values: xr.DataArray) -> None:
    """Mean over runs, with bars from the least to the largest."""
    mean = values.mean("seed")
    bars = np.stack([mean - values.min("seed"), values.max("seed") - mean])
    axes.errorbar(x, mean, bars, fmt="C1o-", capsize=3, label="networks, range of runs")


def fig5(products: Products) -> Figure:
    """Weights and gates over trials; the hidden weight and the delay; the random walk."""
    main, walk = products["main"], products["walk"]
    figure = Figure(figsize=(8.6, 6.2))
    (weights, gates), (scatter, spread) = figure.subplots(2, 2)
    size = main["mean_size"].mean("seed")
    for axes, names in ((weights, ("w_m", "w_c")), (gates, ("g_m", "g_c"))):
        for kind in main["kind"].values:
            for name, line in zip(names, ("--", "-"), strict=True):
                curve = size.sel(parameter=name, kind=kind)
                label = f"|${name}$|, {NAMES[kind]}"
                axes.plot(curve["time"], curve, line, color=COLORS[kind], label=label)
        axes.axvline(_onset(main), **ONSET)
        axes.set(xlabel=TRIALS, ylabel="mean absolute value")
        axes.legend()
    weights.set_title("weights: motion dashed, colour solid")
    gates.set_title("gates")
    first = main.isel(seed=0)
    insight = first["score"].sel(group="test") > ROBUST
    points = abs(first["w_c_onset"])[insight], first["delay"][insight]
    scatter.plot(*points, "C1.", markersize=3, rasterized=True, label="insight")
    hidden = float(products["escape"]["escape_weight"].sel(condition="default"))
    scatter.axvline(hidden, **THEORY, label="escape weight $w^*$")
    scatter.set(xlabel="|$w_c$| at the onset", ylabel="delay (trials)", ylim=(-60, 400))
    scatter.set_title("a larger hidden weight switches earlier")
    scatter.legend()
    for name, color, text in (
        ("w_c_sd", "C0", "sd of"),
        ("w_c_mean_size", "C2", "mean size of"),
    ):
        spread.plot(main["trial"], main[name], f"{color}o", label=f"{text} $w_c$")
        spread.plot(walk["trial"], walk[name], f"{color}-")
    for name, text in (("g_c_zero", "part of $g_c$ at 0"),):
        spread.plot(main["trial"], main[name], "C3x", label=text)
        spread.plot(walk["trial"], walk[name], "C3-")
    spread.set(xlabel=TRIALS, title="before colour predicts (theory: lines)")
    spread.legend()
    return figure


def fig6(products: Products) -> Figure:
    """Part with insight, delay and gate at the onset, for every variant."""
    variants, printed = products["variants"], products["printed"]
    figure = Figure(figsize=(9.6, 3.3))
    axes = figure.subplots(1, 3, sharey=True)
    panels = (
        ("insight_fraction", "part with insight"),
        ("delay", "mean delay (trials)"),
        ("g_c_onset", "|$g_c$| at the onset"),
    )
    for panel, (name, text) in zip(axes, panels, strict=True):
        values = xr.concat([variants[name], printed[name]], "condition")
        mean = values.mean("seed")
        bars = np.stack([mean - values.min("seed"), values.max("seed") - mean])
        place = np.arange(len(mean))
        panel.barh(place, mean, xerr=bars, color="C1", alpha=0.6)
        panel.set_xlabel(text)
    axes[0].set_yticks(place, mean["condition"].values)
    axes[0].invert_yaxis()
    axes[2].set_xscale("symlog", linthresh=0.001)
    return figure


def _onset(main: xr.Dataset) -> int:
    """First trial in which colour predicts."""
    return int(main["trial"][-1])


def _centre(main: xr.Dataset, bins: Any) -> Any:
    """Trial in the middle of a bin."""
    start = int(main["time"][-1]) - BIN * main.sizes["bin"]
    return start + BIN * (bins - 0.5)


def _shades(count: int) -> list[Any]:
    """One colour per level, dark to light."""
    return list(mpl.colormaps["viridis"](np.linspace(0, 0.88, count)))
