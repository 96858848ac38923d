"""What the tests of Goldt et al. 2019 share: tiny runs, random students, activations.

Numbers F1 to F8, G1 to P1 and the symbols are those of the project's specification of
the paper; "Pitfalls" and "Padding rule" are sections of it.
"""

from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
import xarray as xr
from hypothesis import settings

from activations import VALUE
from retrograd.gaussian import Activation, Array
from retrograd.papers.goldt2019_teacher_student import data, theory, train
from retrograd.papers.goldt2019_teacher_student.params import (
    SizeSweep,
    Training,
)
from retrograd.papers.goldt2019_teacher_student.theory import Committee, State

CPU = torch.device("cpu")
ORDER_PARAMETERS = ("Q", "R", "v")
SEEDS = st.integers(0, 2**32 - 1)
ACTIVATIONS = st.sampled_from(sorted(VALUE))
RATES = st.floats(0.01, 1)
each_activation = pytest.mark.parametrize("activation", sorted(VALUE))
few = settings(max_examples=25, deadline=None)


def training(**changes: Any) -> Training:
    """A tiny run of both kinds of training."""
    tiny: dict[str, Any] = {
        "N": 12,
        "M": 2,
        "K": [2, 3],
        "activation": "erf",
        "layers": ["first", "both"],
        "v_star": 1.5,
        "init": "random",
        "eta": 0.1,
        "sigma": 0.3,
        "alpha_max": 8,
        "records": 8,
        "record_overlaps": "path",
        "seeds": 2,
    }
    return Training(**(tiny | changes))


def sweep(**changes: Any) -> SizeSweep:
    return SizeSweep(**(training().model_dump() | {"N": [8, 16, 24]} | changes))


def sgd(**changes: Any) -> xr.Dataset:
    return train.train(training(**changes), {}, CPU)


def ode(params: Training | SizeSweep) -> xr.Dataset:
    return theory.theory(params, {"instance": data.instance(params)})


def committee(activation: Activation, T: Array, **changes: Any) -> Committee:
    """ReLU has no closed form of the η² term, so its committee follows gradient flow."""
    usual = {
        "v_star": np.array([1.0, 0.5])[: len(T)],
        "eta": 0.3,
        "sigma": 0.3,
        "both_layers": True,
        "gradient_flow": activation == "relu",
    }
    return Committee(activation=activation, T=T, **(usual | changes))


def sampled_state(seed: int, K: int, M: int, N: int = 40) -> tuple[State, Array]:
    """Overlaps Q, R of random weights with v of a random student; and T."""
    rng = np.random.default_rng(seed)
    w, w_star = rng.standard_normal((K, N)), rng.standard_normal((M, N))
    return State(
        w @ w.T / N, w @ w_star.T / N, rng.standard_normal(K)
    ), w_star @ w_star.T / N


def of_the_teachers_sign(sampled: tuple[State, Array]) -> tuple[State, Array]:
    """The same with v > 0: a ReLU unit of the other sign can only die ("Pitfalls")."""
    state, T = sampled
    return State(state.Q, state.R, abs(state.v)), T
