"""The simulations: three independent experiments, each with its own networks."""

from collections.abc import Mapping

import torch
import xarray as xr

from retrograd.papers.hummos2024_gradient_based_inference import (
    train_images,
    train_language,
    train_toy,
)
from retrograd.papers.hummos2024_gradient_based_inference.params import (
    Images,
    Language,
    Toy,
)

Inputs = Mapping[str, xr.Dataset]


def toy(params: Toy, inputs: Inputs, device: torch.device) -> xr.Dataset:
    """Networks that predict the switching stream, trained online, then tested.

    Args:
        params: of the section `toy`.
        inputs: not used; streams and weights are drawn.
        device: where the tensors live.

    Returns:
        Of training (kind, seed): loss, late_loss, early_loss, switch_loss, block_loss
        (..., block), curve (..., stretch), engaged_either and shared (..., bin). Of tests
        (inference, seed): excess, prediction_mean and Z_largest (..., mean), Z_distance
        (..., task, component), lag_excess (..., lag); and one switching test, switch_x
        (time), switch_prediction (shown, time), switch_gradient and switch_Z (time,
        component). One-step evidence for task 0: probe_evidence (seed, history, probe)
        and evidence (seed, observation) of `gbi`, control_* of `lstm`; new_task (seed,
        observation).

    Raises:
        RetrogradError: a run diverged; names kind, seed and step.
    """
    return train_toy.experiment(params, device)


def images(params: Images, inputs: Inputs, device: torch.device) -> xr.Dataset:
    """Autoencoders of images given their class, classifiers, and inference by gradients.

    Returns:
        (condition, seed): train_loss (..., epoch), accuracy (..., inference), loss_true,
        loss_wrong, agreement, auc; with classifiers also classifier_loss (seed, epoch),
        classifier_accuracy (seed), classifier_auc (confidence, seed), ensemble_auc, roc
        (detector, rate), histogram (detector, set, bin) and score (detector, bin).

    Raises:
        RetrogradError: a run diverged; names condition, seed and step.
    """
    return train_images.experiment(params, device)


def language(params: Language, inputs: Inputs, device: torch.device) -> xr.Dataset:
    """Language models given the data set's identity, and inference of it.

    Returns:
        (kind, seed), where a seed is a pick of data sets: train_loss (..., stretch),
        test_loss (..., evaluation), onepass_accuracy (..., words), adapt_loss (..., novel,
        adaptation), adapt_z (..., novel, component), z_weights_moved; unknown (seed).

    Raises:
        RetrogradError: a run diverged; names kind, seed and step.
    """
    return train_language.experiment(params, device)
