"""The predictions: rates fitted to trajectories, and what the theory says with them.

Nothing here knows a network. A fit starts at a run's own initial state, and its only free
numbers are the two effective rates (and, for the loss, the rate of the mean output).
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from retrograd import convergence, trajectory_fits
from retrograd.errors import check_known
from retrograd.papers.vanrossem2024_representations_align import data, effective
from retrograd.papers.vanrossem2024_representations_align.params import (
    AXES,
    Control,
    Digits,
    OtherTasks,
    TwoPointRuns,
    TwoPoints,
)
from retrograd.products import variable
from retrograd.trajectory_fits import Fit

Array = NDArray[np.float64]
Inputs = Mapping[str, xr.Dataset]
SUBSTEPS = 10  # of the integrator between two records
# Guesses of η_y, per interval between two records (spec "Fitting").
SCAN = np.geomspace(1e-6, 1e2, 40)
TOLERANCE = 1e-4  # of what is fitted: a minimum is flat
CONTROLS: dict[Control, dict[str, float]] = {
    "no_encoder_term": {"encoder_term": 0.0},
    "doubled_encoder": {"encoder_gain": 2.0},
}


# ---- fits ------------------------------------------------------------------------------


def fit_rates(
    observed: Array, steps: Array, dx2: float, dy2: float, what: str, **altered: float
) -> Fit:
    """Fit η_h and η_y to trajectories of (h, y, w), (run, time, 3), at steps (run, time).

    The ratio of the guesses leads to the observed final distance, wherever one does.
    """
    start = observed[:, None, 0]

    def predict(rates: Array) -> Array:
        eta_h, eta_y = rates[..., 0], rates[..., 1]
        return trajectory_fits.runge_kutta(
            lambda state: effective.velocity(state, eta_h, eta_y, dx2, dy2, **altered),
            np.broadcast_to(start, (*rates.shape[:2], 3)),
            steps,
            SUBSTEPS,
        )

    h0, y0, h_end = observed[:, 0, 0], observed[:, 0, 1], observed[:, -1, 0]
    ratio = effective.starting_ratio(h0, y0, h_end, dx2, dy2)
    eta_y = SCAN / _interval(steps)
    guesses = np.stack([ratio[:, None] * eta_y, eta_y], axis=-1)
    return trajectory_fits.fit(predict, observed, guesses, what=what)


def fit_loss(
    predicted: Array, loss: Array, start_error: Array, steps: Array, dy2: float
) -> Fit:
    """Fit η_ȳ to losses (run, time), with (h, y, w) as predicted and ē²(0) as measured."""
    y, w = predicted[:, None, :, 1], predicted[:, None, :, 2]

    def predict(rates: Array) -> Array:
        ebar2 = start_error[:, None, None]
        return effective.loss(steps[:, None], y, w, ebar2, rates, dy2)[..., None]

    guesses = (SCAN / _interval(steps))[..., None]
    return trajectory_fits.fit(predict, loss[..., None], guesses, what="loss")


def _interval(steps: Array) -> Array:
    """Mean number of steps between two records, (run, 1)."""
    return np.diff(steps, axis=1).mean(1, keepdims=True)


def _runs(simulation: xr.Dataset, run: tuple[str, ...], h: str = "h2") -> Array:
    """(h, y, w) as (run, time, 3) in float64."""
    dims = (*run, "time")
    columns = [
        simulation[name].broadcast_like(simulation[h]).transpose(*dims).values
        for name in (h, "y2", "w")
    ]
    times = columns[0].shape[-1]
    return np.stack([c.astype(float).reshape(-1, times) for c in columns], axis=-1)


def _table(fitted: Fit, dims: tuple[str, ...], shape: tuple[int, ...]) -> dict[str, Any]:
    """Rates, costs and errors of the fits."""
    eta_h, eta_y = fitted.parameters.T
    rows = {
        "eta_h": (eta_h, "fitted effective rate of the encoder, 1/τ_h", "1/step"),
        "eta_y": (eta_y, "fitted effective rate of the decoder, 1/τ_y", "1/step"),
        "cost": (fitted.cost, "sum of squared errors of h2, y2 and w", "1"),
    }
    found = {
        name: variable(dims, values.reshape(shape), text, units, tolerance=TOLERANCE)
        for name, (values, text, units) in rows.items()
    }
    for i, name in enumerate(data.PAIR):
        text = f"rms error of {name} over its range in the run; −1 if that is 0"
        errors = fitted.nrmse[:, i].reshape(shape)
        found[f"nrmse_{name}"] = variable(dims, errors, text, tolerance=TOLERANCE)
    return found


# ---- two points ------------------------------------------------------------------------


def fits(params: TwoPoints, simulation: xr.Dataset) -> xr.Dataset:
    """Fits to the two-point runs of every setting.

    Returns:
        (setting, seed): eta_h, eta_y, cost, nrmse_h2, nrmse_y2, nrmse_w, and h_final, the
        final distance with the fitted rates. As far as asked: of the first run of a
        setting that converged, `shown`, the curves h2, y2, w, loss (setting, time) and
        eta_ybar (setting,); of the first setting, layer_eta_h, layer_eta_y, layer_cost
        (layer, seed), and the cost_<control> (seed,) of altered theories.
    """
    run, shape = ("setting", "seed"), (len(params.settings), params.seeds)
    observed = _runs(simulation, run)
    steps = np.repeat(simulation["step"].values.astype(float), params.seeds, axis=0)
    fitted = fit_rates(observed, steps, params.dx2, params.dy2, "two points")
    rho = fitted.parameters[:, 0] / fitted.parameters[:, 1]
    h0, y0 = observed[:, 0, 0], observed[:, 0, 1]
    final = effective.final_distance(h0, y0, rho, params.dx2, params.dy2).reshape(shape)
    text = "final distance |dh(∞)|² with the fitted rates"
    variables = _table(fitted, run, shape)
    variables["h_final"] = variable(run, final, text, tolerance=TOLERANCE)
    coordinates = data.two_point_coordinates(params)
    if params.curves:
        variables |= _curves(params, simulation, fitted, steps)
    else:
        del coordinates["time"], coordinates["step"]
    if params.layers:
        variables |= _layers(params, simulation)
    variables |= _controls(params, observed, steps)
    return xr.Dataset(variables, coordinates)


def _curves(
    params: TwoPoints, simulation: xr.Dataset, fitted: Fit, steps: Array
) -> dict[str, xr.Variable]:
    """Fitted trajectories and losses of one run per setting."""
    converged = simulation["converged"].transpose("setting", "seed").values
    shown = converged.argmax(1)
    chosen = np.arange(len(shown)) * params.seeds + shown
    predicted, at = fitted.predicted[chosen], steps[chosen]
    loss = simulation["loss"].transpose("setting", "seed", "time").values.astype(float)
    loss = loss.reshape(len(steps), -1)[chosen]
    y, w = (
        simulation[name].isel(time=0).transpose("setting", "seed").values.ravel()[chosen]
        for name in ("y2", "w")
    )
    start = effective.mean_error(loss[:, 0], y, w, params.dy2)
    of_loss = fit_loss(predicted, loss, start, at, params.dy2)
    columns = [*np.moveaxis(predicted, -1, 0), of_loss.predicted[..., 0]]
    curves = dict(zip(data.TRAJECTORY, columns, strict=True))
    rate, text = of_loss.parameters[:, 0], "fitted rate of the mean output"
    return data.trajectory(("setting", "time"), curves) | {
        "eta_ybar": variable("setting", rate, text, "1/step", tolerance=TOLERANCE),
        "shown": variable("setting", shown.astype(np.int32), "seed whose curves these are"),
    }


def _layers(params: TwoPoints, simulation: xr.Dataset) -> dict[str, xr.Variable]:
    """Fits to every hidden layer of the first setting."""
    first = simulation.isel(setting=0)
    run = ("layer", "seed")
    observed = _runs(first, run, "layer_h2")
    steps = np.broadcast_to(first["step"].values.astype(float), observed.shape[:2])
    fitted = fit_rates(observed, steps, params.dx2, params.dy2, "layers")
    table = _table(fitted, run, (params.settings[0].hidden_layers, params.seeds))
    return {f"layer_{name}": table[name] for name in ("eta_h", "eta_y", "cost")}


def _controls(params: TwoPoints, observed: Array, steps: Array) -> dict[str, xr.Variable]:
    """Costs of altered theories, fitted to the first setting."""
    first = slice(0, params.seeds)
    found = {}
    for name in params.controls:
        fitted = fit_rates(
            observed[first], steps[first], params.dx2, params.dy2, name, **CONTROLS[name]
        )
        text = f"sum of squared errors of an altered theory, first setting: {name}"
        found[f"cost_{name}"] = variable("seed", fitted.cost, text, tolerance=TOLERANCE)
    return found


def two_points(params: TwoPointRuns, inputs: Inputs) -> xr.Dataset:
    """Fits to all two-point runs: `fits`, joined as the runs are."""
    (simulation,) = inputs.values()
    return data.joined(
        {axis: fits(getattr(params, axis), data.part(simulation, axis)) for axis in AXES}
    )


# ---- other tasks, with the rates of the two-point runs ---------------------------------


def mean_ratio(simulation: xr.Dataset, fitted: xr.Dataset, setting: str) -> float:
    """ρ = η_h/η_y of a setting of the two-point runs, means over those that converged."""
    check_known("rates_of", setting, fitted["setting"].values.tolist(), "setting")
    converged = simulation["converged"].sel(setting=setting)
    convergence.check_any(converged, f"rates of {setting}")
    eta_h, eta_y = (
        float(convergence.mean(fitted[name].sel(setting=setting), converged))
        for name in ("eta_h", "eta_y")
    )
    return eta_h / eta_y


def other_tasks(params: OtherTasks, inputs: Inputs) -> xr.Dataset:
    """Final distances from the initial ones and the rates of another task.

    Returns:
        h2 (dx, dy) of the grid; distance2 (setting, seed, point, other_point), squared, of
        XOR; rich (point, other_point), what that tends to from vanishing weights at
        ρ = 1: |dx| |dy|.
    """
    simulated, fitted = (
        data.part(inputs[name], "architecture")
        for name in ("two_points", "two_points_theory")
    )
    simulation = inputs["other_tasks"]
    dx2, dy2 = (np.array(a) ** 2 for a in (params.grid.dx, params.grid.dy))
    h0, y0 = (
        simulation[f"{name}_start"].transpose("dx", "dy").values for name in ("h2", "y2")
    )
    rho = mean_ratio(simulated, fitted, params.grid.rates_of)
    grid = effective.final_distance(h0, y0, rho, dx2[:, None], dy2)

    task, pair = data.xor(), ("point", "other_point")
    run = ("setting", "seed")
    dx2, dy2 = (squared_distances(a) for a in (task.x, task.y))
    h0 = simulation["distance2_start"].transpose(*run, *pair).values
    # Initial outputs are not recorded: from small weights they are small, and from large
    # ones h moves little whatever they are (the lazy limit).
    rho = mean_ratio(simulated, fitted, params.xor.rates_of)
    xor = effective.final_distance(h0.astype(float), 0.0, rho, dx2, dy2)
    xor[..., range(len(dx2)), range(len(dx2))] = 0
    xor = xor.astype(np.float32)
    text = "squared distance of two representations, predicted"
    return xr.Dataset(
        {
            "h2": variable(("dx", "dy"), grid, text, tolerance=TOLERANCE),
            "distance2": variable((*run, *pair), xor, text, tolerance=TOLERANCE),
            "rich": variable(pair, np.sqrt(dx2 * dy2), "|dx| |dy|"),
        },
        data.other_task_coordinates(params),
    )


def squared_distances(x: Array) -> Array:
    """Between all points of (point, coordinate): (point, point)."""
    found: Array = ((x[:, None] - x) ** 2).sum(-1)
    return found


# ---- classes of images -----------------------------------------------------------------


def digits(params: Digits, inputs: Inputs) -> xr.Dataset:
    """Class geometry in the rich limit, and the fit to the followed pair.

    All images of a class have one representation in the end, so the squared distance of
    two classes is |dx| |dy| averaged over the pairs between them, and 0 within a class.

    Returns:
        class_distance2 (image_class, other_class), in units of √ρ; of the pair h2, y2, w
        (seed, time) and eta_h, eta_y, cost, nrmse_h2, nrmse_y2, nrmse_w (seed,).
    """
    images = data.images(params)
    of_classes = class_distances(images)
    text = "predicted squared distance of two classes' representations, over √ρ"
    pair, simulation = images.pair_task, inputs["digits"]
    dx2, dy2 = (float(squared_distances(a)[0, 1]) for a in (pair.x, pair.y))
    observed = _runs(simulation, ("seed",))
    steps = np.broadcast_to(simulation["step"].values.astype(float), observed.shape[:2])
    fitted = fit_rates(observed, steps, dx2, dy2, "pair of images")
    curves = dict(zip(data.PAIR, np.moveaxis(fitted.predicted, -1, 0), strict=True))
    return xr.Dataset(
        {"class_distance2": variable(("image_class", "other_class"), of_classes, text)}
        | data.trajectory(("seed", "time"), curves)
        | _table(fitted, ("seed",), (params.seeds,)),
        data.pair_coordinates(params) | data.class_coordinates(),
    )


def class_distances(images: data.ImageTask) -> Array:
    """|dx| |dy| averaged over the pairs of images of two classes, (class, class)."""
    shown = images.shown_task
    dx2, dy2 = (squared_distances(a) for a in (shown.x, shown.y))
    member = (images.classes[:, None] == np.arange(data.CLASSES)).astype(float)
    member /= member.sum(0)
    found: Array = member.T @ np.sqrt(dx2 * dy2) @ member
    return found
