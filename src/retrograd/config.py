"""What is asked for: the models of config/config.yaml and config/papers/<slug>.yaml.

Everything is checked here, before any job starts: keys, types and ranges by the models,
and names (of sections, products, functions) against what exists.
"""

from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, Self, TypeVar, get_args

from pydantic import Field, ValidationError, model_validator

from retrograd import data_table, recipes, yaml_files
from retrograd.arithmetic import Device
from retrograd.errors import RetrogradError, UsageError, check_known, nearest
from retrograd.parameters import MasterSeed, Model, Parameters

Scale = Literal["smoke", "laptop", "published"]
Step = Literal["data", "train", "theory"]
Mode = Literal["build", "pinned"]
Data = Literal["embedded", "real"]
Module = Literal["figures", "claims"]
SCALES: tuple[Scale, ...] = get_args(Scale)
CONFIG = Path("config", "config.yaml")
PAPERS = Path("config", "papers")

# The function of a step's module that makes a product, unless the product names another.
USUAL_FUNCTION = {"data": "instance", "train": "train", "theory": "theory"}


class Product(Model):
    """One netCDF file, made by one job."""

    step: Step
    """which of the paper's modules makes it"""
    parameters: str
    """section of `scales` that it reads; at a scale without it the product is absent"""
    function: str = ""
    """function of that module; the step's usual one if empty"""
    need: list[str] = []
    """products it reads"""
    data_sets: list[str] = []
    """rows of data/datasets.yaml that it reads; without `data: real`, and where they are
    not at hand, the product is absent, and the claims that need it are not tested"""
    predicts: str = ""
    """of a theory: the simulation with the same variables, dims and coordinates; how far
    the two are apart is reported with the claims and in the captions"""

    @property
    def maker(self) -> str:
        return self.function or USUAL_FUNCTION[self.step]


class Figure(Model):
    """A drawing made from products only."""

    need: list[str]
    """products it is drawn from"""
    caption: str
    """what it shows"""
    function: str = ""
    """function of figures.py; that of the figure's name if empty"""


class Threshold(Model):
    """The closed interval that every value of a statistic must lie in."""

    min: float | None = None
    max: float | None = None

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        if self.min is None and self.max is None:
            raise ValueError("a threshold needs min, max or both")
        return self


class Claim(Model):
    """A sentence of the paper that statistics of products can refute."""

    sentence: str
    """what is claimed"""
    need: list[str]
    """products its statistics are computed from"""
    thresholds: dict[str, Threshold]
    """statistic by statistic, where its values must lie"""
    function: str = ""
    """function of claims.py; that of the claim's name, in lower case, if empty"""
    seeds_per_group: Annotated[int, Field(ge=1)] | None = None
    """compute the statistics per disjoint group of so many seeds; all seeds if absent"""
    not_tested: dict[Scale, str] = {}
    """scales at which the claim is not tested, each with the reason"""


Experiment = TypeVar("Experiment", bound=Parameters)


class Paper(Model, Generic[Experiment]):
    """The experiment of one paper: config/papers/<slug>.yaml."""

    title: str
    authors: str
    reference: str
    """where it was published, with its public address"""
    scales: dict[Scale, Experiment]
    """the paper's own parameters, in sections, per scale"""
    products: dict[str, Product]
    figures: dict[str, Figure]
    claims: dict[str, Claim]
    not_tested: dict[Scale, str] = {}
    """scales at which none of the claims is tested, each with the reason"""
    seconds: dict[Scale, dict[str, Annotated[float, Field(gt=0)]]] = {}
    """estimates of what the longer products take, for `retrograd plan` on a machine that
    has not made them yet"""

    def parameters(self, product: str, scale: Scale) -> Parameters | None:
        """Parameters of a product at a scale; None where the product is absent."""
        section = self.products[product].parameters
        found: Parameters | None = getattr(self.scales[scale], section)
        return found

    def function_of(self, module: Module, name: str) -> str:
        """The function that draws a figure, or that computes a claim's statistics."""
        entry: Figure | Claim = getattr(self, module)[name]
        return entry.function or name.lower()

    def reason_not_tested(self, claim: str, scale: Scale) -> str | None:
        return self.claims[claim].not_tested.get(scale) or self.not_tested.get(scale)


class Config(Model):
    """What to build: config/config.yaml."""

    mode: Mode = "build"
    """build: products are computed; pinned: they are fetched and verified"""

    papers: Literal["all"] | list[str] = "all"
    """slugs of config/papers/<slug>.yaml, or all"""
    scale: Scale = "laptop"
    """preset of all parameters: smoke (seconds), laptop (minutes), published (GPU)"""
    data: Data = "embedded"
    """embedded: only data that ship with the environment or are generated; real: the data
    sets of data/datasets.yaml as well, as far as they are at hand"""
    seed: MasterSeed = 0
    """master seed: every random number of every paper derives from it"""
    device: Device = "auto"
    """auto: CUDA where there is one at the published scale, else the CPU; cpu; cuda"""


def read_config(overrides: Mapping[str, Any]) -> dict[str, Any]:
    """The contents of config/config.yaml with some keys replaced, not yet checked.

    Raises:
        RetrogradError: this is not the project's folder, or the file is not YAML.
    """
    if not CONFIG.exists():
        raise UsageError(f"there is no {CONFIG} here: run this in the project's folder")
    return (yaml_files.read(CONFIG) or {}) | dict(overrides)


def load_config(data: Mapping[str, Any], file: str = str(CONFIG)) -> Config:
    """Check the contents of config/config.yaml, with any overrides of the command line."""
    config = _validate(Config, dict(data), file)
    if config.papers != "all":
        for slug in config.papers:
            check_known(f"{file}: papers", slug, available_papers())
    return config


def available_papers() -> list[str]:
    """Slugs of the papers that have a config file."""
    return sorted(path.stem for path in PAPERS.glob("*.yaml"))


def load_paper(slug: str, seed: int) -> Paper[Any]:
    """Read and check the config of a paper; `seed` goes to sections that set none."""
    file = PAPERS / f"{slug}.yaml"
    data = yaml_files.read(file)
    experiment = experiment_model(slug)
    for section, parameters in _sections(data):
        field = experiment.model_fields.get(section)
        sampled = field is not None and "seed" in _model_of(field.annotation).model_fields
        if sampled and isinstance(parameters, dict):
            parameters.setdefault("seed", seed)
    paper = _validate(paper_model(slug), data, str(file))
    _check_names(slug, paper, str(file))
    return paper


def experiment_model(slug: str) -> type[Parameters]:
    """The model of a paper's parameters at one scale: `Experiment` of its params.py."""
    module = f"retrograd.papers.{slug}.params"
    if recipes.module_path(module) is None:
        raise RetrogradError(
            f"{PAPERS / slug}.yaml: the paper has no src/retrograd/papers/{slug}/params.py"
        )
    model: type[Parameters] = import_module(module).Experiment
    return model


def paper_model(slug: str) -> type[Paper[Any]]:
    model: Any = Paper
    specialised: type[Paper[Any]] = model[experiment_model(slug)]
    return specialised


def _model_of(annotation: Any) -> type[Model]:
    """The model in an annotation like `Runs | None`."""
    options = [a for a in (*get_args(annotation), annotation) if isinstance(a, type)]
    return next(a for a in options if issubclass(a, Model))


def _sections(data: Any) -> Iterator[tuple[str, Any]]:
    scales = data.get("scales") if isinstance(data, dict) else None
    for at_scale in (scales or {}).values() if isinstance(scales, dict) else ():
        if isinstance(at_scale, dict):
            yield from at_scale.items()


M = TypeVar("M", bound=Model)


def _validate(model: type[M], data: Any, file: str) -> M:
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise RetrogradError("\n".join(_explain(error, file))) from error


def _explain(error: ValidationError, file: str) -> Iterator[str]:
    """One line per problem: file, path of the key, what is allowed, what was found."""
    for problem in error.errors():
        path = ".".join(str(part) for part in problem["loc"] if part != "[key]")
        found, message = problem["input"], problem["msg"].removeprefix("Value error, ")
        line = f"{file}: {path or 'top level'}: {message}"
        if problem["type"] == "literal_error":
            allowed = problem["ctx"]["expected"].replace(" or ", ", ").replace("'", "")
            line += f"; {nearest(str(found), allowed.split(', '))}"
        yield line if isinstance(found, dict) else f"{line} (found {found!r})"


def _check_names(slug: str, paper: Paper[Any], file: str) -> None:
    """What the models cannot see: names that refer to nothing, and circles."""
    sections = experiment_model(slug).model_fields
    trainings = [name for name, p in paper.products.items() if p.step == "train"]

    def check_defined(path: str, step: str, function: str) -> None:
        defined = recipes.functions(f"retrograd.papers.{slug}.{step}")
        check_known(f"{file}: {path}: function of {step}.py", function, defined)

    for kind in ("products", "figures", "claims"):
        for name, entry in getattr(paper, kind).items():
            for need in entry.need:
                check_known(f"{file}: {kind}.{name}.need", need, paper.products)
    for name, product in paper.products.items():
        path = f"products.{name}"
        check_known(f"{file}: {path}.parameters", product.parameters, sections)
        for data_set in product.data_sets:
            check_known(f"{file}: {path}.data_sets", data_set, data_table.read_table())
        check_defined(path, product.step, product.maker)
    for scale, estimates in paper.seconds.items():
        for name in estimates:
            check_known(f"{file}: seconds.{scale}", name, paper.products)
    for name, product in paper.products.items():
        if product.predicts:
            check_known(f"{file}: products.{name}.predicts", product.predicts, trainings)
    for module in get_args(Module):
        for name in getattr(paper, module):
            check_defined(f"{module}.{name}", module, paper.function_of(module, name))
    try:
        TopologicalSorter({n: p.need for n, p in paper.products.items()}).prepare()
    except CycleError as error:
        circle = " <- ".join(error.args[1])
        raise RetrogradError(
            f"{file}: products: they need each other in a circle: {circle}"
        ) from error
    for problem in _absent_needs(paper):
        raise RetrogradError(f"{file}: {problem}")


def _absent_needs(paper: Paper[Any]) -> Iterator[str]:
    """Products that a scale lacks although something made at that scale needs them."""
    for scale in paper.scales:
        for kind in ("products", "figures", "claims"):
            for name, entry in getattr(paper, kind).items():
                if kind == "products" and paper.parameters(name, scale) is None:
                    continue
                if kind == "claims" and paper.reason_not_tested(name, scale):
                    continue
                for need in entry.need:
                    if paper.parameters(need, scale) is None:
                        section = paper.products[need].parameters
                        yield (
                            f"{kind}.{name}.need: '{need}' is not made at scale {scale}: "
                            f"scales.{scale} has no section '{section}'"
                        )
