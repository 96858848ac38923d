"""One function per figure: products in, Figure out."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from retrograd.papers.lufkin2024_localization.data import cosine, final_ipr, times
from retrograd.papers.lufkin2024_localization.params import ELLIPTICAL

Products = Mapping[str, xr.Dataset]
SITE = "site i"
IPR = "IPR of w"
KURTOSIS = "excess kurtosis"
COLORS = {"nlgp": "C0", "alg": "C1"}
NAMES = {"nlgp": "NLGP (gain g)", "alg": "algebraic (power k)"}


def fig1(products: Products) -> Figure:
    """One input of each model; covariance, density and amplifier of them."""
    models, theory = products["models_instance"], products["models_theory"]
    figure = Figure(figsize=(8.0, 4.4))
    top, bottom = figure.subplots(2, models.sizes["condition"])
    for i, (axes, label) in enumerate(zip(top, models["condition"].values, strict=True)):
        model = models.sel(condition=label)
        axes.plot(model["pos"], model["sample"], f"C{i}", linewidth=0.9)
        axes.set(xlabel=SITE, ylim=(-3.6, 3.6), title=label)
        style = f"C{i}.-" if i < 2 else f"C{i}.--"  # the last two are nearly the same
        bottom[0].plot(model["pos"][:7], model["covariance"][:7], style, label=label)
        if label == "ising":
            bottom[1].vlines([-1, 1], 0, 0.7, color=f"C{i}", label="±1")
        else:
            bottom[1].plot(model["value"], model["density"], f"C{i}", linewidth=1)
        _amplifier(bottom[2], theory.sel(condition=label), f"C{i}")
    top[0].set_ylabel("input $x_i$")
    bottom[0].set(xlabel="distance, sites", ylabel="covariance")
    bottom[0].legend()
    bottom[1].set(xlabel="value of $x_i$", ylabel="density", ylim=(0, 0.75))
    bottom[1].legend()
    linear = theory["phi_linear"]
    bottom[2].plot(linear["a"], linear, "k--", linewidth=0.8, label="√(2/π) a")
    bottom[2].set(xlabel="a", ylabel="amplifier φ(a)", ylim=(-1.2, 1.2))
    bottom[2].legend(fontsize="x-small", loc="upper left")
    _few_ticks(*top, *bottom)
    return figure


def fig2(products: Products) -> Figure:
    """Receptive fields over time: SGD above, effective dynamics below."""
    shown = [
        ("trajectory", "nlgp 100"),
        ("trajectory", "nlgp 0.1"),
        ("other", "ising"),
        ("other", "alg 5"),
    ]
    figure = Figure(figsize=(8.4, 4.0))
    grid = figure.subplots(2, len(shown), sharex=True, sharey=True)
    for column, (name, label) in enumerate(shown):
        for axes, kind in zip(grid[:, column], ("sgd", "theory"), strict=True):
            _evolution(axes, products[f"{name}_{kind}"], label)
        grid[0, column].set_title(label)
        grid[1, column].set_xlabel(SITE)
    for axes, text in zip(grid[:, 0], ("SGD", "effective dynamics"), strict=True):
        axes.set_ylabel(f"{text}, $w_i$")
    _few_ticks(*grid.flat)
    return figure


def fig3(products: Products) -> Figure:
    """IPR over time, cosine of simulation and theory, and weights at three times."""
    sgd, theory = products["trajectory_sgd"], products["trajectory_theory"]
    figure = Figure(figsize=(8.4, 5.2))
    layout = [["ipr"] * 3 + ["cosine"] * 3, ["w0"] * 2 + ["w1"] * 2 + ["w2"] * 2]
    panels: Any = figure.subplot_mosaic(layout)  # type: ignore[arg-type]
    for i, label in enumerate(sgd["condition"].values):
        _ipr_over_time(panels["ipr"], sgd, theory, label, f"C{i}")
        _cosine_over_time(panels["cosine"], sgd, theory, label, i)
    panels["ipr"].set_ylabel(IPR)
    panels["ipr"].legend(title="dots: SGD, lines: theory", title_fontsize="small")
    panels["cosine"].set(ylabel="cosine of w and theory", ylim=(0.4, 1.04))
    title = "lines: first seed\ndots: mean ± s.d."
    panels["cosine"].legend(title=title, title_fontsize="small", loc="lower left")
    for axes in (panels["ipr"], panels["cosine"]):
        axes.set(xscale="log", xlabel="time t")
        _plain_ticks(axes, [2, 5, 10, 20, 50])
    label = sgd["condition"].values[-1]
    for i, record in enumerate(sgd["record"].values[1:4]):
        axes = panels[f"w{i}"]
        for product, style, text in ((sgd, "C3o", "SGD"), (theory, "k-", "theory")):
            w = product["path"].sel(condition=label, record=record)
            axes.plot(w["pos"], w, style, markersize=3, linewidth=1, label=text)
        t = float(times(sgd).sel(condition=label, record=record))
        axes.set(xlabel=SITE, title=f"{label}, t = {t:g}")
    panels["w0"].set_ylabel("$w_i$")
    panels["w0"].legend()
    _few_ticks(*(panels[f"w{i}"] for i in range(3)))
    return figure


def fig4(products: Products) -> Figure:
    """Final IPR over excess kurtosis: SGD, and effective dynamics."""
    sgd, theory = products["kurtosis_sgd"], products["kurtosis_theory"]
    figure = Figure(figsize=(5.2, 3.8))
    axes = figure.add_subplot()
    for family, color in COLORS.items():
        runs = _of_family(sgd, family)["ipr"].isel(record=-1)
        axes.errorbar(
            runs["excess_kurtosis"],
            runs.mean("seed"),
            runs.std("seed", ddof=1),
            fmt=f"{color}o",
            capsize=2,
            label=f"SGD, {NAMES[family]}",
        )
        predicted = final_ipr(_of_family(theory, family)).sortby("excess_kurtosis")
        text = f"theory, {NAMES[family]}"
        axes.plot(predicted["excess_kurtosis"], predicted, f"{color}--", label=text)
    sinusoid = 1.5 / int(sgd["inputs"])
    axes.axhline(sinusoid, color="k", linewidth=0.8, label="sinusoid, 1.5/N")
    axes.axvline(0, color="k", linewidth=0.5, linestyle=":")
    _kurtosis_axis(axes)
    axes.set_ylabel(IPR)
    axes.legend()
    return figure


def fig5(products: Products) -> Figure:
    """Elliptical inputs: weights over time, the lowest modes of the last, and power."""
    sgd = products["other_sgd"]
    labels = [x for x in sgd["condition"].values if x.split()[0] in ELLIPTICAL]
    figure = Figure(figsize=(8.8, 2.8))
    panels = figure.subplots(1, len(labels) + 1)
    for i, (axes, label) in enumerate(zip(panels, labels, strict=False)):
        _evolution(axes, sgd, label)
        final = sgd["path"].sel(condition=label).isel(record=-1)
        modes = np.fft.rfft(final)
        modes[2:] = 0
        fitted = np.fft.irfft(modes, final.sizes["pos"])
        axes.plot(final["pos"], fitted, "k--", linewidth=1, label="k ≤ 1 of the last")
        axes.set(xlabel=SITE, title=label)
        share = sgd["spectrum"].sel(condition=label).mean("seed")
        panels[-1].plot(share["wavenumber"], share, f"C{i}", label=label)
    panels[0].set_ylabel("$w_i$")
    panels[0].legend(loc="center right")
    _few_ticks(*panels[:-1])
    panels[-1].set(yscale="log", xlabel="wavenumber |k|", title="share of power")
    panels[-1].grid(visible=False)
    panels[-1].legend()
    return figure


def fig6(products: Products) -> Figure:
    """Many neurons: their receptive fields, and IPR over kurtosis beside ICA and ReLU."""
    many = products["many_sgd"]
    figure = Figure(figsize=(8.4, 5.4))
    grid = figure.add_gridspec(2, 3, height_ratios=(1, 1.3))
    for column, label in enumerate(("alg 4.3", "alg 30", "nlgp 100")):
        axes = figure.add_subplot(grid[0, column])
        w = many["end"].sel(condition=label)
        axes.plot(w["pos"], w.transpose("pos", "unit"), linewidth=0.8)
        _few_ticks(axes)
        axes.set(xlabel=SITE, title=f"{label}, {w.sizes['unit']} units")
        if column == 0:
            axes.set_ylabel("$w_i$")
    axes = figure.add_subplot(grid[1, :])
    runs = {
        "sigmoid units with bias, ξ = (1, 3)": (many["ipr"].isel(record=-1), "C0o"),
        "ReLU units without bias, ξ = (0.3, 0.7)": (
            products["relu_sgd"]["ipr"].isel(record=-1),
            "C3x",
        ),
        "independent components, ξ = (1, 3)": (products["components"]["ipr"], "C2^"),
    }
    for i, (text, (ipr, style)) in enumerate(runs.items()):
        mean, spread = ipr.mean(["seed", "unit"]), ipr.std(["seed", "unit"])
        kurtosis = mean["excess_kurtosis"] + 0.03 * (i - 1)  # side by side
        axes.errorbar(kurtosis, mean, spread, fmt=style, capsize=2, label=text)
    _kurtosis_axis(axes)
    axes.set(ylabel="IPR of a unit, mean ± s.d.", ylim=(0, None))
    axes.legend()
    return figure


def _few_ticks(*panels: Axes) -> None:
    """Of small panels: no grid, and a few ticks on linear axes."""
    for axes in panels:
        axes.grid(visible=False)
        axes.locator_params(nbins=4)


def _plain_ticks(axes: Axes, ticks: Sequence[float]) -> None:
    """Ticks as plain numbers on an axis that is not linear."""
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.set_xticks([], minor=True)


def _kurtosis_axis(axes: Axes) -> None:
    """Linear from −2 to 2, logarithmic for heavy tails."""
    axes.set_xscale("symlog", linthresh=2, linscale=2)
    axes.set(xlabel=KURTOSIS, xlim=(-2.2, 12))
    _plain_ticks(axes, [-2, -1, 0, 1, 2, 5, 10])


def _amplifier(axes: Axes, theory: xr.Dataset, color: str) -> None:
    kurtosis = float(theory["excess_kurtosis"])
    label = f"{theory['condition'].item()} ({round(kurtosis, 2) + 0:.2f})"  # no −0.00
    axes.plot(theory["a"], theory["phi"], color, label=label)
    axes.plot(theory["a"], theory["phi_cubic"], f"{color}:", linewidth=1)


def _evolution(axes: Axes, product: xr.Dataset, label: str) -> None:
    """The kept weights of the first seed, from dark (early) to light (late)."""
    path = product["path"].sel(condition=label)
    colors = mpl.colormaps["viridis"](np.linspace(0, 0.92, path.sizes["record"]))
    for w, color in zip(path, colors, strict=True):
        axes.plot(w["pos"], w, color=color, linewidth=1)


def _ipr_over_time(
    axes: Axes, sgd: xr.Dataset, theory: xr.Dataset, label: str, color: str
) -> None:
    for product, style, text in ((sgd, "o", None), (theory, "-", label)):
        run = product.sel(condition=label).isel(record=slice(1, None))  # t = 0 has no log
        ipr = run["ipr"].mean("seed")
        axes.plot(times(run), ipr, f"{color}{style}", markersize=3, label=text)


def _cosine_over_time(
    axes: Axes, sgd: xr.Dataset, theory: xr.Dataset, label: str, i: int
) -> None:
    """Of the first seed, and of all seeds at fewer times; labels side by side."""
    first = cosine(sgd["path"], theory["path"]).sel(condition=label)[1:]
    t = times(sgd).sel(condition=label)[1:]
    axes.plot(t, first, f"C{i}-", linewidth=1, label=label)
    every = cosine(sgd["weights"], theory["weights"]).sel(condition=label)
    mean, spread = every.mean("seed"), every.std("seed", ddof=1)
    t = every["lr"] * every["weights_step"]
    axes.errorbar(t * 1.06 ** (i - 1.5), mean, spread, fmt=f"C{i}o", capsize=2)


def _of_family(product: xr.Dataset, family: str) -> xr.Dataset:
    labels: Sequence[str] = product["condition"].values.tolist()
    return product.sel(condition=[label for label in labels if label.split()[0] == family])
