"""Stamps: what an artifact says of itself, read from the file alone."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from retrograd.errors import UsageError

_DESCRIPTION = ".//{http://purl.org/dc/elements/1.1/}description"


class NoStampError(UsageError):
    """A file that is no artifact of this project, or has lost its stamp."""


def read(path: Path) -> dict[str, Any]:
    """The stamp of a product, a figure (SVG or PNG) or a claims file.

    Returns:
        paper, scale, the artifact's name under `product` or `figure` (neither for
        claims), `inputs` (md5 by product), and what else its kind has.

    Raises:
        NoStampError: the file has no stamp, or is of none of these kinds.
        UsageError: there is no such file.
    """
    if not path.is_file():
        raise UsageError(f"{path}: no such file")
    readers = {".nc": _netcdf, ".svg": _svg, ".png": _png, ".json": _claims}
    try:
        stamp = dict(readers[path.suffix.lower()](path))
        if not {"paper", "scale", "inputs"} <= stamp.keys():
            raise ValueError("paper, scale or inputs are missing")
    except Exception as error:  # a damaged file fails in whatever way its format has
        kinds = "a product (.nc), a figure (.svg, .png) or a claims file (.json)"
        raise NoStampError(
            f"{path}: it has no stamp of retrograd: it is not {kinds}, or was edited or "
            f"converted after it was made ({type(error).__name__}: {error})"
        ) from error
    return stamp


def _netcdf(path: Path) -> Mapping[str, Any]:
    import netCDF4

    with netCDF4.Dataset(path) as file:
        attributes = {name: file.getncattr(name) for name in file.ncattrs()}
    for name in ("parameters", "inputs"):
        attributes[name] = json.loads(attributes[name])
    return attributes


def _svg(path: Path) -> Mapping[str, Any]:
    found = ElementTree.parse(path).find(_DESCRIPTION)
    return _loaded(found.text if found is not None else None)


def _png(path: Path) -> Mapping[str, Any]:
    from PIL import Image

    with Image.open(path) as image:
        return _loaded(image.info.get("Description"))


def _claims(path: Path) -> Mapping[str, Any]:
    return _loaded(path.read_text(encoding="utf-8"))


def _loaded(text: str | None) -> Mapping[str, Any]:
    if not text:
        raise ValueError("no description")
    found: Mapping[str, Any] = json.loads(text)
    return found
