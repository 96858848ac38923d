"""One at a time: runs in a folder, of which a second one waits and then plans anew; DVC.

Snakemake's own lock makes the second run fail, and outlives a run that was killed. The
operating system's lock on an open file ends with the process that holds it, however that
ends.
"""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

LOCK = Path(".snakemake", "run.lock")
_held: list[TextIO] = []  # open for as long as this process lives


@contextmanager
def turn(path: Path) -> Iterator[None]:
    """Wait for the lock on a file, and hold it for the block."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def hold() -> bool:
    """Take the folder's lock; False if another run held it first, and has now ended.

    Raises:
        OSError: the file system has no locks, or the folder is not writable.
    """
    LOCK.parent.mkdir(exist_ok=True)
    file = open(LOCK, "w", encoding="utf-8")  # noqa: SIM115
    _held.append(file)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print(
            "retrograd: another run is at work in this folder; waiting for it", flush=True
        )
        fcntl.flock(file, fcntl.LOCK_EX)
        return False
    return True
