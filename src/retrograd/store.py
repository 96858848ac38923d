"""Where pinned bytes are kept: DVC's cache and its remotes, of whatever kind they are.

Objects are read through DVC's own file systems, and every byte is hashed before it is
used. DVC's own `fetch` is not called: it deletes an object that it finds corrupt from the
remote, where it may be evidence, or the only copy.
"""

import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from retrograd import lock, pins
from retrograd.errors import RetrogradError
from retrograd.files import md5, written_whole
from retrograd.pins import Pin

# DVC keeps an index of each remote, which two processes cannot open for the first time
# at once ("database is locked").
FETCHING = Path(".dvc", "tmp", "retrograd.lock")
DVC_CONFIG = Path(".dvc", "config")


class Store:
    """The cache and the remotes of the DVC repository in the current folder."""

    @cached_property
    def _repo(self) -> Any:
        from dvc.exceptions import DvcException
        from dvc.repo import Repo

        try:
            return Repo()
        except DvcException as error:
            raise RetrogradError(
                f"{DVC_CONFIG}: DVC cannot open this folder: {error}; pins need a git "
                "clone of the project (git clone), not a bare copy of its files"
            ) from error

    @property
    def remotes(self) -> list[str]:
        """Names of the remotes, the default one first."""
        config = self._repo.config
        default = config["core"].get("remote")
        return sorted(config["remote"], key=lambda name: (name != default, name))

    def address(self, remote: str) -> str:
        return str(self._repo.config["remote"][remote]["url"])

    def cached(self, digest: str) -> Path:
        """Where the cache keeps an object; it need not be there."""
        return Path(self._repo.cache.local.oid_to_path(digest))

    def cached_objects(self) -> Iterator[tuple[str, Path]]:
        """Every object of the cache: its name, which should be its digest, and its file."""
        folder = Path(self._repo.cache.local.path)
        for path in sorted(folder.glob("??/*")):
            if path.suffix not in (".dir", ".unpacked") and path.is_file():
                yield path.parent.name + path.name, path

    def remote_path(self, remote: str, digest: str) -> str:
        return str(self._remote(remote).oid_to_path(digest))

    def remote_digest(self, remote: str, digest: str) -> str | None:
        """Digest of what a remote holds under a name; None if it holds nothing.

        Raises:
            RetrogradError: the remote cannot be reached, or its plug-in is not installed.
        """
        with self._opened(remote, digest) as file:
            if file is None:
                return None
            found = hashlib.md5(usedforsecurity=False)
            while block := file.read(1 << 20):
                found.update(block)
            return found.hexdigest()

    def fetch(self, pin: Pin) -> Path:
        """The pinned bytes as a file of the cache, from the remotes if need be.

        Raises:
            RetrogradError: a corrupt object (both digests are named), or an object that
                is nowhere (the remotes that were asked are named).
        """
        path = self.cached(pin.md5)
        if path.exists():
            found = md5(path)
            if found != pin.md5:
                raise RetrogradError(
                    f"{pin.path}: its object in the cache is corrupt: {path} has digest "
                    f"{found}, the pin is {pin.md5}. Nothing was made from it, nothing "
                    "was deleted; `retrograd fsck` says how to repair it"
                )
            return path
        answers = []
        for remote in self.remotes:
            with lock.turn(FETCHING):
                answer = self._download(remote, pin.md5, path)
            if not answer:
                return path
            answers.append(f"{remote} ({self.address(remote)}): {answer}")
        asked = "; ".join(answers) or "none is configured"
        raise RetrogradError(
            f"{pin.path}: its object {pin.md5} is not to be had. Remotes asked: {asked}. "
            "Two ways on: a remote that has it (dvc remote add NAME ADDRESS), or make it "
            "here: snakemake --cores 1 --config mode=build. `retrograd fsck` says how to "
            "repair a corrupt object"
        )

    def _download(self, remote: str, digest: str, path: Path) -> str:
        """Bring an object into the cache; "" or why it did not come."""
        with TemporaryDirectory(prefix="retrograd-") as folder:
            received = Path(folder, "object")
            try:
                with self._opened(remote, digest) as file, open(received, "wb") as copy:
                    if file is None:
                        return "does not have it"
                    shutil.copyfileobj(file, copy)
            except RetrogradError as error:
                return str(error)
            found = md5(received)
            if found != digest:
                return f"holds a corrupt object, of digest {found}"
            path.parent.mkdir(parents=True, exist_ok=True)
            with written_whole(path) as temporary:
                shutil.copyfile(received, temporary)
        path.chmod(0o444)  # as DVC keeps what is in its cache
        return ""

    def _remote(self, name: str) -> Any:
        try:
            return self._repo.cloud.get_remote_odb(name=name)
        except Exception as error:  # each kind of remote has exceptions of its own
            raise RetrogradError(f"cannot be used: {error or type(error)}") from error

    @contextmanager
    def _opened(self, remote: str, digest: str) -> Iterator[Any]:
        """An object of a remote, open for reading; None if it is not there."""
        store = self._remote(remote)
        path = store.oid_to_path(digest)
        try:
            file = store.fs.open(path, "rb") if store.fs.exists(path) else None
        except Exception as error:
            raise RetrogradError(f"cannot be reached: {error or type(error)}") from error
        try:
            yield file
        except Exception as error:
            raise RetrogradError(f"was lost half-way: {error or type(error)}") from error
        finally:
            if file is not None:
                file.close()


def place(path: str) -> str:
    """Put a pinned artifact at its place, from the cache or a remote.

    Returns:
        One line for the person who watches.

    Raises:
        RetrogradError: there is no such pin, or its bytes are corrupt or not to be had.
    """
    known = pins.read()
    if path not in known:
        raise RetrogradError(f"{path}: nothing is pinned under that name")
    pin, source = known[path], Store().fetch(known[path])
    with written_whole(Path(path)) as temporary:
        shutil.copyfile(source, temporary)
        found = md5(temporary)
        if found != pin.md5:
            raise RetrogradError(f"{path}: the copy has digest {found}, its pin {pin.md5}")
    return f"{path}: {pin.size / 1e3:.0f} kB, as pinned"
