"""Random streams: one counter-based generator per run and purpose."""

import hashlib

import numpy as np


def stream(seed: int, run: int, purpose: str) -> np.random.Generator:
    """The stream of one run for one purpose.

    It depends on its three arguments alone, so run `run` draws the same numbers alone
    and in a batch, whatever its neighbours draw.

    Args:
        seed: master seed.
        run: index of the run along the `seed` axis.
        purpose: what is drawn, for example "inputs"; streams of different purposes are
            independent.
    """
    word = int.from_bytes(hashlib.sha256(purpose.encode()).digest()[:8], "little")
    sequence = np.random.SeedSequence(seed, spawn_key=(run, word))
    return np.random.Generator(np.random.Philox(sequence))
