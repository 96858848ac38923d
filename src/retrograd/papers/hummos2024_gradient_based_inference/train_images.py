"""The image experiment: inference of the class, and detection of what has none.

Inference of the class of an image x from its fixed code: `gbi1` is the largest
s_k = −∂l/∂z_k at the uniform z; `iter` descends on z; `ml` decodes every class; `ebi` uses
the gradient of the output's entropy; `nbi` asks at which one-hot z the gradient is least.
An image is in distribution if max_k s_k is large, or the classifier's confidence.
"""

from collections.abc import Mapping

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor

from retrograd.papers.hummos2024_gradient_based_inference import image_networks as nets
from retrograd.papers.hummos2024_gradient_based_inference import images, lstm
from retrograd.papers.hummos2024_gradient_based_inference.data import (
    float32,
    indices,
    seeds,
)
from retrograd.papers.hummos2024_gradient_based_inference.images import ImageSets
from retrograd.papers.hummos2024_gradient_based_inference.lstm import Weights
from retrograd.papers.hummos2024_gradient_based_inference.params import Images
from retrograd.products import variable

Array = NDArray[np.float64]
Pixels = NDArray[np.float32]
METHODS = ("gbi1", "iter", "ml", "ebi", "nbi")
CONFIDENCES = ("max softmax", "max logit")
SETS = ("inside", "outside")
AT_ONCE = 2000  # images of one inference
BINS = 40  # of a histogram


def experiment(params: Images, device: torch.device) -> xr.Dataset:
    """Train, infer and detect: see `train.images`."""
    sets = images.image_sets(params)
    classes = int(sets.known.train_y.max()) + 1
    with torch.inference_mode():
        variables, scores = _autoencoders(params, sets, classes, device)
        if params.classifiers:
            found, confidences = _classifiers(params, sets, classes, device)
            variables |= found | _curves({"gbi": scores} | confidences)
    coordinates = seeds(params.seeds) | {
        "condition": variable("condition", list(params.autoencoders), "autoencoder"),
        "code": variable(
            "condition", [a.d for a in params.autoencoders.values()], "units of the code"
        ),
        "inference": variable("inference", list(METHODS), "how the class is inferred"),
        "confidence": variable("confidence", list(CONFIDENCES), "score of the classifier"),
        "detector": variable("detector", ["gbi", *CONFIDENCES, "ensemble"], "score"),
        "rate": variable("rate", images.RATES, "false positive rate"),
        "set": variable("set", list(SETS), "images"),
        **indices(
            {
                "epoch": (params.epochs, "pass through the training images"),
                "bin": (BINS, "bin of a score"),
            }
        ),
    }
    dataset = xr.Dataset(variables)
    there = {k: v for k, v in coordinates.items() if set(v.dims) <= set(dataset.dims)}
    return dataset.assign_coords(there)


def _autoencoders(
    params: Images, sets: ImageSets, classes: int, device: torch.device
) -> tuple[dict[str, xr.Variable], dict[str, Array]]:
    """Variables, and the scores of the first condition by set, each (seed, image)."""
    pixels = sets.known.train_x.shape[1]
    runs = [(n, a, s) for n, a in params.autoencoders.items() for s in range(params.seeds)]
    weights = lstm.stacked(
        [nets.autoencoder_weights(params, s, a, pixels, classes) for _, a, s in runs],
        device,
    )
    given = torch.tensor([float(a.task_input) for _, a, _ in runs], device=device)
    names = [f"autoencoder {n}, seed {s}" for n, _, s in runs]
    loss = nets.train(
        params, sets, weights, given[:, None, None], nets.autoencoder_gradients, names
    )
    found = inferred(params, weights, sets.known.test_x, sets.known.test_y)
    scores = {name: gbi_scores(weights, getattr(sets, name)) for name in SETS}
    found["auc"] = np.array(
        [images.auc(*pair) for pair in zip(*scores.values(), strict=True)]
    )
    found["train_loss"] = loss
    run = ("condition", "seed")
    dims_and_texts = {
        "train_loss": ((*run, "epoch"), "mean loss per image, over an epoch"),
        "accuracy": (
            (*run, "inference"),
            "fraction of test images whose class is inferred",
        ),
        "loss_true": (run, "mean loss per test image, z its own class"),
        "loss_wrong": (run, "mean loss per test image, z another class"),
        "agreement": (
            run,
            "mean correlation over classes of s_k and minus the loss at e_k",
        ),
        "auc": (run, "area under the ROC curve of max_k s_k, inside images are positive"),
    }
    shape = (len(params.autoencoders), params.seeds)
    variables = {
        name: variable(dims, found[name].reshape(*shape, *found[name].shape[1:]), text)
        for name, (dims, text) in dims_and_texts.items()
    }
    return variables, {name: s[: params.seeds] for name, s in scores.items()}


def _classifiers(
    params: Images, sets: ImageSets, classes: int, device: torch.device
) -> tuple[dict[str, xr.Variable], dict[str, dict[str, Array]]]:
    """Variables, and scores by detector and set, each (seed or 1, image)."""
    pixels, runs = sets.known.train_x.shape[1], range(params.seeds)
    weights = lstm.stacked(
        [nets.classifier_weights(params, run, pixels, classes) for run in runs], device
    )
    given = torch.ones(params.seeds, 1, 1, device=device)
    names = [f"classifier, seed {run}" for run in runs]
    loss = nets.train(params, sets, weights, given, nets.classifier_gradients, names)
    guess = nets.logits(weights, sets.known.test_x).argmax(-1).cpu().numpy()
    scores: dict[str, dict[str, Array]] = {}
    for name in SETS:
        logits = nets.logits(weights, getattr(sets, name)).double()
        p = logits.softmax(-1)
        for detector, score in (
            ("max softmax", p.amax(-1)),
            ("max logit", logits.amax(-1)),
            ("ensemble", p.mean(0, keepdim=True).amax(-1)),
        ):
            scores.setdefault(detector, {})[name] = score.cpu().numpy()
    auc = {
        detector: [images.auc(*pair) for pair in zip(*of.values(), strict=True)]
        for detector, of in scores.items()
    }
    return {
        "classifier_loss": variable(
            ("seed", "epoch"), loss, "mean cross-entropy per image, over an epoch", "nat"
        ),
        "classifier_accuracy": variable(
            "seed",
            (guess == sets.known.test_y).mean(-1),
            "fraction of test images that the classifier gets right",
        ),
        "classifier_auc": variable(
            ("confidence", "seed"),
            np.stack([auc[name] for name in CONFIDENCES]),
            "area under the ROC curve of the classifier's confidence",
        ),
        "ensemble_auc": variable(
            (), auc["ensemble"][0], "the same, of the mean softmax of all classifiers"
        ),
    }, scores


def _curves(scores: Mapping[str, Mapping[str, Array]]) -> dict[str, xr.Variable]:
    """ROC curves (mean over seeds) and histograms (first seed) of every detector."""
    roc, counts, centres = [], [], []
    for of in scores.values():
        roc.append(np.mean([images.roc(*p) for p in zip(*of.values(), strict=True)], 0))
        first = [of[name][0] for name in SETS]
        low, high = np.quantile(np.concatenate(first), [0.002, 0.998])
        edges = np.linspace(low, high, BINS + 1)
        clipped = [np.clip(s, edges[0], edges[-1]) for s in first]
        counts.append([np.histogram(s, edges)[0] / len(s) for s in clipped])
        centres.append((edges[1:] + edges[:-1]) / 2)
    return {
        "roc": float32(("detector", "rate"), roc, "true positive rate, mean over seeds"),
        "histogram": float32(
            ("detector", "set", "bin"), counts, "fraction of images, seed 0"
        ),
        "score": float32(("detector", "bin"), centres, "score at the middle of a bin"),
    }


# ---- inference -------------------------------------------------------------------------


def inferred(
    params: Images, weights: Weights, x: NDArray[np.float32], y: NDArray[np.int64]
) -> dict[str, Array]:
    """How well classes are inferred.

    Returns:
        accuracy (member, method); loss_true and loss_wrong, mean loss with the image's
        own class as z and with the others, (member,); agreement, the mean over images of
        the correlation over classes of s_k and minus the loss at e_k, (member,).
    """
    parts: list[dict[str, Tensor]] = []
    shares = []
    for chosen in np.array_split(np.arange(len(x)), -(-len(x) // AT_ONCE)):
        device = weights["E_1"].device
        images, truth = (torch.from_numpy(a[chosen]).to(device) for a in (x, y))
        decoder = nets.Decoder(weights, images)
        s = decoder.one_step()
        loss, norm = decoder.each_class()
        guesses = {
            "gbi1": s.argmax(-1),
            "iter": decoder.iterate(params.inference_steps, params.eta).argmax(-1),
            "ml": loss.argmin(-1),
            "ebi": (-decoder.entropy_gradient(decoder.uniform())).argmax(-1),
            "nbi": norm.argmin(-1),
        }
        own = loss.gather(-1, truth.expand(len(loss), -1)[..., None])[..., 0]
        parts.append(
            {
                "accuracy": torch.stack(
                    [(guesses[m] == truth).double().mean(-1) for m in METHODS], -1
                ),
                "loss_true": own.double().mean(-1),
                "loss_wrong": (loss.sum(-1) - own).double().mean(-1)
                / (decoder.classes - 1),
                "agreement": _correlation(s, -loss).double().mean(-1),
            }
        )
        shares.append(len(chosen) / len(x))
    return {
        name: np.average([p[name].cpu().numpy() for p in parts], axis=0, weights=shares)
        for name in parts[0]
    }


def _correlation(a: Tensor, b: Tensor) -> Tensor:
    """Over the last axis."""
    a, b = (v - v.mean(-1, keepdim=True) for v in (a, b))
    return (a * b).sum(-1) / (a.norm(dim=-1) * b.norm(dim=-1)).clamp(min=1e-12)


def gbi_scores(weights: Weights, x: NDArray[np.float32]) -> Array:
    """GBI's score max_k s_k of images, (member, image)."""
    pieces = np.array_split(x, -(-len(x) // AT_ONCE))
    device = weights["E_1"].device
    found = [
        nets.Decoder(weights, torch.from_numpy(p).to(device)).one_step().amax(-1)
        for p in pieces
    ]
    return torch.cat(found, -1).cpu().numpy().astype(float)
