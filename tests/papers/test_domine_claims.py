"""Dominé et al. 2024: the statistics of the claims, on products whose statistics are known.

Each claim gets products that must pass, and the same with one thing wrong, which must fail.
The thresholds are those of the config.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
import xarray as xr

import judging
from domine_setup import SLUG, experiment, product
from retrograd.claims import Verdict
from retrograd.config import load_paper
from retrograd.linear_networks import Array
from retrograd.papers.domine2024_lazy_to_rich import claims, figures
from retrograd.papers.domine2024_lazy_to_rich.observables import STATISTICS

Products = dict[str, xr.Dataset]
GOOD = "good"


def judge(
    name: str, products: Mapping[str, xr.Dataset]
) -> tuple[Verdict, dict[str, Array]]:
    """Verdict, and the values of every statistic."""
    found = judging.entry(SLUG, name, products)
    return found["verdict"], judging.statistics(found)


def dataset(
    coords: Mapping[str, Sequence[Any]], **variables: tuple[tuple[str, ...], Any]
) -> Any:
    """A dataset whose values are broadcast to their dims."""
    sizes = {name: len(values) for name, values in coords.items()}
    return xr.Dataset(
        {
            name: (dims, np.broadcast_to(values, [sizes[d] for d in dims]).copy())
            for name, (dims, values) in variables.items()
        },
        {name: list(values) for name, values in coords.items()},
    )


# ---- agreement -------------------------------------------------------------------------


def agreement(**changes: Any) -> xr.Dataset:
    """Two networks, of which the second has no stable form and is not square."""
    deviation = np.full((2, 3, 2), 1e-12)
    deviation[0, :, 1] = -1
    values: dict[str, Any] = {
        "deviation": deviation,
        "scale": 2.0,
        "balance_error": 1e-13,
        "late_residual": [1e-14, -1.0],
    }
    values |= changes
    dims = {
        "deviation": ("form", "seed", "case"),
        "scale": ("case",),
        "balance_error": ("seed", "case"),
        "late_residual": ("seed", "case"),
    }
    coords = {"form": ["stable", "propagator"], "seed": range(3), "case": ["a", "b"]}
    return dataset(coords, **{n: (dims[n], v) for n, v in values.items()})


def descents(order: float = 1.0, at_smallest: float = 5e-4, balance: float = 0.01) -> Any:
    eta = np.array([0.01, 0.005, 0.0025, 0.001])
    deviation = at_smallest * (eta / eta[-1]) ** order
    dims = ("shape", "eta", "seed", "lam")
    coords = {"shape": ["square"], "eta": eta, "seed": range(3), "lam": [-2.0, 2.0]}
    return dataset(
        coords,
        deviation=(dims, deviation[:, None, None]),
        balance_error=(dims, balance * eta[:, None, None] / 0.0025),
    )


def d1(wrong: str) -> Products:
    deviation = agreement()["deviation"].values
    if wrong != GOOD:
        deviation[["stable", "propagator"].index(wrong), 1, 0] = 1e-7
    return {"flow_agreement": agreement(deviation=deviation)}


def d1b(wrong: str) -> Products:
    return {
        "flow_agreement": agreement(late_residual=[1e-14 if wrong == GOOD else 1e-9, -1])
    }


def d2(wrong: str) -> Products:
    changes = {GOOD: {}, "order": {"order": 2.0}, "size": {"at_smallest": 2e-3}}
    return {"descent_agreement": descents(**changes[wrong])}


def d3(wrong: str) -> Products:
    return {
        "flow_agreement": agreement(balance_error=1e-9 if wrong == "flow" else 1e-13),
        "descent_agreement": descents(balance=0.2 if wrong == "descent" else 0.01),
    }


# ---- modes -----------------------------------------------------------------------------


def aligned(sigmoid: float = 1.0, exponential: float = 1.0) -> Any:
    lam = np.array([-50.0, 0.001, 0.01, 1, 5, 10, 50])
    return dataset(
        {"lam": lam},
        from_sigmoid=(("lam",), 6.8 * sigmoid * lam**2),
        # Only |λ| ≥ 5 counts.
        from_exponential=(("lam",), np.where(abs(lam) < 5, 9, 0.2 * exponential / lam**2)),
    )


def d4(wrong: str) -> Products:
    return {"aligned_theory": aligned(sigmoid=1 if wrong == GOOD else 1.6)}


def d5(wrong: str) -> Products:
    return {"aligned_theory": aligned(exponential=1 if wrong == GOOD else 1.2)}


# ---- rich to lazy ----------------------------------------------------------------------

LAW = {0.001: 0.0330124, 0.5: 0.0287022, 2: 0.00785768, 5: 6.42712e-4, 10: 5.17166e-5}


def architectures(
    square: float = 1, lazy: float = 5e-5, rich: Any = 0.5, side: int = 1
) -> Any:
    """Square networks by the law, one factor on the side λ > 0; funnels mirrored."""
    lam = [-10.0, -5, -2, -0.5, -0.001, 0.001, 0.5, 2, 5, 10, 20]
    law = np.array([LAW.get(abs(x), 1e-6) for x in lam])
    factor = np.where(np.sign(lam) == side, square, 1.0)
    distance = np.empty((3, 5, len(lam)))
    distance[0] = law * factor
    distance[1] = np.where(np.array(lam) > 0, lazy, np.reshape(rich, (-1, 1)))
    distance[2] = distance[1][:, ::-1]
    distance[2, :, 0] = lazy
    distance[2, :, 9] = rich
    shapes = ["square", "funnel", "inverted funnel"]
    return dataset(
        {"shape": shapes, "seed": range(5), "lam": lam},
        final_distance=(("shape", "seed", "lam"), distance),
        closed_form=(("lam",), law),
    )


def d7(wrong: str) -> Products:
    return {"arch_theory": architectures(square=1 if wrong == GOOD else 1 + 1e-4)}


def d8(wrong: str) -> Products:
    one_lazy_run = np.array([0.6, 0.6, 0.6, 0.6, 0.01])
    changes: dict[str, dict[str, Any]] = {
        GOOD: {"rich": np.array([0.2, 0.3, 0.5, 0.6, 0.6])},  # as the mean
        "not lazy": {"lazy": 2e-4},
        "not rich": {"rich": 0.2},
        "one run not rich": {"rich": one_lazy_run},
    }
    return {"arch_theory": architectures(**changes[wrong])}


def d9(wrong: str) -> Products:
    lam, time = np.array([-40.0, -20, -10, -5]), np.geomspace(0.1, 1e4, 400)
    time = np.unique([*time, 0.25])
    half = 2 * abs(lam) ** (1.1 if wrong == "time" else 1.0)
    distance = 0.5 / (1 + (half[:, None] / time) ** 4)
    if wrong == "kernel":
        distance = 0.01 + distance
    loss = 1.0 if wrong == "plateau" else 1.19
    dims = ("seed", "lam", "time")
    return {
        "delayed_theory": dataset(
            {"seed": range(3), "lam": lam, "time": time},
            kernel_distance=(dims, distance),
            loss=(dims, loss),
            plateau=(("seed", "lam"), 1.2),
        )
    }


# ---- one task after another ------------------------------------------------------------


def d12(wrong: str) -> Products:
    coords = {"seed": range(3), "lam": [-1.0, 1.0]}
    return {
        f"continual_{name}": dataset(
            coords, forgotten=(("seed", "lam"), -1e-6 if wrong == name else -1e-12)
        )
        for name in ("theory", "gd")
    }


SWITCHED = [-10.0, -5, -1, -0.5, -0.1, -0.01, -0.001, 0, 0.001, 0.01, 0.1, 0.5, 1, 2, 5, 10]


def switches(wrong: str) -> Products:
    """Reversal: stuck at λ = 0; fine-tuning: faster with λ. Loss 4 at the start."""
    lam = np.array(SWITCHED)
    loss = np.empty((2, 3, len(lam), 3))
    loss[..., 0] = 4
    loss[0, ..., 1:] = np.where(lam == 0, 1.0, 1e-8)[:, None]
    loss[1, ..., 1:] = np.exp(-abs(lam))[:, None]
    time = np.where(lam == 0, -1, 1 / (0.02 + abs(lam)))
    growing = np.where(lam == 0, 1e-15, 1.0)
    match wrong:
        case "learns at 0":
            loss[0, 1, lam == 0, 2] = 0.9
        case "does not learn":
            loss[0, 1, lam == 0.5, 2] = 1e-4
        case "grows at 0":
            growing = growing + 1e-10
        case "asymmetric":
            time = np.where(lam == -1, 1.01 * time, time)
        case "slower":
            time = np.where(abs(lam) == 5, time * 9, time)
        case "short span":
            time = np.where(lam == 0, -1, 1 / (1 + abs(lam)))
        case "not tuned":
            loss[1, ..., lam == 5, 1] = 0.9
    coords = {
        "switch": ["reversal", "fine-tuning"],
        "seed": range(3),
        "lam": lam,
        "time": [0.0, 1.0, 10.0],
    }
    dims = ("switch", "seed", "lam", "time")
    return {
        "switch_gd": dataset(coords, loss=(dims, loss)),
        "switch_theory": dataset(
            coords,
            loss=(dims, loss),
            growing=(("seed", "lam"), growing),
            time_to_learn=(("lam",), time),
        ),
    }


def d13b(wrong: str) -> Products:
    return {"switch_theory": switches(wrong)["switch_theory"]}


# ---- the hierarchy ---------------------------------------------------------------------


def learned(wrong: str) -> Products:
    """Statistics as the specification gives them."""
    lam = [-10.0, -1, 0, 1, 5, 10]
    by_lam = {
        "anisotropy of A": [0.0036, 0.14, 0.313, 0.46, 0.54, 0.553],
        "anisotropy of B": [0.553, 0.54, 0.313, 0.14, 0.014, 0.0036],
        "transfer to sibling": [0.003, 0.117, 0.278, 0.429, 0.52, 0.527],
        "loss with noisy parameters": [3.26, 0.58, 0.4766, 0.58, 1.694, 3.26],
        "loss with noisy inputs": [0.022] * 6,
    }
    of_init = {"cosine of A": [1.0, 0.1], "cosine of B": [1.0, -0.2],
               "kernel distance": [0.2, 0.004]}  # fmt: skip
    match wrong:
        case "not flat at 0":
            by_lam["anisotropy of B"][2] = 0.35
        case "not specific":
            by_lam["anisotropy of A"][5] = 0.4
        case "not agnostic":
            by_lam["anisotropy of A"][0] = 0.05
        case "small differs":
            of_init["cosine of B"][0] = 0.9
        case "large is structured":
            of_init["cosine of B"][1] = -0.5
        case "large moves":
            of_init["kernel distance"][1] = 0.1
        case "noise at 0":
            by_lam["loss with noisy parameters"][2] = 0.49
        case "noise at 5":
            by_lam["loss with noisy parameters"][4] = 1.6
        case "input noise":
            by_lam["loss with noisy inputs"][5] = 0.023
        case "no transfer":
            by_lam["transfer to sibling"][5] = 0.5
        case "not monotone":
            by_lam["transfer to sibling"][4] = 0.428
    statistic = np.array([by_lam.get(name, [0.0] * 6) for name in STATISTICS]).T
    gaussian = np.array([of_init.get(name, [0.0] * 2) for name in STATISTICS]).T
    coords = {"seed": range(3), "lam": lam, "name": STATISTICS, "init": ["small", "large"]}
    whole = dataset(
        coords,
        statistic=(("seed", "lam", "name"), statistic),
        gaussian_statistic=(("seed", "init", "name"), gaussian),
    )
    return {"semantic_gd": whole, "semantic_theory": whole}


def only_simulated(wrong: str) -> Products:
    return {"semantic_gd": learned(wrong)["semantic_gd"]}


def d6(wrong: str) -> Products:
    off = 1e-13 if wrong == GOOD else 1e-7
    coords = {"seed": range(3), "lam": [-1.0, 1.0]}
    return {"semantic_theory": dataset(coords, from_fixed_point=(("seed", "lam"), off))}


def d15(wrong: str) -> Products:
    N = np.array([50, 100, 200])
    rms = 3 * N ** (-0.4 if wrong == "slope" else -0.5)
    lam = np.array([[2.8, 3, 3], [3.1, 3, 3], [3.1, 3, 3]])  # their mean counts
    if wrong == "lambda":
        lam = lam + 0.2
    dims = ("seed", "size")
    coords = {"seed": range(3), "size": N}
    return {"lecun": dataset(coords, rms_deviation=(dims, rms), lam=(dims, lam))}


MAKERS: dict[str, tuple[Callable[[str], Products], list[str]]] = {
    "D1": (d1, ["stable", "propagator"]),
    "D1b": (d1b, ["late"]),
    "D2": (d2, ["order", "size"]),
    "D3": (d3, ["flow", "descent"]),
    "D4": (d4, ["far"]),
    "D5": (d5, ["far"]),
    "D6": (d6, ["far"]),
    "D7": (d7, ["off the law"]),
    "D8": (d8, ["not lazy", "not rich", "one run not rich"]),
    "D8b": (d8, ["not lazy", "not rich", "one run not rich"]),
    "D9": (d9, ["time", "kernel", "plateau"]),
    "D10": (
        only_simulated,
        ["not flat at 0", "not specific", "not agnostic", "small differs",
         "large is structured", "large moves"],
    ),
    "D11": (learned, ["noise at 0", "noise at 5", "input noise"]),
    "D12": (d12, ["theory", "gd"]),
    "D13": (switches, ["learns at 0", "does not learn", "grows at 0"]),
    "D13b": (d13b, ["asymmetric", "slower", "short span"]),
    "D14": (only_simulated, ["no transfer", "not monotone"]),
    "D15": (d15, ["slope", "lambda"]),
    "D16": (switches, ["not tuned"]),
}  # fmt: skip


@pytest.mark.parametrize("name", MAKERS)
def test_a_claim_holds_for_what_it_says(name: str) -> None:
    make, _ = MAKERS[name]
    verdict, statistics = judge(name, make(GOOD))
    assert verdict == "REPRODUCED", statistics


@pytest.mark.parametrize(
    ("name", "wrong"), [(name, wrong) for name, (_, all) in MAKERS.items() for wrong in all]
)
def test_a_claim_fails_for_anything_else(name: str, wrong: str) -> None:
    make, _ = MAKERS[name]
    verdict, statistics = judge(name, make(wrong))
    assert verdict == "NOT_REPRODUCED", statistics


def test_every_claim_but_the_qualitative_one_is_tested() -> None:
    paper = load_paper(SLUG, seed=0)
    assert set(paper.claims) == {*MAKERS, "P1"}
    for scale in ("laptop", "published"):
        assert paper.reason_not_tested("P1", scale)
    assert claims.p1({}) == {}


def test_half_times_are_read_off_between_the_records() -> None:
    time = np.array([0.1, 1, 10, 100, 1000])
    distance = np.array([0, 0.2, 0.4, 0.8, 0.8])  # half of 0.8 at t = 10
    curve = dataset({"time": time, "seed": [0], "lam": [1.0]},
                    d=(("seed", "lam", "time"), distance))["d"]  # fmt: skip
    assert claims.half_times(curve).item() == pytest.approx(10)


# ---- figures ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["fig1", "fig2", "fig3", "fig4", "fig5", "fig6"])
def test_every_figure_is_drawn_from_what_it_needs(name: str) -> None:
    need = load_paper(SLUG, seed=0).figures[name].need
    figure = getattr(figures, name)({product_: product(product_) for product_ in need})
    drawn = [axes for axes in figure.findobj() if getattr(axes, "lines", None)]
    assert figure.axes or figure.subfigs
    assert drawn


def test_the_laptop_scale_has_what_the_claims_ask_for() -> None:
    laptop = experiment("laptop")
    assert {0.001, 0.5, 2, 5, 10, 20, 50} <= {abs(lam) for lam in laptop.arch.lam}
    assert len(laptop.flow.cases) == 5
    assert laptop.descent.seeds == laptop.flow.seeds == laptop.semantic.seeds == 3
    assert laptop.arch.seeds == 5
    assert set(SWITCHED) == set(laptop.switch.lam)
