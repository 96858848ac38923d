"""One job: make one file of the graph from its inputs, and record how."""

import time
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from retrograd import records
from retrograd.arithmetic import Device, torch_device
from retrograd.artifacts import Artifact, Kind
from retrograd.config import Data, Mode
from retrograd.errors import RetrogradError
from retrograd.files import md5
from retrograd.graph import Graph

# How far a rebuild of a step's products on another kind of machine may be off, unless a
# variable declares its own: training amplifies rounding, an ODE solver stops at 1e-8.
TOLERANCE = {"data": 1e-12, "theory": 1e-7, "train": 1e-6}


def run(
    kind: Kind,
    paper: str,
    scale: str,
    name: str,
    *,
    seed: int,
    device: Device,
    mode: Mode = "build",
    data: Data = "embedded",
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
        mode: pinned if the inputs must be their pins.
        data: whether the graph has products of real data sets.
        recipe: the recipe that the graph planned with, if it did.

    Returns:
        One line for the person who watches.

    Raises:
        RetrogradError: the request is wrong, an input is missing or corrupt, code or
            config no longer give the planned recipe, or the output cannot be written.
    """
    started = time.monotonic()
    asked = {"papers": [paper], "scale": scale, "seed": seed, "device": device}
    plan = Graph.load(asked | {"mode": mode, "data": data}, "the command line")
    artifact = Artifact(kind, paper, scale, name)
    plan.check_targets(artifact.paths)
    planned = plan.recipe(*artifact)
    if recipe not in (None, planned):
        raise RetrogradError(
            f"{artifact.paths[0]}: code or config changed after this run was planned; "
            "start the run again"
        )
    job = _Job(plan, artifact)
    said = {"product": _product, "figure": _figure, "claims": _claims}[kind](job)
    record: records.Record = {
        "recipe": planned,
        "md5": {path: md5(Path(path)) for path in artifact.paths},
        "seconds": round(time.monotonic() - started, 2),
        "planned": recipe is not None,
    }
    records.write(artifact.record, record)
    return said


class _Job:
    """An artifact to be made, and what it is made from.

    Raises:
        RetrogradError: an input is missing; in pinned mode, it is not its pin.
    """

    def __init__(self, plan: Graph, artifact: Artifact) -> None:
        self.plan, self.artifact = plan, artifact
        self.request = plan.request(*artifact)
        self.outputs = [Path(path) for path in artifact.paths]
        self.inputs = {Path(path).stem: Path(path) for path in plan.inputs(*artifact)}
        self._digests = {name: md5(path) for name, path in self.inputs.items()}
        if plan.config.mode == "pinned":
            for name, found in self._digests.items():
                pin = plan.pin(artifact.paper, artifact.scale, name)
                if found != pin.md5:
                    raise RetrogradError(
                        f"{pin.path}: corrupt or changed: its digest is {found}, its pin "
                        f"{pin.md5}; nothing was made from it. Run the same command again "
                        "to fetch it anew"
                    )

    def module(self, name: str) -> Any:
        return import_module(f"retrograd.papers.{self.request['paper']}.{name}")

    def read_inputs(self) -> dict[str, Any]:
        from retrograd import products

        return {name: products.read(path) for name, path in self.inputs.items()}

    def agreement(self, inputs: Mapping[str, Any]) -> list[dict[str, Any]]:
        """How far the simulations among the inputs are from their theories."""
        from retrograd import comparison

        return [
            {"simulation": simulation, "theory": theory}
            | {"variables": comparison.agreement(inputs[simulation], inputs[theory])}
            for simulation, theory in self.request["pairs"]
        ]

    def stamp(self, *keys: str) -> dict[str, Any]:
        """What was asked, in the words of a reader."""
        stamp = {key: self.request[key] for key in ("paper", "scale", *keys)}
        if self.request["name"]:
            stamp[self.request["kind"]] = self.request["name"]
        return stamp | {"inputs": self._digests}


def _product(job: _Job) -> str:
    from retrograd import products

    (output,) = job.outputs
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
    products.write(dataset, output, stamp, TOLERANCE[step])
    return f"{output}: {output.stat().st_size / 1e3:.0f} kB"


def _figure(job: _Job) -> str:
    from retrograd import comparison, plotting

    draw = getattr(job.module("figures"), job.request["function"])
    paths = {path.suffix.removeprefix("."): path for path in job.outputs}
    inputs = job.read_inputs()
    apart = comparison.text(job.agreement(inputs))
    stamp = job.stamp("caption")
    with plotting.style():
        plotting.save(draw(inputs), paths, stamp | {"caption": stamp["caption"] + apart})
    return ", ".join(map(str, job.outputs))


def _claims(job: _Job) -> str:
    from retrograd import claims

    (output,) = job.outputs
    functions, inputs = job.module("claims"), job.read_inputs()
    entries = [
        claims.evaluate(
            name,
            claim,
            getattr(functions, claim["function"]),
            {need: inputs[need] for need in claim["need"]},
        )
        for name, claim in job.request["claims"].items()
    ]
    agreement = job.agreement(inputs)
    claims.write(output, job.stamp() | {"claims": entries, "agreement": agreement})
    verdicts = [entry["verdict"] for entry in entries]
    counts = ", ".join(f"{verdicts.count(v)} {v}" for v in claims.Verdict)
    return f"{output}: {len(entries)} claims: {counts}"
