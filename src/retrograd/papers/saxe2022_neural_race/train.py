"""The simulations: XoR and the contextual task, routing networks, image networks.

Every training is one program over all its seeds and conditions, by full-batch gradient
descent with hand-written gradients (images: mini-batches). One epoch is one step.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from retrograd import ensembles
from retrograd.papers.saxe2022_neural_race import data
from retrograd.papers.saxe2022_neural_race.params import (
    Decoupled,
    Gating,
    Images,
    Routing,
)
from retrograd.papers.saxe2022_neural_race.routing_networks import RoutingNetworks
from retrograd.papers.saxe2022_neural_race.small_networks import (
    ContextualNetworks,
    XorNetworks,
    cell_types,
)
from retrograd.products import variable

if TYPE_CHECKING:
    import torch

Array = NDArray[np.float64]
Nothing = Mapping[str, xr.Dataset]


# ---- XoR and the contextual task ---------------------------------------------------------


def gating(params: Gating, inputs: Nothing, device: "torch.device") -> xr.Dataset:
    """Networks with and without gates on the tasks that need them; by numpy on the CPU.

    Returns:
        xor_loss (seed, network, epoch), in float32; of the ReLU networks alignment
        (seed,), how far their weights are of the four types of cells, and W1_end, w2_end
        of the first seed; contextual_loss (paths, contextual_epoch).
    """
    coordinates = data.gating_coordinates(params)
    xor, contextual = XorNetworks(params), ContextualNetworks(params)
    epochs, steps = (coordinates[n].values.tolist() for n in ("epoch", "contextual_epoch"))
    xor_loss = ensembles.follow(xor, epochs, "XoR")["loss"].astype(np.float32)
    contextual_loss = ensembles.follow(contextual, steps, "contextual task", axes=1)["loss"]
    text = "part of the second layer's weight that is aligned with the four types"
    variables = {
        "xor_loss": variable(("seed", "network", "epoch"), xor_loss, "loss on XoR"),
        "alignment": variable("seed", cell_types(xor.W1, xor.w2), text),
        "W1_end": variable(
            ("unit", "input"), xor.W1[0].astype(np.float32), "first layer, ReLU, seed 0"
        ),
        "w2_end": variable(
            "unit", xor.w2[0].astype(np.float32), "second layer of the same"
        ),
        "contextual_loss": variable(
            ("paths", "contextual_epoch"), contextual_loss, "loss on the contextual task"
        ),
    }
    sizes = {
        "seed": (params.seeds, "index of the run's random streams"),
        "unit": (params.xor.N_h, "hidden unit"),
        "input": (2, "input"),
    }
    return xr.Dataset(variables, coordinates | _ranges(sizes))


def _ranges(sizes: Mapping[str, tuple[int, str]]) -> dict[str, xr.Variable]:
    return {
        dim: data.coordinate(dim, range(size), text) for dim, (size, text) in sizes.items()
    }


# ---- routing networks --------------------------------------------------------------------


def routing(params: Routing, inputs: Nothing, device: "torch.device") -> xr.Dataset:
    """Routing networks from random weights (M3), all seeds, K and sigma_0 together.

    By numpy on the CPU, whatever the device.

    Returns:
        trained_error, untrained_error (seed, condition): ½|Y − O H I|² averaged over
        pairs (−1 if there are none). Unless only errors are asked: loss (seed, condition,
        epoch), in float32; half_loss_epoch and steepest_epoch, where it first is below
        half (−1 if never) and where it falls most; share_index, how alike different
        domains are in the first hidden layer; and, if asked, sv_in, sv_hidden, sv_out
        (seed, condition, mode, sv_epoch) and portraits.
    """
    conditions = params.conditions()
    masks = np.stack([data.trained_pairs(params.M, c.K) for c in conditions])
    names = [
        f"condition '{c.label}', seed {seed}"
        for seed in range(params.seeds)
        for c in conditions
    ]
    ensemble = RoutingNetworks(
        [data.routing_weights(params)],
        np.tile(masks, (params.seeds, 1, 1)),
        np.tile([c.lr for c in conditions], params.seeds),
        data.routing_target(),
        names,
        singular_values=bool(params.singular_values_every),
        keep_losses=not params.errors_only,
    )
    every = params.record_every, params.singular_values_every
    epochs = data.record_epochs(params.epochs, *every)
    recorded = ensembles.follow(ensemble, epochs, f"M={params.M}", axes=1)
    shape = (params.seeds, len(conditions))
    run = ("seed", "condition")

    def by_run(values: Array) -> Array:
        return values.reshape(*shape, *values.shape[1:])

    coordinates = data.condition_coordinates(
        params.seeds, params.M, [c.K for c in conditions]
    )
    coordinates["sigma_0"] = data.coordinate(
        "condition", [c.sigma_0 for c in conditions], "initial singular values σ₀"
    )
    predictions, grams = by_run(ensemble.predictions()), by_run(ensemble.grams())
    errors = 0.5 * ((predictions - data.routing_target()) ** 2).sum((-1, -2))
    variables = pair_means(errors, masks[None], "error", "half squared error")
    if not params.errors_only:
        loss, at = by_run(ensemble.losses()), data.record_epochs(params.epochs, every[0])
        variables |= _dynamics(loss, at) | {
            "share_index": variable(
                run, share_index(grams), "part of the similarity shared across domains"
            )
        }
        coordinates |= data.epoch_coordinate(at)
    if every[1]:
        at = data.record_epochs(params.epochs, every[1])
        chosen = np.isin(epochs, at)
        for name, text in data.SINGULAR_VALUES.items():
            # (run, time, sub-network, mode): there is one sub-network.
            values = by_run(np.moveaxis(recorded[name][:, chosen, 0], 1, -1))
            values32 = values.astype(np.float32)
            variables[name] = variable((*run, "mode", "sv_epoch"), values32, text)
        coordinates |= data.singular_value_coordinates(at)
    if params.portraits:
        shown = [
            i
            for i, c in enumerate(conditions)
            if max(params.K) == c.K and c.sigma_0 in params.portraits
        ]
        extra, more = _portraits(params, predictions[0, shown], grams[0, shown])
        mask = variable(("in", "out"), masks[shown[0]].astype(np.int32), "1: trained pair")
        variables |= extra | {"mask": mask}
        coordinates |= more
    return xr.Dataset(variables, coordinates)


def _dynamics(loss: Array, epochs: list[int]) -> dict[str, xr.Variable]:
    """The loss (seed, condition, every epoch) at some epochs, and what marks its course."""
    run = ("seed", "condition")
    half = "first epoch at which the loss is below half its start; −1 if none"
    return {
        "loss": variable((*run, "epoch"), loss[..., epochs].astype(np.float32), "loss"),
        "half_loss_epoch": variable(run, half_loss_epoch(loss), half),
        "steepest_epoch": variable(run, steepest_epoch(loss), "epoch of the largest drop"),
    }


def half_loss_epoch(loss: Array) -> NDArray[np.int32]:
    """First epoch, the last axis, with less than half the initial loss; −1 if none."""
    below = loss < loss[..., :1] / 2
    return np.where(below.any(-1), below.argmax(-1), -1).astype(np.int32)


def steepest_epoch(loss: Array) -> NDArray[np.int32]:
    """The epoch, along the last axis, whose step lowers the loss most."""
    return (loss[..., :-1] - loss[..., 1:]).argmax(-1).astype(np.int32)


def share_index(grams: Array) -> Array:
    """|mean Gram between domains| / |mean Gram within a domain|, (...).

    Args:
        grams: (..., input, item, other input, item); 0 for a single domain.
    """
    M = grams.shape[-4]
    within = np.einsum("...iaib->...ab", grams)
    between = grams.sum((-4, -2)) - within
    norms = [np.linalg.norm(gram, axis=(-1, -2)) for gram in (between, within)]
    index: Array = norms[0] / max(M - 1, 1) / norms[1]
    return index


def pair_means(values: Array, masks: Array, name: str, text: str) -> dict[str, xr.Variable]:
    """Means of a number per pair (seed, condition, input, output), trained and untrained.

    Args:
        values: per pair.
        masks: 1 for trained pairs, broadcast to the values.
        name: the variables are trained_<name> and untrained_<name>.
        text: for their long names.
    """
    found, run = {}, ("seed", "condition")
    for kind, mask in (("trained", masks), ("untrained", 1 - masks)):
        mask = np.broadcast_to(mask, values.shape)
        count = mask.sum((-1, -2))
        total = (values * mask).sum((-1, -2))
        mean = np.divide(total, count, out=np.full(total.shape, -1.0), where=count > 0)
        found[f"{kind}_{name}"] = variable(run, mean, f"{text}, mean over {kind} pairs")
    return found


def _portraits(
    params: Routing, predictions: Array, grams: Array
) -> tuple[dict[str, xr.Variable], dict[str, xr.Variable]]:
    """What the first seed's networks do at the end, to be drawn; and the coordinates."""
    count, M = len(predictions), params.M
    # To 1/16, which no eye sees: it halves the file.
    gram, prediction = (
        (np.round(16 * values) / 16).astype(np.float32) for values in (grams, predictions)
    )
    inputs, outputs = M * data.N_ITEMS, M * data.N_OUT
    by_output = prediction.transpose(0, 2, 3, 1, 4)
    variables = {
        "gram": variable(
            ("portrait", "in_item", "other_in_item"),
            gram.reshape(count, inputs, inputs),
            "similarity of items in the first hidden layer, seed 0, to 1/16",
        ),
        "prediction": variable(
            ("portrait", "out_feature", "in_item"),
            by_output.reshape(count, outputs, inputs),
            "outputs of all pairs of domains, seed 0, to 1/16",
        ),
    }
    coordinates = _ranges(
        {
            "in": (M, "input domain"),
            "out": (M, "output domain"),
            "in_item": (inputs, "input domain and item"),
            "other_in_item": (inputs, "input domain and item"),
            "out_feature": (outputs, "output domain and feature"),
        }
    )
    chosen = [s for s in params.sigma_0 if s in params.portraits]
    coordinates["portrait"] = data.coordinate("portrait", chosen, "σ₀ of the network")
    return variables, coordinates


def decoupled(params: Decoupled, inputs: Nothing, device: "torch.device") -> xr.Dataset:
    """Full weight matrices from decoupled starts; networks of several shapes in turn.

    By numpy on the CPU, whatever the device.
    """
    every = params.record_every, params.singular_values_every
    epochs = data.record_epochs(params.epochs, *every)
    at_loss, at_values = (
        np.isin(epochs, data.record_epochs(params.epochs, e)) for e in every
    )
    losses: list[Array] = []
    values: dict[str, list[Array]] = {name: [] for name in data.SINGULAR_VALUES}
    for network in params.networks:
        ensemble = RoutingNetworks(
            data.decoupled_weights(params.seed, network),
            data.trained_pairs(network.M, network.K)[None],
            np.array([network.lr]),
            data.routing_target(),
            [f"network '{network.name}'"],
            singular_values=True,
        )
        recorded = ensembles.follow(ensemble, epochs, network.name, axes=1)
        losses.append(recorded["loss"][0, at_loss])
        for name, found in values.items():
            found.append(np.moveaxis(recorded[name][0, at_values], 0, -1))
    return data.decoupled_product(params, np.stack(losses), values)


# ---- image networks ----------------------------------------------------------------------


def images(params: Images, inputs: Nothing, device: "torch.device") -> xr.Dataset:
    """Image networks (M4), all seeds and networks together.

    Returns:
        loss (seed, condition, step), the batch's; trained_accuracy, untrained_accuracy
        (seed, condition) on the whole test set (−1 without untrained pairs).
    """
    from retrograd.papers.saxe2022_neural_race.image_networks import ImageNetworks
    from retrograd.papers.saxe2022_neural_race.image_tasks import ImageTask

    task = ImageTask(params, device)
    ensemble = ImageNetworks(params, task, device)
    steps = np.unique(np.geomspace(1, params.steps, params.records).round().astype(int))
    recorded = ensembles.follow(ensemble, steps.tolist(), f"{params.data}, M={params.M}")
    accuracy = pair_means(
        ensemble.accuracy(), task.masks, "accuracy", "part of test images that are right"
    )
    return xr.Dataset(
        {
            "loss": variable(
                ("seed", "condition", "step"),
                recorded["loss"].astype(np.float32),
                "cross-entropy of the last batch",
                "nat",
            )
        }
        | accuracy,
        data.condition_coordinates(params.seeds, params.M, [n.K for n in params.networks])
        | {
            "gain": data.coordinate(
                "condition", [n.gain for n in params.networks], "factor of initial weights"
            ),
            "leaky": data.coordinate(
                "condition", [int(n.leaky) for n in params.networks], "1: leaky ReLU"
            ),
            "step": data.coordinate("step", steps, "step"),
        },
    )
