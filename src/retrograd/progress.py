"""The progress bar of a long job."""

import sys
from typing import Never

from tqdm import tqdm


def bar(total: int, what: str, unit: str = "step") -> "tqdm[Never]":
    """A bar with rate and time left on a terminal; nothing anywhere else."""
    return tqdm(
        total=total,
        desc=what,
        unit=unit,
        unit_scale=True,
        leave=False,
        mininterval=0.5,
        dynamic_ncols=True,
        disable=not sys.stderr.isatty(),
    )
