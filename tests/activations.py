"""The activations and their derivatives, written out, for tests to compare with."""

from collections.abc import Callable

import numpy as np
from scipy.special import erf

from retrograd.gaussian import Activation, Array

VALUE: dict[Activation, Callable[[Array], Array]] = {
    "erf": lambda z: erf(z / np.sqrt(2)),
    "lin": lambda z: z,
    "relu": lambda z: np.maximum(z, 0),
}
SLOPE: dict[Activation, Callable[[Array], Array]] = {
    "erf": lambda z: np.sqrt(2 / np.pi) * np.exp(-(z**2) / 2),
    "lin": np.ones_like,
    "relu": lambda z: (z > 0).astype(float),
}
