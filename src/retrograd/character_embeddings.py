"""A fixed embedding of drawings of characters: oriented filters, pooled and projected.

Papers that learn from Omniglot often take features of a network that was trained on
photographs. This embedding stands in for one and needs no training: like the first stages
of vision, it is a bank of oriented filters whose amplitudes are pooled over space.

1. A drawing is shifted so that its ink has its centroid in the middle, and averaged over
   blocks of 3 × 3 pixels: 105 × 105 become 35 × 35.
2. Gabor filters of 8 orientations and 2 wavelengths (4 and 8 of these pixels), complex and
   without response to a constant; the amplitude of every response (as a complex cell).
3. Pooled by a Gaussian on a grid of 6 × 6 places: 2 · 8 · 36 = 576 features, none negative.
   Their square roots are what is kept, so that long strokes do not dominate.
4. Projected on the D leading principal axes of the drawings, without whitening: distances
   stay what they were, as far as D allows. All is divided by one number, so that the mean
   square of a feature is 1.

Amplitudes have a large common mean, as features of ResNets have: of the Omniglot characters
here its share ρ of the mean square is 0.90. The axes are those of the uncentred second
moment, so that the first is about the mean, which survives the projection. Its share can be
set: x = √ρ m + √(1 − ρ) z, with the mean m and the deviations z of mean square 1 each.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from retrograd import datasets
from retrograd.errors import RetrogradError

Array = NDArray[np.float64]

SIDE, BLOCK = 105, 3  # pixels of a drawing, and of a block
WAVELENGTHS = (4.0, 8.0)  # blocks
ORIENTATIONS = 8
GRID = 6  # places along each side at which amplitudes are pooled
FEATURES = len(WAVELENGTHS) * ORIENTATIONS * GRID**2
_SMALL = SIDE // BLOCK
_PADDED = 48  # so that what leaves on one side does not come back on the other
_CHUNK = 512  # images that are filtered at once


@dataclass(frozen=True)
class Classes:
    """Embedded characters.

    Attributes:
        features: (class, drawing, D), float32.
        names: alphabet and number of each character, (class,).
    """

    features: NDArray[np.float32]
    names: list[str]


@cache
def omniglot(D: int, rho: float | None = None) -> Classes:
    """The characters of both small background sets, every one once, 20 drawings of each.

    The axes are those of all these drawings.

    Args:
        D: features, at most FEATURES.
        rho: share of the common mean, 0 to take it away; as it is if None.
    """
    parts = [datasets.omniglot("small1"), datasets.omniglot("small2")]
    drawings: dict[str, dict[int, NDArray[np.uint8]]] = {}
    for part in parts:
        for ink, alphabet, character, drawer in zip(
            part.ink, part.alphabet, part.character, part.drawer, strict=True
        ):
            # Of an alphabet that is in both parts, the drawings are the same.
            drawings.setdefault(f"{alphabet} {character + 1:02}", {})[int(drawer)] = ink
    names = sorted(drawings)
    per_class = len(drawings[names[0]])
    ink = np.array([drawings[name][i] for name in names for i in sorted(drawings[name])])
    embedded = embed(ink, D, rho).astype(np.float32)
    return Classes(embedded.reshape(len(names), per_class, D), names)


def embed(ink: NDArray[np.uint8], D: int, rho: float | None = None) -> Array:
    """Embed drawings; the axes are those of the drawings themselves.

    Args:
        ink: 1 where there is ink, else 0, (image, 105, 105).
        D: features, at most FEATURES and the number of drawings.
        rho: share of the common mean, 0 to take it away; as it is if None.

    Returns:
        (image, D) of mean square 1.

    Raises:
        RetrogradError: there are too few drawings, or filters, for D axes.
    """
    if min(len(ink), FEATURES) < D:
        raise RetrogradError(
            f"{len(ink)} drawings and {FEATURES} pooled amplitudes have no {D} axes"
        )
    pooled = amplitudes(ink)
    projected = pooled @ _axes(pooled, D)
    if rho is None:
        return _of_unit_square(projected)
    mean = projected.mean(0)
    deviations = _of_unit_square(projected - mean)
    return np.sqrt(rho) * _of_unit_square(mean) + np.sqrt(1 - rho) * deviations


def _of_unit_square(x: Array) -> Array:
    scaled: Array = x / np.sqrt((x**2).mean())
    return scaled


def amplitudes(ink: NDArray[np.uint8]) -> Array:
    """Square roots of the pooled amplitudes, (image, FEATURES), of (image, 105, 105)."""
    if ink.shape[1:] != (SIDE, SIDE):
        raise RetrogradError(f"a drawing has {SIDE} × {SIDE} pixels, not {ink.shape[1:]}")
    found = np.empty((len(ink), FEATURES))
    for start in range(0, len(ink), _CHUNK):
        chunk = slice(start, start + _CHUNK)
        found[chunk] = _amplitudes(ink[chunk])
    return found


def _amplitudes(ink: NDArray[np.uint8]) -> Array:
    blocks = _centred(ink).reshape(-1, _SMALL, BLOCK, _SMALL, BLOCK).mean((2, 4))
    spectrum = fft.fft2(blocks, (_PADDED, _PADDED))
    pooling = _pooling()
    pooled = np.empty((len(ink), len(WAVELENGTHS) * ORIENTATIONS, GRID, GRID))
    for i, gain in enumerate(_gabor_gains()):
        amplitude = abs(fft.ifft2(spectrum * gain))[:, :_SMALL, :_SMALL]
        pooled[:, i] = pooling @ amplitude @ pooling.T
    return np.sqrt(pooled).reshape(len(ink), FEATURES)


def _centred(ink: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Every drawing shifted by whole pixels, its centroid in the middle; ink that would
    leave the page comes back on the other side."""
    shifted = np.empty_like(ink)
    middle, place = SIDE // 2, np.arange(SIDE)
    for image, out in zip(ink, shifted, strict=True):
        mass = max(int(image.sum()), 1)
        row = int(np.rint((image.sum(1) @ place) / mass))
        column = int(np.rint((image.sum(0) @ place) / mass))
        blank = not image.any()
        shift = (0, 0) if blank else (middle - row, middle - column)
        out[:] = np.roll(image, shift, (0, 1))
    return shifted


@cache
def _gabor_gains() -> Array:
    """Transfer functions, (filter, 48, 48): a Gaussian around the preferred frequency.

    Its bandwidth is about one octave; the constant is subtracted, so that a blank page and
    a black one have no response.
    """
    row, column = np.meshgrid(*[fft.fftfreq(_PADDED)] * 2, indexing="ij")
    gains = []
    for wavelength in WAVELENGTHS:
        width = 0.33 / wavelength
        for angle in np.arange(ORIENTATIONS) * np.pi / ORIENTATIONS:
            preferred = np.array([np.sin(angle), np.cos(angle)]) / wavelength
            distance = (row - preferred[0]) ** 2 + (column - preferred[1]) ** 2
            gain = np.exp(-distance / (2 * width**2))
            at_zero = np.exp(-(1 / wavelength**2) / (2 * width**2))
            around_zero = np.exp(-(row**2 + column**2) / (2 * width**2))
            gains.append(gain - at_zero * around_zero)
    return np.array(gains)


@cache
def _pooling() -> Array:
    """Weights of the places of the grid, (GRID, 35): Gaussians whose weights sum to 1."""
    centres = (np.arange(GRID) + 0.5) * _SMALL / GRID - 0.5
    distance = np.arange(_SMALL) - centres[:, None]
    weights = np.exp(-((distance / (_SMALL / GRID / 1.5)) ** 2) / 2)
    normalised: Array = weights / weights.sum(1, keepdims=True)
    return normalised


def _axes(pooled: Array, D: int) -> Array:
    """The D leading eigenvectors of the second moment, (FEATURES, D).

    An eigenvector's sign is arbitrary; here its largest entry is positive.
    """
    _, vectors = np.linalg.eigh(pooled.T @ pooled / len(pooled))
    leading: Array = vectors[:, ::-1][:, :D]
    largest = abs(leading).argmax(0)
    return leading * np.sign(leading[largest, np.arange(D)])
