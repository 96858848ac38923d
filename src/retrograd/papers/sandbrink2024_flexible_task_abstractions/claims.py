"""One function per claim: its statistics, from the products of one group of seeds.

The numbers C1 to C23 are those of the project's specification; C6b, C8b and C10b are
ours. Blocks count from 0 here, and from 1 in the paper and the specification.
"""

import numpy as np
import xarray as xr
from scipy.stats import spearmanr

from retrograd.claims import Products, Statistics

SPECIALISED = 0.95  # total alignment above which the students have become modules
NEW_TASKS = slice(24, 29)  # blocks with a composite task, without the first one


def c1(products: Products) -> Statistics:
    """Total alignment at the end."""
    alignment = products["main_train"]["alignment"].isel(block=-1)
    flexible, forgetful = _regimes(alignment)
    return {
        "flexible_share_above_0_95": float((flexible > SPECIALISED).mean()),
        "forgetful_largest": float(forgetful.max()),
    }


def c2(products: Products) -> Statistics:
    """Gates at the last four block ends of specialised seeds; are the same paths open?"""
    main = products["main_train"].sel(condition="flexible")
    specialised = main["alignment"].isel(block=-1) > SPECIALISED
    gates = main["c_end"].isel(block=slice(-4, None), seed=specialised.values)
    if not gates.size:
        return dict.fromkeys(
            ("larger_gate", "smaller_gate", "same_path_for_same_task"), np.nan
        )
    path = gates.argmax("path").transpose("seed", "block").values
    same = (path[:, :2] == path[:, 2:]).all(1) & (path[:, 0] != path[:, 1])
    smaller = gates.min("path")
    return {
        "larger_gate": float(gates.max("path").min()),
        "smaller_gate": float(abs(smaller).max()),
        "same_path_for_same_task": float(same.mean()),
    }


def c3(products: Products) -> Statistics:
    """Time from a switch until the loss is below 0.1, in the flexible regime."""
    t_cross, _ = _regimes(products["main_train"]["t_cross"])
    later = t_cross.isel(block=slice(2, None)).mean("seed")
    last = t_cross.isel(block=slice(-3, None))
    return {
        "rank_correlation": _rank_correlation(later["block"], later),
        "late_mean": float(last.mean()),
        "late_median": float(last.median()),
    }


def c4(products: Products) -> Statistics:
    """The same in the forgetful regime, and over that in the flexible one."""
    late = products["main_train"]["t_cross"].isel(block=slice(14, None))
    flexible, forgetful = (float(t.mean()) for t in _regimes(late))
    return {"forgetful": forgetful, "forgetful_over_flexible": forgetful / flexible}


def c5(products: Products) -> Statistics:
    """Full model against reduction, largest deviation, from students within the span."""
    return _deviations(products, "span")


def c6(products: Products) -> Statistics:
    """The same from random students, were there nothing outside of the span."""
    full, theory = (
        products[name].sel(condition=_with_init(products[name], "random"))
        for name in ("reduced_train", "reduced_theory")
    )
    return {"loss_deviation": abs(full["loss"] - theory["loss_within"]).max("time")}


def c6b(products: Products) -> Statistics:
    """The same from random students, by the closed equations."""
    return _deviations(products, "random")


def c7(products: Products) -> Statistics:
    """Largest deviation of w̄ from R2 along a switch, per gate speed."""
    return {"law_deviation": products["toy_theory"]["law_deviation"]}


def c8(products: Products) -> Statistics:
    """Largest gate speed in a block against total alignment at its start, per seed."""
    return {"rank_correlation": _speed_with_alignment(products["main_train"])}


def c8b(products: Products) -> Statistics:
    """The same for the seeds that specialise (C1)."""
    main = products["main_train"]
    flexible, _ = _regimes(main["alignment"].isel(block=-1, drop=True))
    found = _speed_with_alignment(main)
    return {"rank_correlation": found.where(flexible > SPECIALISED, drop=True)}


def c9(products: Products) -> Statistics:
    """Smallest w̄ during one switch, with the fastest and the slowest gates."""
    w_min = products["toy_theory"]["w_min"]
    return {"fast": float(w_min.isel(tau_c=0)), "slow": float(w_min.isel(tau_c=-1))}


def c10(products: Products) -> Statistics:
    """Late switches and alignment at equal total time, from the shortest blocks on.

    A switch that never ends counts as the length of the block.
    """
    runs = products["block_length_train"].mean("seed").swap_dims(condition="tau_B")
    t_cross, alignment = runs["t_cross"], runs["alignment"]
    shortest = float(t_cross["tau_B"].min())
    return {
        "change_of_t_cross": t_cross.drop_vars("condition").diff("tau_B"),
        "shortest_t_cross_over_block": float(t_cross.sel(tau_B=shortest)) / shortest,
        "shortest_alignment": float(alignment.sel(tau_B=shortest)),
        "unit_t_cross": float(t_cross.sel(tau_B=1)),
        "unit_alignment": float(alignment.sel(tau_B=1)),
    }


def c10b(products: Products) -> Statistics:
    """Late switches as a share of the block, from one block length to the next.

    Where no switch ends, its time is the length of the block, which a longer block lifts;
    the share does not have that artefact.
    """
    runs = products["block_length_train"].mean("seed").swap_dims(condition="tau_B")
    share = (runs["t_cross"] / runs["tau_B"]).drop_vars("condition")
    return {"change_of_share": share.diff("tau_B")}


def c11(products: Products) -> Statistics:
    """Specialisation w̄ after equal times, from the shortest to the longest blocks."""
    w = products["toy_theory"]["specialisation"].values
    return dict(zip(("shortest", "short", "long", "longest"), map(float, w), strict=True))


def c12(products: Products) -> Statistics:
    """Distance of the last block end to that two blocks earlier; w̄ at the end."""
    toy = products["toy_theory"]
    distance = toy["cycle_distance"].isel(later_block=-1)
    return {"distance": float(distance), "specialisation": float(toy["cycle_end"])}


def c13(products: Products) -> Statistics:
    """Mean loss on means of tasks."""
    return _losses_of_new_tasks(products["composition_train"])


def c14(products: Products) -> Statistics:
    """Mean time until the loss is a tenth of what it is at the switch, for new tasks."""
    time = products["composition_train"]["time_to_tenth"].isel(block=NEW_TASKS)
    flexible, forgetful = (float(t.mean()) for t in _regimes(time))
    return {"flexible": flexible, "forgetful": forgetful}


def c15(products: Products) -> Statistics:
    """Mean loss on tasks whose outputs are taken from two tasks."""
    return _losses_of_new_tasks(products["subtasks_train"])


def c16(products: Products) -> Statistics:
    """Mean total alignment with blocks of 1 and τ_c = 0.005, without and with bounds."""
    alignment = _unit_blocks(products["grid_train"], "tau_c", 0.005, "strength")
    return {
        "unbounded": float(alignment.sel(strength=0)),
        "bounded": alignment.sel(strength=[0.1, 0.2]),
    }


def c17(products: Products) -> Statistics:
    """Mean total alignment with blocks of 1 and r = 0.3, for fast and slow gates."""
    alignment = _unit_blocks(products["grid_train"], "strength", 0.3, "tau_c")
    return {
        "fast": alignment.sel(tau_c=[0.0025, 0.005, 0.01]),
        "slow": float(alignment.sel(tau_c=0.02)),
        "slowest": float(alignment.sel(tau_c=0.1)),
    }


def c18(products: Products) -> Statistics:
    """Mean cosine of the matched rows of W1 with the teachers' rows, per seed."""
    flexible, forgetful = _regimes(products["two_layer_train"]["alignment"])
    return {"flexible": flexible, "forgetful": forgetful}


def c19(products: Products) -> Statistics:
    """Mean weight W2 of units matched to a task, at the end of its blocks and of others."""
    gate, _ = _regimes(products["two_layer_train"]["gate"].mean("seed"))
    own = gate["task"] == gate["on"]
    tasks = gate.sizes["task"]
    off = gate.where(~own, 0).sum("on") / (tasks - 1)
    return {"on": gate.where(own, 0).sum("on"), "off": off}


def c20(products: Products) -> Statistics:
    """Mean loss over the last five blocks."""
    loss = products["two_layer_train"]["block_loss"].isel(block=slice(-5, None))
    flexible, forgetful = (float(x.mean()) for x in _regimes(loss))
    return {"flexible": flexible, "forgetful": forgetful}


def c21(products: Products) -> Statistics:
    """Mean loss three steps after a switch: flexible from block 4, forgetful from 1."""
    run = products["switching_train"]
    dt = float(run["time"][1] - run["time"][0])
    offset = run["time"] - np.floor(run["time"] + 0.5 * dt)
    flexible, forgetful = _regimes(run["loss"][:, abs(offset - 3 * dt) < 0.5 * dt])
    later = forgetful.isel(time=slice(1, None))
    return {
        "flexible": flexible.isel(time=slice(4, None)),
        "forgetful_rank_correlation": _rank_correlation(later["time"], later),
        "forgetful_first": float(later[0]),
        "forgetful_last": float(later[-1]),
    }


def c22(products: Products) -> Statistics:
    """Mean number of steps until the test accuracy is reached, in the last block."""
    return _steps_in_last_block(products["digits_train"])


def c23(products: Products) -> Statistics:
    """The same, on both data sets."""
    found = {n: _steps_in_last_block(products[f"{n}_train"]) for n in ("mnist", "fashion")}
    return {
        regime: xr.DataArray(
            [of[regime] for of in found.values()], {"dataset": list(found)}, ["dataset"]
        )
        for regime in ("flexible", "forgetful")
    }


def _regimes(values: xr.DataArray) -> tuple[xr.DataArray, xr.DataArray]:
    """Flexible and forgetful."""
    flexible, forgetful = (
        values.sel(condition=name, drop=True) for name in ("flexible", "forgetful")
    )
    return flexible, forgetful


def _rank_correlation(a: xr.DataArray, b: xr.DataArray) -> float:
    return float(spearmanr(a.values, b.values).statistic)


def _speed_with_alignment(main: xr.Dataset) -> xr.DataArray:
    """Rank correlation over blocks, (seed), in the flexible regime."""
    speed, alignment = (
        _regimes(main[name])[0].transpose("seed", "block")
        for name in ("gate_speed", "alignment")
    )
    pairs = zip(alignment[:, :-1], speed[:, 1:], strict=True)
    found = [_rank_correlation(before, after) for before, after in pairs]
    return xr.DataArray(found, {"seed": main["seed"]}, ["seed"])


def _deviations(products: Products, init: str) -> Statistics:
    """Largest over time of the full model's deviation from the closed equations."""
    full, theory = (
        products[name].sel(condition=_with_init(products[name], init))
        for name in ("reduced_train", "reduced_theory")
    )
    return {
        "loss_deviation": abs(full["loss"] - theory["loss"]).max("time"),
        "gate_deviation": abs(full["c"] - theory["c"]).max(["time", "path"]),
    }


def _with_init(product: xr.Dataset, init: str) -> list[str]:
    return [name for name in product["condition"].values if f"{init} init" in str(name)]


def _losses_of_new_tasks(run: xr.Dataset) -> Statistics:
    loss = run["block_loss"].isel(block=NEW_TASKS)
    flexible, forgetful = (float(x.mean()) for x in _regimes(loss))
    return {"flexible": flexible, "forgetful_over_flexible": forgetful / flexible}


def _unit_blocks(grid: xr.Dataset, fixed: str, value: float, along: str) -> xr.DataArray:
    """Mean total alignment with blocks of length 1, along one of the two parameters."""
    chosen = np.isclose(grid[fixed], value) & (grid["tau_B"].values == 1)
    alignment = grid["alignment"].mean("seed").isel(condition=chosen)
    return alignment.swap_dims(condition=along).drop_vars("condition")


def _steps_in_last_block(run: xr.Dataset) -> dict[str, float]:
    steps = run["steps_to_accuracy"].isel(block=-1)
    flexible, forgetful = (float(n.mean()) for n in _regimes(steps))
    return {"flexible": flexible, "forgetful": forgetful}
