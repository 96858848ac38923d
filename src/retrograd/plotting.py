"""Saving figures: SVG for reading, PNG for looking, stamped, same bytes every time."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from retrograd.files import written_whole

# The house style. The hash salt fixes the ids inside an SVG.
_STYLE: dict[Any, Any] = {
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": "medium",
    "figure.constrained_layout.use": True,
    "figure.dpi": 100,
    "font.size": 9,
    "grid.alpha": 0.25,
    "legend.frameon": False,
    "legend.fontsize": "small",
    "lines.linewidth": 1.3,
    "lines.markersize": 4.5,
    "savefig.dpi": 150,
    "svg.hashsalt": "retrograd",
}


@contextmanager
def style() -> Iterator[None]:
    """The project's style on top of matplotlib's defaults, whatever the user's own."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.use("agg")
        mpl.rcParams.update(_STYLE)
        yield


def save(figure: Figure, paths: Mapping[str, Path], stamp: Mapping[str, Any]) -> None:
    """Write a figure in every format of `paths` (by file ending), with its stamp.

    The stamp is JSON in the metadata key `Description`: `dc:description` of an SVG, a
    text chunk of a PNG.
    """
    description = json.dumps(stamp, sort_keys=True, ensure_ascii=False)
    title = f"{stamp['paper']}/{stamp['figure']} ({stamp['scale']})"
    metadata: dict[str, str | None] = {"Title": title, "Description": description}
    extra: dict[str, dict[str, str | None]] = {
        "svg": {"Creator": "retrograd", "Date": None},
        "png": {"Software": "retrograd"},
    }
    for format, path in paths.items():
        with written_whole(path) as temporary:
            figure.savefig(temporary, format=format, metadata=metadata | extra[format])
