"""Images of known classes, images from elsewhere, and how well a score tells them apart."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from retrograd import datasets
from retrograd.papers.hummos2024_gradient_based_inference.params import Images
from retrograd.randomness import stream

Array = NDArray[np.float64]
Pixels = NDArray[np.float32]
RATES = np.linspace(0, 1, 101)  # false positives at which a ROC curve is kept


@dataclass(frozen=True)
class ImageSets:
    """Images in [0, 1] of the classes 0, 1, ..., and images of none of them.

    Attributes:
        known: training and test images with their classes.
        inside: known test images at the same mean and standard deviation, (image, pixel).
        outside: images of no known class, likewise.
    """

    known: datasets.Labelled
    inside: Pixels
    outside: Pixels


def image_sets(params: Images) -> ImageSets:
    """What the networks are trained and tested on."""
    known = datasets.named(params.images)
    if params.train_images is not None:
        first = slice(params.train_images)
        known = datasets.Labelled(
            known.train_x[first], known.train_y[first], known.test_x, known.test_y
        )
    if params.outside == "photographs":
        outside = patches(params)
    else:
        outside = datasets.named(params.outside).test_x[: params.outside_images]
    mean, std = float(known.train_x.mean()), float(known.train_x.std())
    inside, outside = (normalised(x, mean, std) for x in (known.test_x, outside))
    return ImageSets(known, inside, outside)


def normalised(x: Pixels, mean: float, std: float) -> Pixels:
    """Every image (image, pixel) at the same mean and (sample) standard deviation.

    Brightness and contrast then tell nothing. Values may leave [0, 1].
    """
    own_mean, own_std = x.mean(-1, keepdims=True), x.std(-1, keepdims=True, ddof=1)
    found: Pixels = ((x - own_mean) / own_std * std + mean).astype(np.float32)
    return found


def patches(params: Images) -> Pixels:
    """Patches of scikit-learn's two photographs, as large as a digit: 8 × 8 in [0, 1].

    Taken at random places; flat ones, whose contrast is below the median, are left out.
    """
    from sklearn.datasets import load_sample_images

    rng, side = stream(params.seed, 0, "patches"), 8
    grey = [photo.mean(-1) / 255 for photo in load_sample_images().images]
    count = 2 * params.outside_images
    photo = rng.integers(len(grey), size=count)
    row, column = (rng.integers(n - side, size=count) for n in grey[0].shape)
    cut = np.stack(
        [
            grey[p][r : r + side, c : c + side].ravel()
            for p, r, c in zip(photo, row, column, strict=True)
        ]
    )
    contrast = cut.std(-1)
    return cut[contrast >= np.median(contrast)].astype(np.float32)


# ---- scores ----------------------------------------------------------------------------


def auc(inside: Array, outside: Array) -> float:
    """Probability that an inside image scores higher than an outside one; ties count ½."""
    from scipy.stats import rankdata

    ranks = rankdata(np.concatenate([inside, outside]))
    n, m = len(inside), len(outside)
    return float((ranks[:n].sum() - n * (n + 1) / 2) / (n * m))


def roc(inside: Array, outside: Array) -> Array:
    """True positives at the false positives RATES; inside images are the positives."""
    above = np.sort(outside)[::-1]
    allowed = np.floor(RATES * len(above)).astype(int)
    # As many outside images pass as are allowed: those above the next one's score.
    thresholds = np.append(above, -np.inf)[allowed]
    return np.array([(inside > t).mean() for t in thresholds])
