"""Saving figures: SVG for reading, PNG for looking, stamped, same bytes every time."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import QuadMesh
from matplotlib.figure import Figure
from PIL import Image, PngImagePlugin

from retrograd.files import written_whole

# The house style. The hash salt fixes the ids inside an SVG, whose text stays text: it
# can be searched, and a figure is half as large. The PNG shows the exact look.
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
    "savefig.dpi": 120,
    "svg.fonttype": "none",
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
    for mesh in figure.findobj(QuadMesh):  # of a colour bar: hundreds of paths in an SVG
        mesh.set_rasterized(True)
    for format, path in paths.items():
        with written_whole(path) as temporary:
            if format == "png":
                _save_png(figure, temporary, metadata)
            else:
                metadata |= {"Creator": "retrograd", "Date": None}
                figure.savefig(temporary, format=format, metadata=metadata)


def _save_png(figure: Figure, path: Path, metadata: Mapping[str, str | None]) -> None:
    """In 256 colours: a third of the size, and the eye sees no difference."""
    canvas = FigureCanvasAgg(figure)
    figure.set_dpi(mpl.rcParams["savefig.dpi"])
    canvas.draw()
    image = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    texts = PngImagePlugin.PngInfo()
    for key, text in metadata.items():
        texts.add_itxt(key, text or "")
    palette = image.quantize(256, dither=Image.Dither.NONE)
    palette.save(path, format="PNG", optimize=True, pnginfo=texts)
