"""Where pinned bytes are kept: DVC's cache and its remotes, of whatever kind they are.

Objects are read and written through DVC's own file systems, and every byte is hashed
before it is used. DVC's own `fetch` is not called: it deletes an object that it finds
corrupt from the remote, where it may be evidence, or the only copy. Nor is its `push`: it
takes what is under an object's name for the object, half-written or not.
"""

import hashlib
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

from retrograd import lock, pins
from retrograd.errors import RetrogradError
from retrograd.files import md5, written_whole
from retrograd.patience import TIMEOUT, Unanswered, patiently, seconds
from retrograd.pins import Pin

# DVC keeps an index of each remote, which two processes cannot open for the first time
# at once ("database is locked").
FETCHING = Path(".dvc", "tmp", "retrograd.lock")
DVC_CONFIG = Path(".dvc", "config")
BLOCK = 1 << 18  # bytes read at a time
SLOWEST = 50_000  # bytes per second: an upload is one call, which may take its time
REFUSED = re.compile(
    r"denied|forbidden|unauthori[sz]ed|credential|\b40[13]\b|PermissionError", re.I
)
T = TypeVar("T")


class Store:
    """The cache and the remotes of the DVC repository in the current folder."""

    def __init__(self) -> None:
        seconds()  # a wrong limit is refused before anything is asked
        self._opened: dict[str, Any] = {}

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
        """Where a remote is, without the password that its address may hold."""
        url = str(self._repo.config["remote"][remote]["url"])
        return re.sub(r"(//[^/:@]*):[^/@]*@", r"\1:***@", url)

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
            RetrogradError: the remote does not let us know; its text goes after the name
                of the remote.
        """
        found = hashlib.md5(usedforsecurity=False)
        return found.hexdigest() if self._read(remote, digest, found.update) else None

    def is_there(self, remote: str) -> bool:
        """Whether a remote holds anything at all; false for a drive not mounted.

        Raises:
            RetrogradError: as `remote_digest`.
        """
        return self._ask(remote, lambda odb, _: bool(odb.fs.exists(odb.path)))

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
        for remote in sorted(self.remotes, key=lambda name: name != pin.remote):
            answer = self._download(remote, pin.md5, path)
            if not answer:
                return path
            answers.append(f"{remote} ({self.address(remote)}): {answer}")
        asked = "; ".join(answers) or "none is configured"
        raise RetrogradError(
            f"{pin.path}: its object {pin.md5} is not to be had. Remotes asked: {asked}. "
            "Two ways on: a remote that has it (dvc remote add NAME ADDRESS), or make it "
            "here: snakemake --cores 1 --config mode=build. `retrograd fsck` says how to "
            "repair a corrupt object, docs/remotes.md how to set up a remote"
        )

    def push(self, pinned: Iterable[Pin], remote: str) -> None:
        """Bring objects of the cache to a remote; one that it has whole already stays.

        Raises:
            RetrogradError: the cache or the remote fails; a whole object under the name
                of each that was brought, and nothing half-written under any.
        """
        for pin in pinned:
            try:
                if self.remote_digest(remote, pin.md5) != pin.md5:
                    self._upload(remote, pin)
            except RetrogradError as error:
                raise RetrogradError(
                    f"{pin.path}: cannot push it to the remote '{remote}' "
                    f"({self.address(remote)}): it {error}"
                ) from error

    def _upload(self, remote: str, pin: Pin) -> None:
        source = self.cached(pin.md5)
        if (found := md5(source)) != pin.md5:
            raise RetrogradError(
                f"was to have a corrupt object of the cache: {source} has digest {found}; "
                f"remove it (rm -f {source}), then pin again"
            )

        def upload(odb: Any, _: Callable[[], None]) -> None:
            from dvc_objects.fs.base import ObjectFileSystem
            from dvc_objects.fs.utils import as_atomic

            path = odb.oid_to_path(pin.md5)
            if isinstance(odb.fs, ObjectFileSystem):  # there, whole or not at all
                odb.fs.put_file(str(source), path)
            else:
                with as_atomic(odb.fs, path, create_parents=True) as temporary:
                    odb.fs.put_file(str(source), temporary)
                    if odb.fs.exists(path):  # corrupt, and WebDAV moves nothing onto a file
                        odb.fs.remove(path)
            odb.protect(path)

        self._ask(remote, upload, more=pin.size / SLOWEST)
        found_there = self.remote_digest(remote, pin.md5)
        if found_there != pin.md5:
            raise RetrogradError(f"gave back other bytes, of digest {found_there}")

    def _download(self, remote: str, digest: str, path: Path) -> str:
        """Bring an object into the cache; "" or why it did not come."""
        with TemporaryDirectory(prefix="retrograd-") as folder:
            received = Path(folder, "object")
            try:
                with open(received, "wb") as copy:
                    if not self._read(remote, digest, copy.write):
                        return self._absent(remote)
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

    def _absent(self, remote: str) -> str:
        if self.is_there(remote):
            return "does not have it"
        return (
            "does not have it, nor anything else: nothing was pushed there yet, its "
            "address is wrong, or a drive is not mounted"
        )

    def _read(self, remote: str, digest: str, take: Callable[[bytes], object]) -> bool:
        """Hand over an object of a remote, block by block; False if it is not there."""

        def read(odb: Any, has_moved: Callable[[], None]) -> bool:
            try:
                # To ask whether it exists would not do: some kinds of remote say no when
                # they cannot be reached.
                file = odb.fs.open(odb.oid_to_path(digest), "rb")
            except FileNotFoundError:
                return False
            with file:
                while block := file.read(BLOCK):
                    has_moved()
                    take(block)
            return True

        return self._ask(remote, read)

    def _ask(
        self, remote: str, ask: Callable[[Any, Callable[[], None]], T], more: float = 0.0
    ) -> T:
        """Ask something of a remote's object store, which may fail or never answer."""
        odb = self._remote(remote)
        try:
            return patiently(lambda has_moved: ask(odb, has_moved), more)
        except Exception as error:  # each kind of remote has exceptions of its own
            raise RetrogradError(_explained(error, remote)) from error

    def _remote(self, name: str) -> Any:
        if name not in self._opened:
            try:
                with lock.turn(FETCHING):
                    odb = self._repo.cloud.get_remote_odb(name=name)
                if odb.fs.protocol == "ssh":
                    # DVC trusts every host, and waits half an hour for one, during which
                    # no other can be asked; here, those that ssh knows, and not for long.
                    odb.fs.fs_args |= {"known_hosts": (), "timeout": seconds()}
            except Exception as error:
                raise RetrogradError(f"cannot be used: {_one_line(error)}") from error
            self._opened[name] = odb
        return self._opened[name]


def _explained(error: Exception, remote: str) -> str:
    """What a remote did, after its name, and the mend."""
    said = _one_line(error)
    if isinstance(error, Unanswered | TimeoutError):
        return (
            f"did not answer for {seconds():.0f} s: try again, or wait longer ({TIMEOUT}, "
            "in seconds)"
        )
    if isinstance(error, FileNotFoundError):
        return (
            f"has no such place ({said}): make the folder or the bucket of its address "
            "there, or mend the address (dvc remote modify)"
        )
    if type(error).__name__ == "HostKeyNotVerifiable":
        return (
            f"has a host key that is not in your known_hosts ({said}): if it is the key "
            "that its owner told you of, log in once by ssh, as it does"
        )
    if isinstance(error, PermissionError) or REFUSED.search(said):
        return (
            f"refuses access ({said}): give it your credentials, outside git: dvc remote "
            f"modify --local {remote} ... (docs/remotes.md)"
        )
    return (
        f"cannot be reached, or was lost half-way ({said}): is the server up, and the "
        "address right (dvc remote list)? Then run the same command again"
    )


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if len(text) > 20 else f"{type(error).__name__}: {text}".rstrip(": ")


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
