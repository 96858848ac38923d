"""Product files: what goes in comes out, same bytes, or an error names the file."""

import json
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pytest
import xarray as xr
from hypothesis import HealthCheck, given, settings
from hypothesis.extra.numpy import arrays

from retrograd import products
from retrograd.errors import RetrogradError

STAMP = {"paper": "someone2020_topic", "scale": "smoke", "parameters": {"eta": 0.1}}
FINITE = st.floats(allow_nan=False, allow_infinity=False)


def dataset(values: np.ndarray) -> xr.Dataset:
    return xr.Dataset(
        {"eg": products.variable(("seed", "time"), values, "generalisation error")},
        {
            "seed": products.variable("seed", np.arange(values.shape[0]), "seed"),
            "time": products.variable("time", np.arange(values.shape[1]) * 0.5, "α"),
            "label": products.variable(
                "seed", [f"K={i}" for i in range(len(values))], "label"
            ),
        },
    )


LARGE = dataset(np.random.default_rng(0).normal(size=(4, 300)))


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(values=arrays(np.float64, st.tuples(*[st.integers(1, 40)] * 2), elements=FINITE))
def test_what_is_written_is_read(tmp_path: Path, values: np.ndarray) -> None:
    products.write(dataset(values), tmp_path / "x.nc", STAMP)
    back = products.read(tmp_path / "x.nc")
    xr.testing.assert_equal(back, dataset(values))
    words = {"long_name": "generalisation error", "units": "1"}
    assert back["eg"].attrs == words | {"tolerance": 1e-9}  # the default of `write`
    assert "tolerance" not in back["label"].attrs
    assert json.loads(back.attrs["parameters"]) == STAMP["parameters"]


def test_same_dataset_same_bytes(tmp_path: Path) -> None:
    for name in ("a.nc", "b.nc"):
        products.write(LARGE, tmp_path / name, STAMP)
    assert (tmp_path / "a.nc").read_bytes() == (tmp_path / "b.nc").read_bytes()


def test_bulk_has_checksums_in_the_file_too(tmp_path: Path) -> None:
    products.write(LARGE, tmp_path / "x.nc", STAMP)
    with xr.open_dataset(tmp_path / "x.nc", engine="netcdf4") as file:
        assert file["eg"].encoding["fletcher32"]
        assert file["eg"].encoding["zstd"]


@pytest.mark.parametrize("size", [5, 300])
def test_a_flipped_bit_is_an_error_and_never_a_number(tmp_path: Path, size: int) -> None:
    original = LARGE.isel(time=slice(size))
    path = tmp_path / "x.nc"
    products.write(original, path, STAMP)
    good = path.read_bytes()
    stamped = products.read(path)
    rng = np.random.default_rng(size)
    refused = unseen = 0
    for at in rng.integers(8 * len(good), size=150):
        bad = bytearray(good)
        bad[at // 8] ^= 1 << int(at % 8)
        path.write_bytes(bytes(bad))
        try:
            read = products.read(path)
        except RetrogradError as error:
            refused += f"{path}: corrupt" in str(error)
        else:  # a bit that no reader sees: all that is read is what was written
            xr.testing.assert_identical(read, stamped)
            unseen += 1
    assert refused > 0
    assert refused + unseen == 150


def test_truncated_empty_and_foreign_files_are_corrupt(tmp_path: Path) -> None:
    path = tmp_path / "x.nc"
    products.write(LARGE, path, STAMP)
    good = path.read_bytes()
    for content in (good[: len(good) // 2], b"", b"not netCDF at all"):
        path.write_bytes(content)
        with pytest.raises(RetrogradError, match="corrupt"):
            products.read(path)


def test_a_file_without_our_stamp_is_refused(tmp_path: Path) -> None:
    LARGE.to_netcdf(tmp_path / "x.nc", engine="netcdf4")
    with pytest.raises(RetrogradError, match="corrupt"):
        products.read(tmp_path / "x.nc")


def test_a_missing_file_says_how_to_build_it(tmp_path: Path) -> None:
    with pytest.raises(RetrogradError, match="no such file; build it with: snakemake"):
        products.read(tmp_path / "x.nc")


def _without_units(d: xr.Dataset) -> xr.Dataset:
    d["eg"].attrs.pop("units")
    return d


def _not_finite(d: xr.Dataset) -> xr.Dataset:
    d["eg"][1, 2] = np.nan
    return d


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (_without_units, "'eg' has no units"),
        (_not_finite, "'eg' is not finite at index seed=1, time=2"),
        (lambda d: d.drop_vars("time"), "dimension 'time' has no coordinate"),
        (lambda d: d.isel(seed=slice(0)), "dimension 'seed' is empty"),
        (lambda d: d.assign(eg=d["eg"].astype("complex128")), "'eg' has dtype complex128"),
        (lambda d: d.rename(eg="e g"), "'e g' is not a word"),
    ],
)
def test_what_breaks_the_contract_is_not_written(
    tmp_path: Path, spoil: object, said: str
) -> None:
    spoiled = spoil(LARGE.copy(deep=True))  # type: ignore[operator]
    with pytest.raises(RetrogradError, match=said):
        products.write(spoiled, tmp_path / "x.nc", STAMP)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "results").write_text("a file where a folder should be")
    with pytest.raises(RetrogradError, match="cannot write it"):
        products.write(LARGE, tmp_path / "results" / "x.nc", STAMP)


def test_a_failed_write_keeps_the_earlier_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.nc"
    products.write(LARGE, path, STAMP)
    good = path.read_bytes()

    def no_space(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("retrograd.files.os.fsync", no_space)
    with pytest.raises(RetrogradError, match="No space left on device"):
        products.write(LARGE * 2, path, STAMP)
    assert path.read_bytes() == good
    assert [p.name for p in tmp_path.iterdir()] == ["x.nc"]
