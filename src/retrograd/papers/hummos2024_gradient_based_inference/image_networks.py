"""Class-conditioned autoencoders and classifiers of images, and inference by gradients.

    encoder: u = ReLU(x E_1 + e_1) E_2 + e_2
    decoder: x̂ = σ(ReLU([u; z] D_1 + d_1) D_2 + d_2), loss Σ_pixels (x̂ − x)²

Members are conditions × seeds (autoencoders) or seeds (classifiers), one tensor program
with gradients by hand. Codes of different widths are padded with zeros, which stay zeros.
"""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from retrograd import progress
from retrograd.papers.hummos2024_gradient_based_inference import lstm
from retrograd.papers.hummos2024_gradient_based_inference.images import ImageSets
from retrograd.papers.hummos2024_gradient_based_inference.lstm import Weights
from retrograd.papers.hummos2024_gradient_based_inference.params import (
    Autoencoder,
    Images,
)
from retrograd.randomness import stream

Array = NDArray[np.float64]


# ---- networks --------------------------------------------------------------------------


def _encoder(
    rng: np.random.Generator, params: Images, pixels: int, d: int
) -> dict[str, Array]:
    H = params.H
    return {
        "E_1": lstm.uniform(rng, pixels, pixels, H),
        "e_1": lstm.uniform(rng, pixels, 1, H),
        "E_2": lstm.uniform(rng, H, H, d),
        "e_2": lstm.uniform(rng, H, 1, d),
    }


def autoencoder_weights(
    params: Images, run: int, own: Autoencoder, pixels: int, classes: int
) -> dict[str, Array]:
    """Of one run of one condition, its code padded to the widest of all conditions."""
    rng = stream(params.seed, run, f"autoencoder, d = {own.d}")
    H, inputs = params.H, own.d + classes
    found = _encoder(rng, params, pixels, own.d) | {
        "D_u": lstm.uniform(rng, inputs, own.d, H),
        "D_z": lstm.uniform(rng, inputs, classes, H),
        "d_1": lstm.uniform(rng, inputs, 1, H),
        "D_2": lstm.uniform(rng, H, H, pixels),
        "d_2": lstm.uniform(rng, H, 1, pixels),
    }
    spare = max(a.d for a in params.autoencoders.values()) - own.d
    for name in ("E_2", "e_2"):
        found[name] = np.pad(found[name], ((0, 0), (0, spare)))
    found["D_u"] = np.pad(found["D_u"], ((0, spare), (0, 0)))
    return found


def classifier_weights(
    params: Images, run: int, pixels: int, classes: int
) -> dict[str, Array]:
    """Of one run: the encoder of the first condition, and a linear read-out."""
    rng = stream(params.seed, run, "classifier")
    d = next(iter(params.autoencoders.values())).d
    return _encoder(rng, params, pixels, d) | {
        "R": lstm.uniform(rng, d, d, classes),
        "r": lstm.uniform(rng, d, 1, classes),
    }


def encode(weights: Weights, x: Tensor) -> tuple[Tensor, Tensor]:
    """Hidden units (member, image, H) and code (member, image, d) of images."""
    hidden = torch.baddbmm(weights["e_1"], x, weights["E_1"]).relu_()
    return hidden, torch.baddbmm(weights["e_2"], hidden, weights["E_2"])


def _encoder_gradients(
    weights: Weights, x: Tensor, hidden: Tensor, d_code: Tensor
) -> Weights:
    d_hidden = (d_code @ weights["E_2"].mT) * (hidden > 0)
    return {
        "E_1": x.mT @ d_hidden,
        "e_1": d_hidden.sum(1, keepdim=True),
        "E_2": hidden.mT @ d_code,
        "e_2": d_code.sum(1, keepdim=True),
    }


def autoencoder_gradients(weights: Weights, x: Tensor, z: Tensor) -> tuple[Tensor, Weights]:
    """Loss (member,) and its gradients; the mean over images (member, image, pixel).

    Args:
        weights: of all members.
        x: images.
        z: task input, (member, image, class).
    """
    hidden, code = encode(weights, x)
    inner = torch.baddbmm(weights["d_1"], code, weights["D_u"])
    inner = torch.baddbmm(inner, z, weights["D_z"]).relu_()
    out = torch.baddbmm(weights["d_2"], inner, weights["D_2"]).sigmoid_()
    error = out - x
    loss = (error**2).sum(-1).mean(-1)
    d_out = error.mul_(out - out**2).mul_(2 / x.shape[1])
    d_inner = (d_out @ weights["D_2"].mT) * (inner > 0)
    gradients = {
        "D_u": code.mT @ d_inner,
        "D_z": z.mT @ d_inner,
        "d_1": d_inner.sum(1, keepdim=True),
        "D_2": inner.mT @ d_out,
        "d_2": d_out.sum(1, keepdim=True),
    }
    d_code = d_inner @ weights["D_u"].mT
    return loss, gradients | _encoder_gradients(weights, x, hidden, d_code)


def classifier_gradients(weights: Weights, x: Tensor, z: Tensor) -> tuple[Tensor, Weights]:
    """Cross-entropy (member,) and its gradients; z is the one-hot class."""
    hidden, code = encode(weights, x)
    log_p = torch.baddbmm(weights["r"], code, weights["R"]).log_softmax(-1)
    loss = -(log_p * z).sum(-1).mean(-1)
    d_out = (log_p.exp() - z) / x.shape[1]
    gradients = {"R": code.mT @ d_out, "r": d_out.sum(1, keepdim=True)}
    d_code = d_out @ weights["R"].mT
    return loss, gradients | _encoder_gradients(weights, x, hidden, d_code)


# ---- training --------------------------------------------------------------------------


def _batches(params: Images, count: int) -> Iterator[NDArray[np.int64]]:
    """Indices (seed, image) of every step of an epoch after another."""
    streams = [stream(params.seed, run, "image batches") for run in range(params.seeds)]
    steps = count // params.batch
    for _ in range(params.epochs):
        orders = np.stack([rng.permutation(count) for rng in streams])
        for step in range(steps):
            yield orders[:, step * params.batch : (step + 1) * params.batch]


Gradients = Callable[[Weights, Tensor, Tensor], tuple[Tensor, Weights]]


def train(
    params: Images,
    sets: ImageSets,
    weights: Weights,
    given: Tensor,
    gradients: Gradients,
    members: list[str],
) -> Array:
    """Train all members in place.

    Args:
        params: batches and rate.
        sets: of images.
        weights: members ordered (condition, seed).
        given: what the one-hot class is multiplied by, (member, 1, 1).
        gradients: of the loss.
        members: what each is, for messages.

    Returns:
        Mean loss of every epoch, (member, epoch).

    Raises:
        RetrogradError: a run diverged; names it and the step.
    """
    device = given.device
    x, y = (
        torch.from_numpy(a).to(device) for a in (sets.known.train_x, sets.known.train_y)
    )
    one_hot = torch.nn.functional.one_hot(y).float()
    adam = lstm.Adam(weights, params.rate)
    losses = []
    total = params.epochs * (len(x) // params.batch)
    with progress.bar(total, f"networks of {params.images}") as bar:
        for step, chosen in enumerate(_batches(params, len(x))):
            rows = torch.from_numpy(chosen).to(device)
            copies = (len(members) // params.seeds, 1, 1)
            seen, z = x[rows].repeat(copies), one_hot[rows].repeat(copies) * given
            loss, found = gradients(weights, seen, z)
            adam.step(found)
            losses.append(loss)
            if step % 100 == 99:
                lstm.check_finite(loss, members, step + 1)
            bar.update()
    of_epochs = torch.stack(losses, 1).unflatten(1, (params.epochs, -1)).mean(-1)
    return of_epochs.cpu().numpy().astype(float)


# ---- inference -------------------------------------------------------------------------


class Decoder:
    """The decoder on the fixed codes of some images, as a function of z."""

    def __init__(self, weights: Weights, x: Tensor) -> None:
        self._weights, self._x = weights, x
        _, code = encode(weights, x.expand(len(weights["E_1"]), -1, -1))
        self._from_code = torch.baddbmm(weights["d_1"], code, weights["D_u"])
        self.classes = weights["D_z"].shape[1]

    def at(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Inner units and x̂, for z (member, image or 1, class)."""
        inner = (self._from_code + z @ self._weights["D_z"]).relu_()
        return inner, torch.baddbmm(
            self._weights["d_2"], inner, self._weights["D_2"]
        ).sigmoid_()

    def loss(self, z: Tensor) -> Tensor:
        """Σ (x̂ − x)², (member, image)."""
        return ((self.at(z)[1] - self._x) ** 2).sum(-1)

    def _to_z(self, inner: Tensor, d_out: Tensor) -> Tensor:
        d_inner = (d_out @ self._weights["D_2"].mT) * (inner > 0)
        return d_inner @ self._weights["D_z"].mT

    def gradient(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """The loss (member, image) and its gradient with respect to z (..., class)."""
        inner, out = self.at(z)
        error = out - self._x
        d_out = 2 * error * (out - out**2)
        return (error**2).sum(-1), self._to_z(inner, d_out)

    def entropy_gradient(self, z: Tensor) -> Tensor:
        """Gradient of the Bernoulli entropy of x̂, summed over pixels.

        With x̂ = σ(a), dH/da = −a x̂ (1 − x̂).
        """
        inner, out = self.at(z)
        return self._to_z(inner, -out.logit(eps=1e-6) * (out - out**2))

    def uniform(self) -> Tensor:
        """z of maximum entropy, (1, 1, class)."""
        return self._x.new_full((1, 1, self.classes), 1 / self.classes)

    def one_step(self) -> Tensor:
        """Minus the gradient at the uniform z: the scores s, (member, image, class)."""
        return -self.gradient(self.uniform())[1]

    def iterate(self, steps: int, eta: float) -> Tensor:
        """z = softmax(ζ) after gradient descent on ζ from zeros."""
        z = self.uniform().expand(*self._from_code.shape[:2], -1)
        zeta = torch.zeros_like(z)
        for _ in range(steps):
            force = self.gradient(z)[1]
            zeta = zeta - eta * z * (force - (z * force).sum(-1, keepdim=True))
            z = zeta.softmax(-1)
        return z

    def each_class(self) -> tuple[Tensor, Tensor]:
        """Loss, and norm of its gradient, at every one-hot z: (member, image, class)."""
        eye = torch.eye(self.classes, dtype=self._x.dtype, device=self._x.device)
        found = [self.gradient(e[None, None]) for e in eye]
        return (
            torch.stack([loss for loss, _ in found], -1),
            torch.stack([gradient.norm(dim=-1) for _, gradient in found], -1),
        )


def logits(weights: Weights, x: NDArray[np.float32]) -> Tensor:
    """Of classifiers, (member, image, class)."""
    images = torch.from_numpy(x).to(weights["E_1"].device)
    _, code = encode(weights, images.expand(len(weights["E_1"]), -1, -1))
    return torch.baddbmm(weights["r"], code, weights["R"])
