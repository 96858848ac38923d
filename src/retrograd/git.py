"""What git knows of the clone, if this is one."""

import subprocess
from typing import Any

from retrograd.pins import LOCK


def _git(*arguments: str) -> str | None:
    """What git prints; None if there is no git, no clone, or it fails."""
    try:
        run = subprocess.run(["git", *arguments], capture_output=True, text=True)
    except OSError:
        return None
    return run.stdout.strip() if run.returncode == 0 else None


def head() -> str | None:
    """The commit that is checked out."""
    return _git("rev-parse", "HEAD")


def is_changed() -> bool | None:
    """Whether tracked files differ from that commit."""
    changes = _git("status", "--porcelain", "--untracked-files=no")
    return None if changes is None else bool(changes)


def tracks(path: str) -> bool:
    """Whether the commit that is checked out has a file."""
    return _git("ls-files", "--error-unmatch", "--", path) is not None


def commit_that_pinned(digest: str) -> dict[str, Any] | None:
    """The first commit whose dvc.lock holds a digest: id, date and subject."""
    if not LOCK.exists():
        return None
    found = _git(
        "log", "--reverse", "--format=%H%x09%cs%x09%s", f"-S{digest}", "--", str(LOCK)
    )
    if not found:
        return None
    commit, date, subject = found.splitlines()[0].split("\t", 2)
    return {"commit": commit, "date": date, "subject": subject}
