"""What the Snakemake rules ask: targets, inputs, and the request that a job carries out.

Imported when the Snakefile is parsed, on a cluster by every job: nothing heavy in here.
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from retrograd import recipes
from retrograd.arithmetic import wants_cuda
from retrograd.config import (
    Config,
    Paper,
    Scale,
    available_papers,
    load_config,
    load_paper,
)
from retrograd.errors import check_known

Kind = Literal["product", "figure", "claims"]
RESULTS = "results"
PULLED = 86400.0  # the date of results that were not made here: 2 January 1970
FIGURE_FORMATS = ("svg", "png")

# The modules whose code, with all they import, decides a file of each kind.
_WRITERS = {
    "product": ("retrograd.products", "retrograd.arithmetic"),
    "figure": ("retrograd.plotting",),
    "claims": ("retrograd.claims",),
}


def product_path(paper: str, scale: str, product: str) -> str:
    return f"{RESULTS}/{paper}/{scale}/products/{product}.nc"


def figure_path(paper: str, scale: str, figure: str, format: str = "svg") -> str:
    return f"{RESULTS}/{paper}/{scale}/figures/{figure}.{format}"


def claims_path(paper: str, scale: str) -> str:
    return f"{RESULTS}/{paper}/{scale}/claims.json"


def record_path(kind: Kind, paper: str, scale: str, name: str) -> str:
    """Where the job that makes a file records its recipe (see `records`)."""
    stem = f"{kind}-{name}" if name else kind
    return f"{RESULTS}/{paper}/{scale}/records/{stem}.json"


class Graph:
    """The checked configs, and everything the rules need to know of them."""

    def __init__(self, config: Config, papers: Mapping[str, Paper[Any]]) -> None:
        self.config = config
        self.papers = papers
        self._recipes: dict[tuple[Kind, str, Any, str], str] = {}

    @classmethod
    def load(cls, data: Mapping[str, Any], source: str = "config/config.yaml") -> "Graph":
        """Check the contents of config.yaml (with overrides) and the papers' configs.

        Raises:
            RetrogradError: naming file, key, what was found and what is allowed.
        """
        config = load_config(data, source)
        slugs = available_papers() if config.papers == "all" else config.papers
        return cls(config, {slug: load_paper(slug, config.seed) for slug in slugs})

    # ---- targets ---------------------------------------------------------------------

    def targets(self) -> list[str]:
        """Every figure and claims file of the papers and the scale that config names."""
        scale = self.config.scale
        return [path for slug in self.papers for path in self._targets(slug, scale)]

    def _targets(self, slug: str, scale: Scale) -> Iterator[str]:
        paper = self.papers[slug]
        check_known(f"config/papers/{slug}.yaml: scales", scale, paper.scales, "scale")
        for figure in paper.figures:
            for format in FIGURE_FORMATS:
                yield figure_path(slug, scale, figure, format)
        yield claims_path(slug, scale)

    def check_targets(self, arguments: Iterable[str]) -> None:
        """Refuse a command-line target under results/ that no rule can make.

        Snakemake's own message names no alternative, so this one comes first.
        """
        for argument in arguments:
            parts = PurePosixPath(argument).parts
            if parts[:1] == (RESULTS,) and len(parts) > 1:
                self._check_target(argument, parts[1:])

    def _check_target(self, target: str, parts: tuple[str, ...]) -> None:
        slug, scale, kind, name = (*parts, *[""] * 4)[:4]
        check_known(target, slug, self.papers, "paper")
        paper = self.papers[slug]
        check_known(target, scale, paper.scales, "scale")
        files = {
            "products": [f"{p}.nc" for p in self._products_at(paper, scale)],
            "figures": [f"{f}.{e}" for f in paper.figures for e in FIGURE_FORMATS],
        }
        check_known(target, kind, [*files, "claims.json"], "output")
        if kind in files:
            check_known(target, name, files[kind], kind.removesuffix("s"))

    def _products_at(self, paper: Paper[Any], scale: Any) -> list[str]:
        return [p for p in paper.products if paper.parameters(p, scale) is not None]

    # ---- one file: what it is read from, what it is made with, what makes it stale ----

    def inputs(self, kind: Kind, paper: str, scale: Any, name: str = "") -> list[str]:
        """Paths of the products that a file is made from."""
        needs = self._needs(kind, paper, scale, name)
        return [product_path(paper, scale, need) for need in needs]

    def _needs(self, kind: Kind, paper: str, scale: Any, name: str) -> list[str]:
        spec = self.papers[paper]
        if kind == "product":
            return spec.products[name].need
        if kind == "figure":
            return spec.figures[name].need
        claims = spec.claims.values()
        there = self._products_at(spec, scale)
        return [p for p in there if any(p in claim.need for claim in claims)]

    def request(self, kind: Kind, paper: str, scale: Any, name: str = "") -> dict[str, Any]:
        """What is asked of a job, in words that JSON can write."""
        asked = {"kind": kind, "paper": paper, "scale": scale, "name": name}
        spec = self.papers[paper]
        if kind == "figure":
            return asked | {"caption": spec.figures[name].caption}
        if kind == "claims":
            return asked | {"claims": self._claims_at(spec, scale)}
        product, parameters = spec.products[name], spec.parameters(name, scale)
        assert parameters is not None, "targets and needs were checked"
        return asked | {
            "step": product.step,
            "function": product.maker,
            "parameters": parameters.model_dump(mode="json"),
        }

    def _claims_at(self, spec: Paper[Any], scale: Any) -> dict[str, Any]:
        there = self._products_at(spec, scale)
        return {
            name: claim.model_dump(mode="json")
            | {
                "need": [need for need in claim.need if need in there],
                "not_tested": spec.reason_not_tested(name, scale),
            }
            for name, claim in spec.claims.items()
        }

    def recipe(self, kind: Kind, paper: str, scale: Any, name: str = "") -> str:
        """Digest of everything that decides a file: another recipe, a stale file."""
        key = (kind, paper, scale, name)
        if key not in self._recipes:
            request = self.request(*key)
            step = request.get("step") or {"figure": "figures"}.get(kind, "claims")
            self._recipes[key] = recipes.recipe(
                modules=[f"retrograd.papers.{paper}.{step}", *_WRITERS[kind]],
                parameters=request,
                upstream={
                    need: self.recipe("product", paper, scale, need)
                    for need in self._needs(*key)
                },
            )
        return self._recipes[key]

    def date_pulled_results(self) -> None:
        """Give one old date to every result that was not made here.

        Snakemake cannot be told to disregard dates, and the dates of files that were
        pulled or copied are those of the transfer: a training newer than its figure by
        an accident of the network would be drawn, or run, again. Files that were made
        here (they have a record) keep their dates.
        """
        patterns: dict[Kind, str] = {
            "product": "*/*/products/*.nc",
            "figure": "*/*/figures/*.*",
            "claims": "*/*/claims.json",
        }
        for kind, pattern in patterns.items():
            for path in Path(RESULTS).glob(pattern):
                paper, scale = path.parts[1:3]
                name = "" if kind == "claims" else path.stem
                if not Path(record_path(kind, paper, scale, name)).exists():
                    os.utime(path, (PULLED, PULLED))

    def gpus(self, paper: str, scale: Any, product: str) -> int:
        """GPUs that a job asks for: one if it trains and may use it."""
        trains = self.papers[paper].products[product].step == "train"
        return int(trains and wants_cuda(self.config.device, scale))
