"""One job: make one file of the graph from its inputs."""

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from retrograd import graph
from retrograd.arithmetic import Device
from retrograd.errors import RetrogradError
from retrograd.files import md5
from retrograd.graph import Graph, Kind

Request = Mapping[str, Any]
Inputs = Mapping[str, Path]  # product files by product name


def run(
    kind: Kind,
    paper: str,
    scale: str,
    name: str | None,
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
    asked = {"papers": [paper], "scale": scale, "seed": seed, "device": device}
    plan = Graph.load(asked, "the command line")
    plan.check_targets([_outputs(kind, paper, scale, name or "")[0]])
    request = plan.request(kind, paper, scale, name or "")
    if recipe not in (None, plan.recipe(kind, paper, scale, name or "")):
        raise RetrogradError(
            f"{paper} ({scale}), {kind} {name or ''}: its code or config changed after "
            "this run was planned; start the run again"
        )
    paths = map(Path, plan.inputs(kind, paper, scale, name or ""))
    inputs = {path.stem: path for path in paths}
    outputs = [Path(path) for path in _outputs(kind, paper, scale, name or "")]
    if kind == "product":
        return _product(request, inputs, *outputs, plan=plan)
    if kind == "figure":
        return _figure(request, inputs, outputs)
    return _claims(request, inputs, *outputs)


def _outputs(kind: Kind, paper: str, scale: str, name: str) -> list[str]:
    if kind == "product":
        return [graph.product_path(paper, scale, name)]
    if kind == "figure":
        formats = graph.FIGURE_FORMATS
        return [graph.figure_path(paper, scale, name, f) for f in formats]
    return [graph.claims_path(paper, scale)]


def _paper_module(request: Request, name: str) -> Any:
    return import_module(f"retrograd.papers.{request['paper']}.{name}")


def _stamp(request: Request, inputs: Inputs, *keys: str) -> dict[str, Any]:
    """What was asked, in the words of a reader."""
    stamp = {"paper": request["paper"], "scale": request["scale"]}
    stamp |= {request["kind"]: request["name"]} if request["name"] else {}
    stamp |= {key: request[key] for key in keys}
    return stamp | {"inputs": {name: md5(path) for name, path in inputs.items()}}


def _product(request: Request, inputs: Inputs, output: Path, plan: Graph) -> str:
    from retrograd import products

    make = getattr(_paper_module(request, request["step"]), request["function"])
    paper, scale, name = request["paper"], request["scale"], request["name"]
    parameters = plan.papers[paper].parameters(name, scale)
    needs = {name: products.read(path) for name, path in inputs.items()}
    stamp = _stamp(request, inputs, "parameters") | {"device": "cpu"}
    if request["step"] == "data":
        dataset = make(parameters)
    elif request["step"] == "theory":
        dataset = make(parameters, needs)
    else:
        from retrograd.arithmetic import torch_device

        device = torch_device(plan.config.device, scale)
        stamp["device"] = device.type
        dataset = make(parameters, needs, device)
    products.write(dataset, output, stamp)
    return f"{output}: {output.stat().st_size / 1e3:.0f} kB"


def _figure(request: Request, inputs: Inputs, outputs: list[Path]) -> str:
    from retrograd import plotting, products

    draw = getattr(_paper_module(request, "figures"), request["name"])
    needs = {name: products.read(path) for name, path in inputs.items()}
    paths = {path.suffix.removeprefix("."): path for path in outputs}
    with plotting.style():
        plotting.save(draw(needs), paths, _stamp(request, inputs, "caption"))
    return ", ".join(map(str, outputs))


def _claims(request: Request, inputs: Inputs, output: Path) -> str:
    from retrograd import claims, products

    functions = _paper_module(request, "claims")
    needs = {name: products.read(path) for name, path in inputs.items()}
    entries = [
        claims.evaluate(
            name,
            claim,
            getattr(functions, name.lower()),
            {need: needs[need] for need in claim["need"]},
        )
        for name, claim in request["claims"].items()
    ]
    claims.write(output, _stamp(request, inputs) | {"claims": entries})
    verdicts = [entry["verdict"] for entry in entries]
    counts = ", ".join(f"{verdicts.count(v)} {v}" for v in claims.Verdict)
    return f"{request['paper']} ({request['scale']}): {len(entries)} claims: {counts}"
