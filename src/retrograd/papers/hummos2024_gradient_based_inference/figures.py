"""One function per figure: products in, Figure out."""

from collections.abc import Mapping

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

Products = Mapping[str, xr.Dataset]
COLOURS = {
    "gbi": "C0",
    "gbi, softmax Z": "C2",
    "lstm": "0.4",
    "lstm, Z optimised": "C1",
    "random labels": "C3",
}
DETECTORS = {"gbi": "C0", "max softmax": "C1", "max logit": "C2", "ensemble": "C3"}
SETS = {"inside": "C0", "outside": "0.4"}
NO_TASK = "no task input"


# ---- toy -------------------------------------------------------------------------------


def fig1(products: Products) -> Figure:
    """Observations, likelihoods, and posteriors along a stream."""
    theory = products["toy_theory"]
    time = theory["observation"]
    figure = Figure(figsize=(8, 5))
    top, middle, bottom = figure.subplots(3, 1, sharex=True)
    top.plot(time, theory["x"], "k.", markersize=2.5, rasterized=True)
    top.set(ylabel="observation x")
    for k in theory["task"].values:
        middle.plot(time, theory["likelihood"].sel(task=k), f"C{k}", label=f"task {k}")
    middle.set(ylabel="likelihood", ylim=(0, 5))
    middle.legend(loc="upper right", ncols=2)
    for name, style in (("exact", "k-"), ("gbi", "C0--")):
        posterior = theory["posterior"].sel(observer=name).isel(seed=0)
        label = {"exact": "exact", "gbi": "evidence from one gradient step"}[name]
        bottom.plot(time, posterior, style, label=label)
    bottom.set(xlabel="step", ylabel="P(task 0)", ylim=(-0.05, 1.25))
    bottom.set_yticks([0, 0.5, 1])
    bottom.legend(loc="upper right", ncols=2)
    return figure


def fig2(products: Products) -> Figure:
    """Losses along training, and the share of units that serve both tasks."""
    train = products["toy_train"]
    figure = Figure(figsize=(10, 3.3))
    left, middle, right = figure.subplots(1, 3)
    part = (train["stretch"] + 0.5) / train.sizes["stretch"]
    for kind in train["kind"].values:
        run, colour = train.sel(kind=kind), COLOURS[kind]
        _band(
            left, part, run["curve"].rolling(stretch=5, min_periods=1).mean(), colour, kind
        )
        _band(middle, run["block"], run["block_loss"], colour, kind)
        _band(right, run["bin"], run["shared"], colour, kind)
    floors = {
        "σ²": 0.01,
        "Bayesian observer": float(products["toy_theory"]["observer_error"]),
    }
    for (name, floor), style in zip(floors.items(), (":", "--"), strict=True):
        left.axhline(floor, color="black", linestyle=style, linewidth=1, label=name)
    left.set(xlabel="part of training", ylabel="squared error", yscale="log")
    middle.set(xlabel="block", ylabel="squared error, late in a block", yscale="log")
    right.set(xlabel="bin of 5 blocks", ylabel="shared ratio of units", ylim=(0, 1.02))
    left.legend(loc="upper right")
    return figure


def fig3(products: Products) -> Figure:
    """A switching stream with its Z, and what inference makes of other means."""
    train = products["toy_train"].isel(time=slice(None, None, 2))
    figure = Figure(figsize=(10, 6.2))
    rows = figure.subplots(3, 2, width_ratios=(1.7, 1))
    time = train["time"]
    dots = {"color": "0.6", "markersize": 2.5, "rasterized": True}
    rows[0, 0].plot(time, train["switch_x"], ".", label="x", **dots)
    for name in train["shown"].values:
        prediction = train["switch_prediction"].sel(shown=name)
        rows[0, 0].plot(time, prediction, color=COLOURS[name], label=name, linewidth=1)
    for k in train["component"].values:
        of_k = {"component": k}
        rows[1, 0].plot(
            time, train["switch_gradient"].sel(of_k), f"C{k}", label=f"Z of task {k}"
        )
        rows[2, 0].plot(time, train["switch_Z"].sel(of_k), f"C{k}", label=f"Z of task {k}")
    rows[0, 0].set(ylabel="x and predictions", ylim=(-0.2, 1.5))
    rows[0, 0].legend(ncols=3, loc="upper right")
    rows[1, 0].set(ylabel="minus gradient")
    rows[2, 0].set(ylabel="Z", xlabel="step", ylim=(None, 1.9))
    rows[2, 0].legend(ncols=2, loc="upper right")
    for name, colour in COLOURS.items():
        found = train.sel(inference=name)
        _band(rows[0, 1], train["mean"], found["excess"], colour, name)
        _band(rows[1, 1], train["mean"], found["prediction_mean"], colour, name)
        rows[2, 1].plot(train["lag"], found["lag_excess"].mean("seed"), color=colour)
    rows[1, 1].plot(train["mean"], train["mean"], "k--", linewidth=0.8)
    for axes in (rows[0, 1], rows[1, 1]):
        for k in (0.2, 0.8):
            axes.axvline(k, color="black", linestyle=":", linewidth=0.8)
    rows[0, 1].set(xlabel="mean of the stream", ylabel="excess error", yscale="log")
    rows[1, 1].set(xlabel="mean of the stream", ylabel="mean prediction")
    rows[2, 1].set(xlabel="steps after a switch", ylabel="excess error", yscale="log")
    rows[0, 1].set(ylim=(1e-4, 20))
    rows[0, 1].legend(ncols=2, loc="upper center", fontsize="x-small")
    return figure


def fig3b(products: Products) -> Figure:
    """One-step evidence against the likelihood ratio, and posteriors from either."""
    train, theory = products["toy_train"], products["toy_theory"]
    figure = Figure(figsize=(10, 3.4))
    left, middle, right = figure.subplots(1, 3)
    exact = theory["probe_evidence"]
    probe = train["probe"]
    for name, colour, label in (
        ("control_probe_evidence", "0.5", "without task input"),
        ("probe_evidence", "C0", "one step, gbi"),
    ):
        lines = train[name].isel(seed=0)
        for i in range(lines.sizes["history"]):
            text = label if i == 0 else None
            left.plot(probe, lines.isel(history=i), color=colour, linewidth=1, label=text)
    left.plot(probe, exact.isel(seed=0, history=0), "k--", label="exact")
    left.set(xlabel="probe x", ylabel="evidence for task 0", title="six histories, seed 0")
    left.legend()
    for name, colour in (("control_probe_evidence", "0.5"), ("probe_evidence", "C0")):
        mean = train[name].mean("history")
        for seed in train["seed"].values:
            middle.plot(
                exact.isel(history=0).sel(seed=seed), mean.sel(seed=seed), color=colour
            )
    middle.plot(exact[0, 0], exact[0, 0], "k--")
    middle.set(xlabel="log-likelihood ratio", ylabel="evidence, mean over histories")
    middle.set(title="all seeds")
    for name, colour in (("lstm", "0.6"), ("gbi", "C0")):
        pair = (theory["posterior"].sel(observer=o).isel(seed=0) for o in ("exact", name))
        label = {"gbi": "gbi", "lstm": "without task input"}[name]
        points = {"marker": ".", "linestyle": "", "markersize": 3}
        right.plot(*pair, color=colour, label=label, rasterized=True, **points)
    right.plot([0, 1], [0, 1], "k--", linewidth=0.8)
    right.set(xlabel="exact P(task 0)", ylabel="P(task 0) from one step", title="seed 0")
    right.legend(loc="center")
    return figure


# ---- images ----------------------------------------------------------------------------


def fig4(products: Products) -> Figure:
    """Detection of images from elsewhere: histograms of scores, and ROC curves."""
    (image,) = products.values()
    figure = Figure(figsize=(10, 5.4))
    panels = figure.subplots(2, 2).ravel()
    titles = {
        "gbi": "largest one-step score, max s",
        "max softmax": "classifier: largest softmax",
        "max logit": "classifier: largest logit",
    }
    for axes, (detector, title) in zip(panels[:3], titles.items(), strict=True):
        of = image.sel(detector=detector)
        for name, colour in SETS.items():
            counts = of["histogram"].sel(set=name)
            axes.stairs(counts, _edges(of["score"].values), color=colour, label=name)
            axes.stairs(
                counts, _edges(of["score"].values), color=colour, alpha=0.25, fill=True
            )
        axes.set(xlabel=title, ylabel="fraction of images", ylim=(0, None))
        axes.legend()
    axes = panels[3]
    areas = _areas(image)
    for detector, colour in DETECTORS.items():
        label = f"{detector}, area {np.mean(areas[detector]):.2f}"
        axes.plot(image["rate"], image["roc"].sel(detector=detector), colour, label=label)
    axes.plot([0, 1], [0, 1], "k:", linewidth=0.8)
    axes.set(xlabel="false positive rate", ylabel="true positive rate")
    axes.legend(loc="lower right")
    return figure


def fig4b(products: Products) -> Figure:
    """Inference of the class: digits."""
    image = products["image_train"]
    given = image.sel(condition=image["condition"] != NO_TASK)
    shown = image.sel(condition=[given["condition"].values[0], NO_TASK])
    return _inference(shown, given)


def fig4b_real(products: Products) -> Figure:
    """Inference of the class: MNIST."""
    return _inference(products["image_real_train"], products["image_real_sweep_train"])


def _edges(centres: np.ndarray) -> np.ndarray:
    """Of equal bins, from their middles."""
    half = (centres[1] - centres[0]) / 2
    return np.append(centres - half, centres[-1] + half)


def _areas(image: xr.Dataset) -> dict[str, np.ndarray]:
    """Areas under the ROC curves, per seed, of every detector."""
    of_classifier = {
        str(name): image["classifier_auc"].sel(confidence=name).values
        for name in image["confidence"].values
    }
    gbi = image["auc"].isel(condition=0).values
    return {"gbi": gbi, **of_classifier, "ensemble": image["ensemble_auc"].values[None]}


def _inference(image: xr.Dataset, sweep: xr.Dataset) -> Figure:
    """Bars of accuracies and areas; accuracies against the width of the code."""
    figure = Figure(figsize=(10, 3.6))
    left, middle, right = figure.subplots(1, 3)
    conditions = [str(name) for name in image["condition"].values]
    names = [str(m) for m in image["inference"].values]
    for i, condition in enumerate(conditions):
        bars = {
            m: image["accuracy"].sel(condition=condition, inference=m).values for m in names
        }
        if i == 0:
            bars["classifier"] = image["classifier_accuracy"].values
        width = 0.8 / len(conditions)
        _bars(left, bars, f"C{3 * i}", condition, offset=i * width, width=width)
    left.set(ylabel="accuracy", ylim=(0, 1.02))
    if len(conditions) > 1:
        left.set(ylim=(0, 1.25))
        left.legend(loc="upper left", ncols=2)
    _bars(middle, _areas(image), "C0", "", offset=0, width=0.7)
    middle.axhline(0.5, color="black", linestyle=":", linewidth=0.8)
    middle.set(ylabel="area under the ROC curve", ylim=(0, 1))
    for method, colour in (("gbi1", "C0"), ("iter", "C2"), ("ml", "0.4")):
        accuracy = sweep["accuracy"].sel(inference=method)
        mean = accuracy.mean("seed")
        right.plot(sweep["code"], mean, "o-", color=colour, label=method, markersize=3)
        if accuracy.sizes["seed"] > 1:
            right.plot(sweep["code"], accuracy, ".", color=colour, markersize=2)
    right.set(xlabel="width of the code d", ylabel="accuracy", ylim=(0, 1), xscale="log")
    right.set_xticks(sweep["code"].values, [f"{d}" for d in sweep["code"].values])
    right.minorticks_off()
    right.legend(loc="lower left")
    return figure


def _bars(
    axes: Axes,
    values: Mapping[str, np.ndarray],
    colour: str,
    label: str,
    offset: float,
    width: float,
) -> None:
    """Bars of means over seeds, with a dot per seed."""
    places = np.arange(len(values)) + offset
    means = [v.mean() for v in values.values()]
    axes.bar(places, means, width, color=colour, alpha=0.5, label=label)
    for place, v in zip(places, values.values(), strict=True):
        axes.plot(np.full(len(v), place), v, ".", color="black", markersize=3)
    if offset == 0:
        axes.set_xticks(places, list(values), rotation=30, ha="right")


# ---- language ----------------------------------------------------------------------------


def fig5(products: Products) -> Figure:
    """Language models: losses, one-pass inference, adaptation."""
    (run,) = products.values()
    figure = Figure(figsize=(10, 5.6))
    panels = figure.subplots(2, 2)
    for kind in run["kind"].values:
        own, colour = run.sel(kind=kind), COLOURS[kind]
        _band(panels[0, 0], run["stretch"], own["train_loss"], colour, kind)
        _band(panels[0, 1], run["evaluation"], own["test_loss"], colour, kind)
        accuracy = own["onepass_accuracy"]
        _band(panels[1, 0], run["words"], accuracy, colour, kind)
        saved = own["adapt_loss"].isel(adaptation=0, drop=True) - own["adapt_loss"]
        _band(panels[1, 1], run["adaptation"], saved.mean("novel"), colour, kind)
    chance = 1 / run.sizes["component"]
    panels[1, 0].axhline(chance, color="black", linestyle=":", label="chance")
    panels[0, 0].set(xlabel="step", ylabel="training loss per word / nat")
    panels[0, 1].set(xlabel="step", ylabel="test loss per word / nat")
    panels[1, 0].set(xlabel="words seen", ylabel="accuracy of the data set", ylim=(0, 1.02))
    panels[1, 1].set(xlabel="step on z", ylabel="loss saved on novel data / nat")
    for axes in panels.flat:
        axes.legend()
    return figure


def _band(
    axes: Axes, x: xr.DataArray, values: xr.DataArray, colour: str, label: str
) -> None:
    """Mean over seeds, and a band of one standard error where there are several."""
    mean = values.mean("seed")
    axes.plot(x, mean, color=colour, label=label)
    if values.sizes["seed"] > 1:
        error = values.std("seed", ddof=1) / np.sqrt(values.sizes["seed"])
        low, high = mean - error, mean + error
        axes.fill_between(x, low, high, color=colour, alpha=0.2, linewidth=0)
