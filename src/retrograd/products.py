"""Products: netCDF files that are checked, stamped, written whole and read whole.

A product is an xarray.Dataset whose dimensions and variables are words, whose variables
all have `long_name` and `units`, and whose numbers are finite. Its attributes are the
stamp: what was asked, and a digest of the content, so that a bit that flipped anywhere
it matters is an error and never a number.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from retrograd.errors import RetrogradError
from retrograd.files import written_whole

_DTYPES = {"float64", "float32", "int64", "int32", "str"}
_WORD = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_CONTENT = "content_sha256"
_BULK = 4096  # bytes


def variable(
    dims: str | tuple[str, ...],
    values: Any,
    long_name: str,
    units: str = "1",
    tolerance: float | None = None,
) -> xr.Variable:
    """A variable as products want it: with what it is, and its units ("1" if none).

    `tolerance` is how far a rebuild on another machine may be off, as a part of the
    variable's largest magnitude; if none is given, that of its step (see `write`).
    """
    attributes: dict[str, Any] = {"long_name": long_name, "units": units}
    if tolerance is not None:
        attributes["tolerance"] = tolerance
    return xr.Variable(dims, values, attributes)


def write(
    dataset: xr.Dataset, path: Path, stamp: Mapping[str, Any], tolerance: float = 1e-9
) -> None:
    """Check a dataset, stamp it and write it whole; same dataset, same bytes.

    Args:
        dataset: what a step made.
        path: final name.
        stamp: what was asked; strings stay, anything else is written as JSON.
        tolerance: of the floating-point variables that declare none.

    Raises:
        RetrogradError: the dataset breaks the contract of products, or the file cannot
            be written.
    """
    dataset = dataset.assign_attrs({k: _as_text(v) for k, v in stamp.items()})
    dataset = _with_tolerances(dataset, tolerance)
    problems = _problems(dataset)
    if problems:
        raise RetrogradError(f"{path}: not written: " + "; ".join(problems))
    dataset.attrs[_CONTENT] = _content_digest(dataset)
    with written_whole(path) as temporary:
        dataset.to_netcdf(
            temporary,
            engine="netcdf4",
            encoding={name: _encoding(var) for name, var in dataset.variables.items()},
        )
        _load(temporary)


def read(path: Path) -> xr.Dataset:
    """Read a product whole, and check that it is what was written.

    Raises:
        RetrogradError: there is no such file, or it is corrupt; says how to rebuild it.
    """
    if not path.is_file():
        raise RetrogradError(
            f"{path}: no such file; build it with: snakemake --cores 1 {path}"
        )
    try:
        return _load(path)
    except RetrogradError as error:
        raise RetrogradError(
            f"{path}: corrupt: {error}; rebuild it with: snakemake --cores 1 --force {path}"
        ) from error


def _with_tolerances(dataset: xr.Dataset, tolerance: float) -> xr.Dataset:
    """The tolerance on every floating-point variable that declares none."""
    dataset = dataset.copy()
    for name, var in dataset.data_vars.items():
        if var.dtype.kind == "f":
            least = max(tolerance, float(np.finfo(var.dtype).eps))
            dataset[name] = var.assign_attrs({"tolerance": least} | var.attrs)
    return dataset


def _as_text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def _encoding(var: xr.Variable) -> dict[str, Any]:
    # Filters cost kilobytes of index per variable, so only bulk gets them; what is
    # small, or text, is covered by the content digest alone.
    if var.dtype.kind in "UO" or var.nbytes < _BULK:
        return {} if var.dtype.kind in "UO" else {"_FillValue": None}
    return {
        "fletcher32": True,
        "compression": "zstd",
        "complevel": 9,
        "_FillValue": None,
    }


def _load(path: Path) -> xr.Dataset:
    try:
        with xr.open_dataset(path, engine="netcdf4", decode_times=False) as file:
            dataset = file.load()
        # A flipped bit may make any layer below fail in its own way, or not at all.
        expected = dataset.attrs.get(_CONTENT, "absent")
        found = _content_digest(dataset)
    except Exception as error:
        raise RetrogradError(str(error) or type(error).__name__) from error
    if found != expected:
        raise RetrogradError(f"its content has digest {found}, its stamp says {expected}")
    return dataset


def _content_digest(dataset: xr.Dataset) -> str:
    """Digest of everything a reader of the dataset can see."""
    digest = hashlib.sha256()
    attributes = {k: v for k, v in dataset.attrs.items() if k != _CONTENT}
    digest.update(json.dumps(attributes, sort_keys=True).encode())
    for name in sorted(map(str, dataset.variables)):
        var = dataset.variables[name]
        head = [name, var.dims, var.shape, _dtype(var), dict(var.attrs)]
        digest.update(json.dumps(head, sort_keys=True).encode())
        if _dtype(var) == "str":
            digest.update(json.dumps(var.values.tolist()).encode())
        else:
            little_endian = var.dtype.newbyteorder("<")
            digest.update(np.ascontiguousarray(var.values, little_endian).tobytes())
    return digest.hexdigest()


def _dtype(var: xr.Variable) -> str:
    return "str" if var.dtype.kind in "UTO" else str(var.dtype)


def _problems(dataset: xr.Dataset) -> list[str]:
    """How a dataset breaks the contract of products, one text per breach."""
    found = []
    for dim, size in dataset.sizes.items():
        if dim not in dataset.variables:
            found.append(f"dimension '{dim}' has no coordinate")
        if size == 0:
            found.append(f"dimension '{dim}' is empty")
    for name, var in dataset.variables.items():
        if not _WORD.fullmatch(str(name)):
            found.append(f"'{name}' is not a word")
        found += [
            f"'{name}' has no {attribute}"
            for attribute in ("long_name", "units")
            if not var.attrs.get(attribute)
        ]
        if _dtype(var) not in _DTYPES:
            found.append(f"'{name}' has dtype {var.dtype}; allowed: {sorted(_DTYPES)}")
        elif _dtype(var) != "str" and not np.isfinite(var.values).all():
            index = np.argwhere(~np.isfinite(var.values))[0]
            place = ", ".join(f"{d}={i}" for d, i in zip(var.dims, index, strict=True))
            found.append(f"'{name}' is not finite at index {place or 'scalar'}")
    return found
