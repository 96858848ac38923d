"""`retrograd figure`: one figure from pinned products, and whether it is the pinned one."""

import json
import os
import subprocess
import sys
from typing import Any

from retrograd.artifacts import Artifact
from retrograd.errors import RetrogradError
from retrograd.graph import Graph
from retrograd.verification import verify

PINNED = "workflow/profiles/pinned"


def figure(graph: Graph, target: Artifact, cores: int | None = None) -> dict[str, Any]:
    """Draw a figure from its pins with Snakemake, then verify it and its products.

    Raises:
        RetrogradError: it was not drawn; with what the jobs said.
    """
    command = [sys.executable, "-m", "snakemake", "--profile", PINNED]
    command += ["--cores", str(cores or os.cpu_count() or 1), target.paths[0]]
    # One paper's config alone: reading them all takes as long as drawing.
    command += ["--config", f"papers={json.dumps([target.paper])}"]
    command += [f"{key}={getattr(graph.config, key)}" for key in ("scale", "seed", "data")]
    run = subprocess.run(command, capture_output=True, text=True)
    if run.returncode:
        lines = (run.stderr + run.stdout).splitlines()
        said = [line.removeprefix("retrograd: ") for line in lines if "retrograd: " in line]
        raise RetrogradError("\n".join(dict.fromkeys(said)) or "\n".join(lines[-20:]))
    return verify(graph, [target])
