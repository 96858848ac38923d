"""One function per figure: products in, Figure out."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import AutoLocator, MaxNLocator, NullFormatter, ScalarFormatter

Products = Mapping[str, xr.Dataset]
TIME = "time t (time constants)"
BASE, CTRL = "C7", "C0"  # colours without and with control
MAP = colormaps["viridis"].resampled(256)
SYMBOLS = {
    "gamma": "γ",
    "sigma": "σ",
    "beta": "β",
    "weight_decay": "λ",
    "steps": "T (steps)",
}


# ---- the single neuron -----------------------------------------------------------------


def fig1(products: Products) -> Figure:
    """Single neuron: v, L, w and g; and g and the advantage along γ and σ."""
    neuron, theory = products["single_neuron"], products["single_neuron_theory"]
    figure = Figure(figsize=(11, 5.2))
    top, bottom = figure.subplots(2, 4)
    _neuron_values(top[0], neuron)
    _neuron_losses(top[1], neuron, theory)
    _neuron_weights(top[2], neuron)
    top[3].plot(neuron["time"], neuron["g"], CTRL, label="gradient ascent")
    top[3].plot(theory["time"], theory["g"], "k--", linewidth=1, label="Pontryagin")
    top[3].set(xlabel=TIME, ylabel="gain g", title="optimal effort")
    top[3].legend()
    for parameter, pair in (("gamma", bottom[:2]), ("sigma", bottom[2:])):
        for axes, name in zip(pair, ("sweep_g", "advantage"), strict=True):
            norm = _sweep(axes, neuron, parameter, name)
        colour_bar(figure, pair[1], norm, SYMBOLS[parameter])
    few_ticks(figure)
    return figure


def fig1_appendix(products: Products) -> Figure:
    """Single neuron: g along cost, weight decay and length."""
    neuron = products["single_neuron"]
    figure = Figure(figsize=(9, 2.8))
    panels = zip(figure.subplots(1, 3), ("beta", "weight_decay", "steps"), strict=True)
    for axes, parameter in panels:
        norm = _sweep(axes, neuron, parameter, "sweep_g")
        colour_bar(figure, axes, norm, SYMBOLS[parameter])
    few_ticks(figure)
    return figure


def _neuron_values(axes: Axes, neuron: xr.Dataset) -> None:
    loss, time = neuron["loss"], neuron["time"]
    axes.plot(time, -loss.sel(case="baseline"), BASE, label="baseline")
    axes.plot(time, -loss.sel(case="control") - neuron["cost"], CTRL, label="control")
    axes.set(xlabel=TIME, ylabel="v = −L − C", title="instant value")
    axes.legend()


def _neuron_losses(axes: Axes, neuron: xr.Dataset, theory: xr.Dataset) -> None:
    for case, colour in (("baseline", BASE), ("control", CTRL)):
        run = neuron.sel(case=case)
        mean, sd = run["sgd_loss"], run["sgd_loss_sd"]
        axes.fill_between(
            run["time"], mean - sd, mean + sd, color=colour, alpha=0.2, linewidth=0
        )
        axes.plot(run["time"], run["loss"], colour, label=case)
        few = slice(None, None, 4)
        axes.plot(run["time"][few], mean[few], ".", color=colour, markersize=4)
    axes.plot([], [], "k.", markersize=4, label="SGD, mean ± sd")
    law = theory["loss"].sel(case="baseline")
    axes.plot(law["time"], law, "k--", linewidth=1, label="closed form")
    axes.set(xlabel=TIME, ylabel="loss L", title="average learning and SGD")
    axes.legend()


def _neuron_weights(axes: Axes, neuron: xr.Dataset) -> None:
    weight, time = neuron["weight"], neuron["time"]
    axes.plot(time, weight.sel(case="baseline"), BASE, label="w, baseline")
    controlled = weight.sel(case="control")
    axes.plot(time, controlled, CTRL, label="w, control")
    axes.plot(time, controlled * (1 + neuron["g"]), "C1", label="w(1 + g), control")
    axes.set(xlabel=TIME, ylabel="weight", title="weights")
    axes.legend()


def _sweep(axes: Axes, neuron: xr.Dataset, parameter: str, name: str) -> Normalize:
    """Curves of one sweep, coloured by its parameter."""
    chosen = [str(c).startswith(f"{parameter}=") for c in neuron["condition"].values]
    sweep = neuron.isel(condition=chosen).sortby("value")
    values = sweep["value"].values
    scale = LogNorm if parameter == "gamma" else Normalize
    norm = scale(values.min(), values.max())
    for c, value in enumerate(values):
        one = sweep.isel(condition=c)
        time = one["fraction"] * one["duration"]
        axes.plot(time, one[name], color=MAP(norm(value)), linewidth=1)
    text = {"sweep_g": "gain g", "advantage": "$v_C - v_B$"}[name]
    axes.set(xlabel=TIME, ylabel=text)
    return norm


def colour_bar(figure: Figure, axes: Axes, norm: Normalize, label: str) -> None:
    figure.colorbar(ScalarMappable(norm, MAP), ax=axes, label=label)


def few_ticks(figure: Figure) -> None:
    """At most five on every linear axis: half of an SVG would be ticks."""
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            if isinstance(axis.get_major_locator(), AutoLocator):
                axis.set_major_locator(MaxNLocator(4))


# ---- meta-learning ---------------------------------------------------------------------


def fig2(products: Products) -> Figure:
    """Meta-learned initial weights by horizon; optimal learning rates by γ and β."""
    figure = Figure(figsize=(8.4, 6))
    (a, b), (c, d) = figure.subplots(2, 2)
    maml = products["maml"]
    loss = maml["eval_loss"]
    after, horizons = loss.isel(time=1), maml["horizon"].values
    a.errorbar(
        horizons, after.mean("seed"), 2 * after.std("seed"), fmt="o-", color=CTRL, capsize=3
    )
    a.set(xlabel="optimised horizon n (states)", ylabel="loss after one step")
    a.set_title("initial weights: immediate loss")
    norm = Normalize(horizons.min(), horizons.max())
    for horizon in horizons:
        mean = loss.sel(horizon=horizon).mean("seed").isel(time=slice(1, None))
        b.plot(mean["time"], mean, color=MAP(norm(horizon)))
    b.set(xscale="log", xlabel=TIME, ylabel="mean loss of the tasks")
    b.set_title("initial weights: learning from them")
    colour_bar(figure, b, norm, "horizon n")
    rate, law = products["learning_rate"], products["learning_rate_theory"]
    free = rate["offset"] == 0
    _rates(c, rate["u"], law["u"], free & (rate["beta"] == 1), "gamma", "γ")
    _rates(d, rate["u"], law["u"], free & (rate["gamma"] == 1), "beta", "β")
    c.set_title("learning rate, β = 1")
    d.set_title("learning rate, γ = 1")
    few_ticks(figure)
    return figure


def _rates(
    axes: Axes, u: xr.DataArray, law: xr.DataArray, chosen: Any, name: str, symbol: str
) -> None:
    """Mean optimal rates of some conditions, and their closed form dashed."""
    found = u.isel(condition=chosen.values).sortby(name).mean("seed")
    closed = law.isel(condition=chosen.values).mean("seed")
    for c, label in enumerate(found["condition"].values):
        value = float(found[name][c])
        colour = MAP(c / max(1, found.sizes["condition"] - 1))
        axes.plot(found["time"], found[c], color=colour, label=f"{symbol} = {value:.3g}")
        axes.plot(closed["time"], closed.sel(condition=label), "k--", linewidth=0.8)
    axes.plot([], [], "k--", linewidth=0.8, label="closed form")
    axes.set(xlabel=TIME, ylabel="speed u = 1 + g")
    axes.legend()


# ---- engagement ------------------------------------------------------------------------


def fig3(products: Products) -> Figure:
    """Engagement in three tasks: losses and psi, three variants."""
    product = products["engagement"]
    variants = product["variant"].values
    figure = Figure(figsize=(3 * len(variants), 5))
    upper, lower = figure.subplots(2, len(variants), sharex=True, sharey="row")
    for axes, below, variant in zip(upper, lower, variants, strict=True):
        for curve, colour in (("baseline", BASE), (variant, CTRL)):
            label = "baseline" if curve == "baseline" else "control"
            _band(axes, product["loss"].sel(curve=curve), colour, label)
        axes.set_title(str(variant))
        for i, task in enumerate(product["task"].values):
            _band(below, product["psi"].sel(variant=variant, task=task), f"C{i + 1}", task)
        below.set_xlabel(TIME)
    upper[0].set_ylabel("loss L")
    lower[0].set_ylabel("engagement ψ")
    upper[0].legend()
    lower[0].legend()
    few_ticks(figure)
    return figure


def fig4(products: Products) -> Figure:
    """Engagement in classes: what it gains, and phi; hierarchy and digits."""
    figure = Figure(figsize=(8.4, 5))
    columns = figure.subplots(2, 2, sharex="col").T
    texts = {
        "category_semantic": ("hierarchy", "level"),
        "category_digits": ("digits", "digit"),
    }
    for (above, below), (name, (title, group)) in zip(columns, texts.items(), strict=True):
        product = products[name]
        gained = product["loss"].sel(case="baseline") - product["loss"].sel(case="control")
        _band(above, gained, CTRL, "")
        above.axhline(0, color="k", linewidth=0.6)
        above.set(title=title, ylabel="$L_B - L_C$")
        count = product.sizes["group"]
        for g in range(count):
            colour = MAP(g / (count - 1)) if count < 10 else f"C{g}"
            phi = product["phi"].isel(group=g).mean("seed")
            below.plot(phi["time"], phi, color=colour, label=f"{group} {g}")
        below.set(xlabel=TIME, ylabel="engagement φ")
        below.legend(ncols=1 + count // 5, fontsize="x-small")
    few_ticks(figure)
    return figure


def _band(axes: Axes, values: xr.DataArray, colour: str, label: str) -> None:
    """Mean over seeds ± two standard deviations."""
    mean, sd = values.mean("seed"), values.std("seed")
    few = slice(None, None, 2)
    low, high = (mean - 2 * sd)[few], (mean + 2 * sd)[few]
    axes.fill_between(low["time"], low, high, color=colour, alpha=0.25, linewidth=0)
    axes.plot(mean["time"], mean, colour, label=label)


# ---- gain ------------------------------------------------------------------------------


def fig5(products: Products) -> Figure:
    """Gain modulation of one task: v, L, weights, speed of learning and gain."""
    product = products["gain_single"]
    loss = product["loss"]
    base, ctrl = (loss.sel(case=case) for case in ("baseline", "control"))
    figure = Figure(figsize=(8.4, 5.4))
    (a, b), (c, d) = figure.subplots(2, 2)
    for axes, pair, text in (
        (a, (-base, -ctrl - product["cost"]), "v = −L − C"),
        (b, (base, ctrl), "loss L"),
    ):
        _band(axes, pair[0], BASE, "baseline")
        _band(axes, pair[1], CTRL, "control")
        axes.set(xlabel=TIME, ylabel=text)
        axes.legend()
    for norm, style in (("l1", "-"), ("l2", "--")):
        for case, colour in (("baseline", BASE), ("control", CTRL)):
            mean = product["weight_norm"].sel(norm=norm, case=case).mean("seed")
            c.plot(mean["time"], mean, style, color=colour, label=f"{norm}, {case}")
    c.set(xlabel=TIME, ylabel="size of the weights")
    c.legend()
    gain = (product["gain_norm"] ** 2).sum("layer") ** 0.5
    speed = abs(ctrl.differentiate("time"))
    for values, colour, label in (
        (speed, "C1", "|dL/dt|"),
        (gain, CTRL, "size of the gain"),
    ):
        mean = values.mean("seed")
        d.plot(mean["time"], mean / mean.max(), color=colour, label=label)
    d.set(xlabel=TIME, ylabel="over its maximum", title="effort and learning")
    d.legend()
    few_ticks(figure)
    return figure


def fig6(products: Products) -> Figure:
    """Gain modulation as tasks alternate: L, peaks at switches, cost around a switch."""
    product = products["gain_switch"]
    figure = Figure(figsize=(9.2, 5.4))
    grid = figure.add_gridspec(2, 2)
    a, b, c = (figure.add_subplot(cell) for cell in (grid[0, :], grid[1, 0], grid[1, 1]))
    for case, colour in (("baseline", BASE), ("control", CTRL)):
        mean = product["loss"].sel(case=case).mean("seed")
        a.plot(mean["time"], mean, color=colour, label=case, linewidth=1)
    a.set(xlabel=TIME, ylabel="loss L", yscale="log", yticks=[0.2, 0.5, 1, 2])
    a.yaxis.set_major_formatter(ScalarFormatter())
    a.yaxis.set_minor_formatter(NullFormatter())
    a.legend()
    _peaks(b, product)
    _costs_around_switches(c, product)
    few_ticks(figure)
    return figure


def _peaks(axes: Axes, product: xr.Dataset) -> None:
    """Peak of the loss at every switch, by task and case."""
    for case, colour in (("baseline", BASE), ("control", CTRL)):
        for to_B, marker, text in ((1, "o", "into B"), (0, "s", "into A")):
            chosen = np.nonzero(product["to_B"].values == to_B)[0]
            peak = product["peak"].sel(case=case).isel(switch=chosen)
            spread = 2 * peak.std("seed")
            style, label = f"{marker}-", f"{case}, {text}"
            axes.errorbar(
                peak["switch"],
                peak.mean("seed"),
                spread,
                fmt=style,
                color=colour,
                label=label,
            )
    axes.set(xlabel="switch", ylabel="peak of the loss", xticks=product["switch"].values)
    axes.set_ylim(0, 1.5 * float(product["peak"].max()))
    axes.legend(ncols=2, loc="upper center")


def _costs_around_switches(axes: Axes, product: xr.Dataset) -> None:
    times = product["switch_time"].values
    half = (times[1] - times[0]) / 2 if len(times) > 1 else times[0] / 2
    cost = product["cost"].mean("seed")
    for s, time in enumerate(times):
        near = cost.sel(time=slice(time - half, time + half))
        colour = MAP(s / max(1, len(times) - 1))
        axes.plot(near["time"] - time, near, ".-", color=colour, label=f"switch {s + 1}")
    axes.set(xlabel="time since the switch", ylabel="cost of control C", xlim=(-1, 2.5))
    axes.legend()
