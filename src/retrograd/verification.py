"""`retrograd verify`: every rebuilt file against its pin, and a certificate of it."""

import platform
import shutil
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from retrograd import git, verdicts
from retrograd.artifacts import Artifact
from retrograd.errors import RetrogradError
from retrograd.files import md5, write_text
from retrograd.graph import Graph
from retrograd.pins import Pin
from retrograd.store import Store
from retrograd.verdicts import Finding, Verdict

CERTIFICATE = "https://codecheck.org.uk/spec/config/1.0/"


def verify(graph: Graph, targets: Sequence[Artifact]) -> dict[str, Any]:
    """Judge the files of the targets, and of the products that figures are drawn from.

    Raises:
        RetrogradError: none of them is pinned.
    """
    store = Store()
    wanted = dict.fromkeys(a for target in targets for a in _with_products(graph, target))
    files = [
        _file(graph, artifact, path, store)
        for artifact in wanted
        for path in artifact.paths
        if path in graph.pins
    ]
    if not files:
        raise RetrogradError(
            f"nothing is pinned of {', '.join(map(str, targets[:3]))}; `retrograd list` "
            "says what is"
        )
    _judge_by_data(files)
    counts = {str(v): sum(f["verdict"] == v for f in files) for v in Verdict}
    same = counts["SAME_BYTES"] + counts["SAME_NUMBERS"] == len(files)
    return {"ok": same, "counts": counts, "files": files}


def _with_products(graph: Graph, target: Artifact) -> list[Artifact]:
    return [*(graph.artifact(path) for path in graph.inputs(*target)), target]


def _file(graph: Graph, artifact: Artifact, path: str, store: Store) -> dict[str, Any]:
    pin, inputs = graph.pins[path], graph.inputs(*artifact)
    finding = _finding(pin, store)
    return {
        "file": path,
        "kind": artifact.kind,
        "verdict": finding.verdict,
        "reason": finding.reason,
        "md5": md5(Path(path)) if Path(path).exists() else None,
        "pinned_md5": pin.md5,
        "inputs": inputs,
        "variables": finding.variables,
    }


def _finding(pin: Pin, store: Store) -> Finding:
    path = Path(pin.path)
    if not path.exists():
        return Finding(Verdict.UNVERIFIABLE, "it has not been made here")
    if md5(path) == pin.md5:
        return Finding(Verdict.SAME_BYTES)
    with TemporaryDirectory(prefix="retrograd-") as folder:
        try:
            pinned = shutil.copy(store.fetch(pin), Path(folder, path.name))
        except RetrogradError as error:
            return Finding(Verdict.UNVERIFIABLE, str(error))
        return verdicts.compare(path, Path(pinned))


def _judge_by_data(files: list[dict[str, Any]]) -> None:
    """A figure, or a claim, that was made from other data is another one."""
    products = {f["file"]: f for f in files if f["kind"] == "product"}
    for file in files:
        other = [
            p
            for p in file["inputs"]
            if products.get(p, {}).get("verdict") == Verdict.DIFFERENT
        ]
        if other and file["verdict"] == Verdict.SAME_NUMBERS:
            file["verdict"] = Verdict.DIFFERENT
            file["reason"] = f"made from other data: {', '.join(other)}"


def text(report: dict[str, Any]) -> str:
    lines = []
    for file in report["files"]:
        reason = f"  ({file['reason']})" if file["reason"] else ""
        lines.append(f"{file['verdict']:<12}  {file['file']}{reason}")
        lines += [
            f"    {v['verdict']:<12}  {v['name']}: {v['reason']}"
            for v in file["variables"]
            if v["verdict"] != Verdict.SAME_BYTES
        ]
    counts = ", ".join(f"{n} {name}" for name, n in report["counts"].items() if n)
    return "\n".join([*lines, f"{len(report['files'])} files: {counts}"])


def write_certificate(path: Path, graph: Graph, report: dict[str, Any]) -> None:
    """Write what was checked, in the manner of a CODECHECK manifest (YAML).

    The fields that only a person can fill in are there, empty.
    """
    import yaml

    slugs = dict.fromkeys(Path(f["file"]).parts[1] for f in report["files"])
    papers = [graph.papers[slug] for slug in slugs]
    certificate = {
        "version": CERTIFICATE,
        "paper": [
            {"title": p.title, "authors": p.authors, "reference": p.reference}
            for p in papers
        ],
        "codechecker": [{"name": "", "ORCID": ""}],
        "check_time": datetime.now(UTC).isoformat(timespec="seconds"),
        "summary": ", ".join(f"{n} {name}" for name, n in report["counts"].items() if n),
        "commit": git.head(),
        "uncommitted_changes": git.is_changed(),
        "machine": {
            "processor": platform.machine(),
            "system": f"{platform.system()} {platform.release().split('-')[0]}",
            "python": platform.python_version(),
        },
        "manifest": [
            {
                "file": f["file"],
                "comment": f"{f['verdict']}: {f['reason'] or 'the pinned bytes'}",
                "md5": f["md5"],
                "pinned_md5": f["pinned_md5"],
            }
            for f in report["files"]
        ],
    }
    write_text(path, yaml.safe_dump(certificate, sort_keys=False, allow_unicode=True))
