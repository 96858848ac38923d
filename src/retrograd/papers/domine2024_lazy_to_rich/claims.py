"""One function per claim: its statistics, from the products of one group of seeds.

The numbers D1 to P1 are those of the project's specification.
"""

import numpy as np
import xarray as xr

from retrograd.claims import Products, Statistics


def d1(products: Products) -> Statistics:
    """Largest deviation of QQᵀ, exact from integrated, and over the largest |QQᵀ|."""
    agreement = products["flow_agreement"]
    statistics = {}
    for form in ("stable", "propagator"):
        deviation = agreement["deviation"].sel(form=form)
        there = deviation.where(deviation >= 0)  # some networks have no stable form
        statistics[form] = float(there.max())
        statistics[f"{form}_relative"] = float((there / agreement["scale"]).max())
    return statistics


def d1b(products: Products) -> Statistics:
    """Largest |W2W1 − Σ| of square networks at a late time, by the stable form."""
    residual = products["flow_agreement"]["late_residual"]
    return {"late_residual": float(residual.where(residual >= 0).max())}


def d2(products: Products) -> Statistics:
    """Largest relative deviation of QQᵀ at the smallest η, and its order in η."""
    deviation = products["descent_agreement"]["deviation"]
    order = _order(deviation)
    return {
        "deviation": float(deviation.isel(eta=-1).max()),
        "least_order": float(order.min()),
        "largest_order": float(order.max()),
    }


def d3(products: Products) -> Statistics:
    """Largest entry of W2ᵀW2 − W1W1ᵀ − λI, of the flow and of gradient descent."""
    descent = products["descent_agreement"]["balance_error"]
    return {
        "flow": float(products["flow_agreement"]["balance_error"].max()),
        "gradient_descent": float(descent.sel(eta=0.0025).max()),
    }


def d4(products: Products) -> Statistics:
    """Largest distance of an aligned mode to the sigmoid of λ = 0."""
    distance = products["aligned_theory"]["from_sigmoid"]
    return {
        "at_lambda_0_01": float(distance.sel(lam=0.01)),
        "at_lambda_0_001": float(distance.sel(lam=0.001)),
    }


def d5(products: Products) -> Statistics:
    """λ² times the largest distance to the exponential, of |λ| ≥ 5."""
    distance = products["aligned_theory"]["from_exponential"]
    scaled = distance["lam"] ** 2 * distance
    return {"scaled_distance": scaled.where(abs(scaled["lam"]) >= 5, drop=True)}


def d6(products: Products) -> Statistics:
    """Largest deviation of A and B from their fixed points on the hierarchy."""
    return {"deviation": float(products["semantic_theory"]["from_fixed_point"].max())}


def d7(products: Products) -> Statistics:
    """Final kernel distance of square networks: values, closed form, symmetry, decrease."""
    theory = products["arch_theory"].sel(shape="square")
    theory = theory.sel(lam=abs(theory["lam"]) <= 10)
    distance = theory["final_distance"]
    positive = distance.sel(lam=distance["lam"] > 0)
    negative = distance.sel(lam=-positive["lam"])
    off_law = abs(distance / theory["closed_form"] - 1)
    asymmetry = abs(positive.values / negative.values - 1)
    at = {f"{lam:g}".replace(".", "_"): lam for lam in (0.001, 0.5, 2, 5, 10)}
    mean = positive.mean("seed")
    return {
        **{f"at_lambda_{name}": float(mean.sel(lam=lam)) for name, lam in at.items()},
        "off_closed_form": float(off_law.max()),
        "asymmetry": float(asymmetry.max()),
        "largest_growth": _largest_growth(positive, "lam"),
    }


def d8(products: Products) -> Statistics:
    """Final kernel distances of a funnel at λ = ±10."""
    return _lazy_and_rich(products, "funnel", lazy=10.0)


def d8b(products: Products) -> Statistics:
    """Final kernel distances of an inverted funnel at λ = ∓10."""
    return _lazy_and_rich(products, "inverted funnel", lazy=-10.0)


def d9(products: Products) -> Statistics:
    """Mean half-time of the kernel over |λ|; every run after the fast phase at λ = −40.

    The half-time of a single run is not proportional to |λ| to 8 %: in one of thirty, whose
    half-time is short, it varies more.
    """
    theory = products["delayed_theory"]
    distance, loss = theory["kernel_distance"], theory["loss"]
    scaled = half_times(distance).mean("seed") / abs(distance["lam"])
    largest = float(theory["lam"].min())  # of |λ|: they are negative
    fast_phase = 10 / abs(largest)
    end = theory.sel(lam=largest)
    early = end.sel(time=fast_phase, method="nearest")
    ratio = early["kernel_distance"] / end["kernel_distance"].isel(time=-1)
    plateau = loss.sel(lam=largest).sel(time=fast_phase, method="nearest") / end["plateau"]
    return {
        "half_time_spread": float(scaled.max() / scaled.min() - 1),
        "early_over_final_kernel_distance": float(ratio.max()),
        "early_loss_over_plateau": plateau,
    }


def d10(products: Products) -> Statistics:
    """Anisotropy of A and B, kernel distance and cosine with the task, after training.

    The cosine of one network from large weights is that of an unrelated 8 x 8 matrix, 0 ±
    1/√35; alignment would show in the mean over runs.
    """
    learned = products["semantic_gd"]
    gaussian = learned["gaussian_statistic"]
    small, large = gaussian.sel(init="small"), gaussian.sel(init="large")
    cosine = ["cosine of A", "cosine of B"]
    anisotropy = {
        (side, lam): learned["statistic"].sel(name=f"anisotropy of {side}", lam=lam)
        for side in "AB"
        for lam in (-10, 0, 10)
    }
    return {
        "at_lambda_0": xr.concat([anisotropy[side, 0] for side in "AB"], "side"),
        "specific": float(min(anisotropy["A", 10].min(), anisotropy["B", -10].min())),
        "agnostic": float(max(anisotropy["B", 10].max(), anisotropy["A", -10].max())),
        "least_cosine_small": float(small.sel(name=cosine).min()),
        "mean_cosine_large": large.sel(name=cosine).mean("seed").drop_vars("init"),
        "kernel_distance_large": float(large.sel(name="kernel distance").max()),
    }


def d11(products: Products) -> Statistics:
    """Mean loss under parameter noise at λ = 0 and 5; spread over λ under input noise."""
    noisy = products["semantic_gd"]["statistic"].sel(name="loss with noisy parameters")
    exact = products["semantic_theory"]["statistic"].sel(name="loss with noisy inputs")
    return {
        "parameter_noise_at_0": noisy.sel(lam=0).drop_vars(["lam", "name"]),
        "parameter_noise_at_5": noisy.sel(lam=5).drop_vars(["lam", "name"]),
        "input_noise_spread": float((exact.max("lam") - exact.min("lam")).max()),
    }


def d12(products: Products) -> Statistics:
    """Largest |loss on task 1 after task 2 − ½ ‖Σ1 − Σ2‖²|, by theory and simulation."""
    return {
        name: float(abs(products[f"continual_{name}"]["forgotten"]).max())
        for name in ("theory", "gd")
    }


def d13(products: Products) -> Statistics:
    """Loss ratio of gradient descent at t = 10; the part of the weights that grows."""
    loss = products["switch_gd"]["loss"].sel(switch="reversal")
    ratio = loss.sel(time=10, method="nearest") / loss.isel(time=0)
    growing = products["switch_theory"]["growing"].sel(lam=0)
    return {
        "loss_ratio_at_0": ratio.sel(lam=0).drop_vars(["lam", "switch"]),
        "loss_ratio_at_0_5": float(ratio.sel(lam=0.5).max()),
        "growing_at_0": float(growing.max()),
    }


def d13b(products: Products) -> Statistics:
    """Times to 1 % of the loss of the reversal: decrease with |λ|, span, symmetry."""
    time = products["switch_theory"]["time_to_learn"]
    rising = [0.001, 0.01, 0.1, 0.5, 1, 5, 10]
    positive = time.sel(lam=rising)
    negative = time.sel(lam=[-lam for lam in rising])
    return {
        "largest_growth": _largest_growth(positive, "lam"),
        "first_over_last": float(positive[0] / positive[-1]),
        "asymmetry": float(abs(positive.values / negative.values - 1).max()),
    }


def d14(products: Products) -> Statistics:
    """Transfer to the sibling after training, per λ, and its least increase with λ."""
    statistic = products["semantic_gd"]["statistic"].sel(name="transfer to sibling")
    transfer = statistic.sel(lam=[-10, -1, 0, 1, 10]).mean("seed")
    names = ("minus_10", "minus_1", "0", "1", "10")
    at = zip(names, transfer.values, strict=True)
    return {
        **{f"at_lambda_{name}": float(value) for name, value in at},
        "least_increase": float(statistic.diff("lam").min()),
    }


def d15(products: Products) -> Statistics:
    """Slope of the rms deviation with N, per run; mean λ̂ per N."""
    balance = products["lecun"]
    log_N, log_rms = (np.log(balance[name].values) for name in ("size", "rms_deviation"))
    slopes = np.polyfit(log_N, log_rms.T, 1)[0]
    return {
        "slope": xr.DataArray(slopes, coords={"seed": balance["seed"]}, dims="seed"),
        "mean_lambda": balance["lam"].mean("seed"),
    }


def d16(products: Products) -> Statistics:
    """Loss at t = 1 of the fine-tuning, from one λ to the next."""
    rising = [0.001, 1, 2, 5]
    growths = {}
    for name in ("theory", "gd"):
        loss = products[f"switch_{name}"]["loss"].sel(switch="fine-tuning", lam=rising)
        growths[name] = _largest_growth(loss.sel(time=1, method="nearest"), "lam")
    return growths


def p1(products: Products) -> Statistics:
    """No statistic: see the reasons in the config."""
    return {}


def half_times(distance: xr.DataArray) -> xr.DataArray:
    """When a kernel distance that only grows is half its last value: (seed, lam)."""
    log_time = np.log(distance["time"].values)

    def of_one(curve: np.ndarray) -> float:
        return float(np.exp(np.interp(0.5, curve / curve[-1], log_time)))

    return xr.apply_ufunc(of_one, distance, input_core_dims=[["time"]], vectorize=True)


def _order(deviation: xr.DataArray) -> xr.DataArray:
    """d ln(deviation) / d ln(η) between neighbouring η."""
    eta = deviation["eta"].values
    ratio = deviation.isel(eta=slice(-1)).values / deviation.isel(eta=slice(1, None)).values
    axis = deviation.get_axis_num("eta")
    step = np.log(eta[:-1] / eta[1:]).reshape([-1 if d == axis else 1 for d in range(4)])
    return deviation.isel(eta=slice(1, None)).copy(data=np.log(ratio) / step)


def _largest_growth(values: xr.DataArray, dim: str) -> float:
    """The largest ratio of one value to the one before: below 1, all decrease."""
    later, earlier = values.isel({dim: slice(1, None)}), values.isel({dim: slice(-1)})
    return float((later.values / earlier.values).max())


def _lazy_and_rich(products: Products, shape: str, lazy: float) -> Statistics:
    """Rich means a distance of 0.50 ± 0.08, from run to run: its size is the mean's."""
    distance = products["arch_theory"]["final_distance"].sel(shape=shape)
    at_rich, at_lazy = (distance.sel(lam=lam, drop=True) for lam in (-lazy, lazy))
    return {
        "largest_lazy": float(at_lazy.max()),
        "mean_rich": float(at_rich.mean()),
        "least_rich_over_lazy": float((at_rich / at_lazy).min()),
    }
