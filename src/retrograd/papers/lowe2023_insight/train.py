"""The simulation: populations of networks do the task, and what is kept of them.

The networks are those of networks.py; whether and when one has an insight is judged by a
sigmoid fitted to its accuracy (switch_fit.py), with the rule score > ROBUST.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from retrograd.errors import RetrogradError
from retrograd.papers.lowe2023_insight import data
from retrograd.papers.lowe2023_insight.data import CONTROL, PARAMETERS, TEST
from retrograd.papers.lowe2023_insight.networks import (
    G_C,
    G_M,
    W_C,
    Recording,
    simulate,
)
from retrograd.papers.lowe2023_insight.params import BIN, OneCondition, Study
from retrograd.papers.lowe2023_insight.switch_fit import (
    FREE,
    ROBUST,
    Fit,
    jump,
    time_locked,
    width,
)
from retrograd.products import variable

if TYPE_CHECKING:
    import torch

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
Inputs = Mapping[str, xr.Dataset]

KINDS = ("insight", "others")
REACH = 4  # bins before and after a switch
BOXCAR = 25  # trials over which the imagined accuracy is smoothed
EXAMPLES = (0.1, 0.5, 0.9)  # quantiles of the delays of the switches shown


def train(params: OneCondition, inputs: Inputs, device: "torch.device") -> xr.Dataset:
    """Train the populations of one condition and record it in detail.

    Args:
        params: one section of the config.
        inputs: not used; everything is drawn from streams.
        device: not used; see networks.py.

    Returns:
        Per test network (seed, network), what `_per_network` names; score of both groups;
        means over networks with insight and the others (kind), what `_by_kind` names;
        accuracy (bin, level, seed, group); moments of w_c and g_c before colour predicts
        over all runs (trial); and a few fitted series (example, bin).

    Raises:
        RetrogradError: a network diverged.
    """
    (name,) = params.conditions
    record = simulate(params, detailed=True)
    if record.diverged.any():
        _, run, group, n = np.argwhere(record.diverged)[0]
        raise RetrogradError(
            f"{name}: {data.GROUPS[group]} network {n} of run {run} diverged; lower alpha "
            "or sigma_xi, or make it a condition of a section that counts such networks"
        )
    series = record.series[0]
    fit = Fit.to(series, params.task.bins_before)
    insight = fit.score[:, TEST] > ROBUST
    dims = ["seed", "network", "group", "level", "bin"]
    accuracy = record.accuracy[:, :, 0].astype(np.float32)
    variables = {
        "score": _bulk(("seed", "group", "network"), fit.score, "score of the sigmoid fit"),
        "accuracy": _bulk(
            ("bin", "level", "seed", "group"), accuracy, "mean accuracy over networks"
        ),
        "learning_rate": variable("bin", record.learning_rate[:, 0], "learning rate α"),
    }
    return xr.merge(
        [
            xr.Dataset(variables, data.coordinates(params, dims)),
            _per_network(params, record, fit),
            _by_kind(params, record, fit, insight),
            _before_onset(params, record),
            _examples(series[0, TEST], fit, insight[0]),
        ]
    )


def _bulk(dims: str | tuple[str, ...], values: Any, text: str, units: str = "1") -> Any:
    return variable(dims, np.asarray(values, dtype=np.float32), text, units)


def _per_network(params: OneCondition, record: Recording, fit: Fit) -> xr.Dataset:
    """Statistics of every test network, (seed, network)."""
    task = params.task
    onset, end = (record.at(t)[:, 0, :, TEST] for t in (task.onset, task.trials))
    series = record.series[0, :, TEST]
    free = Fit.to(series, task.bins_before, FREE)
    before, after = series[..., : task.bins_before], series[..., task.bins_before :]
    of = {
        "delay": (
            fit.delay(task.bins_before)[:, TEST],
            "from the onset to the inflection of the fitted sigmoid",
            "trials",
        ),
        "free_slope": (free.slope, "slope at the inflection, steepness fitted", "1/bin"),
        "jump": (
            jump(series, fit.t_switch[:, TEST]),
            "accuracy after − before the switch",
            "1",
        ),
        "width": (
            width(record.imagined[0, :, TEST], BOXCAR),
            "trials from 10 % to 90 % of the rise of the imagined accuracy",
            "trials",
        ),
        "w_c_onset": (onset[W_C], "weight of colour when colour starts to predict", "1"),
        "g_c_onset": (onset[G_C], "gate of colour when colour starts to predict", "1"),
        "g_c_end": (end[G_C], "gate of colour at the end", "1"),
        "g_m_end": (end[G_M], "gate of motion at the end", "1"),
        "right_before": (before.mean(-1), "hardest accuracy in the motion phase", "1"),
        "right_after": (after.mean(-1), "hardest accuracy in the colour phase", "1"),
    }
    return xr.Dataset({n: _bulk(("seed", "network"), *values) for n, values in of.items()})


def _by_kind(
    params: OneCondition, record: Recording, fit: Fit, insight: Mask
) -> xr.Dataset:
    """Means over the test networks with insight and over the others; 0 if there is none."""
    masks = np.stack([insight, ~insight], axis=1)  # (seed, kind, network)
    count = masks.sum(-1)

    def mean(values: Array) -> Array:
        """(..., seed, network) to (..., seed, kind)."""
        total: Array = (values[..., None, :] * masks).sum(-1)
        return total / np.maximum(count, 1)

    def mean_curve(values: Array) -> Array:
        """(seed, network, bin or trial) to (seed, kind, bin or trial)."""
        return np.moveaxis(mean(np.moveaxis(values, -1, 0)), 0, -1)

    series, t_switch = record.series[0, :, TEST], fit.t_switch[:, TEST]
    mean_series = mean_curve(series)
    locked = np.zeros((*count.shape, 2 * REACH + 1))
    for run, kind in np.ndindex(count.shape):
        chosen = masks[run, kind]
        locked[run, kind] = time_locked(series[run, chosen], t_switch[run, chosen], REACH)
    group = Fit.to(mean_series, params.task.bins_before, FREE)
    rise = width(mean_curve(record.imagined[0, :, TEST]), BOXCAR)
    theta = mean(abs(record.theta[:, :, 0, :, TEST]))
    dims = ("seed", "kind")
    variables = {
        "count": variable(dims, count, "number of networks"),
        "mean_series": variable(
            (*dims, "bin"), mean_series, "mean accuracy, hardest level"
        ),
        "locked": variable((*dims, "offset"), locked, "the same, each from its switch on"),
        "group_slope": variable(dims, group.slope, "slope of the mean accuracy", "1/bin"),
        "group_width": variable(dims, rise, "10 to 90 % of the mean's rise", "trials"),
        "gradient": variable(
            dims, mean(record.gradient[0, :, TEST]), "first mean size of ∂L/∂g_c"
        ),
        "mean_size": _bulk(("time", "parameter", *dims), theta, "mean absolute value"),
    }
    coordinates = {
        "kind": variable("kind", list(KINDS), "score above the robust threshold, or not"),
        "offset": variable("offset", np.arange(-REACH, REACH + 1), "from ceil(ts)", "bins"),
        "parameter": variable("parameter", list(PARAMETERS), "weight or gate"),
        "time": variable("time", np.arange(len(theta)) * BIN, "trial", "trials"),
    }
    return xr.Dataset(variables, coordinates)


def _before_onset(params: OneCondition, record: Recording) -> xr.Dataset:
    """Moments over all test networks up to the onset, (trial), as in `theory.walk`."""
    early = record.theta[: params.task.onset // BIN + 1, :, 0, :, TEST]
    w_c, g_c = (early[:, k].reshape(len(early), -1) for k in (W_C, G_C))
    variables = {
        "w_c_sd": (w_c.std(-1), "standard deviation of the colour weight"),
        "w_c_mean_size": (abs(w_c).mean(-1), "mean absolute colour weight"),
        "g_c_zero": ((g_c == 0).mean(-1), "part of colour gates that are exactly 0"),
    }
    trial = variable("trial", np.arange(len(w_c)) * BIN, "trial", "trials")
    return xr.Dataset(
        {name: variable("trial", *values) for name, values in variables.items()},
        {"trial": trial},
    )


def _examples(series: Array, fit: Fit, insight: Mask) -> xr.Dataset:
    """Accuracy and fit of four test networks of the first run, the last without insight."""
    t_switch, score = fit.t_switch[0, TEST], fit.score[0, TEST]
    by_delay = np.flatnonzero(insight) if insight.any() else np.arange(len(insight))
    by_delay = by_delay[t_switch[by_delay].argsort(kind="stable")]
    shown = [by_delay[int(q * len(by_delay))] for q in EXAMPLES]
    shown.append(score.argsort(kind="stable")[len(score) // 4])
    of = {
        "fmin": fit.fmin,
        "amplitude": fit.amplitude,
        "steepness": fit.steepness,
        "inflection": fit.t_switch,
    }
    variables = {
        f"example_{name}": variable("example", values[0, TEST][shown], f"{name} of the fit")
        for name, values in of.items()
    }
    variables["example_series"] = variable(
        ("example", "bin"), series[shown], "accuracy at the hardest level"
    )
    example = variable("example", np.array(shown), "network of the first run")
    return xr.Dataset(variables, {"example": example})


def conditions(params: Study, inputs: Inputs, device: "torch.device") -> xr.Dataset:
    """Train the populations of several conditions and count the insights.

    Args:
        params: one section of the config.
        inputs: not used.
        device: not used.

    Returns:
        Per population, (condition, seed): insight_fraction, false_positives (of controls),
        mean and sd of the delay of insights (0 if there is none, see `insights`), mean
        sizes of w_c and g_c at the onset, and how many test networks diverged, which
        count as without insight.
    """
    record = simulate(params)
    fit = Fit.to(record.series, params.task.bins_before)
    insight = fit.score > ROBUST
    test = insight[:, :, TEST]
    count = np.maximum(test.sum(-1), 1)
    delay = fit.delay(params.task.bins_before)[:, :, TEST]
    mean = (delay * test).sum(-1) / count
    variance = ((delay - mean[..., None]) ** 2 * test).sum(-1) / count
    onset = abs(record.at(params.task.onset)[:, :, :, TEST]).mean(-1)
    of = {
        "insights": (test.sum(-1), "test networks with insight", "1"),
        "insight_fraction": (test.mean(-1), "part of test networks with insight", "1"),
        "false_positives": (
            insight[:, :, CONTROL].mean(-1),
            "part of controls above the threshold of insight",
            "1",
        ),
        "delay": (mean, "mean delay of the insights, 0 if none", "trials"),
        "delay_sd": (np.sqrt(variance), "standard deviation of the delays", "trials"),
        "w_c_onset": (onset[W_C], "mean size of the colour weight at the onset", "1"),
        "g_c_onset": (onset[G_C], "mean size of the colour gate at the onset", "1"),
        "diverged": (
            record.diverged[:, :, TEST].sum(-1),
            "test networks that diverged",
            "1",
        ),
    }
    learning = params.conditions.values()
    own = {
        "lam": ([c.lam for c in learning], "strength of the penalty λ"),
        "sigma_xi": ([c.sigma_xi for c in learning], "sd of the noise of the update"),
    }
    return xr.Dataset(
        {name: variable(("condition", "seed"), *values) for name, values in of.items()},
        data.coordinates(params, ["condition", "seed"])
        | {name: variable("condition", *values) for name, values in own.items()},
    )


def batches(params: OneCondition, inputs: Inputs, device: "torch.device") -> xr.Dataset:
    """Count insights by the published rule: a score above those of all controls.

    Args:
        params: one section of the config; a run is a batch.
        inputs: not used.
        device: not used.

    Returns:
        (seed): `published` and `robust` counts of insights, and `threshold`; `size`.
    """
    record = simulate(params)
    score = Fit.to(record.series[0], params.task.bins_before).score
    threshold = score[:, CONTROL].max(-1)
    published = (score[:, TEST] > threshold[:, None]).sum(-1)
    robust = (score[:, TEST] > ROBUST).sum(-1)
    of = {
        "published": (published, "test networks above all controls"),
        "robust": (robust, "test networks above the robust threshold"),
        "threshold": (threshold, "largest score of the controls"),
    }
    variables = {name: variable("seed", *values) for name, values in of.items()}
    variables["size"] = variable((), params.networks, "test networks in a batch")
    return xr.Dataset(variables, data.coordinates(params, ["seed"]))
