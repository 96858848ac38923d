"""`retrograd list`: papers, figures and claims; what is here, pinned, and stale."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from retrograd import claims, staleness
from retrograd.artifacts import Artifact, claims_path
from retrograd.errors import RetrogradError
from retrograd.files import md5
from retrograd.graph import Graph


def inventory(graph: Graph) -> dict[str, Any]:
    """Every artifact of the papers and the scale of a graph, in mode build."""
    return {"papers": [_paper(graph, slug) for slug in graph.papers]}


def _paper(graph: Graph, slug: str) -> dict[str, Any]:
    paper, scale = graph.papers[slug], graph.config.scale
    verdicts = _verdicts(Path(claims_path(slug, scale)))
    return {
        "paper": slug,
        "title": paper.title,
        "reference": paper.reference,
        "scale": scale,
        "artifacts": [_artifact(graph, a) for a in graph.artifacts(slug, scale)],
        "claims": [
            {"id": name, "sentence": claim.sentence, "verdict": verdicts.get(name)}
            for name, claim in paper.claims.items()
        ],
    }


def _verdicts(path: Path) -> Mapping[str, str]:
    try:
        return {claim["id"]: claim["verdict"] for claim in claims.read(path)["claims"]}
    except RetrogradError:
        return {}  # not checked yet, or damaged: `verify` and `fsck` say which


def _artifact(graph: Graph, artifact: Artifact) -> dict[str, Any]:
    paths = artifact.paths
    return {
        "kind": artifact.kind,
        "name": artifact.name,
        "files": paths,
        "here": _here(graph, artifact),
        "pin": _pin(graph, artifact),
        "bytes": sum(graph.pins[path].size for path in paths if path in graph.pins),
    }


def _here(graph: Graph, artifact: Artifact) -> str:
    """absent; current; stale (code or config moved on); or of unknown origin."""
    if not all(map(Path.exists, map(Path, artifact.paths))):
        return "absent"
    known = {staleness.known_recipe(graph, artifact, path) for path in artifact.paths}
    if None in known:
        return "unknown"
    return "current" if known == {graph.recipe(*artifact)} else "stale"


def _pin(graph: Graph, artifact: Artifact) -> str:
    """none; current; stale (the code has outgrown it); differs (from the file here)."""
    pins = [graph.pins.get(path) for path in artifact.paths]
    if None in pins:
        return "none"
    if any(pin.recipe != graph.recipe(*artifact) for pin in pins if pin):
        return "stale"
    here = [(pin, Path(pin.path)) for pin in pins if pin and Path(pin.path).exists()]
    return "differs" if any(md5(path) != pin.md5 for pin, path in here) else "current"


def text(report: Mapping[str, Any]) -> str:
    lines = []
    for paper in report["papers"]:
        lines += [f"{paper['paper']} ({paper['scale']}): {paper['title']}", ""]
        lines += [f"  {'':<34}{'here':<10}{'pin':<10}"]
        for a in paper["artifacts"]:
            name = f"{a['kind']} {a['name']}".strip()
            lines.append(f"  {name:<34}{a['here']:<10}{a['pin']:<10}")
        lines.append("")
        for claim in paper["claims"]:
            verdict = claim["verdict"] or "not checked"
            lines.append(f"  {claim['id']:<5}{verdict:<16}{claim['sentence']}")
        lines.append("")
    return "\n".join(lines).rstrip()
