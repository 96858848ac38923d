"""Files appear whole or not at all, and are known by the digest of their bytes."""

import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from retrograd.errors import RetrogradError


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Give a temporary name beside `path`; take it over when the block ends well.

    Raises:
        RetrogradError: the folder is not writable or the disk is full; the temporary
            file is gone and an earlier file at `path` is untouched.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except (OSError, RuntimeError) as error:  # netCDF reports a full disk as Runtime
        raise RetrogradError(_explain(path, error)) from error
    finally:
        with suppress(OSError):  # it is gone already, or was never made
            temporary.unlink()


def write_text(path: Path, text: str) -> None:
    """Write a text file whole, in UTF-8."""
    with written_whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _explain(path: Path, error: Exception) -> str:
    there = next(p for p in (path.parent, *path.parents) if p.exists())
    free = shutil.disk_usage(there).free / 1e6
    reason = getattr(error, "strerror", None) or str(error)
    return (
        f"{path}: cannot write it: {reason} ({free:.0f} MB free there). "
        "Free some space or make the folder writable, then run the same command again; "
        "no half-written file was left"
    )


def md5(path: Path) -> str:
    """Digest of a file's bytes, as DVC writes it: what a pin in dvc.lock holds.

    Raises:
        RetrogradError: the file is not there or cannot be read.
    """
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "md5").hexdigest()
    except OSError as error:
        raise RetrogradError(f"{path}: cannot read it: {error.strerror}") from error
