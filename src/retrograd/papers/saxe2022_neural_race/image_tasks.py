"""Image tasks (D4): a labelled data set seen through M input and M output domains.

Input domain i transforms the image, output domain j permutes the class labels. The
transformations belong to the data set: they come from default_rng(7), the M input
permutations first, and are the same for every master seed. What a run draws are its
trained pairs and the order of its images.
"""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from retrograd import datasets
from retrograd.papers.saxe2022_neural_race.params import Images
from retrograd.randomness import stream

CLASSES = 10


def trained_pairs(params: Images, run: int) -> NDArray[np.float64]:
    """G (condition, input, output) of one run: bands of K, columns in random order."""
    M = params.M
    rng = stream(params.seed, run, f"trained pairs of images, M={M}")
    shuffled = rng.permutation(M)
    masks = np.zeros((len(params.networks), M, M))
    for mask, network in zip(masks, params.networks, strict=True):
        for j in range(network.K):
            mask[np.arange(M), shuffled[(np.arange(M) + j) % M]] = 1
    return masks


def domain_permutations(
    M: int, pixels: int | None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Random permutations of pixels (M, pixels), if any, and of classes (M, 10)."""
    rng = np.random.default_rng(7)
    inputs = np.array([rng.permutation(pixels) for _ in range(M) if pixels], np.int64)
    return inputs, np.array([rng.permutation(CLASSES) for _ in range(M)])


def rotated(images: NDArray[np.float32], degrees: float) -> NDArray[np.float32]:
    """Images (image, ..., row, column) turned about their centre, interpolated linearly."""
    turned: NDArray[np.float32] = ndimage.rotate(
        images, degrees, axes=(-2, -1), reshape=False, order=1
    )
    return turned


class ImageTask:
    """The data set on the device, and its images through every input domain.

    Attributes:
        n: inputs of an encoder.
        masks: trained pairs, (seed, condition, input, output).
        classes: (output, class): the class that output domain j makes of a class.
    """

    def __init__(self, params: Images, device: torch.device) -> None:
        self.params, self._device = params, device
        base = datasets.named(params.data)
        self.masks = np.stack([trained_pairs(params, r) for r in range(params.seeds)])
        permuted = params.inputs == "permuted"
        pixels = base.train_x.shape[1] if permuted else None
        self._pixels, classes = (
            torch.from_numpy(p).to(device) for p in domain_permutations(params.M, pixels)
        )
        self.classes = classes
        self.train_y, self.test_y = (
            torch.from_numpy(y).to(device) for y in (base.train_y, base.test_y)
        )
        self._train, self._test = (
            self._domains(x, base) for x in (base.train_x, base.test_x)
        )
        self.n: int = self._train.shape[-1]
        self._orders = [self._order(run) for run in range(params.seeds)]

    def _domains(self, x: NDArray[np.float32], base: datasets.Labelled) -> Tensor:
        """Images as they are, if domains permute pixels; else seen through every domain.

        Returns:
            (image, n) in float32, or (input domain, image, n) in float16.
        """
        if self.params.inputs == "permuted":
            return torch.from_numpy(x).to(self._device)
        channels = 3 if self.params.data == "cifar10" else 1
        side = round((x.shape[1] / channels) ** 0.5)
        images = x.reshape(len(x), channels, side, side)
        frozen = None
        if self.params.features:
            from retrograd.papers.saxe2022_neural_race.image_features import frozen_network

            frozen = frozen_network(base, self._device)
        seen = []
        for i in range(self.params.M):
            turned = rotated(images, 180 * i / self.params.M)
            view = turned.reshape(len(x), -1) if frozen is None else frozen(turned)
            seen.append(torch.as_tensor(view, device=self._device).to(torch.float16))
        return torch.stack(seen)

    def _order(self, run: int) -> Iterator[NDArray[np.int64]]:
        """Batches of image indices: all images in random order, again and again."""
        rng = stream(self.params.seed, run, f"order of images, {self.params.data}")
        left = np.empty(0, np.int64)
        while True:
            while len(left) < self.params.batch:
                left = np.append(left, rng.permutation(len(self.train_y)))
            yield left[: self.params.batch]
            left = left[self.params.batch :]

    def batch(self) -> tuple[Tensor, Tensor]:
        """The next images of every seed, x (seed · input, image, n), y (seed, image)."""
        chosen = torch.from_numpy(np.stack([next(order) for order in self._orders]))
        chosen = chosen.to(self._device)
        return self._through_domains(self._train, chosen), self.train_y[chosen]

    def test_batches(self, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """All test images in order, as `batch` gives them, with y (image,)."""
        for start in range(0, len(self.test_y), size):
            chosen = torch.arange(start, min(start + size, len(self.test_y)))
            chosen = chosen.to(self._device)
            x = self._through_domains(self._test, chosen[None])
            yield x.repeat(self.params.seeds, 1, 1), self.test_y[chosen]

    def _through_domains(self, images: Tensor, chosen: Tensor) -> Tensor:
        if images.ndim == 3:
            seen = images[:, chosen].movedim(0, 1).float()
            return seen.reshape(-1, *seen.shape[2:])
        x, M = images[chosen], self.params.M
        shape = (len(x), M, *x.shape[1:])
        order = self._pixels[None, :, None, :].expand(shape)
        return x[:, None].expand(shape).gather(-1, order).view(-1, *x.shape[1:])
