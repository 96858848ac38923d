"""What is recorded of a batch of networks, reduced in float64 on the CPU."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from retrograd.papers.vanrossem2024_representations_align import data
from retrograd.papers.vanrossem2024_representations_align.networks import Network

Array = NDArray[np.float64]
Observe = Callable[[Network], dict[str, Array]]
Observer = Callable[[Tensor, Tensor], Observe]  # of inputs x and targets y
HALF, WHOLE = 0.5, 1.0  # factors of the mean squared error in a loss


def pair_observer(layers: Sequence[int]) -> Observer:
    """Of two points: h2 (member, layer), y2, w and the loss (member,)."""

    def of(x: Tensor, y: Tensor) -> Observe:
        target = _double(y)

        def observe(network: Network) -> dict[str, Array]:
            hidden, output = network.forward(x)
            read = [_double(hidden[layer]) for layer in layers]
            found = _double(output)
            dy, dy_hat = (a[:, 1] - a[:, 0] for a in (target, found))
            return {
                "h2": np.stack([((h[:, 1] - h[:, 0]) ** 2).sum(-1) for h in read], 1),
                "y2": (dy_hat**2).sum(-1),
                "w": (dy_hat * (dy_hat - dy)).sum(-1),
                "loss": HALF * ((found - target) ** 2).mean((1, 2)),
            }

        return observe

    return of


def distance_observer(layer: int, factor: float) -> Observer:
    """Of many points: squared distances (member, point, point), and the loss (member,)."""

    def of(x: Tensor, y: Tensor) -> Observe:
        def observe(network: Network) -> dict[str, Array]:
            hidden, output = network.forward(x)
            return {
                "distance2": squared_distances(_double(hidden[layer])),
                "loss": factor * ((_double(output) - _double(y)) ** 2).mean((1, 2)),
            }

        return observe

    return of


def feature_observer(layer: int, index: NDArray[np.int64]) -> Observer:
    """Of the context task: variances of both features, principal coordinates, the loss.

    Args:
        layer: whose representation is read.
        index: of `data.context_task`.
    """

    def of(x: Tensor, y: Tensor) -> Observe:
        def observe(network: Network) -> dict[str, Array]:
            hidden, output = network.forward(x)
            h = _double(hidden[layer])
            relevant, irrelevant = feature_variances(h, index)
            return {
                "relevant": relevant,
                "irrelevant": irrelevant,
                "embedding": principal_coordinates(h),
                "loss": HALF * ((_double(output) - _double(y)) ** 2).mean((1, 2)),
            }

        return observe

    return of


def _double(tensor: Tensor) -> Array:
    values: Array = tensor.detach().cpu().numpy().astype(float)
    return values


# ---- reductions ------------------------------------------------------------------------


def squared_distances(h: Array) -> Array:
    """Between all points of (..., point, unit): (..., point, point)."""
    norms = (h**2).sum(-1)
    found = norms[..., :, None] + norms[..., None, :] - 2 * h @ h.mT
    same = np.eye(h.shape[-2], dtype=bool)
    return np.where(same, 0, np.maximum(found, 0))


def class_means(values: Array, classes: NDArray[np.int64]) -> Array:
    """Means over pairs of two different images, from (..., image, image) by class."""
    member = (classes[:, None] == np.arange(data.CLASSES)).astype(float)
    counts = member.T @ (1 - np.eye(len(classes))) @ member
    off_diagonal = values * (1 - np.eye(len(classes)))
    means: Array = member.T @ off_diagonal @ member / counts
    return means


def relative_change(distances: Array) -> Array:
    """|D_end − D_start| / |D_start| from (moment, ..., point, point)."""
    start, end = distances
    change, size = (np.linalg.norm(a, axis=(-1, -2)) for a in (end - start, start))
    ratio: Array = change / size
    return ratio


def feature_variances(h: Array, index: NDArray[np.int64]) -> tuple[Array, Array]:
    """Variance of the class means of the relevant and of the irrelevant feature.

    Within a context, representations (member, sample, unit) are averaged over all samples
    with one value of a feature; the variance of these means, summed over units, is
    averaged over contexts.

    Args:
        h: representations.
        index: context, place of m1 and of m2, (sample, 3); m1 is relevant in context 0.
    """
    found = np.zeros((2, len(h)))
    for context in range(2):
        for feature in range(2):
            means = [
                h[:, (index[:, 0] == context) & (index[:, 1 + feature] == place)].mean(1)
                for place in range(int(index[:, 1].max()) + 1)
            ]
            found[int(feature != context)] += np.stack(means).var(0).sum(-1) / 2
    return found[0], found[1]


def principal_coordinates(h: Array, axes: int = data.EMBEDDING) -> Array:
    """Classical scaling of (member, sample, unit): (member, sample, axis).

    An axis points where its largest coordinate is positive.
    """
    centred = h - h.mean(1, keepdims=True)
    left, values, _ = np.linalg.svd(centred, full_matrices=False)
    found: Array = left[..., :axes] * values[:, None, :axes]
    furthest = np.abs(found).argmax(1, keepdims=True)
    return found * np.sign(np.take_along_axis(found, furthest, axis=1))
