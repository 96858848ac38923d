"""Hummos et al. 2024: the statistics of the claims and their verdicts.

Products made so that every claim holds; then one number is spoiled at a time.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import xarray as xr

import judging
from hummos_setup import SLUG
from retrograd.claims import Verdict
from retrograd.config import load_paper
from retrograd.papers.hummos2024_gradient_based_inference import claims, images
from retrograd.papers.hummos2024_gradient_based_inference.following import INFERENCES
from retrograd.papers.hummos2024_gradient_based_inference.predictors import KINDS

Products = dict[str, xr.Dataset]
MEANS = np.round(np.arange(-0.2, 1.25, 0.1), 1)


def over(coords: dict[str, Any], values: dict[str, Any]) -> xr.Dataset:
    """Variables over the named dims, broadcast from anything that fits them."""
    found = {}
    for name, (dims, value) in values.items():
        shape = [len(coords[d]) for d in dims]
        found[name] = (dims, np.broadcast_to(np.asarray(value, float), shape).copy())
    used = {d for dims, _ in found.values() for d in dims}
    return xr.Dataset(found, {k: v for k, v in coords.items() if k in used})


def column(*values: float) -> np.ndarray:
    return np.array(values)[:, None]


def good_toy() -> Products:
    coords = {
        "kind": list(KINDS),
        "inference": list(INFERENCES),
        "seed": range(3),
        "bin": range(9),
        "mean": MEANS,
        "task": range(2),
        "component": range(2),
        "lag": range(40),
        "history": range(6),
        "probe": np.linspace(-0.2, 1.2, 29),
        "observation": range(10, 90),
    }
    outside = np.isin(MEANS, claims.OUTSIDE)
    # gbi, gbi on the simplex, lstm, lstm with Z, random labels; (inference, 1, mean)
    at_means = np.where(
        outside,
        column(0.01, 0.08, 0.1, 0.09, 0.02),
        column(0.001, 0.001, 0.02, 0.01, 0.01),
    )[:, None]
    lag = np.arange(40)
    slow, fast = np.where(lag < 12, 0.35, 0.001), np.where(lag < 1, 0.3, 0.01)
    slope = np.array([0.9, 0.6, 0.5, 0.5, 0.7])[:, None, None]
    exact = -60 * (coords["probe"] - 0.5)
    evidence = 18.0 * np.where(np.arange(80) // 20 % 2 == 0, 1, -1)
    task = np.arange(80) // 20 % 2
    run, test = ("kind", "seed"), ("inference", "seed")
    shared = np.array([[0.2], [0.8], [0.8]])[:, :, None] * np.ones(9)
    shared[0, :, :2] = 0.5
    train = over(
        coords,
        {
            "loss": (run, column(0.014, 0.037, 0.045)),
            "late_loss": (run, column(0.012, 0.025, 0.03)),
            "early_loss": (run, column(0.013, 0.016, 0.03)),
            "switch_loss": (run, column(0.02, 0.4, 0.3)),
            "shared": ((*run, "bin"), shared),
            "excess": ((*test, "mean"), at_means),
            "prediction_mean": ((*test, "mean"), 0.5 + slope * (MEANS - 0.5)),
            "Z_largest": ((*test, "mean"), column(2.0, 0.99, 0.0, 2.0, 2.0)[:, None]),
            "Z_distance": ((*test, "task", "component"), 0.1),
            "lag_excess": (
                (*test, "lag"),
                np.stack([slow, slow, fast, fast, slow])[:, None],
            ),
            "probe_evidence": (("seed", "history", "probe"), 1.2 * exact + 3),
            "control_probe_evidence": (("seed", "history", "probe"), -0.1 * exact),
            "evidence": (("seed", "observation"), evidence),
            "control_evidence": (("seed", "observation"), evidence[0]),
            "new_task": (("seed", "observation"), task),
        },
    )
    theory = over(
        coords | {"observer": ["exact", "gbi", "lstm"]},
        {
            "probe_evidence": (("seed", "history", "probe"), exact),
            "posterior": (("observer", "seed", "observation"), 1.0 - task),
            "observer_error": ((), 0.0176),
        },
    )
    return {"toy_train": train, "toy_theory": theory}


def good_images(conditions: dict[str, int]) -> xr.Dataset:
    coords = {
        "condition": list(conditions),
        "seed": range(3),
        "inference": ["gbi1", "iter", "ml", "ebi", "nbi"],
        "confidence": ["max softmax", "max logit"],
        "rate": images.RATES,
    }
    given = [name != claims.NO_TASK for name in conditions]
    gbi1 = {2: 0.85, 8: 0.65, 24: 0.5}
    accuracy = np.array(
        [
            [gbi1[d], gbi1[d] + 0.03, gbi1[d] + 0.05, 0.15, 0.7] if g else [0.1] * 5
            for g, d in zip(given, conditions.values(), strict=True)
        ]
    )
    run = ("condition", "seed")
    found = over(
        coords,
        {
            "accuracy": ((*run, "inference"), accuracy[:, None]),
            "loss_true": (run, 1.0),
            "loss_wrong": (run, np.where(given, 3.4, 1.0)[:, None]),
            "auc": (run, np.where(given, 0.85, 0.2)[:, None]),
            "classifier_accuracy": (("seed",), 0.91),
            "classifier_auc": (("confidence", "seed"), 0.6),
            "ensemble_auc": ((), 0.8),
        },
    )
    return found.assign_coords(code=("condition", list(conditions.values())))


def good_language() -> xr.Dataset:
    coords = {
        "kind": ["gbi", "lstm"],
        "seed": range(3),
        "evaluation": [0, 80, 160, 240],
        "words": [1, 4, 16],
        "novel": range(4),
        "adaptation": [0, 10, 20],
    }
    run = ("kind", "seed")
    test = np.array([[5, 4, 3, 2.8], [5, 4.2, 3.2, 3.0]])[:, None]
    one_pass = np.array([[0.5, 0.8, 0.9], [0.33, 0.33, 0.33]])[:, None]
    adapted = np.array([[4, 3.9, 3.8], [4, 4, 3.96]])[:, None, None]
    return over(
        coords,
        {
            "test_loss": ((*run, "evaluation"), test),
            "onepass_accuracy": ((*run, "words"), one_pass),
            "adapt_loss": ((*run, "novel", "adaptation"), adapted),
            "z_weights_moved": (run, column(0.5, 0.0)),
        },
    )


def good() -> Products:
    identities = over(
        {"seed": range(4), "task": range(3)},
        {
            "linear_decoder": (("seed", "task"), 1e-13),
            "pair": (("seed",), 1e-14),
            "e_step": (("seed",), -1e-14),
        },
    )
    widths = {"d=2": 2, "d=8": 8, "d=24": 24}
    cifar = good_images({"d=2": 2})
    cifar["accuracy"][:] = 0.2
    return good_toy() | {
        "identities": identities,
        "image_train": good_images(widths | {claims.NO_TASK: 2}),
        "image_real_train": good_images({"d=2": 2}),
        "image_real_sweep_train": good_images(widths),
        "image_cifar_train": cifar,
        "language_train": good_language(),
        "language_real_train": good_language(),
    }


def judge(name: str, products: Products) -> dict[str, Any]:
    need = PAPER.claims[name].need
    return judging.entry(SLUG, name, {n: products[n] for n in need})


PAPER = load_paper(SLUG, seed=0)
CLAIMS = sorted(PAPER.claims)


@pytest.mark.parametrize("name", CLAIMS)
def test_every_claim_can_hold(name: str) -> None:
    found = judge(name, good())
    assert found["verdict"] == Verdict.REPRODUCED, found


Spoil = Callable[[xr.Dataset], Any]


def put(variable: str, value: float, **at: Any) -> Spoil:
    """Set some entries of a variable."""

    def spoil(product: xr.Dataset) -> None:
        product[variable].loc[at] = value

    return spoil


GBI, LSTM = {"kind": "gbi"}, {"kind": "lstm"}
ONE = {"seed": 1}
FAR = [0.9, 1.0, 1.1, 1.2]
SPOILED = [
    ("C1", "toy_train", put("loss", 0.02, **LSTM, **ONE)),
    ("C1b", "toy_train", put("early_loss", 0.012, **LSTM, **ONE)),
    ("C1b", "toy_train", put("early_loss", 0.0135, **LSTM)),
    ("C1c", "toy_train", put("loss", 0.009, **GBI, **ONE)),
    ("C1c", "toy_train", put("late_loss", 0.016, **LSTM, **ONE)),
    ("C1c", "toy_theory", put("observer_error", 0.03)),
    ("C1d", "toy_train", put("switch_loss", 0.38, **GBI)),
    ("C2", "toy_train", put("shared", 0.7, **GBI, **ONE)),
    ("C2", "toy_train", put("shared", 0.5, **LSTM)),
    ("C2b", "toy_train", put("shared", 0.2, **GBI)),
    ("C2c", "toy_train", put("shared", 0.3, kind="random labels")),
    ("C3", "toy_train", put("excess", 0.01, inference="gbi", mean=0.8, **ONE)),
    ("C3", "toy_train", put("excess", 0.001, inference="lstm")),
    ("C4", "toy_train", put("excess", 0.006, inference="gbi", **ONE)),
    ("C5", "toy_train", put("excess", 0.09, inference="gbi", mean=FAR, **ONE)),
    ("C5b", "toy_train", put("prediction_mean", 0.5, inference="gbi", **ONE)),
    ("C5c", "toy_train", put("excess", 0.002, inference="lstm, Z optimised")),
    ("C5d", "toy_train", put("Z_distance", 0.3, inference="gbi")),
    ("C5e", "toy_train", put("excess", 0.01, inference="gbi, softmax Z")),
    ("C5e", "toy_train", put("Z_largest", 1.01, inference="gbi, softmax Z", **ONE)),
    ("C6", "toy_train", put("lag_excess", 0.35, inference="gbi", lag=12)),
    ("C6", "toy_train", put("lag_excess", 0.001, inference="lstm")),
    ("C6b", "toy_train", put("lag_excess", 0.3, inference="lstm")),
    ("C7", "toy_train", put("probe_evidence", 0.0, **ONE, history=[0, 1, 2])),
    ("C7b", "toy_theory", put("posterior", 0.3, observer="gbi", observation=range(10, 30))),
    ("C7b", "toy_train", put("evidence", -18.0)),
    ("C8", "image_real_train", put("accuracy", 0.95, inference="gbi1")),
    ("C8b", "image_real_train", put("classifier_accuracy", 0.99)),
    ("C8c", "image_real_train", put("accuracy", 0.84, inference="nbi", **ONE)),
    ("C8c", "image_real_train", put("accuracy", 0.5, inference="ebi", **ONE)),
    ("C8d", "image_real_train", put("accuracy", 0.85, inference="iter", **ONE)),
    ("C8e", "image_real_train", put("loss_true", 2.5, **ONE)),
    ("C9", "image_real_train", put("auc", 0.7, **ONE)),
    ("C9", "image_real_train", put("classifier_auc", 0.8, confidence="max softmax", **ONE)),
    ("C9b", "image_real_train", put("ensemble_auc", 0.9)),
    ("C9c", "image_real_train", put("classifier_auc", 0.81, confidence="max softmax")),
    ("C10", "image_cifar_train", put("accuracy", 0.01)),
    ("C10b", "image_real_sweep_train", put("accuracy", 0.9, condition="d=8", **ONE)),
    ("C11", "language_real_train", put("test_loss", 2.99, **GBI, evaluation=240, **ONE)),
    ("C12", "language_real_train", put("onepass_accuracy", 0.4, **GBI, words=4, **ONE)),
    ("C12b", "language_real_train", put("onepass_accuracy", 0.85, **GBI, words=1, **ONE)),
    ("C12c", "language_real_train", put("onepass_accuracy", 0.9, **LSTM)),
    ("C12c", "language_real_train", put("z_weights_moved", 0.1, **LSTM)),
    ("C13", "language_real_train", put("adapt_loss", 3.0, **LSTM, adaptation=20, **ONE)),
    ("C13", "language_real_train", put("adapt_loss", 4.0, **GBI, adaptation=20, **ONE)),
    ("T1", "identities", put("pair", 1e-9, **ONE)),
    ("T2", "identities", put("e_step", 1e-11, **ONE)),
]  # fmt: skip


@pytest.mark.parametrize(("name", "product", "spoil"), SPOILED)
def test_a_claim_fails_if_one_number_is_wrong(
    name: str, product: str, spoil: Spoil
) -> None:
    products = good()
    spoil(products[product])
    assert judge(name, products)["verdict"] == Verdict.NOT_REPRODUCED


@pytest.mark.parametrize(
    "name", [n for n in CLAIMS if n.endswith("_e") and n not in ("C8f_e", "C12c_e")]
)
def test_claims_on_embedded_data_fail_without_task_input(name: str) -> None:
    products = good()
    language, image = products["language_train"], products["image_train"]
    for values in language.data_vars.values():
        values.loc[GBI] = values.sel(kind="lstm")
    without = image.sel(condition=claims.NO_TASK)
    for variable in ("accuracy", "loss_wrong", "loss_true", "auc"):
        for condition in ("d=2", "d=8", "d=24"):
            image[variable].loc[{"condition": condition}] = without[variable]
    verdict = judge(name, products)["verdict"]
    # A network that ignores z at every width has nothing to lose by a wider code.
    assert verdict == (Verdict.REPRODUCED if name == "C10b_e" else Verdict.NOT_REPRODUCED)


def test_controls_fail_if_the_task_input_helps_them() -> None:
    products = good()
    language = products["language_train"]
    for values in language.data_vars.values():
        values.loc[LSTM] = values.sel(kind="gbi")
    image = products["image_train"]
    for variable in ("accuracy", "loss_wrong", "auc"):
        image[variable].loc[{"condition": claims.NO_TASK}] = image[variable].sel(
            condition="d=2"
        )
    toy = products["toy_train"]
    toy["control_probe_evidence"][:] = toy["probe_evidence"]
    for name in ("C8f_e", "C12c_e", "C7c"):
        assert judge(name, products)["verdict"] == Verdict.NOT_REPRODUCED


def test_a_model_that_never_catches_up_has_no_step() -> None:
    products = good()
    products["language_real_train"]["test_loss"].loc[GBI] = 5
    found = judge("C11b", products)
    assert found["verdict"] == Verdict.NOT_REPRODUCED
    assert np.isnan(judging.statistics(found)["step"]).all()


def test_the_regression_recovers_slope_and_crossing() -> None:
    values = judging.statistics(judge("C7", good_toy()))
    np.testing.assert_allclose(values["slope"], 1.2)
    np.testing.assert_allclose(values["crossing"], 0.5 + 3 / 72)
    np.testing.assert_allclose(values["correlation"], 1)
