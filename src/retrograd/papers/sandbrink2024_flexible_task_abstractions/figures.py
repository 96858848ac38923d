"""One function per figure: products in, Figure out."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

Products = Mapping[str, xr.Dataset]
COLOURS = {"flexible": "black", "forgetful": "0.6"}
TIME = "time t"
TASKS = "ABC"


def fig1(products: Products) -> Figure:
    """Flexible and forgetful training: loss, gates, alignment, speeds, switches."""
    main = products["main_train"]
    figure = Figure(figsize=(10, 5.4))
    axes = figure.subplots(2, 3)
    for name, colour in COLOURS.items():
        run = main.sel(condition=name)
        time = run["time"]
        _band(axes[0, 0], run, "loss", colour, name)
        for path in range(run.sizes["path"]):
            style = "-" if path == 0 else "--"
            label = f"{name}, c{'¹²³'[path]}"
            _band(axes[0, 1], run.isel(path=path), "c", colour, label, style)
        axes[0, 2].plot(time, run["cos_own"], color=colour, label=f"{name}, own teacher")
        axes[0, 2].plot(time, run["cos_other"], "--", color=colour, label=f"{name}, other")
        speed = run["weight_speed"]
        late = speed.where(time >= time.mean(), drop=True).max()
        axes[1, 0].plot(time, speed / late, color=colour, label=name)
        axes[1, 1].plot(time, run["c_speed"], color=colour, label=f"{name}, gates")
        _switch_times(axes[1, 2], run["t_cross"], colour, name)
    norm = axes[1, 1].twinx()
    for name, colour in COLOURS.items():
        w_norm = main["w_norm"].sel(condition=name)
        norm.plot(main["time"], w_norm, ":", color=colour, label=f"{name}, students")
    norm.set(ylabel="‖W‖ of students (dotted)", ylim=(0, None))
    norm.grid(visible=False)
    norm.spines["right"].set_visible(True)
    floor = float(products["reduced_theory"]["t_frozen"])
    axes[1, 2].axhline(floor, color="C3", linestyle=":", label="frozen students (R3)")
    axes[0, 0].set(ylabel="task loss")
    axes[0, 1].set(ylabel="gates c")
    axes[0, 2].set(ylabel="cosine with teachers")
    axes[1, 0].set(ylabel="speed of students, scaled", ylim=(0, 3))
    axes[1, 1].set(ylabel="speed of gates ‖dc/dt‖")
    axes[1, 2].set(xlabel="block", ylabel="time until loss < 0.1", yscale="log")
    for panel in axes.flat:
        if not panel.get_xlabel():
            panel.set_xlabel(TIME)
    for panel in (axes[0, 0], axes[0, 2], axes[1, 0], axes[1, 1], axes[1, 2]):
        panel.legend()
    axes[0, 1].set(ylim=(-0.05, 1.45))
    axes[0, 1].legend(ncols=2, loc="upper center")
    return figure


def fig2(products: Products) -> Figure:
    """The loss around the first composite task, for both kinds of composites."""
    figure = Figure(figsize=(8, 3.2))
    panels = figure.subplots(1, 2)
    kinds = {
        "composition_train": "means of two tasks",
        "subtasks_train": "outputs from two tasks, a gate per output",
    }
    for axes, (name, title) in zip(panels, kinds.items(), strict=True):
        run = products[name]
        # Means are kept in the last block without composites and the first with them.
        first = np.floor(float(run["time"][-1]) + 1e-6)
        around = (run["time"] > first - 0.25) & (run["time"] < first + 0.85)
        for regime, colour in COLOURS.items():
            shown = run.isel(time=around).sel(condition=regime)
            _band(axes, shown, "loss", colour, regime)
        axes.axvline(first, color="C3", linestyle=":", label="first new task")
        axes.set(xlabel=TIME, ylabel="task loss", title=title, ylim=(0, None))
        axes.legend()
    return figure


def fig3(products: Products) -> Figure:
    """The mechanism in the reduced dynamics."""
    toy = products["toy_theory"]
    figure = Figure(figsize=(10, 5.6))
    axes = figure.subplots(2, 3)
    for panel, start in zip(axes[0, :2], toy["start"].values, strict=True):
        for path in range(2):
            a = toy["a"].sel(start=start, path=path)
            panel.plot(*a.T, f"C{path}-", label=f"W{'¹²'[path]}", linewidth=2 - 0.8 * path)
            panel.plot(*a[0], f"C{path}o", markersize=7 - 3 * path)
            panel.plot(*a[-1], f"C{path}s")
        panel.plot([1, 0], [0, 1], "k*", markersize=9, label="teachers", zorder=0)
        panel.set(xlabel="content of teacher 1", ylabel="content of teacher 2")
        panel.set(title=f"one switch, {start}", xlim=(-0.7, 1.7), ylim=(-0.3, 1.7))
        panel.legend(loc="upper right")
    panel = axes[0, 2]
    panel.plot(toy["tau_B"], toy["specialisation"], "C0o-")
    panel.set(xlabel="block length τ_B", ylabel="specialisation w̄ at the end")
    panel.set(title="after equal times", ylim=(0, 1))
    _limit_cycle(axes[1, 0], toy)
    panel = axes[1, 1]
    panel.semilogy(toy["later_block"], toy["cycle_distance"], "C0-", linewidth=1)
    panel.set(xlabel="block", ylabel="distance to two blocks earlier", title="convergence")
    panel = axes[1, 2]
    for i, tau_c in enumerate(toy["tau_c"].values):
        run = toy.sel(tau_c=tau_c)
        run = run.isel(travel=run["switch_reached"].values == 1)
        panel.plot(run["travel"], run["switch_w"], f"C{i}", label=f"τ_c/τ_w = {tau_c:.3g}")
    law = toy["switch_law"].where(toy["switch_reached"] == 1)
    panel.plot(toy["travel"], law.transpose("travel", "tau_c"), "k--", linewidth=0.8)
    panel.set(xlabel="gate difference c̄", ylabel="specialisation w̄")
    panel.set(title="during a switch; dashed: R2", ylim=(0.55, 1.02))
    panel.legend(ncols=2, loc="lower center")
    return figure


def fig4(products: Products) -> Figure:
    """Heat maps of alignment; late switches against block length."""
    grid = products["grid_train"].mean("seed")
    figure = Figure(figsize=(10, 3.4))
    panels = figure.subplots(1, 3)
    of_strength = np.isclose(grid["strength"], 0.3)
    _heat_map(
        panels[0], grid.isel(condition=of_strength), "tau_c", "time scale of the gates τ_c"
    )
    _heat_map(
        panels[1], grid.isel(condition=~of_strength), "strength", "strength of the bounds r"
    )
    axes, runs = panels[2], products["block_length_train"]
    tau_B = runs["tau_B"]
    for seed in range(runs.sizes["seed"]):
        label = "one run each" if seed == 0 else None
        times = runs["t_cross"].isel(seed=seed)
        axes.plot(tau_B, times, color="0.75", linewidth=0.7, label=label)
    axes.plot(tau_B, runs["t_cross"].mean("seed"), "ko-", label="mean")
    axes.plot(tau_B, tau_B, "C3:", label="length of the block")
    axes.set(xscale="log", yscale="log", xlabel="block length τ_B")
    axes.set(ylabel="late time until loss < 0.1", title="after equal times")
    axes.set_xticks(tau_B.values, [f"{x:g}" for x in tau_B.values])
    axes.minorticks_off()
    axes.legend()
    return figure


def fig5(products: Products) -> Figure:
    """Second layer of a two-layer network at block ends; alignment of its first layer."""
    run = products["two_layer_train"]
    figure = Figure(figsize=(10, 4.4))
    halves: Any = figure.subfigures(1, 2, width_ratios=(1.6, 1))
    left, right = halves
    panels = left.subplots(2, 2)
    limit = float(abs(run["W2"]).max())
    image: Any = None
    for row, regime in enumerate(COLOURS):
        for column, on in enumerate(run["on"].values):
            axes = panels[row, column]
            W2 = run["W2"].sel(condition=regime, on=on)
            image = axes.imshow(W2, cmap="RdBu_r", vmin=-limit, vmax=limit, aspect="auto")
            axes.axvline(run.sizes["output"] - 0.5, color="black", linewidth=0.8)
            axes.set(title=f"{regime}, end of a block of {TASKS[on]}")
            axes.set(xlabel="hidden unit: rows of A | of B", ylabel="output")
            axes.grid(visible=False)
    left.colorbar(image, ax=panels, shrink=0.7, label="W2")
    axes = right.subplots()
    for regime, colour in COLOURS.items():
        _band(axes, run.sel(condition=regime), "alignment_path", colour, regime)
    axes.set(xlabel=TIME, ylabel="mean cosine of matched rows of W1", ylim=(0, 1))
    axes.legend()
    return figure


def fig6(products: Products) -> Figure:
    """Digits: test accuracy and gates; few-step switching of the linear network."""
    digits, switching = products["digits_train"], products["switching_train"]
    figure = Figure(figsize=(10, 5.4))
    axes = figure.subplots(2, 2)
    for name, colour in COLOURS.items():
        run = digits.sel(condition=name)
        _band(axes[0, 0], run, "accuracy", colour, name)
        for path, style in enumerate(("-", "--")):
            label = f"{name}, c{'¹²'[path]}"
            c = run["c"].isel(path=path)
            axes[0, 1].plot(run["time"], c, style, color=colour, label=label)
    axes[0, 0].set(xlabel="step", ylabel="test accuracy", title="digits", ylim=(0, 1.02))
    axes[0, 1].set(xlabel="step", ylabel="gates c", title="digits")
    axes[0, 0].legend(loc="lower right")
    axes[0, 1].set(ylim=(-0.1, 2.6))
    axes[0, 1].legend(ncols=2, loc="upper center")
    for panel, name in zip(axes[1], COLOURS, strict=True):
        loss = switching["loss"].sel(condition=name).values
        blocks = len(np.unique(np.floor(switching["time"] + 1e-6)))
        shades = np.linspace(0.8, 0, blocks)
        for block, curve in enumerate(loss.reshape(blocks, -1)):
            text = f"block {block}" if block in (0, blocks // 2, blocks - 1) else None
            panel.plot(curve, color=str(shades[block]), label=text, linewidth=1)
        panel.set(xlabel="steps after the switch", ylabel="task loss", ylim=(0, None))
        panel.set(title=f"linear network, {name}")
        panel.legend()
    return figure


def fig7(products: Products) -> Figure:
    """Full model on the population gradient against the reduced dynamics."""
    full, theory = products["reduced_train"], products["reduced_theory"]
    figure = Figure(figsize=(9, 3.4))
    left, right = figure.subplots(1, 2)
    random = next(c for c in full["condition"].values if "random" in str(c))
    # The seed with the largest deviation of the eigenspace alone, which shows most.
    deviation = abs(full["loss"] - theory["loss_within"]).sel(condition=random)
    seed = int(deviation.max("time").values.argmax())
    chosen = {"condition": random, "seed": seed}
    time = full["time"]
    left.plot(time, full["loss"].sel(chosen), "k-", label="full model")
    left.plot(time, theory["loss_within"].sel(chosen), "C1--", label="eigenspace, R = 0")
    left.plot(time, theory["loss"].sel(chosen), "C0:", label="closed equations")
    left.set(xlabel=TIME, ylabel="task loss", title=f"random init, seed {seed}")
    left.legend()
    rows = {}
    for name in full["condition"].values:
        init = "span" if "span" in str(name) else "random"
        pair = full.sel(condition=name), theory.sel(condition=name)
        rows[f"{init} init,\nR = 0: loss"] = abs(pair[0]["loss"] - pair[1]["loss_within"])
        rows[f"{init} init,\nclosed: loss"] = abs(pair[0]["loss"] - pair[1]["loss"])
        rows[f"{init} init,\nclosed: gates"] = abs(pair[0]["c"] - pair[1]["c"]).max("path")
    for place, deviations in enumerate(rows.values()):
        worst = deviations.max("time").values
        right.semilogx(worst, np.full(len(worst), place), "ko", fillstyle="none")
    right.set_yticks(range(len(rows)), list(rows))
    right.invert_yaxis()
    right.set(xlabel="largest deviation along a run, per seed", xlim=(1e-17, 1))
    return figure


def _band(
    axes: Axes, run: xr.Dataset, name: str, colour: str, label: str, style: str = "-"
) -> None:
    """Mean, and a band of one standard error where that is wide enough to be seen."""
    mean, error = run[name], run[f"{name}_error"]
    axes.plot(run["time"], mean, style, color=colour, label=label)
    if float(error.max()) < 0.01:
        return
    low, high = mean - error, mean + error
    axes.fill_between(run["time"], low, high, color=colour, alpha=0.25, linewidth=0)


def _switch_times(axes: Axes, t_cross: xr.DataArray, colour: str, label: str) -> None:
    mean = t_cross.mean("seed")
    error = t_cross.std("seed") / np.sqrt(t_cross.sizes["seed"])
    block = t_cross["block"] + 1
    axes.errorbar(block, mean, error, color=colour, marker="o", markersize=3, label=label)


def _limit_cycle(axes: Axes, toy: xr.Dataset) -> None:
    shown = toy["shown_block"].values
    for block in shown:
        run = toy.sel(shown_block=block)
        last = block in shown[-2:]
        colour = "C3" if last else "0.5"
        label = {shown[0]: "first blocks", shown[-1]: "last two blocks"}.get(block)
        axes.plot(
            run["cycle_c"], run["cycle_w"], color=colour, label=label, zorder=2 + last
        )
    axes.set(xlabel="gate difference c̄", ylabel="specialisation w̄", title="limit cycle")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, 0.95))


def _heat_map(axes: Axes, grid: xr.Dataset, along: str, label: str) -> None:
    """Total alignment over block length and another parameter of the conditions."""
    alignment = grid["alignment"].drop_vars("condition")
    table = alignment.set_index(condition=[along, "tau_B"]).unstack("condition")
    table = table.transpose("tau_B", along).sortby("tau_B")
    image = axes.imshow(
        table, vmin=0.5, vmax=1, cmap="viridis", aspect="auto", origin="lower"
    )
    for (row, column), value in np.ndenumerate(table.values):
        colour = "black" if value > 0.8 else "white"
        axes.text(column, row, f"{value:.2f}", color=colour, ha="center", va="center")
    axes.set_xticks(range(table.sizes[along]), [f"{x:g}" for x in table[along].values])
    axes.tick_params(axis="x", labelsize="small")
    axes.set_yticks(range(table.sizes["tau_B"]), [f"{x:g}" for x in table["tau_B"].values])
    axes.set(xlabel=label, ylabel="block length τ_B", title="total alignment at the end")
    axes.grid(visible=False)
    axes.figure.colorbar(image, ax=axes, shrink=0.9)
