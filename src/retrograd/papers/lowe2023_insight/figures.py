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
PUBLISHED_DELAY = 175  # of the networks, in trials
COLORS = {"insight": "C1", "others": "C7"}
FEW = 0.05  # part of networks that may pass by chance
NAMES = {"insight": "insight", "others": "no insight"}
ONSET: Any = {"color": "k", "linestyle": ":", "linewidth": 1}
THEORY: Any = {"color": "k", "linestyle": "--", "linewidth": 1}
FILLED: Any = {"histtype": "stepfilled", "alpha": 0.6}
HARDEST = "accuracy, hardest level"
TRIALS = "trial"


def fig1(products: Products) -> Figure:
    """The inputs around the onset; accuracy of test and control networks per level."""
    task, main = products["task"], products["main"]
    figure = Figure(figsize=(10.4, 4.6))
    grid = figure.add_gridspec(2, 3, width_ratios=(1.15, 1, 1))
    for row, name in enumerate(("motion", "colour")):
        axes = figure.add_subplot(grid[row, 0])
        for y, color in ((0, "C0"), (1, "C3")):
            shown = task.where(task["label"] == y, drop=True)
            dots: Any = {"color": color, "markersize": 3, "label": f"y = {y}"}
            axes.plot(shown["trial"], shown[name], ".", rasterized=True, **dots)
        axes.axvline(_onset(main), **ONSET)
        axes.set(ylabel=f"{name} input", title=f"{name}, one network", xlabel=TRIALS)
        axes.set_ylim(top=1.4 * float(task[name].max()))
        axes.legend(ncols=2, loc="upper left")
    for column, group in enumerate(main["group"].values):
        axes = figure.add_subplot(grid[:, 1 + column])
        accuracy = main["accuracy"].sel(group=group).mean("seed")
        for color, level in zip(_shades(main.sizes["level"]), main["level"], strict=True):
            label = f"{float(task['coherence_mean'].sel(level=level)):.2f}"
            curve = accuracy.sel(level=level)
            axes.plot(_centre(main, main["bin"]), curve, color=color, label=label)
        axes.axvline(_onset(main), **ONSET)
        axes.set(ylim=(0.45, 1), xlabel=TRIALS, title=f"{group} networks")
        for x, phase in ((0.03, "motion"), (0.4, "motion + colour")):
            text = phase if group == "test" else "motion"
            axes.text(x, 0.96, text, transform=axes.transAxes, fontsize="small")
        if group == "test":
            axes.set_ylabel("accuracy, mean over networks")
        else:
            axes.legend(title="level, by mean $M_m$", loc="lower center", ncols=3)
    return figure


def fig2(products: Products) -> Figure:
    """Scores and thresholds; four fits; delays; the part with insight."""
    main, batches = products["main"], products["batches"]
    figure = Figure(figsize=(8.6, 6.2))
    (scores, fits), (delays, parts) = figure.subplots(2, 2)
    edges = np.linspace(-0.1, 0.9, 41)
    for group, color in (("control", "C7"), ("test", "C1")):
        values = main["score"].sel(group=group).values.ravel()
        scores.hist(values, edges, color=color, label=f"{group} networks", **FILLED)
    scores.axvline(ROBUST, color="k", label="robust rule: score > 0.2")
    ends = float(batches["threshold"].min()), float(batches["threshold"].max())
    text = "published rule: largest of the controls"
    scores.axvspan(*ends, color="C0", alpha=0.15, linewidth=0, label=text)
    scores.set(xlabel="score = slope − SSE (steepness 7)", ylabel="networks", yscale="log")
    scores.set_ylim(top=1e4)
    scores.minorticks_off()
    scores.legend()
    _examples(fits, main)
    insight = main["score"].sel(group="test") > ROBUST
    _delays(delays, main["delay"].values[insight.values])
    _parts(parts, insight.mean("network").values, batches)
    return figure


def _examples(axes: Axes, main: xr.Dataset) -> None:
    bins = main["bin"].values
    fine = np.linspace(bins[0], bins[-1], 56)
    before = _bins_before(main)
    for i in range(main.sizes["example"]):
        one = main.isel(example=i)
        rise = expit(
            one["example_steepness"].item() * (fine - one["example_inflection"].item())
        )
        curve = one["example_fmin"].item() + one["example_amplitude"].item() * rise
        delay = BIN * (one["example_inflection"].item() - before)
        last = i == main.sizes["example"] - 1
        color, label = (
            (COLORS["others"], "no insight") if last else (f"C{i}", f"delay {delay:.0f}")
        )
        axes.plot(bins, one["example_series"], "o", color=color)
        axes.plot(fine, curve, color=color, label=label)
    axes.axvline(before + 0.5, **ONSET)
    axes.set(xlabel=f"bin of {BIN} trials", ylabel=HARDEST, ylim=(0.45, 1.02))
    axes.set_title("four networks and their fits")
    axes.legend()


def _delays(axes: Axes, delay: np.ndarray) -> None:
    edges = [*range(-75, 426, BIN)]
    axes.hist(delay, edges, color="C1", **FILLED)
    text = f"mean {delay.mean():.0f}, sd {delay.std():.0f}"
    axes.axvline(delay.mean(), ymax=0.75, color="k", label=text)
    text = "published networks: 175 ± 105"
    axes.axvline(PUBLISHED_DELAY, ymax=0.75, **THEORY, label=text)
    axes.set(xlabel="delay of the switch (trials)", ylabel="networks")
    axes.margins(y=0.3)
    axes.legend()


def _parts(axes: Axes, robust: np.ndarray, batches: xr.Dataset) -> None:
    axes.plot(np.arange(len(robust)), robust, "C1o", label="robust rule, large populations")
    counts = batches["published"] / batches["size"]
    place = len(robust) + 1 + np.arange(len(counts))
    text = f"published rule, batches of {int(batches['size'])}"
    axes.plot(place, counts, "C0s", label=text)
    axes.axhline(PEOPLE, **THEORY, label="people (49 of 99, cited)")
    axes.axhline(NETWORKS, **ONSET, label="published networks (46 of 99)")
    axes.set(xticks=[], ylim=(0, 1), ylabel="part with insight", xlabel="population")
    axes.legend()


def fig3(products: Products) -> Figure:
    """Accuracy aligned to the switches, and not; how fast single networks rise."""
    main = products["main"]
    figure = Figure(figsize=(10.4, 3.3))
    locked, group, widths = figure.subplots(1, 3)
    for kind in main["kind"].values:
        of, style = main.sel(kind=kind), {"color": COLORS[kind], "label": NAMES[kind]}
        runs = of["locked"]
        band = runs["offset"], runs.min("seed"), runs.max("seed")
        locked.fill_between(*band, color=COLORS[kind], alpha=0.3, linewidth=0)
        locked.plot(runs["offset"], runs.mean("seed"), "o-", **style)
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
    widths.hist(rise, np.arange(0, 376, 15), color="C1", label=text, **FILLED)
    together = float(main["group_width"].sel(kind="insight").mean())
    widths.axvline(
        together, ymax=0.75, color="k", label=f"their mean curve, {together:.0f}"
    )
    widths.set(xlabel="trials from 10 % to 90 % of the rise", ylabel="networks")
    widths.set_title("imagined colour trials")
    widths.margins(y=0.3)
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
    marks = {
        "w_c_sd": ("C0", "o", "sd of $w_c$"),
        "w_c_mean_size": ("C2", "o", "mean |$w_c$|"),
        "g_c_zero": ("C3", "x", "part of $g_c$ at 0"),
    }
    for name, (color, marker, text) in marks.items():
        style: Any = {"color": color, "marker": marker, "linestyle": ""}
        spread.plot(main["trial"], main[name], label=text, markevery=2, **style)
        spread.plot(walk["trial"], walk[name], color=color)
    spread.set(xlabel=TRIALS, title="before colour predicts (theory: lines)")
    spread.legend()
    return figure


def fig6(products: Products) -> Figure:
    """Part with insight, delay and gate at the onset, for every variant."""
    names = ["insight_fraction", "delay", "g_c_onset"]
    both = [products[name][names] for name in ("variants", "printed")]
    found = xr.concat(both, "condition")
    # The few networks that pass by chance have no delay worth a bar.
    some = found["insight_fraction"].mean("seed") > FEW
    found["delay"] = found["delay"].where(some, 0)
    figure = Figure(figsize=(9.6, 3.3))
    panels = figure.subplots(1, 3, sharey=True)
    texts = ("part with insight", "mean delay (trials)", "mean |$g_c$| at the onset")
    for axes, name, text in zip(panels, names, texts, strict=True):
        mean = found[name].mean("seed")
        bars = np.stack([mean - found[name].min("seed"), found[name].max("seed") - mean])
        place = np.arange(len(mean))
        axes.barh(place, mean, xerr=bars, color="C1", alpha=0.6)
        axes.set_xlabel(text)
        axes.grid(visible=False, axis="y")
    panels[0].set_yticks(place, mean["condition"].values)
    panels[0].invert_yaxis()
    panels[2].set_xscale("symlog", linthresh=0.001)
    panels[2].minorticks_off()
    return figure


def _onset(main: xr.Dataset) -> int:
    """First trial in which colour predicts."""
    return int(main["trial"][-1])


def _centre(main: xr.Dataset, bins: Any) -> Any:
    """Trial in the middle of a bin."""
    return _onset(main) + BIN * (bins - _bins_before(main) - 0.5)


def _bins_before(main: xr.Dataset) -> int:
    """Bins before colour predicts."""
    return main.sizes["bin"] - (int(main["time"][-1]) - _onset(main)) // BIN


def _shades(count: int) -> list[Any]:
    """One colour per level, dark to light."""
    return list(mpl.colormaps["viridis"](np.linspace(0, 0.88, count)))
