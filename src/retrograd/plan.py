"""`retrograd plan`: what a run would do, and why; how long, and how much to fetch."""

import re
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import yaml

from retrograd import records
from retrograd.artifacts import Artifact
from retrograd.errors import RetrogradError
from retrograd.graph import Graph
from retrograd.store import Store

# What a dry run says of a job: the messages of the rules, and Snakemake's reason.
_JOB = re.compile(
    r"^Job \d+: (\S+) \((\w+)\): (product|figure|claims)(?: (\w+))?.*\nReason: (.*)$", re.M
)
DRAWING, FETCHING = 3.0, 1.0  # usual seconds of a figure or claims job, and of a fetch


def plan(targets: Sequence[str], overrides: Sequence[str]) -> dict[str, Any]:
    """Ask Snakemake what it would run, and add times and bytes.

    Args:
        targets: paths under results/; everything if empty.
        overrides: KEY=VALUE, as after Snakemake's --config.

    Raises:
        RetrogradError: Snakemake refuses; with what it said.
    """
    pairs = (override.partition("=")[::2] for override in overrides)
    graph = Graph.here(**{key: yaml.safe_load(value) for key, value in pairs})
    command = [sys.executable, "-m", "snakemake", "--dry-run", "--cores", "1"]
    command += [*targets, *(["--config", *overrides] if overrides else [])]
    run = subprocess.run(command, capture_output=True, text=True)
    if run.returncode:
        said = run.stderr.strip().splitlines()
        raise RetrogradError("\n".join(said[-3:]).removeprefix("retrograd: "))
    jobs, store = [], Store()
    for paper, scale, kind, name, reason in _JOB.findall(run.stdout + run.stderr):
        artifact = Artifact(kind, paper, scale, name)
        jobs.append(_job(graph, artifact, store) | {"reason": reason})
    return {
        "jobs": jobs,
        "seconds": round(sum(job["seconds"] or 0 for job in jobs), 1),
        "jobs_without_estimate": sum(job["seconds"] is None for job in jobs),
        "bytes_to_fetch": sum(job["bytes_to_fetch"] for job in jobs),
    }


def _job(graph: Graph, artifact: Artifact, store: Store) -> dict[str, Any]:
    job = {"kind": artifact.kind, "paper": artifact.paper, "scale": artifact.scale}
    job["name"] = artifact.name
    if artifact.kind == "product" and graph.config.mode == "pinned":
        pin = graph.pin(artifact.paper, artifact.scale, artifact.name)
        there = store.cached(pin.md5).exists()
        fetched = {"step": "fetch", "bytes_to_fetch": 0 if there else pin.size}
        return job | fetched | {"seconds": FETCHING, "seconds_from": "a usual fetch"}
    seconds, source = _seconds(graph, artifact)
    return job | {
        "step": graph.request(*artifact).get("step", artifact.kind),
        "bytes_to_fetch": 0,
        "seconds": seconds,
        "seconds_from": source,
    }


def _seconds(graph: Graph, artifact: Artifact) -> tuple[float | None, str]:
    """How long a job takes, if that is known, and how."""
    record = records.read(artifact.record)
    if record:
        return record["seconds"], "its last run here"
    if artifact.kind != "product":
        return DRAWING, "a usual drawing"
    estimates = graph.papers[artifact.paper].seconds.get(artifact.scale, {})
    if artifact.name in estimates:
        return estimates[artifact.name], "the config's estimate"
    return None, "no estimate"


def text(report: dict[str, Any]) -> str:
    if not report["jobs"]:
        return "nothing to be done"
    lines = []
    for job in report["jobs"]:
        what = f"{job['kind']} {job['name']}".strip()
        seconds = "" if job["seconds"] is None else f"{job['seconds']:.1f} s, "
        size = f", {job['bytes_to_fetch'] / 1e3:.0f} kB" if job["bytes_to_fetch"] else ""
        lines += [
            f"{job['step']:<8} {job['paper']} ({job['scale']}) {what}: "
            f"{seconds}{job['seconds_from']}{size}",
            f"    {_short(job['reason'])}",
        ]
    unknown = report["jobs_without_estimate"]
    lines.append(
        f"{len(report['jobs'])} jobs, {'more than ' if unknown else ''}"
        f"{report['seconds'] / 60:.1f} minutes of one core"
        f"{f' ({unknown} without an estimate)' if unknown else ''}, "
        f"{report['bytes_to_fetch'] / 1e6:.2f} MB to fetch"
    )
    return "\n".join(lines)


def _short(reason: str) -> str:
    return reason if len(reason) <= 160 else f"{reason[:157]}..."
