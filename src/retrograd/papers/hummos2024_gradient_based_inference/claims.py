"""One function per claim: its statistics, from the products of all seeds.

Names are those of the project's specification. What is claimed of images and language is
judged by one function whatever the data: a claim needs one product, real or embedded.
"""

import numpy as np
import xarray as xr

from retrograd.claims import Products, Statistics

WITHIN = (0.3, 0.4, 0.5, 0.6, 0.7)  # test means between those of the tasks
OUTSIDE = (-0.2, -0.1, 0.0, 0.1, 0.9, 1.0, 1.1, 1.2)
LAST, FIRST = slice(-4, None), slice(0, 2)  # bins of blocks
LATE = 20  # lag from which a switch is long past
NO_TASK = "no task input"


# ---- toy -------------------------------------------------------------------------------


def c1(products: Products) -> Statistics:
    """Training loss over all steps, lstm over gbi."""
    gbi, lstm, _ = _kinds(products, "loss")
    return {"lstm_over_gbi": lstm / gbi}


def c1b(products: Products) -> Statistics:
    """Loss of the first blocks, the first predictions of each dropped: lstm - gbi."""
    gbi, lstm, _ = _kinds(products, "early_loss")
    return {"difference": lstm - gbi, "mean_difference": float((lstm - gbi).mean())}


def c1c(products: Products) -> Statistics:
    """Losses against the floors, sigma² with and the observer's error without the task."""
    gbi = _kinds(products, "loss")[0]
    late = _kinds(products, "late_loss")[1]
    floor = float(products["toy_theory"]["observer_error"])
    return {"gbi": gbi, "lstm_late": late, "observer": floor}


def c1d(products: Products) -> Statistics:
    """Loss of the first prediction after a switch, late in training."""
    gbi, lstm, _ = _kinds(products, "switch_loss")
    return {"gbi": gbi, "lstm": lstm}


def c2(products: Products) -> Statistics:
    """Shared ratio of units, mean of the last bins."""
    gbi, lstm, _ = (k.isel(bin=LAST).mean("bin") for k in _kinds(products, "shared"))
    return {
        "difference": lstm - gbi,
        "gbi_mean": float(gbi.mean()),
        "lstm_mean": float(lstm.mean()),
    }


def c2b(products: Products) -> Statistics:
    """Fall of the shared ratio of gbi from the first bins to the last."""
    gbi = _kinds(products, "shared")[0].mean("seed")
    return {"fall": float(gbi.isel(bin=FIRST).mean() - gbi.isel(bin=LAST).mean())}


def c2c(products: Products) -> Statistics:
    """Networks given labels that have nothing to do with the task."""
    shared = _kinds(products, "shared")[2].isel(bin=LAST)
    return {"shared_mean": float(shared.mean()), "loss": _kinds(products, "loss")[2]}


def c3(products: Products) -> Statistics:
    """Excess at the mean of the task of the last block but one."""
    gbi, lstm = (_excess(products, name).sel(mean=0.8) for name in ("gbi", "lstm"))
    return {"gbi": gbi, "gbi_over_lstm": float(gbi.mean() / lstm.mean())}


def c4(products: Products) -> Statistics:
    """Excess between the trained means."""
    gbi, lstm = (_excess(products, n, WITHIN) for n in ("gbi", "lstm"))
    return {"gbi": gbi, "gbi_over_lstm": float(gbi.mean() / lstm.mean())}


def c5(products: Products) -> Statistics:
    """Excess outside the trained range."""
    gbi, lstm = (_excess(products, n, OUTSIDE) for n in ("gbi", "lstm"))
    return {"gbi_over_lstm": gbi / lstm}


def c5b(products: Products) -> Statistics:
    """Slope of the mean prediction against the mean of the stream."""
    prediction = products["toy_train"]["prediction_mean"]
    slope = prediction.polyfit("mean", 1)["polyfit_coefficients"].sel(degree=1, drop=True)
    return {"gbi": slope.sel(inference="gbi"), "lstm": slope.sel(inference="lstm")}


def c5c(products: Products) -> Statistics:
    """Excess of the untrained inputs, optimised alike, over that of gbi."""
    return {
        f"{name}_over_gbi": float(
            _excess(products, "lstm, Z optimised", means).mean()
            / _excess(products, "gbi", means).mean()
        )
        for name, means in (("within", WITHIN), ("outside", OUTSIDE))
    }


def c5d(products: Products) -> Statistics:
    """Distance of Z from the task's one-hot at the end of streams of the tasks."""
    distance = products["toy_train"]["Z_distance"].sel(inference="gbi")
    return {"median": float(distance.median())}


def c5e(products: Products) -> Statistics:
    """Z on the simplex: within and outside the trained range, and its largest entry."""
    name = "gbi, softmax Z"
    outside = _excess(products, name, OUTSIDE)
    largest = products["toy_train"]["Z_largest"].max("seed")
    return {
        "within": _excess(products, name, WITHIN),
        "outside_over_linear": float(
            outside.mean() / _excess(products, "gbi", OUTSIDE).mean()
        ),
        "largest_Z": float(largest.sel(inference=name).max()),
        "largest_linear_Z": float(largest.sel(inference="gbi", mean=1.2)),
    }


def c6(products: Products) -> Statistics:
    """Excess long after a switch, and at lag 12."""
    gbi, lstm = (_by_lag(products, name) for name in ("gbi", "lstm"))
    late = {"lag": slice(LATE, None)}
    return {
        "gbi_over_lstm": float(gbi.sel(late).mean() / lstm.sel(late).mean()),
        "gbi_at_lag_12": float(gbi.sel(lag=12)),
    }


def c6b(products: Products) -> Statistics:
    """Excess right after a switch, at lag 1."""
    return {name: float(_by_lag(products, name).sel(lag=1)) for name in ("gbi", "lstm")}


def c7(products: Products) -> Statistics:
    """Regression of one-step evidence on exact evidence, all probes of a seed pooled."""
    exact = _pooled(products["toy_theory"]["probe_evidence"])
    measured = _pooled(products["toy_train"]["probe_evidence"])
    x = measured["probe"].drop_vars("probe")
    return {
        "correlation": xr.corr(exact, measured, "pooled"),
        "slope": _slope(exact, measured),
        "crossing": x.mean() - measured.mean("pooled") / _slope(x, measured),
    }


def c7b(products: Products) -> Statistics:
    """Posteriors of filters, and the task from one observation, means over seeds."""
    posterior = products["toy_theory"]["posterior"]
    exact, gbi = (posterior.sel(observer=name, drop=True) for name in ("exact", "gbi"))
    return {
        "posterior_correlation": float(xr.corr(exact, gbi, "observation").mean()),
        "accuracy": float(_one_step_accuracy(products, "evidence")),
    }


def c7c(products: Products) -> Statistics:
    """The same of networks trained without task input."""
    exact = _pooled(products["toy_theory"]["probe_evidence"])
    control = _pooled(products["toy_train"]["control_probe_evidence"])
    return {
        "largest_slope": float(abs(_slope(exact, control)).max()),
        "accuracy": float(_one_step_accuracy(products, "control_evidence")),
    }


def _kinds(products: Products, name: str) -> tuple[xr.DataArray, ...]:
    """Of gbi, lstm and random labels."""
    values = products["toy_train"][name]
    kinds = ("gbi", "lstm", "random labels")
    return tuple(values.sel(kind=kind, drop=True) for kind in kinds)


def _excess(
    products: Products, inference: str, means: tuple[float, ...] | None = None
) -> xr.DataArray:
    excess = products["toy_train"]["excess"].sel(inference=inference, drop=True)
    return excess if means is None else excess.sel(mean=list(means)).mean("mean")


def _by_lag(products: Products, inference: str) -> xr.DataArray:
    excess = products["toy_train"]["lag_excess"]
    return excess.sel(inference=inference, drop=True).mean("seed")


def _pooled(evidence: xr.DataArray) -> xr.DataArray:
    """All probes after all histories along one dim."""
    return evidence.stack(pooled=["history", "probe"], create_index=False)


def _slope(x: xr.DataArray, y: xr.DataArray) -> xr.DataArray:
    """Of the regression of y on x."""
    x, y = (v - v.mean("pooled") for v in (x, y))
    return (x * y).mean("pooled") / (x**2).mean("pooled")


def _one_step_accuracy(products: Products, evidence: str) -> xr.DataArray:
    train = products["toy_train"]
    return ((train[evidence] < 0) == train["new_task"]).mean()


def _only(products: Products) -> xr.Dataset:
    """The one product that a claim needs."""
    (product,) = products.values()
    return product


# ---- images ----------------------------------------------------------------------------


def c8(products: Products) -> Statistics:
    """Accuracy of one-step inference."""
    return {"accuracy": float(_accuracy(_only(products), "gbi1").mean())}


def c8b(products: Products) -> Statistics:
    """How much more accurate the classifier is."""
    image = _only(products)
    drop = image["classifier_accuracy"] - _accuracy(image, "gbi1")
    return {"drop": float(drop.mean())}


def c8c(products: Products) -> Statistics:
    """How much more accurate than other gradients, MNIST."""
    image = _only(products)
    return {"over_entropy": _gain(image, "ebi"), "over_norm": _gain(image, "nbi")}


def c8c_e(products: Products) -> Statistics:
    """The same without the norm, which is as good on digits."""
    return {"over_entropy": _gain(_only(products), "ebi")}


def c8d(products: Products) -> Statistics:
    """What iterations add, and what is left to the best class."""
    image = _only(products)
    return {
        "iter_over_gbi1": -_gain(image, "iter"),
        "ml_over_iter": _accuracy(image, "ml") - _accuracy(image, "iter"),
    }


def c8e(products: Products) -> Statistics:
    """Loss with the wrong class over that with the true one."""
    image = _only(products).isel(condition=0, drop=True)
    return {"wrong_over_true": image["loss_wrong"] / image["loss_true"]}


def c8f_e(products: Products) -> Statistics:
    """The same statistics of autoencoders trained without task input, digits."""
    control = _only(products).sel(condition=NO_TASK)
    return {
        "accuracy": control["accuracy"].sel(inference="gbi1"),
        "wrong_over_true": control["loss_wrong"] / control["loss_true"],
        "auc": control["auc"],
    }


def c9(products: Products) -> Statistics:
    """Area under the ROC curve of GBI, and what the classifier's is less."""
    image = _only(products)
    gbi = image["auc"].isel(condition=0, drop=True)
    softmax = image["classifier_auc"].sel(confidence="max softmax", drop=True)
    return {"gbi": gbi, "over_softmax": gbi - softmax}


def c9b(products: Products) -> Statistics:
    """Mean area of GBI minus that of the classifiers' ensemble."""
    image = _only(products)
    area = image["auc"].isel(condition=0).mean()
    return {"over_ensemble": float(area - image["ensemble_auc"])}


def c9c(products: Products) -> Statistics:
    """Mean area of GBI minus that of the classifier."""
    return {"over_softmax": float(np.mean(c9(products)["over_softmax"]))}


def c10b(products: Products) -> Statistics:
    """Accuracy of one-step inference against the width of the code."""
    image = _only(products)
    sweep = image.sel(condition=image["condition"] != NO_TASK)
    accuracy = sweep["accuracy"].sel(inference="gbi1", drop=True)
    widths = accuracy.assign_coords(condition=sweep["code"].values)
    return {
        "step": widths.diff("condition"),
        "widest": widths.isel(condition=-1, drop=True),
    }


def _accuracy(image: xr.Dataset, method: str) -> xr.DataArray:
    return image["accuracy"].isel(condition=0, drop=True).sel(inference=method, drop=True)


def _gain(image: xr.Dataset, method: str) -> xr.DataArray:
    return _accuracy(image, "gbi1") - _accuracy(image, method)


# ---- language ----------------------------------------------------------------------------


def c11(products: Products) -> Statistics:
    """Final test loss, lstm - gbi."""
    gbi, lstm = (loss.isel(evaluation=-1) for loss in _both(products, "test_loss"))
    return {"difference": (lstm - gbi).drop_vars("evaluation")}


def c11b(products: Products) -> Statistics:
    """Evaluation at which gbi first does as well as lstm in the end."""
    gbi, lstm = _both(products, "test_loss")
    reached = gbi <= lstm.isel(evaluation=-1, drop=True)
    # Infinite if gbi never gets there.
    return {"step": xr.where(reached, gbi["evaluation"], np.inf).min("evaluation")}


def c12(products: Products) -> Statistics:
    """Accuracy of one-pass inference from 4 and 16 words."""
    accuracy = _both(products, "onepass_accuracy")[0]
    return {f"{n}_words": accuracy.sel(words=n, drop=True) for n in (4, 16)}


def c12b(products: Products) -> Statistics:
    """What 15 more words add to the first."""
    accuracy = _both(products, "onepass_accuracy")[0]
    return {"gain": accuracy.sel(words=16, drop=True) - accuracy.sel(words=1, drop=True)}


def c12c(products: Products) -> Statistics:
    """One-pass inference by models trained without task input."""
    accuracy = _both(products, "onepass_accuracy")[1].sel(words=16, drop=True)
    return {
        "16_words": accuracy,
        "16_words_mean": float(accuracy.mean()),
        "z_weights_moved": float(_both(products, "z_weights_moved")[1].max()),
    }


def c13(products: Products) -> Statistics:
    """Loss that optimising z saves on novel data sets."""
    gbi, lstm = (
        (loss.isel(adaptation=0) - loss.isel(adaptation=-1)).mean("novel")
        for loss in _both(products, "adapt_loss")
    )
    return {
        "gbi_over_lstm": float(gbi.mean() / lstm.mean()),
        "difference": (gbi - lstm).drop_vars("adaptation", errors="ignore"),
    }


def _both(products: Products, name: str) -> tuple[xr.DataArray, xr.DataArray]:
    """Of gbi and lstm."""
    language = _only(products)
    gbi, lstm = (language[name].sel(kind=kind, drop=True) for kind in ("gbi", "lstm"))
    return gbi, lstm


# ---- exact cases -------------------------------------------------------------------------


def t1(products: Products) -> Statistics:
    """Largest deviation from the linear decoder's identities."""
    exact = products["identities"]
    return {name: float(abs(exact[name]).max()) for name in ("linear_decoder", "pair")}


def t2(products: Products) -> Statistics:
    """Largest deviation of one mirror step from the optimum of the E step."""
    return {"deviation": float(abs(products["identities"]["e_step"]).max())}
