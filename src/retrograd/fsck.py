"""`retrograd fsck`: every object of workspace, cache and remotes, hashed again."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from retrograd import git, pins, records
from retrograd.artifacts import RESULTS
from retrograd.errors import RetrogradError
from retrograd.files import md5
from retrograd.pins import Pin
from retrograd.store import Store

Row = dict[str, Any]


def check() -> Row:
    """Re-hash what is pinned, wherever it is, and what jobs of this machine wrote.

    Returns:
        `checked` per place; `bad`, each with `place`, `what`, `expected` and `found`
        digests (`found` null if absent), and `repair`; of a remote that cannot be read,
        one row with `error` and no digests.
    """
    store, known = Store(), pins.read()
    results = {
        "workspace": list(_workspace(known)),
        "cache": list(_cache(store)),
    } | {f"remote {name}": list(_remote(store, name, known)) for name in store.remotes}
    rows = [row | {"place": place} for place, found in results.items() for row in found]
    bad = [row for row in rows if row["found"] != row["expected"] or "error" in row]
    held = _held(rows)
    for row in bad:
        row.setdefault("repair", _repair(row, held))
    checked = {place: len(found) for place, found in results.items()}
    return {"ok": not bad, "checked": checked, "bad": bad}


def _workspace(known: dict[str, Pin]) -> Iterator[Row]:
    """Pinned files that are here, and files that a record tells of."""
    expected = {path: {pin.md5} for path, pin in known.items()}
    for file in Path(RESULTS).glob("*/*/records/*.json"):
        for path, digest in (
            record["md5"] if (record := records.read(file)) else {}
        ).items():
            expected.setdefault(path, set()).add(digest)
    for path, digests in sorted(expected.items()):
        if Path(path).exists():
            found = md5(Path(path))
            # A file that a job made here, and that is not the pin, is whole all the same.
            yield _row(path, found if found in digests else min(digests), found)


def _cache(store: Store) -> Iterator[Row]:
    for digest, path in store.cached_objects():
        yield _row(str(path), digest, md5(path))


def _remote(store: Store, name: str, known: dict[str, Pin]) -> Iterator[Row]:
    for digest in sorted({pin.md5 for pin in known.values() if pin.remote in ("", name)}):
        try:
            what = store.remote_path(name, digest)
            yield _row(what, digest, store.remote_digest(name, digest))
        except RetrogradError as error:  # it would be the same for all that follow
            why = {"error": str(error), "repair": "then `retrograd fsck` again"}
            yield _row(store.address(name), "", None) | why
            return


def _row(what: str, expected: str, found: str | None) -> Row:
    return {"what": what, "expected": expected, "found": found}


def _held(rows: list[Row]) -> dict[str, set[str]]:
    """Where a whole copy of each digest is."""
    held: dict[str, set[str]] = {}
    for row in rows:
        if row["found"] == row["expected"]:
            held.setdefault(row["expected"], set()).add(row["place"])
    return held


def _repair(row: Row, held: dict[str, set[str]]) -> str:
    what, others = row["what"], sorted(held.get(row["expected"], set()) - {row["place"]})
    if row["place"] == "workspace":
        return (
            f"remove it (rm {what}) and make or fetch it again: snakemake --cores 1 {what}"
        )
    if row["place"] == "cache" and others:
        return (
            f"remove it (rm -f {what}); it will be fetched again from: {', '.join(others)}"
        )
    if git.tracks(what):
        return f"git has it: git checkout -- {what}"
    if "cache" in others:
        remote = row["place"].removeprefix("remote ")
        return (
            f"bring it again, whole: retrograd pin --remote {remote}; or remove what is "
            f"there by its own tools, then dvc push --remote {remote}"
        )
    if others:
        return f"a whole copy is in: {', '.join(others)}; copy it from there"
    return "no whole copy is known: ask who pinned it, or make it and `retrograd pin`"


def text(report: Row) -> str:
    lines = []
    for row in report["bad"]:
        if "error" in row:
            lines.append(f"{row['place']} ({row['what']}): it {row['error']}")
            lines.append(f"    {row['repair']}")
            continue
        found = "is missing" if row["found"] is None else f"has digest {row['found']}"
        lines.append(f"{row['place']}: {row['what']} {found}, expected {row['expected']}")
        lines.append(f"    {row['repair']}")
    counts = ", ".join(f"{n} in {place}" for place, n in report["checked"].items())
    verdict = "all whole" if report["ok"] else f"{len(report['bad'])} not whole"
    return "\n".join([*lines, f"hashed {counts}: {verdict}"])
