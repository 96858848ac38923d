"""Covariances, initial weights, and what is recorded of weights along training.

Shared by simulation and theory, which both start from the same initial weights. Arrays
of weights are (condition, seed, record, unit, input).
"""

from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from retrograd import circulant
from retrograd.papers.lufkin2024_localization.params import (
    Components,
    Models,
    Network,
    Stimulus,
    Training,
    stimulus,
)
from retrograd.papers.lufkin2024_localization.stimuli import ising_spins
from retrograd.products import variable
from retrograd.randomness import stream

Array = NDArray[np.float64]
KEPT_BITS = 8  # of the mantissa of kept weights: 2e-3, and a third of the bytes


# ---- the inputs --------------------------------------------------------------------------


def covariance_row(family: Stimulus, N: int, dependence: float) -> Array:
    """First row of the covariance Σ of the inputs of one class on a ring, (N,).

    Args:
        family: of the inputs.
        N: inputs.
        dependence: correlation length ξ, or coupling J of the Ising ring.
    """
    if family.kind == "ising":
        a, d = np.tanh(dependence), circulant.distances(N)
        row: Array = (a**d + a ** (N - d)) / (1 + a**N)
        return row
    base = circulant.gaussian_row(N, dependence)
    return family.marginal.covariance(base) if family.kind == "pointwise" else base


def instance(params: Models) -> xr.Dataset:
    """The models side by side: fig1 without the amplifier.

    Variables: sample (condition, pos), one input of each; covariance (condition, pos) with
    the first site; density (condition, value), a histogram over many inputs.
    """
    families = [stimulus(text) for text in params.stimuli]
    edges = np.linspace(-3, 3, params.bins + 1)
    samples, rows, densities = [], [], []
    for family in families:
        x = _samples(params, family)
        rows.append(covariance_row(family, params.N, _dependence(params, family)))
        samples.append(x[0])
        counts, _ = np.histogram(x, edges)
        densities.append(counts / x.size / np.diff(edges))
    centres = (edges[1:] + edges[:-1]) / 2
    run = ("condition", "pos")
    return xr.Dataset(
        {
            "sample": variable(run, np.array(samples, np.float32), "one input x"),
            "covariance": variable(run, np.array(rows), "covariance with site 0"),
            "density": variable(
                ("condition", "value"), np.array(densities), "density of an entry of x"
            ),
        },
        condition_coordinates(families)
        | index("pos", params.N, "site")
        | {"value": variable("value", centres, "value of an entry")},
    )


def _samples(params: Models, family: Stimulus) -> Array:
    """Inputs of one model, (samples, N)."""
    rng = stream(params.seed, 0, f"model {family.label}")
    if family.kind == "ising":
        return ising_spins(rng, params.samples, params.N, params.J).astype(float)
    noise = rng.standard_normal((params.samples, params.N))
    row = circulant.gaussian_row(params.N, params.xi)
    return family.marginal(circulant.filtered(noise, row))


def _dependence(params: Models, family: Stimulus) -> float:
    return params.J if family.kind == "ising" else params.xi


# ---- weights -----------------------------------------------------------------------------


def initial_weights(params: Network) -> Array:
    """Weights of every seed before training, (seed, K, N); all conditions share them."""
    drawn = [
        glorot(params.seed, run, params.K, params.N, params.init_scale)
        for run in range(params.seeds)
    ]
    return np.stack(drawn)


def glorot(seed: int, run: int, K: int, N: int, scale: float) -> Array:
    """Weights of one run, N(0, 2s/(N + K)): (K, N)."""
    normals = stream(seed, run, f"weights, N={N}").standard_normal((K, N))
    return np.sqrt(2 * scale / (N + K)) * normals


def participation(w: Array) -> Array:
    """Inverse participation ratio Σ w⁴ / (Σ w²)² over the last axis: 1/N to 1."""
    ratio: Array = (w**4).sum(-1) / (w**2).sum(-1) ** 2
    return ratio


def spectrum(w: Array) -> Array:
    """Share of the power of w in every |wavenumber| 0..N/2: (..., N//2 + 1)."""
    N = w.shape[-1]
    power = abs(np.fft.rfft(w)) ** 2
    pairs = np.full(N // 2 + 1, 2.0)  # k and −k
    pairs[0] = 1
    if N % 2 == 0:
        pairs[-1] = 1
    power = power * pairs
    share: Array = power / power.sum(-1, keepdims=True)
    return share


# ---- products ----------------------------------------------------------------------------


def condition_coordinates(families: Sequence[Stimulus]) -> dict[str, xr.Variable]:
    """The conditions, and the excess kurtosis of their marginals.

    Elliptical families have none of it: it has no say in what they do.
    """
    labels = [family.label for family in families]
    found = {"condition": variable("condition", labels, "family of inputs, its parameter")}
    if all(family.kind != "elliptical" for family in families):
        kurtosis = [family.marginal.excess_kurtosis for family in families]
        text = "excess kurtosis of an entry of x"
        found["excess_kurtosis"] = variable("condition", kurtosis, text)
    return found


def index(dim: str, count: int, long_name: str) -> dict[str, xr.Variable]:
    """The coordinate 0, 1, ... of a dimension."""
    return {dim: variable(dim, np.arange(count), long_name)}


def recorded(params: Training, w: Array) -> xr.Dataset:
    """What is kept of trained or predicted weights.

    Args:
        params: what was run.
        w: (condition, seed, record, K, N), at the steps `record_at`.

    Returns:
        ipr (condition, seed, unit, record); norm and peak, the site of the largest |w|,
        (condition, seed, unit) at the end; inputs, N; and as asked weights (condition,
        seed, weights_step, unit, pos); path (condition, record, unit, pos) and end
        (condition, unit, pos) of the first seed; spectrum (condition, seed, unit,
        wavenumber) at the end. A single unit has no axis `unit`. Coordinates lr
        (condition) and step (condition, record) give the times.
    """
    unit = ("unit",) if params.K > 1 else ()
    if not unit:
        w = w[..., 0, :]
    run, end = ("condition", "seed", *unit), w[:, :, -1]
    ipr = np.moveaxis(participation(w), 2, -1).astype(np.float32)
    norm = np.linalg.norm(end, axis=-1).astype(np.float32)
    peak = abs(end).argmax(-1).astype(np.int32)
    variables = {
        "ipr": variable((*run, "record"), ipr, "inverse participation ratio of w"),
        "norm": variable(run, norm, "norm of w at the end"),
        "peak": variable(run, peak, "site of the largest |w| at the end"),
        "inputs": variable((), np.int32(params.N), "inputs N"),
    }
    variables |= _kept_weights(params, w, unit)
    if params.keep_spectrum:
        share = spectrum(end).astype(np.float32)
        text = "share of the power of w at the end in |wavenumber|"
        variables["spectrum"] = variable((*run, "wavenumber"), share, text)
    return xr.Dataset(variables, _coordinates(params, variables))


def _kept_weights(
    params: Training, w: Array, unit: tuple[str, ...]
) -> dict[str, xr.Variable]:
    """The weights themselves, as far as they are asked for."""
    kept = {}
    if params.weights_at:
        values = w[:, :, np.isin(params.record_at, params.weights_at)]
        dims = ("condition", "seed", "weights_step", *unit, "pos")
        kept["weights"] = variable(dims, _shortened(values), "w")
    if params.keep_path:
        dims = ("condition", "record", *unit, "pos")
        kept["path"] = variable(dims, _shortened(w[:, 0]), "w of the first seed")
    if params.keep_end:
        dims = ("condition", *unit, "pos")
        text = "w of the first seed at the end"
        kept["end"] = variable(dims, _shortened(w[:, 0, -1]), text)
    return kept


def _coordinates(
    params: Training, variables: Mapping[str, xr.Variable]
) -> dict[str, xr.Variable]:
    """Coordinates of the conditions, and of whatever dims the variables have."""
    conditions, steps = len(params.stimuli), np.array(params.record_at, np.int32)
    found = condition_coordinates(params.families) | {
        "lr": variable("condition", np.full(conditions, params.lr), "learning rate"),
        "step": variable(
            ("condition", "record"), np.tile(steps, (conditions, 1)), "steps of SGD"
        ),
    }
    sizes = xr.Dataset(variables).sizes
    texts = {
        "record": "index of the record",
        "seed": "index of the run's random streams",
        "unit": "unit k",
        "pos": "site",
        "wavenumber": "cycles per ring",
    }
    for dim, text in texts.items():
        if dim in sizes:
            found |= index(dim, sizes[dim], text)
    if params.weights_at:
        found["weights_step"] = variable("weights_step", params.weights_at, "steps of SGD")
    return found


def concat_batches(products: Sequence[xr.Dataset]) -> xr.Dataset:
    """The products of several batches, one after the other along `condition`.

    Without excess kurtosis, which elliptical families do not have.
    """
    joined: xr.Dataset = xr.concat(
        [product.drop_vars("excess_kurtosis", errors="ignore") for product in products],
        "condition",
        data_vars="minimal",
        coords="minimal",
        compat="override",
        join="exact",
    )
    return joined


def _shortened(w: Array) -> NDArray[np.float32]:
    """Rounded to KEPT_BITS of mantissa: the zeros that follow compress away."""
    mantissa, exponent = np.frexp(w)
    scale = 2.0**KEPT_BITS
    return np.ldexp(np.round(mantissa * scale) / scale, exponent).astype(np.float32)


def component_samples(params: Components, family: Stimulus, run: int) -> Array:
    """Inputs for independent component analysis, half of each class: (samples, N)."""
    rng = stream(params.seed, run, "samples of components")
    noise = rng.standard_normal((2, params.samples // 2, params.N))
    fields = [
        circulant.filtered(half, circulant.gaussian_row(params.N, xi))
        for half, xi in zip(noise, params.xi, strict=True)
    ]
    return family.marginal(np.concatenate(fields))


def components_product(
    params: Components,
    families: Sequence[Stimulus],
    filters: Array,
    converged: NDArray[np.int32],
) -> xr.Dataset:
    """What is kept of the filters (condition, seed, unit, pos): see `train.components`."""
    run = ("condition", "seed")
    ipr = participation(filters).astype(np.float32)
    return xr.Dataset(
        {
            "ipr": variable((*run, "unit"), ipr, "inverse participation ratio of filters"),
            "converged": variable(
                run, converged, "1 if FastICA met its tolerance, 0 if it ran out of steps"
            ),
        },
        condition_coordinates(families)
        | index("seed", params.seeds, "index of the run's random streams")
        | index("unit", params.N, "component"),
    )


# ---- reading products --------------------------------------------------------------------


def times(product: xr.Dataset) -> xr.DataArray:
    """t = lr · step / K of what is recorded: (condition, record)."""
    return product["lr"] * product["step"] / product.sizes.get("unit", 1)


def mean_over_runs(values: xr.DataArray) -> xr.DataArray:
    """Mean over seeds, and over units if there are several."""
    return values.mean([dim for dim in values.dims if dim in ("seed", "unit")])


def final_ipr(product: xr.Dataset) -> xr.DataArray:
    """IPR at the end, mean over seeds and units: (condition,)."""
    return mean_over_runs(product["ipr"].isel(record=-1))


def at_time(product: xr.Dataset, t: float) -> xr.DataArray:
    """Kept weights of a single unit at time t: (condition, seed, pos)."""
    (lr,) = set(product["lr"].values.tolist())
    return product["weights"].sel(weights_step=round(t / lr))


def cosine(w: xr.DataArray, w_th: xr.DataArray) -> xr.DataArray:
    """w·w_th/(|w||w_th|) over the sites."""
    norms = [(a**2).sum("pos") ** 0.5 for a in (w, w_th)]
    return (w * w_th).sum("pos") / (norms[0] * norms[1])
