"""One job: make one file of the graph from its inputs, and record how."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from retrograd import graph, records
from retrograd.arithmetic import Device, torch_device
from retrograd.errors import RetrogradError
from retrograd.files import md5
from retrograd.graph import Graph, Kind


def run(
    kind: Kind,
    paper: str,
    scale: str,
    name: str,
    *,
    seed: int,
    device: Device,
    recipe: str | None = None,
) -> str:
    """Make a product, a figure or the claims, at their places under results/.

    Args:
        kind: of the file.
        paper: slug.
        scale: preset of the parameters.
        name: of the product or the figure.
        seed: master seed.
        device: what a training may run on.
        recipe: the recipe that the graph planned with, if it did.

    Returns:
        One line for the person who watches.

    Raises:
        RetrogradError: the request is wrong, an input is missing or corrupt, code or
            config no longer give the planned recipe, or the output cannot be written.
    """
    started = time.monotonic()
    asked = {"papers": [paper], "scale": scale, "seed": seed, "device": device}
    plan = Graph.load(asked, "the command line")
    outputs = [Path(path) for path in _outputs(kind, paper, scale, name)]
    plan.check_targets([str(outputs[0])])
    planned = plan.recipe(kind, paper, scale, name)
    if recipe not in (None, planned):
        raise RetrogradError(
            f"{outputs[0]}: code or config changed after this run was planned; "
            "start the run again"
        )
    paths = map(Path, plan.inputs(kind, paper, scale, name))
    job = _Job(plan, plan.request(kind, paper, scale, name), {p.stem: p for p in paths})
    said = {"product": _product, "figure": _figure, "claims": _claims}[kind](job, outputs)
    record: records.Record = {
        "recipe": planned,
        "md5": {str(path): md5(path) for path in outputs},
        "seconds": round(time.monotonic() - started, 2),
    }
    records.write(Path(graph.record_path(kind, paper, scale, name)), record)
    return said


@dataclass(frozen=True)
class _Job:
    plan: Graph
    request: Mapping[str, Any]
    inputs: Mapping[str, Path]  # product files by product name

    def module(self, name: str) -> Any:
        return import_module(f"retrograd.papers.{self.request['paper']}.{name}")

    def read_inputs(self) -> dict[str, Any]:
        from retrograd import products

        return {name: products.read(path) for name, path in self.inputs.items()}

    def stamp(self, *keys: str) -> dict[str, Any]:
        """What was asked, in the words of a reader."""
        stamp = {key: self.request[key] for key in ("paper", "scale", *keys)}
        if self.request["name"]:
            stamp[self.request["kind"]] = self.request["name"]
        return stamp | {"inputs": {name: md5(path) for name, path in self.inputs.items()}}


def _outputs(kind: Kind, paper: str, scale: str, name: str) -> list[str]:
    if kind == "product":
        return [graph.product_path(paper, scale, name)]
    if kind == "figure":
        formats = graph.FIGURE_FORMATS
        return [graph.figure_path(paper, scale, name, f) for f in formats]
    return [graph.claims_path(paper, scale)]


def _product(job: _Job, outputs: list[Path]) -> str:
    from retrograd import products

    (output,) = outputs
    paper, scale, step = (job.request[key] for key in ("paper", "scale", "step"))
    make = getattr(job.module(step), job.request["function"])
    parameters = job.plan.papers[paper].parameters(job.request["name"], scale)
    stamp = job.stamp("parameters") | {"device": "cpu"}
    if step == "data":
        dataset = make(parameters)
    elif step == "theory":
        dataset = make(parameters, job.read_inputs())
    else:
        device = torch_device(job.plan.config.device, scale)
        stamp["device"] = device.type
        dataset = make(parameters, job.read_inputs(), device)
    products.write(dataset, output, stamp)
    return f"{output}: {output.stat().st_size / 1e3:.0f} kB"


def _figure(job: _Job, outputs: list[Path]) -> str:
    from retrograd import plotting

    draw = getattr(job.module("figures"), job.request["name"])
    paths = {path.suffix.removeprefix("."): path for path in outputs}
    with plotting.style():
        plotting.save(draw(job.read_inputs()), paths, job.stamp("caption"))
    return ", ".join(map(str, outputs))


def _claims(job: _Job, outputs: list[Path]) -> str:
    from retrograd import claims

    (output,) = outputs
    functions, inputs = job.module("claims"), job.read_inputs()
    entries = [
        claims.evaluate(
            name,
            claim,
            getattr(functions, name.lower()),
            {need: inputs[need] for need in claim["need"]},
        )
        for name, claim in job.request["claims"].items()
    ]
    claims.write(output, job.stamp() | {"claims": entries})
    verdicts = [entry["verdict"] for entry in entries]
    counts = ", ".join(f"{verdicts.count(v)} {v}" for v in claims.Verdict)
    return f"{output}: {len(entries)} claims: {counts}"
