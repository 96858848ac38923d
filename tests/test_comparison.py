"""How far a simulation is from its theory: where, and in words."""

import numpy as np
import pytest
import xarray as xr

from retrograd.comparison import agreement, text
from retrograd.errors import RetrogradError

TIME = {"time": [0.0, 1.0, 2.0], "seed": [0, 1]}


def pair() -> tuple[xr.Dataset, xr.Dataset]:
    theory = xr.Dataset(
        {
            "eg": (("seed", "time"), np.full((2, 3), 2.0)),
            "end": ("seed", [1.0, 1.0]),
            "law": ("time", [1.0, 1.0, 1.0]),
        },
        TIME,
    )
    eg = theory["eg"].copy()
    eg[1, 2] += 0.6
    return theory.assign(eg=eg.transpose("time", "seed")).drop_vars("law"), theory


def test_the_largest_deviation_is_found_with_its_place() -> None:
    rows = {row["name"]: row for row in agreement(*pair())}
    assert set(rows) == {"eg", "end"}
    assert rows["eg"]["largest"] == pytest.approx(0.6)
    assert rows["eg"]["mean"] == pytest.approx(0.1)
    assert rows["eg"]["magnitude"] == 2
    assert rows["eg"]["at"] == "seed=1, time=2.0"
    assert rows["end"]["largest"] == 0
    assert not rows["end"]["over_time"]


def test_a_caption_names_what_is_recorded_over_time() -> None:
    found = {"simulation": "a_sgd", "theory": "a_ode", "variables": agreement(*pair())}
    assert text([found]) == " Largest (mean) deviation of a_sgd from a_ode: eg 0.6 (0.1)."
    found["variables"] = [row for row in found["variables"] if row["name"] == "end"]
    assert text([found]) == " Largest (mean) deviation of a_sgd from a_ode: end 0 (0)."
    assert text([]) == ""


def test_other_coordinates_are_no_pair() -> None:
    simulation, theory = pair()
    with pytest.raises(RetrogradError, match="share no variable"):
        agreement(simulation.assign_coords(seed=[1, 2]), theory.drop_vars("law"))
