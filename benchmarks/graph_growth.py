"""How cost grows with the graph: papers of trivial products, beside plain Snakemake.

    python benchmarks/graph_growth.py [--products 100 1000 10000] [--run]

A paper here has 20 products, 4 figures of 5 products each, and one claim: 25 jobs. Its
steps make one number, so what is timed is the graph. Papers are multiplied, as a lab adds
them. The plain workflow has as many jobs in the same shape, and nothing of ours: what
Snakemake itself costs. Seconds of CPU of the whole process, which other jobs on the machine
change less than the clock; memory is its peak.

A run that finds everything made is timed after one whose jobs do nothing but touch their
outputs; then records are laid beside these, as of jobs that made them.
"""

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from clones import ROOT

PRODUCTS, FIGURES = 20, 4
LIMIT = 300  # seconds of the clock, for one command
TOOLS = Path(sys.executable).parent
PLAIN = """
N = {papers}
rule all:
    default_target: True
    input:
        [f"out/{{i}}/claims" for i in range(N)],
        [f"out/{{i}}/figures/{{k}}" for i in range(N) for k in range({figures})],
rule product:
    output: "out/{{paper}}/products/{{k}}"
    params: recipe=lambda w: w.k
    shell: "touch {{output}}"
rule figure:
    input: lambda w: [f"out/{{w.paper}}/products/{{5 * int(w.k) + j}}" for j in range(5)]
    output: "out/{{paper}}/figures/{{k}}"
    params: recipe=lambda w: w.k
    shell: "touch {{output}}"
rule claims:
    input: lambda w: [f"out/{{w.paper}}/products/{{k}}" for k in range({products})]
    output: "out/{{paper}}/claims"
    params: recipe=lambda w: 0
    shell: "touch {{output}}"
"""
SOURCES = {
    "__init__": '"""A paper of trivial products."""\n',
    "params": '''\
        """Its one parameter."""
        from retrograd.parameters import Parameters

        class Values(Parameters):
            """What every product reads."""
            value: float
            """the number that it holds"""

        class Experiment(Parameters):
            """Sections of the config."""
            values: Values
        ''',
    "data": '''\
        """One number."""
        import xarray as xr
        from retrograd.papers.{slug}.params import Values

        def instance(parameters: Values) -> xr.Dataset:
            """The number."""
            attributes = {{"long_name": "a number", "units": "1"}}
            return xr.Dataset({{"x": ((), parameters.value, attributes)}})
        ''',
    "figures": '''\
        """A line."""
        import matplotlib.pyplot as plt

        def line(products):
            """The numbers."""
            figure, axes = plt.subplots()
            axes.plot([float(p["x"]) for p in products.values()])
            return figure
        ''',
    "claims": '''\
        """A number."""

        def mean(products):
            """Their mean."""
            return {{"mean": sum(float(p["x"]) for p in products.values()) / len(products)}}
        ''',
}


def paper(slug: str) -> dict[str, Any]:
    """The config of a paper."""
    names = [f"p{k}" for k in range(PRODUCTS)]
    return {
        "title": slug,
        "authors": "nobody",
        "reference": "nowhere",
        "scales": {"smoke": {"values": {"value": 1.0}}},
        "products": {name: {"step": "data", "parameters": "values"} for name in names},
        "figures": {
            f"fig{k}": {
                "need": names[5 * k : 5 * k + 5],
                "caption": "A.",
                "function": "line",
            }
            for k in range(FIGURES)
        },
        "claims": {
            "c1": {
                "sentence": "It is one.",
                "need": names,
                "thresholds": {"mean": {"min": 1, "max": 1}},
                "function": "mean",
            }
        },
    }


def project(folder: Path, papers: int) -> Path:
    """This project's graph with so many trivial papers instead of its own."""
    for name in ("workflow", "envs", "src", "data"):
        ignored = shutil.ignore_patterns("__pycache__", "papers", "results")
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    (folder / "config" / "papers").mkdir(parents=True)
    shutil.copy(ROOT / "config" / "config.yaml", folder / "config")
    for index in range(papers):
        slug = f"nobody{index:04}_growth"
        source = folder / "src" / "retrograd" / "papers" / slug
        source.mkdir(parents=True)
        for module, text in SOURCES.items():
            filled = textwrap.dedent(text).format(slug=slug)
            (source / f"{module}.py").write_text(filled)
        # JSON is YAML; a person's YAML of this size takes twice as long to read.
        (folder / "config" / "papers" / f"{slug}.yaml").write_text(json.dumps(paper(slug)))
    (folder / "src" / "retrograd" / "papers" / "__init__.py").touch()
    return folder


def plain(folder: Path, papers: int) -> Path:
    folder.mkdir()
    text = PLAIN.format(papers=papers, figures=FIGURES, products=PRODUCTS)
    (folder / "Snakefile").write_text(text)
    return folder


_TIMED = """
import json, resource, subprocess, sys, time
started = time.monotonic()
limit = float(sys.argv[1])
run = subprocess.run(sys.argv[2:], capture_output=True, text=True, timeout=limit)
assert run.returncode == 0, run.stdout[-2000:] + run.stderr[-4000:]
used = resource.getrusage(resource.RUSAGE_CHILDREN)
seconds = {"cpu": used.ru_utime + used.ru_stime, "clock": time.monotonic() - started}
print(json.dumps(seconds | {"MB": used.ru_maxrss / 1024}))
"""


def cost(folder: Path, *command: str) -> dict[str, float]:
    """CPU and clock seconds, and peak memory, of a command with all that it starts.

    Empty if it takes longer than LIMIT.
    """
    environment = os.environ | {
        "PYTHONPATH": str(folder / "src"),
        "PATH": f"{folder / 'bin'}{os.pathsep}{TOOLS}{os.pathsep}{os.environ['PATH']}",
    }
    timed = [sys.executable, "-c", _TIMED, str(LIMIT), *command]
    run = subprocess.run(timed, cwd=folder, env=environment, capture_output=True, text=True)
    if "TimeoutExpired" in run.stderr:
        return {}
    if run.returncode:
        sys.exit(run.stderr)
    found: dict[str, float] = json.loads(run.stdout)
    return found


# In place of the command `retrograd` in jobs: what is left is what Snakemake costs.
NOTHING = """#!/bin/sh
case $2 in
    product) touch results/$3/$4/products/$5.nc ;;
    figure) touch results/$3/$4/figures/$5.svg results/$3/$4/figures/$5.png ;;
    claims) touch results/$3/$4/claims.json ;;
esac
"""
CONTENT = b"0"
FABRICATE = """
from pathlib import Path
from retrograd import records
from retrograd.files import md5
from retrograd.graph import Graph
graph = Graph.here(scale="smoke")
for artifact in graph.needed(graph.target_artifacts()):
    for path in map(Path, artifact.paths):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"0")
    digests = {path: md5(Path(path)) for path in artifact.paths}
    recipe = graph.recipe(*artifact)
    record = {"recipe": recipe, "md5": digests, "seconds": 1.0, "planned": True}
    records.write(artifact.record, record)
"""


def pin(folder: Path, papers: int) -> None:
    """Pins of everything, as `retrograd pin` writes them, and their one object."""
    outs = [f"products/p{k}.nc" for k in range(PRODUCTS)] + ["claims.json"]
    outs += [f"figures/fig{k}.{form}" for k in range(FIGURES) for form in ("png", "svg")]
    digest = hashlib.md5(CONTENT).hexdigest()
    stages, locked = {}, {}
    for index in range(papers):
        slug = f"nobody{index:04}_growth"
        paths = [f"results/{slug}/smoke/{out}" for out in outs]
        meta = {"meta": {"recipe": "0" * 64, "recipe_from_pins": "0" * 64}}
        command = "snakemake --cores 1 --config papers='[\"{slug}\"]' scale=smoke"
        pinned = {"cmd": command, "frozen": True, "outs": [{path: meta} for path in paths]}
        stages[f"{slug}-smoke"] = pinned
        size = {"hash": "md5", "md5": digest, "size": len(CONTENT)}
        locked[f"{slug}-smoke"] = {
            "cmd": command,
            "outs": [{"path": p} | size for p in paths],
        }
    (folder / ".dvc").mkdir()
    settings = "[core]\nanalytics = false\nno_scm = true\nremote = embedded\n"
    settings += "['remote \"embedded\"']\nurl = ../pinned\nverify = true\n"
    (folder / ".dvc" / "config").write_text(settings)
    (folder / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}))
    (folder / "dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": locked}))
    stored = folder / "pinned" / "files" / "md5" / digest[:2] / digest[2:]
    stored.parent.mkdir(parents=True)
    stored.write_bytes(CONTENT)


def measure(papers: int, run: bool) -> Iterator[tuple[str, dict[str, float]]]:
    """What is timed, and what it cost, one by one."""
    figure = "results/nobody0000_growth/smoke/figures/fig0.svg"
    smoke, pinned = ("--config", "scale=smoke"), ("--profile", "workflow/profiles/pinned")
    with tempfile.TemporaryDirectory() as temporary:
        theirs = plain(Path(temporary, "plain"), papers)
        ours = project(Path(temporary, "ours"), papers)
        yield "full dry run, the first", cost(ours, "snakemake", "-n", *smoke)
        yield "full dry run", cost(ours, "snakemake", "-n", *smoke)
        yield "full dry run, plain", cost(theirs, "snakemake", "-n")
        yield "one figure's dry run", cost(ours, "snakemake", "-n", figure, *smoke)
        yield (
            "one figure's dry run, plain",
            cost(theirs, "snakemake", "-n", "out/0/figures/0"),
        )
        if run:
            yield "run", cost(ours, "snakemake", "--cores", "2", *smoke)
        else:
            (ours / "bin").mkdir()
            (ours / "bin" / "retrograd").write_text(NOTHING)
            (ours / "bin" / "retrograd").chmod(0o755)
            yield "jobs that do nothing", cost(ours, "snakemake", "--cores", "2", *smoke)
            shutil.rmtree(ours / "bin")
            cost(ours, sys.executable, "-c", FABRICATE)
        yield "jobs that do nothing, plain", cost(theirs, "snakemake", "--cores", "2")
        yield "nothing to do", cost(ours, "snakemake", "--cores", "1", *smoke)
        yield "nothing to do, plain", cost(theirs, "snakemake", "--cores", "1")
        yield "retrograd plan", cost(ours, "retrograd", "plan", *smoke)
        if not run:
            pin(ours, papers)
            dry = cost(ours, "snakemake", "-n", *pinned, figure, *smoke)
            yield "one figure's dry run, pinned", dry
            yield "dvc status", cost(ours, "dvc", "status")
            (ours / figure).unlink()
            yield "dvc pull of one figure", cost(ours, "dvc", "pull", figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--products", type=int, nargs="+", default=[100, 1000, 10000])
    parser.add_argument("--run", action="store_true", help="really make everything")
    parser.add_argument("--json", action="store_true", help="print JSON, not a table")
    options = parser.parse_args()
    for products in options.products:
        papers = products // PRODUCTS
        jobs = papers * (PRODUCTS + FIGURES + 1)
        if not options.json:
            print(f"{products} products, {jobs} jobs", flush=True)
        for name, used in measure(papers, options.run):
            if options.json:
                entry = {"products": products, "jobs": jobs, "timed": name}
                print(json.dumps(entry | used), flush=True)
            elif used:
                seconds = f"{used['cpu']:8.2f} s CPU {used['clock']:8.2f} s"
                print(f"  {name:<30}{seconds} {used['MB']:6.0f} MB", flush=True)
            else:
                print(f"  {name:<30}more than {LIMIT} s", flush=True)


if __name__ == "__main__":
    main()
