"""`retrograd explain`: what a lone file says of itself, and which commit pinned it."""

from pathlib import Path
from typing import Any

from retrograd import git, pins, stamps
from retrograd.errors import RetrogradError
from retrograd.files import md5


def explain(path: Path) -> dict[str, Any]:
    """Read a product, figure or claims file, wherever it lies.

    Returns:
        `stamp`; `md5`; and inside a clone `pinned_as`, the path it is pinned under now,
        and `commit`, the first commit that pinned its bytes; the same for each input.

    Raises:
        NoStampError: the file has no stamp.
    """
    stamp, digest = stamps.read(path), md5(path)
    try:
        known = {pin.md5: pin.path for pin in pins.read().values()}
    except RetrogradError:
        known = {}  # this folder's pins cannot be read, the file can
    return {
        "file": str(path),
        "md5": digest,
        "stamp": stamp,
        "pinned_as": known.get(digest),
        "commit": git.commit_that_pinned(digest),
        "inputs": {
            name: {
                "md5": its_digest,
                "pinned_as": known.get(its_digest),
                "commit": git.commit_that_pinned(its_digest),
            }
            for name, its_digest in stamp["inputs"].items()
        },
    }


def text(report: dict[str, Any]) -> str:
    stamp = report["stamp"]
    what = next((f"{k} {stamp[k]}" for k in ("product", "figure") if k in stamp), "claims")
    lines = [
        f"{report['file']}: {what} of {stamp['paper']}, scale {stamp['scale']}",
        f"  digest: {report['md5']} {_origin(report)}",
    ]
    if "caption" in stamp:
        lines.append(f"  caption: {stamp['caption']}")
    if "device" in stamp:
        lines.append(f"  device: {stamp['device']}")
    lines += [f"  {key}: {value}" for key, value in stamp.get("parameters", {}).items()]
    lines += [
        f"  made from {name}: {of['md5']} {_origin(of)}"
        for name, of in report["inputs"].items()
    ]
    return "\n".join(lines)


def _origin(found: dict[str, Any]) -> str:
    now = f"pinned as {found['pinned_as']}" if found["pinned_as"] else "not pinned now"
    commit = found["commit"]
    if commit is None:
        return f"({now}; no commit here ever pinned it)"
    return (
        f"({now}; first by {commit['commit'][:12]}, {commit['date']}: {commit['subject']})"
    )
