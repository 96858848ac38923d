"""What the Snakemake rules ask: targets, inputs, and the request that a job carries out.

Imported when the Snakefile is parsed, on a cluster by every job: nothing heavy in here.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from math import ceil
from pathlib import PurePosixPath
from typing import Any

from retrograd import data_table, pins, recipes
from retrograd.arithmetic import wants_cuda
from retrograd.artifacts import FIGURE_FORMATS, RESULTS, Artifact, Kind, product_path
from retrograd.config import (
    CONFIG,
    Config,
    Paper,
    Scale,
    available_papers,
    load_config,
    load_paper,
    read_config,
)
from retrograd.errors import RetrogradError, check_known
from retrograd.pins import Pin

# The modules whose code, with all they import, decides a file of each kind.
_WRITERS = {
    "product": ("retrograd.products", "retrograd.arithmetic"),
    "figure": ("retrograd.plotting", "retrograd.comparison"),
    "claims": ("retrograd.claims", "retrograd.comparison"),
}

# Least time limit of a job; and that of one at the published scale without an estimate.
_SHORT, _LONG = 10, 360  # minutes


class _Papers(Mapping[str, Paper[Any]]):
    """The papers by slug; each config is read and checked when it is first needed.

    One figure, or one job on a cluster, needs one of them.
    """

    def __init__(self, slugs: Iterable[str], seed: int) -> None:
        self._slugs, self._seed = list(slugs), seed
        self._loaded: dict[str, Paper[Any]] = {}

    def __getitem__(self, slug: str) -> Paper[Any]:
        if slug not in self._slugs:
            raise KeyError(slug)
        if slug not in self._loaded:
            self._loaded[slug] = load_paper(slug, self._seed)
        return self._loaded[slug]

    def __contains__(self, slug: object) -> bool:
        return slug in self._slugs

    def __iter__(self) -> Iterator[str]:
        return iter(self._slugs)

    def __len__(self) -> int:
        return len(self._slugs)


class Graph:
    """The checked configs, and everything the rules need to know of them."""

    def __init__(self, config: Config, papers: Mapping[str, Paper[Any]]) -> None:
        self.config = config
        self.papers = papers
        self._recipes: dict[Artifact, str] = {}
        self._data_sets: dict[str, bool] = {}

    @classmethod
    def load(cls, data: Mapping[str, Any], source: str = str(CONFIG)) -> "Graph":
        """Check the contents of config.yaml (with overrides); papers when they are needed.

        Raises:
            RetrogradError: naming file, key, what was found and what is allowed.
        """
        config = load_config(data, source)
        slugs = available_papers() if config.papers == "all" else config.papers
        return cls(config, _Papers(slugs, config.seed))

    @classmethod
    def here(cls, **overrides: Any) -> "Graph":
        """The graph of config/config.yaml, with the overrides that are not None."""
        given = {key: value for key, value in overrides.items() if value is not None}
        return cls.load(read_config(given))

    @cached_property
    def pins(self) -> dict[str, Pin]:
        """Every pin of dvc.lock, by path."""
        return pins.read()

    # ---- targets ---------------------------------------------------------------------

    def targets(self) -> list[str]:
        """Every figure and claims file of the papers and the scale that config names."""
        return [path for target in self.target_artifacts() for path in target.paths]

    def target_artifacts(self) -> list[Artifact]:
        return [
            artifact
            for slug in self.papers
            for artifact in self.artifacts(slug, self.config.scale)
            if artifact.kind != "product"
        ]

    def artifacts(self, slug: str, scale: Scale) -> list[Artifact]:
        """Everything that is made of a paper at a scale."""
        scales = self.papers[slug].scales
        check_known(f"config/papers/{slug}.yaml: scales", scale, scales, "scale")
        return [
            *(Artifact("product", slug, scale, p) for p in self._products_at(slug, scale)),
            *(Artifact("figure", slug, scale, name) for name in self.figures(slug)),
            Artifact("claims", slug, scale),
        ]

    def figures(self, slug: str) -> list[str]:
        """The figures of a paper, as far as the data that they need can be had."""
        figures = self.papers[slug].figures.items()
        return [name for name, f in figures if not self._lacking(slug, f.need)]

    def needed(self, targets: Iterable[Artifact]) -> list[Artifact]:
        """The targets and all they are made from; inputs before what needs them."""
        found: dict[Artifact, None] = {}

        def visit(artifact: Artifact) -> None:
            for path in self.inputs(*artifact):
                visit(self.artifact(path))
            found[artifact] = None

        for target in targets:
            visit(target)
        return list(found)

    def selected(self, words: Sequence[str]) -> list[Artifact]:
        """Artifacts by a person's words: PAPER, PAPER/NAME, or a path under results/.

        Raises:
            UsageError: a word that names nothing, with the nearest one that does.
        """
        chosen: list[Artifact] = []
        for word in words or self.papers:
            if _is_result(word):
                chosen.append(self.artifact(word))
                continue
            slug, _, name = word.strip("/").partition("/")
            check_known(word, slug, self.papers, "paper")
            there = {a.name or a.kind: a for a in self.artifacts(slug, self.config.scale)}
            if name:
                check_known(word, name, there, "name")
            chosen += [there[name]] if name else there.values()
        return chosen

    def artifact(self, path: str) -> Artifact:
        """What makes a path under results/.

        Raises:
            RetrogradError: no rule makes it; names the nearest path that one makes.
        """
        parts = PurePosixPath(path).parts[1:]
        self._check_target(path, parts)
        slug, scale, kind, name = (*parts, "")[:4]
        if kind == "claims.json":
            return Artifact("claims", slug, scale)
        made: Kind = "product" if kind == "products" else "figure"
        return Artifact(made, slug, scale, PurePosixPath(name).stem)

    def asked_for(self, arguments: Sequence[str]) -> list[Artifact]:
        """What a command line asks for: the paths under results/, else every target.

        Raises:
            RetrogradError: a path that no rule makes; in pinned mode, a product that is
                needed and has no pin.
        """
        self.check_targets(arguments)
        named = [self.artifact(a) for a in arguments if _is_result(a)]
        targets = named or self.target_artifacts()
        if self.config.mode == "pinned":
            for artifact in self.needed(targets):
                self.recipe(*artifact)
        return targets

    def check_targets(self, arguments: Iterable[str]) -> None:
        """Refuse a command-line target under results/ that no rule can make.

        Snakemake's own message names no alternative, so this one comes first.
        """
        for argument in arguments:
            if _is_result(argument):
                self._check_target(argument, PurePosixPath(argument).parts[1:])

    def _check_target(self, target: str, parts: tuple[str, ...]) -> None:
        slug, scale, kind, name = (*parts, *[""] * 4)[:4]
        check_known(target, slug, self.papers, "paper")
        check_known(target, scale, self.papers[slug].scales, "scale")
        files = {
            "products": [f"{p}.nc" for p in self._products_at(slug, scale)],
            "figures": [f"{f}.{e}" for f in self.figures(slug) for e in FIGURE_FORMATS],
        }
        check_known(target, kind, [*files, "claims.json"], "output")
        if kind in files:
            check_known(target, name, files[kind], kind.removesuffix("s"))

    def _products_at(self, slug: str, scale: Any) -> list[str]:
        paper = self.papers[slug]
        there = [p for p in paper.products if paper.parameters(p, scale) is not None]
        return [p for p in there if not self._lacking(slug, [p])]

    def _lacking(self, slug: str, products: Iterable[str]) -> str:
        """Why some of these products cannot be made for want of data sets, or nothing."""
        known = self.papers[slug].products
        for name in products:
            lacking = self._missing(known[name].data_sets)
            if lacking := lacking or self._lacking(slug, known[name].need):
                return lacking
        return ""

    def _missing(self, data_sets: Sequence[str]) -> str:
        if data_sets and self.config.data == "embedded":
            return f"on real data ({', '.join(data_sets)}): set data: real"
        missing = [name for name in data_sets if not self._at_hand(name)]
        if not missing:
            return ""
        return f"{', '.join(missing)} not at hand: retrograd download {' '.join(missing)}"

    def _at_hand(self, data_set: str) -> bool:
        """Whether a data set can be read now; looked up once. Pins need none."""
        if data_set not in self._data_sets:
            pinned = self.config.mode == "pinned"
            self._data_sets[data_set] = pinned or data_table.at_hand(data_set)
        return self._data_sets[data_set]

    # ---- one file: what it is read from, what it is made with, what makes it stale ----

    def inputs(self, kind: Kind, paper: str, scale: Any, name: str = "") -> list[str]:
        """Paths of the products that a file is made from."""
        if kind == "product" and self.config.mode == "pinned":
            return []
        needs = self._needs(kind, paper, scale, name)
        return [product_path(paper, scale, need) for need in needs]

    def _needs(self, kind: Kind, paper: str, scale: Any, name: str) -> list[str]:
        spec = self.papers[paper]
        if kind == "product":
            return spec.products[name].need
        if kind == "figure":
            return spec.figures[name].need
        wanted = {need for claim in spec.claims.values() for need in claim.need}
        wanted |= {name for pair in self.pairs(paper, scale) for name in pair}
        return [p for p in self._products_at(paper, scale) if p in wanted]

    def pairs(self, paper: str, scale: Any) -> list[tuple[str, str]]:
        """Simulations and the theories that predict them, as far as a scale has both."""
        spec = self.papers[paper]
        there = self._products_at(paper, scale)
        predicted = {name: spec.products[name].predicts for name in there}
        return [(sim, name) for name, sim in predicted.items() if sim in there]

    def request(self, kind: Kind, paper: str, scale: Any, name: str = "") -> dict[str, Any]:
        """What is asked of a job, in words that JSON can write."""
        asked = {"kind": kind, "paper": paper, "scale": scale, "name": name}
        spec = self.papers[paper]
        if kind == "figure":
            need = spec.figures[name].need
            pairs = [p for p in self.pairs(paper, scale) if set(p) <= set(need)]
            return asked | {
                "function": spec.function_of("figures", name),
                "caption": spec.figures[name].caption,
                "pairs": pairs,
            }
        if kind == "claims":
            pairs = self.pairs(paper, scale)
            return asked | {"claims": self._claims_at(paper, scale), "pairs": pairs}
        product, parameters = spec.products[name], spec.parameters(name, scale)
        assert parameters is not None, "targets and needs were checked"
        return asked | {
            "step": product.step,
            "function": product.maker,
            "parameters": parameters.model_dump(mode="json"),
        }

    def _claims_at(self, slug: str, scale: Any) -> dict[str, Any]:
        spec, there = self.papers[slug], self._products_at(slug, scale)

        def reason(name: str, need: list[str]) -> str | None:
            given = spec.reason_not_tested(name, scale)
            return given or self._lacking(slug, need) or None

        return {
            name: claim.model_dump(mode="json")
            | {
                "function": spec.function_of("claims", name),
                "need": [need for need in claim.need if need in there],
                "not_tested": reason(name, claim.need),
            }
            for name, claim in spec.claims.items()
        }

    def recipe(self, kind: Kind, paper: str, scale: Any, name: str = "") -> str:
        """Digest of everything that decides a file: another recipe, a stale file.

        In pinned mode a product has the recipe beside its pin, whatever the code says,
        and all else is decided by its own code and parameters and the pins of its inputs.

        Raises:
            RetrogradError: in pinned mode, a product that has no pin.
        """
        pinned = self.config.mode == "pinned"
        if kind == "product" and pinned:
            return self.pin(paper, scale, name).recipe
        artifact = Artifact(kind, paper, scale, name)
        if artifact not in self._recipes:
            recipe = self._computed_recipe(artifact)
            pin = self.pins.get(artifact.paths[0]) if pinned else None
            # What is pinned now is what a build would make: it has one recipe, not two.
            unchanged = pin is not None and pin.recipe_from_pins == recipe
            self._recipes[artifact] = pin.recipe if pin and unchanged else recipe
        return self._recipes[artifact]

    def _computed_recipe(self, artifact: Artifact) -> str:
        kind, paper, scale, _ = artifact
        request, needs = self.request(*artifact), self._needs(*artifact)
        step = request.get("step") or {"figure": "figures"}.get(kind, "claims")
        return recipes.recipe(
            modules=[f"retrograd.papers.{paper}.{step}", *_WRITERS[kind]],
            parameters=request,
            upstream={need: self._upstream(paper, scale, need) for need in needs},
        )

    def _upstream(self, paper: str, scale: Any, product: str) -> str:
        if self.config.mode == "pinned":
            return f"md5:{self.pin(paper, scale, product).md5}"
        return self.recipe("product", paper, scale, product)

    def pin(self, paper: str, scale: Any, product: str) -> Pin:
        """The pin of a product.

        Raises:
            RetrogradError: it has none; names the two ways on.
        """
        path = product_path(paper, scale, product)
        if path not in self.pins:
            raise RetrogradError(
                f"{path}: nothing is pinned under that name, and mode is pinned. "
                f"Make it (--config mode=build), and pin it: retrograd pin {paper}"
            )
        return self.pins[path]

    def gpus(self, paper: str, scale: Any, product: str) -> int:
        """GPUs that a job asks for: one if it trains and may use it."""
        trains = self.papers[paper].products[product].step == "train"
        return int(trains and wants_cuda(self.config.device, scale))

    def minutes(self, paper: str, scale: Any, product: str, attempt: int) -> int:
        """Time limit of a job on a cluster: generous, and doubled with every attempt."""
        estimates = self.papers[paper].seconds.get(scale, {})
        long = scale == "published" and product not in estimates
        limit = _LONG if long else max(_SHORT, ceil(5 * estimates.get(product, 0) / 60))
        return limit * 2 ** (attempt - 1)


def _is_result(argument: str) -> bool:
    parts = PurePosixPath(argument).parts
    return parts[:1] == (RESULTS,) and len(parts) > 1
