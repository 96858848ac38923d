"""When and how abruptly behaviour switches: sigmoids fitted to accuracy, spec T1 and T2.

S_b ≈ fmin + A σ_b with σ_b = 1/(1 + exp(−m (b − ts))) over bins b = 1, 2, ...; fmin is the
mean of the bins before colour predicts. For given ts and m the best A is known in closed
form, so a search over a grid of them is exact up to its resolution, and one matrix product
for all networks.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from retrograd.papers.lowe2023_insight.params import BIN

Array = NDArray[np.float64]

STEEP = 7.0  # m of the published search, which hardly moves from its start
FREE = tuple(np.arange(1, 181) * 0.05)  # m ∈ (0, 9]
TS_STEP = 0.05
FMAX = (0.35, 1.0)  # bounds of fmin + A
ROBUST = 0.2  # score above which a network has had an insight: our rule
ROWS = 64  # networks fitted at once, so that the errors at all grid points fit a cache


@dataclass(frozen=True)
class Fit:
    """Fitted sigmoids; every field has the shape of the series without its bins."""

    fmin: Array
    amplitude: Array
    steepness: Array
    t_switch: Array
    sse: Array

    @property
    def slope(self) -> Array:
        """Slope at the inflection, per bin."""
        slope: Array = self.steepness * self.amplitude / 4
        return slope

    @property
    def score(self) -> Array:
        """What insight is judged by: slope at the inflection − SSE."""
        score: Array = self.slope - self.sse
        return score

    def delay(self, bins_before: int) -> Array:
        """Trials from the onset of colour to the switch."""
        delay: Array = (self.t_switch - bins_before) * BIN
        return delay

    @classmethod
    def to(
        cls, series: Array, bins_before: int, steepness: Sequence[float] = (STEEP,)
    ) -> Self:
        """Fit series (..., bin), with m among `steepness`."""
        bins = series.shape[-1]
        ts = np.arange(round(bins / TS_STEP) + 1) * TS_STEP
        grid_m, grid_ts = (a.ravel() for a in np.meshgrid(steepness, ts, indexing="ij"))
        shape = expit(grid_m[:, None] * (1 + np.arange(bins) - grid_ts[:, None]))
        flat = series.reshape(-1, bins)
        fmin = flat[:, :bins_before].mean(-1)
        pieces = [
            _best(flat[i : i + ROWS], fmin[i : i + ROWS], shape)
            for i in range(0, len(flat), ROWS)
        ]
        best, amplitude, sse = (np.concatenate(part) for part in zip(*pieces, strict=True))
        found = fmin, amplitude, grid_m[best], grid_ts[best], sse
        return cls(*(a.reshape(series.shape[:-1]) for a in found))


def _best(
    series: Array, fmin: Array, shape: Array
) -> tuple[NDArray[np.int64], Array, Array]:
    """Best grid point, its A and its SSE, for series (n, bin) and σ (grid, bin)."""
    rise = series - fmin[:, None]
    overlap, power = rise @ shape.T, (shape**2).sum(-1)
    low, high = (bound - fmin[:, None] for bound in FMAX)
    amplitude = np.clip(overlap / power, low, high)
    sse = amplitude * (amplitude * power - 2 * overlap)  # up to Σ rise²
    best = sse.argmin(-1)
    chosen = amplitude[np.arange(len(series)), best]
    residual = rise - chosen[:, None] * shape[best]
    return best, chosen, (residual**2).sum(-1)


def jump(series: Array, t_switch: Array) -> Array:
    """J = S_{k+1} − S_{k−1} with k = ceil(ts), kept within the series (..., bin)."""
    k = np.clip(np.ceil(t_switch).astype(int), 2, series.shape[-1] - 1)
    after, before = (
        np.take_along_axis(series, index[..., None], -1)[..., 0] for index in (k, k - 2)
    )
    difference: Array = after - before
    return difference


def time_locked(series: Array, t_switch: Array, reach: int) -> Array:
    """Means over networks of S_{k+d}, d = −reach ... reach, with k = ceil(ts).

    Series (network, bin); bins that do not exist are left out, 0 if that leaves none.
    """
    bins = series.shape[-1]
    index = np.ceil(t_switch).astype(int)[:, None] - 1 + np.arange(-reach, reach + 1)
    exists = (index >= 0) & (index < bins)
    values = np.take_along_axis(series, np.clip(index, 0, bins - 1), -1)
    mean: Array = (values * exists).sum(0) / np.maximum(exists.sum(0), 1)
    return mean


def width(curves: Array, boxcar: int) -> Array:
    """Trials that a smoothed rise takes from 10 % to 90 %; curves (..., trial).

    Its ends are the means of the first and last `boxcar` smoothed values.
    """
    total = np.concatenate([np.zeros_like(curves[..., :1]), curves.cumsum(-1)], axis=-1)
    smooth = (total[..., boxcar:] - total[..., :-boxcar]) / boxcar
    low, high = smooth[..., :boxcar].mean(-1), smooth[..., -boxcar:].mean(-1)

    def passage(part: float) -> Array:
        level = low + part * (high - low)
        index: Array = (smooth >= level[..., None]).argmax(-1)
        return index

    return passage(0.9) - passage(0.1)
