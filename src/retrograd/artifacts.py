"""What the graph makes, and where it lies under results/."""

from pathlib import Path
from typing import Any, Literal, NamedTuple

Kind = Literal["product", "figure", "claims"]
RESULTS = "results"
FIGURE_FORMATS = ("svg", "png")


def product_path(paper: str, scale: str, product: str) -> str:
    return f"{RESULTS}/{paper}/{scale}/products/{product}.nc"


def figure_path(paper: str, scale: str, figure: str, format: str = "svg") -> str:
    return f"{RESULTS}/{paper}/{scale}/figures/{figure}.{format}"


def claims_path(paper: str, scale: str) -> str:
    return f"{RESULTS}/{paper}/{scale}/claims.json"


class Artifact(NamedTuple):
    """What one job makes: a product, a figure in every format, or the claims."""

    kind: Kind
    paper: str
    scale: Any
    name: str = ""

    @property
    def paths(self) -> list[str]:
        if self.kind == "product":
            return [product_path(self.paper, self.scale, self.name)]
        if self.kind == "figure":
            of_figure = (self.paper, self.scale, self.name)
            return [figure_path(*of_figure, format) for format in FIGURE_FORMATS]
        return [claims_path(self.paper, self.scale)]

    @property
    def record(self) -> Path:
        """Where the job that makes it records its recipe (see `records`)."""
        stem = f"{self.kind}-{self.name}" if self.name else self.kind
        return Path(RESULTS, self.paper, self.scale, "records", f"{stem}.json")

    def __str__(self) -> str:
        what = f"{self.kind} {self.name}".strip()
        return f"{self.paper} ({self.scale}): {what}"
