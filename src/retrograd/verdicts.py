"""Is a rebuilt file the pinned one? By its bytes, its numbers, then by its looks."""

import json
import math
import re
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from retrograd import claims, products, stamps
from retrograd.errors import RetrogradError
from retrograd.files import md5

# Figures drawn from the same numbers may differ by a rounding of the drawing library.
PIXEL_TOLERANCE = 8  # of 255, in any channel
PIXEL_SHARE = 1e-3  # of the pixels may exceed it
SVG_TOLERANCE = 0.05  # points
CLAIM_TOLERANCE = 1e-6  # of a statistic, relative


class Verdict(StrEnum):
    """Of a file."""

    SAME_BYTES = "SAME_BYTES"
    SAME_NUMBERS = "SAME_NUMBERS"
    DIFFERENT = "DIFFERENT"
    UNVERIFIABLE = "UNVERIFIABLE"


@dataclass
class Finding:
    """The verdict on one file, why, and for a product per variable."""

    verdict: Verdict
    reason: str = ""
    variables: list[dict[str, Any]] = field(default_factory=list)


def compare(rebuilt: Path, pinned: Path) -> Finding:
    """Judge a rebuilt artifact against the pinned one, both of which exist.

    Figures are judged by what they show alone; that the data they were drawn from are
    the same is judged by comparing those.
    """
    if md5(rebuilt) == md5(pinned):
        return Finding(Verdict.SAME_BYTES)
    kind = rebuilt.suffix
    judge = {".nc": _products, ".png": _pixels, ".svg": _drawings, ".json": _claims}[kind]
    try:
        return _same_question(rebuilt, pinned) or judge(rebuilt, pinned)
    except (RetrogradError, OSError, ValueError) as error:
        return Finding(Verdict.DIFFERENT, f"cannot be read: {error}")


def _same_question(rebuilt: Path, pinned: Path) -> Finding | None:
    """A difference in what was asked, by the stamps; the device may differ."""
    ours, theirs = (_stamp(path) for path in (rebuilt, pinned))
    changed = sorted(k for k in ours.keys() | theirs.keys() if ours.get(k) != theirs.get(k))
    if changed:
        return Finding(Verdict.DIFFERENT, f"another {', '.join(changed)} was asked for")
    return None


def _stamp(path: Path) -> dict[str, Any]:
    asked = ("paper", "scale", "product", "figure", "caption", "parameters")
    found = {key: value for key, value in stamps.read(path).items() if key in asked}
    if "caption" in found:  # it ends with deviations, which may round differently
        found["caption"] = _NUMBER.sub("#", found["caption"])
    return found


# ---- products --------------------------------------------------------------------------


def _products(rebuilt: Path, pinned: Path) -> Finding:
    ours, theirs = products.read(rebuilt), products.read(pinned)
    names = sorted(map(str, ours.variables.keys() | theirs.variables.keys()))
    rows = [_variable(name, ours, theirs) for name in names]
    worst = next((row for row in rows if row["verdict"] == Verdict.DIFFERENT), None)
    if worst:
        return Finding(Verdict.DIFFERENT, f"{worst['name']}: {worst['reason']}", rows)
    return Finding(Verdict.SAME_NUMBERS, "within the declared tolerances", rows)


def _variable(name: str, ours: xr.Dataset, theirs: xr.Dataset) -> dict[str, Any]:
    def row(verdict: Verdict, reason: str, **more: Any) -> dict[str, Any]:
        return {"name": name, "verdict": verdict, "reason": reason} | more

    if name not in ours.variables or name not in theirs.variables:
        where = "rebuilt" if name in ours.variables else "pinned"
        return row(Verdict.DIFFERENT, f"only in the {where} file")
    a, b = ours[name], theirs[name]
    if (a.dims, a.shape, a.dtype.kind) != (b.dims, b.shape, b.dtype.kind):
        shapes = f"{a.dims} {a.shape} {a.dtype}, pinned {b.dims} {b.shape} {b.dtype}"
        return row(Verdict.DIFFERENT, f"another shape or kind: {shapes}")
    if (a.values == b.values).all():
        return row(Verdict.SAME_BYTES, "")
    if a.dtype.kind != "f":
        return row(
            Verdict.DIFFERENT, f"not equal{_at(b, np.argwhere(a.values != b.values)[0])}"
        )
    deviation = np.abs(a.values.astype(float) - b.values.astype(float))
    at = np.unravel_index(int(np.argmax(deviation)), deviation.shape)
    scale = float(np.abs(b.values).max()) or 1.0
    tolerance = float(b.attrs.get("tolerance", 0))
    worst = float(deviation[at]) / scale
    reason = (
        f"worst deviation {worst:.2g} of the largest magnitude{_at(b, at)}: "
        f"{float(a.values[at]):.10g}, pinned {float(b.values[at]):.10g}; "
        f"tolerance {tolerance:.2g}"
    )
    verdict = Verdict.SAME_NUMBERS if worst <= tolerance else Verdict.DIFFERENT
    return row(verdict, reason, deviation=worst, tolerance=tolerance)


def _at(variable: xr.DataArray, index: Any) -> str:
    """The coordinates of an entry, in words."""
    places = [
        f"{dim}={variable[dim].values[i]}"
        for dim, i in zip(variable.dims, index, strict=True)
    ]
    return f" at {', '.join(places)}" if places else ""


# ---- figures and claims ------------------------------------------------------------------


def _pixels(rebuilt: Path, pinned: Path) -> Finding:
    from PIL import Image

    with Image.open(rebuilt) as a, Image.open(pinned) as b:
        ours, theirs = (np.asarray(i.convert("RGB"), dtype=int) for i in (a, b))
    if ours.shape != theirs.shape:
        sizes = [f"{s[1]}x{s[0]}" for s in (ours.shape, theirs.shape)]
        return Finding(Verdict.DIFFERENT, f"{sizes[0]} pixels, pinned {sizes[1]}")
    off = np.abs(ours - theirs).max(axis=-1)
    share = float((off > PIXEL_TOLERANCE).mean())
    y, x = np.unravel_index(int(np.argmax(off)), off.shape)
    reason = (
        f"{share:.2%} of the pixels differ, most (by {off[y, x]} of 255) at x={x}, y={y}"
    )
    same = share <= PIXEL_SHARE
    return Finding(Verdict.SAME_NUMBERS if same else Verdict.DIFFERENT, reason)


_NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?")
_STAMP = re.compile(r"<dc:description>.*?</dc:description>", re.S)


def _drawings(rebuilt: Path, pinned: Path) -> Finding:
    ours, theirs = (
        _STAMP.sub("", path.read_text(encoding="utf-8")) for path in (rebuilt, pinned)
    )
    if _NUMBER.sub("#", ours) != _NUMBER.sub("#", theirs):
        return Finding(Verdict.DIFFERENT, "other elements or texts are drawn")
    pairs = zip(_NUMBER.findall(ours), _NUMBER.findall(theirs), strict=True)
    worst = max((abs(float(a) - float(b)) for a, b in pairs), default=0.0)
    same = worst <= SVG_TOLERANCE
    verdict = Verdict.SAME_NUMBERS if same else Verdict.DIFFERENT
    return Finding(verdict, f"the same elements, off by up to {worst:.2g} points")


def _claims(rebuilt: Path, pinned: Path) -> Finding:
    ours, theirs = (claims.read(path)["claims"] for path in (rebuilt, pinned))
    place = _first_difference(ours, theirs, "claims")
    if place:
        return Finding(Verdict.DIFFERENT, place)
    return Finding(Verdict.SAME_NUMBERS, f"statistics within {CLAIM_TOLERANCE:g}, relative")


def _first_difference(ours: Any, theirs: Any, place: str) -> str:
    """Where two JSON values differ by more than rounding; "" if nowhere."""
    if isinstance(ours, float) and isinstance(theirs, float):
        if math.isclose(ours, theirs, rel_tol=CLAIM_TOLERANCE):
            return ""
    elif isinstance(ours, dict) and isinstance(theirs, dict):
        keys = list(ours | theirs)
        nested = [(f"{place}.{k}", ours.get(k), theirs.get(k)) for k in keys]
        return next((d for p, a, b in nested if (d := _first_difference(a, b, p))), "")
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        items = [
            (_item(place, i, a), a, b)
            for i, (a, b) in enumerate(zip(ours, theirs, strict=True))
        ]
        return next((d for p, a, b in items if (d := _first_difference(a, b, p))), "")
    return (
        ""
        if ours == theirs
        else f"{place}: {json.dumps(ours)}, pinned {json.dumps(theirs)}"
    )


def _item(place: str, index: int, value: Any) -> str:
    name = value.get("id") or value.get("name") if isinstance(value, dict) else None
    return f"{place}.{name or index}"
