"""Which results are not what a run would make, where Snakemake cannot know.

Snakemake remembers with which recipe it made a file. Of a file that was pulled it
remembers nothing: there the recipe beside the pin tells. And in pinned mode each product
must be its pin, to the byte.
"""

import os
import time
from collections.abc import Collection, Iterable
from pathlib import Path

from retrograd import records
from retrograd.artifacts import Artifact
from retrograd.files import md5, write_text
from retrograd.graph import Graph
from retrograd.store import Store

SNAKEMAKES_MEMORY = Path(".snakemake", "metadata")
MARKER = ".snakemake/outdated-results"
PULLED = 86400.0  # the date of results that were not made here: 2 January 1970


def outdated(graph: Graph, targets: Iterable[Artifact]) -> list[Artifact]:
    """What the targets need, is there, and would be made otherwise by this run.

    A file of unknown origin, neither made here nor pinned, counts as outdated.
    """
    return [a for a in graph.needed(targets) if _is_outdated(graph, a)]


def _is_outdated(graph: Graph, artifact: Artifact) -> bool:
    there = [path for path in artifact.paths if Path(path).exists()]
    if not there:
        return False
    if artifact.kind == "product" and graph.config.mode == "pinned":
        return any(md5(Path(path)) != graph.pins[path].md5 for path in there)
    record = records.read(artifact.record)
    if record and record["planned"] and SNAKEMAKES_MEMORY.is_dir():
        return False
    recipe = graph.recipe(*artifact)
    return any(known_recipe(graph, artifact, path) != recipe for path in there)


def known_recipe(graph: Graph, artifact: Artifact, path: str) -> str | None:
    """The recipe that a file which is there was made by; None if nobody knows."""
    digest = md5(Path(path))
    record, pin = records.read(artifact.record), graph.pins.get(path)
    if record and record["md5"].get(path) == digest:
        return record["recipe"]
    return pin.recipe if pin and digest == pin.md5 else None


def mark(needed: Iterable[Artifact], outdated: Collection[Artifact]) -> None:
    """Make dates say what Snakemake should think, since it cannot be told to ignore them.

    Results that were not made here get one old date: the dates of files that were pulled
    or copied are those of the transfer, and a training newer than its figure by an
    accident of the network would be drawn, or run, again. Files that were made here
    (they have a record) keep their dates. Outdated ones get the old date too, and the
    rules name MARKER among their inputs: new whenever something is outdated.
    """
    if outdated:
        # Snakemake disregards a newer input whose content is what it was.
        write_text(Path(MARKER), "\n".join([str(time.time_ns()), *map(str, outdated)]))
    for artifact in needed:
        if artifact in outdated or not artifact.record.exists():
            for path in filter(os.path.exists, artifact.paths):
                os.utime(path, (PULLED, PULLED))


def set_aside(graph: Graph, targets: Iterable[Artifact]) -> list[Path]:
    """Keep products that are not their pins, and are in no cache, under another name.

    Returns:
        The new names.
    """
    kept, store = [], Store()
    for artifact in outdated(graph, targets):
        if artifact.kind == "product":
            (path,) = map(Path, artifact.paths)
            digest = md5(path)
            if not store.cached(digest).exists():
                copy = path.parent.with_name("replaced") / f"{path.stem}-{digest[:8]}.nc"
                copy.parent.mkdir(exist_ok=True)
                kept.append(path.replace(copy))
    return kept
