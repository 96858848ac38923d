"""One function per claim: its statistics, from the products of all seeds.

The numbers C1 to C22 are those of the project's specification. An error of a pair of
domains is ½|Y − O H I|²; with zero output it is 122.
"""

import numpy as np
import xarray as xr

from retrograd.claims import Products, Statistics
from retrograd.papers.saxe2022_neural_race.data import by, crossing_epoch, untrained

SMALLEST_LOSS = 1e-6  # of the initial one: below it rounding decides relative deviations


def c1(products: Products) -> Statistics:
    """Loss on XoR at the end, of the worst seed."""
    end = products["gating"]["xor_loss"].isel(epoch=-1)
    return {
        "relu": float(end.sel(network="relu").max()),
        "gated": float(end.sel(network="gated").max()),
        "linear": end.sel(network="linear"),
    }


def c2(products: Products) -> Statistics:
    """Loss on the contextual task at the end."""
    end = products["gating"]["contextual_loss"].isel(contextual_epoch=-1)
    return {"linear": float(end.sel(paths=1)), "gated": float(end.sel(paths=2))}


def c3(products: Products) -> Statistics:
    """Largest difference over time between the ReLU loss and the closed form."""
    relu, theory = (
        products[name]["xor_loss"].sel(network="relu")
        for name in ("gating", "gating_theory")
    )
    return {
        "mean_deviation": float(abs(relu.mean("seed") - theory).max()),
        "largest_deviation": abs(relu - theory).max("epoch"),
    }


def c4(products: Products) -> Statistics:
    """When the ReLU loss is half its start, mean over seeds."""
    relu = products["gating"]["xor_loss"].sel(network="relu")
    return {"half_loss_epoch": float(crossing_epoch(relu, 0.25).mean())}


def c5(products: Products) -> Statistics:
    """Part of the second layer's weight that is aligned with the four types."""
    return {"alignment": products["gating"]["alignment"]}


def c6(products: Products) -> Statistics:
    """Largest relative difference between decoupled weights and the reduced map."""
    full, reduced = products["decoupled"], products["decoupled_theory"]
    xr.align(full, reduced, join="exact")
    loss = reduced["loss"]
    floor = SMALLEST_LOSS * loss.isel(epoch=0)
    scale = xr.where(loss > floor, loss, floor)
    values = [
        float((abs(full[name] - reduced[name]) / reduced[name]).max())
        for name in ("sv_in", "sv_hidden", "sv_out")
    ]
    return {
        "loss": float((abs(full["loss"] - loss) / scale).max()),
        "singular_values": max(values),
    }


def c7(products: Products) -> Statistics:
    """How the deviation of map and flow shrinks when the step is divided by 4."""
    theory = products["routing_theory"]
    deviation = abs(theory["loss_small_steps"] - theory["loss_flow"]).max("epoch")
    larger, smaller = (float(deviation.sel(divisor=n)) for n in (4, 16))
    return {"deviation_ratio": larger / smaller}


def c8(products: Products) -> Statistics:
    """Mean over time of |L − theory| / L(0), per seed."""
    loss, theory = products["routing"]["loss"], products["routing_theory"]["loss"]
    loss, theory = xr.align(loss, theory, join="exact")
    deviation = abs(loss - theory).mean("epoch") / theory.isel(epoch=0)
    return {"mean_deviation": deviation.isel(condition=0)}


def c9(products: Products) -> Statistics:
    """Hidden over input singular value of the top mode at the end, over √M."""

    def ratio(product: xr.Dataset) -> xr.DataArray:
        top = product.isel(mode=0, sv_epoch=-1)
        return (top["sv_hidden"] / top["sv_in"]) / root_M

    root_M = products["routing"].sizes["in"] ** 0.5
    return {
        "random": ratio(products["routing"]).isel(condition=0),
        "decoupled": float(ratio(products["decoupled"].isel(sub_network=0))),
    }


def c10(products: Products) -> Statistics:
    """Loss by theory between the drops."""
    loss = products["routing_theory"]["loss"]
    return {
        "first_plateau": float(loss.sel(epoch=110)),
        "second_plateau": float(loss.sel(epoch=200)),
    }


def c11(products: Products) -> Statistics:
    """|mean Gram matrix between domains| / |mean within|, per seed."""
    return {"share_index": products["routing"]["share_index"].isel(condition=0)}


def c12(products: Products) -> Statistics:
    """Error of pairs never trained, per seed."""
    error = untrained(products["routing"], "error").isel(condition=0)
    return {"untrained_error": error}


def c13(products: Products) -> Statistics:
    """Half-times over that of the network shared by all pairs."""
    half = products["sharing_theory"]["half_time"]
    ratio = half / half.isel(root=-1)
    return {f"P_{root**2}": float(ratio.sel(root=root)) for root in (1, 2, 5)}


def c14(products: Products) -> Statistics:
    """Part of the mode that the most shared sub-network has learned at the end."""
    return {"share": float(products["sharing_theory"]["share"][-1, -1])}


def c15(products: Products) -> Statistics:
    """Mean error of untrained pairs by the number K of outputs trained per input."""
    fractions = products["fractions"]
    error = by("fraction", untrained(fractions, "error").mean("seed"))
    # M is not in the product; the smallest fraction is 1/M.
    smallest = float(error["fraction"].min())
    at = {K: float(error.sel(fraction=K * smallest, method="nearest")) for K in range(1, 6)}
    return {
        "K_1": at[1],
        "K_2_over_K_3": at[2] / at[3],
        "K_3_over_K_4": at[3] / at[4],
        "K_4": at[4],
        "K_5": at[5],
        "trained": float(fractions["trained_error"].max()),
    }


def c16(products: Products) -> Statistics:
    """Mean error of untrained pairs by the initial scale σ₀."""
    scales = products["scales"]
    error = by("sigma_0", untrained(scales, "error").mean("seed"))
    return {
        "smallest_scale": float(error[0]),
        "largest_scale": float(error[-1]),
        "least_rise": float(error.diff("sigma_0").min()),
        "trained": float(scales["trained_error"].max()),
    }


def c17(products: Products) -> Statistics:
    """Epoch of the steepest drop of the loss over that of half the loss, per seed."""
    scales = products["scales"]
    ratio = scales["steepest_epoch"] / scales["half_loss_epoch"]
    # A run that never halved its loss has no ratio.
    ratio = by("sigma_0", ratio.where(scales["half_loss_epoch"] > 0))
    return {"lazy": ratio.isel(sigma_0=-1), "rich": ratio.isel(sigma_0=0)}


def c18(products: Products) -> Statistics:
    """Test accuracy of untrained pairs by the fraction of trained ones, gain 0.1."""
    images = products["images"]
    chosen = (images["gain"] == 0.1) & (images["leaky"] == 0)
    curves = images.isel(condition=np.flatnonzero(chosen))
    new, old = (
        by("fraction", curves[f"{kind}_accuracy"].mean("seed"))
        for kind in ("untrained", "trained")
    )
    at = {percent: float(new.sel(fraction=percent / 100)) for percent in (12.5, 25, 37.5)}
    half = float(new.sel(fraction=0.5))
    return {
        "an_eighth": at[12.5],
        "a_quarter": at[25],
        "three_eighths": at[37.5],
        "half": half,
        "gap_at_half": float(old.sel(fraction=0.5)) - half,
    }


def c19(products: Products) -> Statistics:
    """Test accuracies by the gain of the initial weights, at 3/8 of all pairs."""
    images = products["images"]
    chosen = (images["fraction"] == 0.375) & (images["leaky"] == 0)
    curves = images.isel(condition=np.flatnonzero(chosen))
    new, old = (
        by("gain", curves[f"{kind}_accuracy"].mean("seed"))
        for kind in ("untrained", "trained")
    )
    return {
        "gain_0.1": float(new.sel(gain=0.1)),
        "gain_1": float(new.sel(gain=1)),
        "gain_10": float(new.sel(gain=10)),
        "trained": old,
    }


def c20(products: Products) -> Statistics:
    """Test accuracy of untrained pairs, leaky ReLU and linear, mean over seeds."""
    accuracy = untrained(products["relaxed"], "accuracy").mean("seed")
    linear, leaky = (float(accuracy[accuracy["leaky"] == kind].item()) for kind in (0, 1))
    return {"leaky_minus_linear": leaky - linear, "leaky": leaky}


def c21(products: Products) -> Statistics:
    """Test accuracies at the published sizes, in the order of their fractions."""
    leaky = products["relaxed"].isel(condition=-1).mean("seed")
    found: dict[str, float | xr.DataArray] = {
        "leaky_untrained_over_trained": float(
            leaky["untrained_accuracy"] / leaky["trained_accuracy"]
        )
    }
    for name, count in (("images_large", 3), ("images_natural", 3)):
        mean = products[name].mean("seed")
        for i in range(count):
            percent = f"{100 * float(mean['fraction'][i]):g}"
            label = f"{name}_{percent.replace('.', '_')}"
            found[label] = float(mean["untrained_accuracy"][i])
        found[f"{name}_trained"] = mean["trained_accuracy"].isel(condition=slice(count))
    rotated = products["images_rotated"].mean("seed").isel(condition=-1)
    gap = rotated["trained_accuracy"] - rotated["untrained_accuracy"]
    return found | {"rotated_gap_at_half": float(gap)}


def c22(products: Products) -> Statistics:
    """No statistic of its own: see C12, C15 and C18."""
    return {}
