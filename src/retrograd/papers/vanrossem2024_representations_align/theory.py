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
    Control,
    Digits,
    Grid,
    Layers,
    TwoPoints,
    Xor,
)
from retrograd.products import variable
from retrograd.trajectory_fits import Fit

Array = NDArray[np.float64]
Inputs = Mapping[str, xr.Dataset]
SUBSTEPS = 10  # of the integrator between two records
# Guesses of η_y, per interval between two records (spec "Fitting").
SCAN = np.geomspace(1e-6, 1e2, 40)
CONTROLS: dict[Control, dict[str, float]] = {
    "no_encoder_term": {"encoder_term": 0.0},
    "doubled_encoder": {"encoder_gain": 2.0},
}


# ---- fits of the two rates -------------------------------------------------------------


def fit_rates(
    observed: Array, steps: Array, dx2: float, dy2: float, what: str, **altered: float
) -> Fit:
    """Fit η_h and η_y to trajectories of (h, y, w), (run, time, 3), at steps (run, time).

    The ratio of the guesses leads to the observed final distance, wherever one does.
    """
    start = observed[:, None, 0]

    def predict(rates: Array) -> Array:
        eta_h, eta_y = rates[..., 0], rates[..., 1]
        at_start = np.broadcast_to(start, (*rates.shape[:2], 3))
        return trajectory_fits.runge_kutta(
            lambda state: effective.velocity(state, eta_h, eta_y, dx2, dy2, **altered),
            at_start,
            steps,
            SUBSTEPS,
        )

    h0, y0, h_end = observed[:, 0, 0], observed[:, 0, 1], observed[:, -1, 0]
    ratio = effective.starting_ratio(h0, y0, h_end, dx2, dy2)
    eta_y = SCAN / (steps[:, 1:] - steps[:, :-1]).mean(1)[:, None]
    guesses = np.stack([ratio[:, None] * eta_y, eta_y], axis=-1)
    return trajectory_fits.fit(predict, observed, guesses, what=what)


def fit_loss(
    fitted: Fit, loss: Array, start_error: Array, steps: Array, dy2: float
) -> Fit:
    """Fit η_ȳ to losses (run, time), with h, y, w as fitted and ē²(0) as measured."""
    y, w = fitted.predicted[..., 1], fitted.predicted[..., 2]

    def predict(rates: Array) -> Array:
        return effective.loss(
            steps[:, None], y[:, None], w[:, None], start_error[:, None, None], rates, dy2
        )[..., None]

    guesses = SCAN / (steps[:, 1:] - steps[:, :-1]).mean(1)[:, None]
    return trajectory_fits.fit(predict, loss[..., None], guesses[..., None], what="loss")


def _fitted(
    fitted: Fit, observed: Array, dims: tuple[str, ...], shape: tuple[int, ...], **at: float
) -> dict[str, xr.Variable]:
    """The table of fits: rates, costs, errors, and the final distance with these rates."""
    eta_h, eta_y = fitted.parameters.T
    final = effective.final_distance(
        observed[:, 0, 0], observed[:, 0, 1], eta_h / eta_y, at["dx2"], at["dy2"]
    )
    table: dict[str, tuple[Any, str, str]] = {
        "eta_h": (eta_h, "fitted effective rate of the encoder, 1/τ_h", "1/step"),
        "eta_y": (eta_y, "fitted effective rate of the decoder, 1/τ_y", "1/step"),
        "cost": (fitted.cost, "sum of squared errors of h2, y2 and w", "1"),
        "evaluations": (fitted.evaluations, "trajectories computed for the fit", "1"),
        "h_final": (final, "final distance |dh(∞)|² with the fitted rates", "1"),
    }
    found = {
        name: variable(dims, values.reshape(shape), text, units, tolerance=1e-4)
        for name, (values, text, units) in table.items()
    }
    for i, name in enumerate(("h2", "y2", "w")):
        text = f"rms error of {name} over its range; −1 if it has none"
        values = fitted.nrmse[:, i].reshape(shape)
        found[f"nrmse_{name}"] = variable(dims, values, text, tolerance=1e-4)
    return found


def fits(params: TwoPoints, inputs: Inputs) -> xr.Dataset:
    """Fits to the two-point runs of every setting.

    Returns:
        (setting, seed): eta_h, eta_y, cost, evaluations, h_final, nrmse_h2, nrmse_y2,
        nrmse_w. If asked: h2, y2, w, loss (setting, seed, time) and eta_ybar; and
        control_cost (control, seed), of altered theories fitted to the first setting.
    """
    (simulation,) = inputs.values()
    shape = (len(params.settings), params.seeds)
    observed, losses = _runs(simulation, ("setting", "seed"))
    steps = np.repeat(simulation["step"].values.astype(float), params.seeds, axis=0)
    at = {"dx2": params.dx2, "dy2": params.dy2}
    fitted = fit_rates(observed, steps, **at, what="two points")
    variables = _fitted(fitted, observed, ("setting", "seed"), shape, **at)
    if params.curves:
        variables |= _curves(fitted, observed, losses, steps, shape, params.dy2)
    coordinates = data.two_point_coordinates(params)
    if params.controls:
        of_first = slice(0, params.seeds)
        costs = [
            fit_rates(
                observed[of_first], steps[of_first], **at, what=name, **CONTROLS[name]
            ).cost
            for name in params.controls
        ]
        variables["control_cost"] = variable(
            ("control", "seed"),
            np.stack(costs),
            "sum of squared errors of an altered theory, first setting",
            tolerance=1e-4,
        )
        text = "what is altered"
        coordinates["control"] = data.coordinate("control", params.controls, text)
    if not params.curves:
        del coordinates["time"], coordinates["step"]
    return xr.Dataset(variables, coordinates)


def _runs(simulation: xr.Dataset, run: tuple[str, ...]) -> tuple[Array, Array]:
    """(h, y, w) as (run, time, 3) and losses (run, time), in float64."""
    dims = (*run, "time")
    columns = [
        simulation[name].broadcast_like(simulation["h2"]).transpose(*dims).values
        for name in data.TRAJECTORY
    ]
    times = columns[0].shape[-1]
    h, y, w, loss = (c.astype(float).reshape(-1, times) for c in columns)
    return np.stack([h, y, w], axis=-1), loss


def _curves(
    fitted: Fit, observed: Array, loss: Array, steps: Array, shape: tuple[int, ...], dy2: float
) -> dict[str, xr.Variable]:
    """The fitted trajectories and losses."""
    start = effective.mean_error(loss[:, 0], observed[:, 0, 1], observed[:, 0, 2], dy2)
    of_loss = fit_loss(fitted, loss, start, steps, dy2)
    columns = [*np.moveaxis(fitted.predicted, -1, 0), of_loss.predicted[..., 0]]
    values = {
        name: column.reshape(*shape, -1)
        for name, column in zip(data.TRAJECTORY, columns, strict=True)
    }
    text = "fitted effective rate of the mean output"
    rate = of_loss.parameters[:, 0].reshape(shape)
    run = ("setting", "seed")
    return data.trajectory((*run, "time"), values) | {
        "eta_ybar": variable(run, rate, text, "1/step", tolerance=1e-4),
    }


def layer_fits(params: Layers, inputs: Inputs) -> xr.Dataset:
    """Fits to every hidden layer of the two-point runs: the table of `fits`, (layer, seed)."""
    (simulation,) = inputs.values()
    run = ("layer", "seed")
    observed, _ = _runs(simulation, run)
    steps = np.broadcast_to(simulation["step"].values.astype(float), observed.shape[:2])
    at = {"dx2": params.dx2, "dy2": params.dy2}
    fitted = fit_rates(observed, steps, **at, what="layers")
    shape = (params.setting.hidden_layers, params.seeds)
    coordinates = data.layer_coordinates(params)
    del coordinates["time"], coordinates["step"]
    return xr.Dataset(_fitted(fitted, observed, run, shape, **at), coordinates)


# ---- predictions with rates fitted elsewhere -------------------------------------------


def mean_ratio(simulation: xr.Dataset, fitted: xr.Dataset, setting: str) -> float:
    """ρ = η_h/η_y of a setting of the two-point runs: means over the runs that converged."""
    check_known("rates_of", setting, fitted["setting"].values.tolist(), "setting")
    chosen = fitted.sel(setting=setting)
    converged = simulation["converged"].sel(setting=setting)
    eta_h, eta_y = (
        float(convergence.mean(chosen[name], converged)) for name in ("eta_h", "eta_y")
    )
    return eta_h / eta_y


def grid(params: Grid, inputs: Inputs) -> xr.Dataset:
    """Final distances (dx, dy, seed) from the rates of one other task, in `h_final`."""
    rho = mean_ratio(
        inputs["architectures"], inputs["architectures_theory"], params.rates_of
    )
    start = inputs["grid"].sel(moment="start")
    dx2, dy2 = np.array(params.dx)[:, None, None] ** 2, np.array(params.dy)[:, None] ** 2
    run = ("dx", "dy", "seed")
    h0, y0 = (start[name].transpose(*run).values for name in ("h2", "y2"))
    final = effective.final_distance(h0, y0, rho, dx2, dy2)
    text = "predicted final squared distance of the two representations"
    return xr.Dataset(
        {
            "h_final": variable(run, final, text, tolerance=1e-4),
            "ratio": variable((), rho, "ρ = η_h/η_y, fitted elsewhere", tolerance=1e-4),
        },
        data.seed_coordinate(params.seeds) | data.grid_coordinates(params),
    )


def xor(params: Xor, inputs: Inputs) -> xr.Dataset:
    """Final distances of every pair of points, from their initial ones; and dx · dy.

    Returns:
        distance2 (setting, seed, point, other_point), squared; rich (point, other_point),
        what it is at ρ = 1 from vanishing weights, |dx| |dy|.
    """
    rho = mean_ratio(
        inputs["architectures"], inputs["architectures_theory"], params.rates_of
    )
    task = data.xor()
    pair = ("point", "other_point")
    dx2, dy2 = (_squared_distances(a) for a in (task.x, task.y))
    start = inputs["xor"]["distance2"].sel(moment="start")
    h0 = start.transpose("setting", "seed", *pair).values
    # Initial outputs are not recorded: small beside targets from small weights, and from
    # large ones h moves little (the lazy limit).
    final = effective.final_distance(h0, 0.0, rho, dx2, dy2)
    final = np.where(np.eye(len(task.x), dtype=bool), 0, final)
    coordinates = data.seed_coordinate(params.seeds) | data.xor_coordinates(params)
    return xr.Dataset(
        {
            "distance2": variable(
                ("setting", "seed", *pair),
                final,
                "predicted squared distance of two representations",
                tolerance=1e-4,
            ),
            "rich": variable(pair, np.sqrt(dx2 * dy2), "|dx| |dy|"),
        },
        coordinates,
    )


def _squared_distances(x: Array) -> Array:
    found: Array = ((x[:, None] - x) ** 2).sum(-1)
    return found


def digits(params: Digits, inputs: Inputs) -> xr.Dataset:
    """Class geometry in the rich limit, and the fit to the followed pair.

    All images of a class have one representation in the end, so the distance of two
    classes is |dx| |dy| averaged over the pairs between them, and 0 within a class.

    Returns:
        class_distance2 (image_class, other_class), in units of √ρ; of the pair h2, y2, w
        (seed, time) and the table of `fits`, (seed,).
    """
    images = data.images(params)
    shown = images.shown_task
    dx2, dy2 = (_squared_distances(a) for a in (shown.x, shown.y))
    member = (images.classes[:, None] == np.arange(data.CLASSES)).astype(float)
    member /= member.sum(0)
    between = member.T @ np.sqrt(dx2 * dy2) @ member
    text = "predicted squared distance of two classes' representations, over √ρ"
    variables = {"class_distance2": variable(("image_class", "other_class"), between, text)}

    a, b = images.pair
    at = {"dx2": float(dx2[a, b]), "dy2": float(dy2[a, b])}
    observed, _ = _runs(inputs["digits"][list(data.TRAJECTORY)], ("seed",))
    coordinates = data.pair_coordinates(params)
    steps = coordinates["step"].values.astype(float)
    fitted = fit_rates(
        observed, np.broadcast_to(steps, observed.shape[:2]), **at, what="pair of images"
    )
    curves = zip(("h2", "y2", "w"), np.moveaxis(fitted.predicted, -1, 0), strict=True)
    variables |= data.trajectory(("seed", "time"), dict(curves))
    variables |= _fitted(fitted, observed, ("seed",), (params.seeds,), **at)
    return xr.Dataset(variables, coordinates | data.class_coordinates())
