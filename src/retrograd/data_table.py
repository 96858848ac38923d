"""data/datasets.yaml: which data sets there are, under which terms, and how they are had.

A file is taken from data/<name>/ if it is there with the right digest; else from the
folder that the environment variable RETROGRAD_DATA_MIRROR names (laid out <name>/<file>),
else from its public address. It appears under its name only when whole and checked.

The graph reads this on every parse: nothing heavy in here.
"""

import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field
from ruamel.yaml import YAML

from retrograd.errors import RetrogradError, check_known
from retrograd.parameters import Model, Size

FOLDER = Path("data")
MIRROR = "RETROGRAD_DATA_MIRROR"
TIMEOUT = 30  # seconds without a byte


class File(Model):
    """One file of a data set."""

    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    bytes: Size
    shape: list[int] = []
    """of the numbers it holds; empty for text"""
    licence: str = ""
    """if it has its own"""
    address: str = ""
    """of this very file, if it is not in the data set's `addresses`"""
    derived: str = ""
    """how it was made, and from what public address, if no address has it as it is"""


class DataSet(Model):
    """One row of data/datasets.yaml."""

    version: str
    citation: str
    licence: str
    format: str
    addresses: list[str] = []
    """public folders that hold the files, in order of preference; each ends in /"""
    files: Annotated[dict[str, File], Field(min_length=1)]
    not_checked: str = ""
    """what of this row nobody here could check, and why"""

    def public(self, file: str) -> list[str]:
        """The public addresses of one of its files."""
        own = self.files[file].address
        return [*([own] if own else []), *(folder + file for folder in self.addresses)]


def read_table() -> Mapping[str, DataSet]:
    """The data sets of data/datasets.yaml, by name."""
    return _read(_table_path().resolve())


@cache
def _read(path: Path) -> Mapping[str, DataSet]:
    # Once per process: each job reads the graph, and YAML in pure Python takes its time.
    rows = YAML(typ="safe", pure=True).load(path)
    return {name: DataSet.model_validate(row) for name, row in rows.items()}


def row(name: str) -> DataSet:
    """One data set.

    Raises:
        UsageError: the table has none of that name; names the nearest.
    """
    table = read_table()
    check_known(str(_table_path()), name, table, "data set")
    return table[name]


def fetch(name: str, file: str) -> Path:
    """Have a file of a data set, and give its path.

    Raises:
        RetrogradError: no source has it, or one has another content; says what was tried
            and the mend.
    """
    import pooch  # type: ignore[import-untyped]

    entry = row(name).files[file]
    tried = []
    pooch.get_logger().setLevel("WARNING")
    for source, downloader in _sources(name, file):
        try:
            found = pooch.retrieve(
                source,
                known_hash=f"sha256:{entry.sha256}",
                fname=file,
                path=FOLDER / name,
                downloader=downloader,
            )
        except ValueError as error:  # its message names both digests
            raise RetrogradError(
                f"data set {name}: {source} is not the file of data/datasets.yaml: {error} "
                "Get it from elsewhere, or mend the table if the data set has a new version"
            ) from error
        except OSError as error:
            tried.append(f"{source} ({_first_line(error)})")
        else:
            return Path(found)
    origin = (
        f" No public address has it as it is: {entry.derived}." if entry.derived else ""
    )
    raise RetrogradError(
        f"data set {name}: cannot get {file} ({entry.bytes / 1e6:.1f} MB); tried "
        f"{'; '.join([str(FOLDER / name / file), *tried])}.{origin} Put it into "
        f"{FOLDER / name}/, or into {name}/ of a folder that the environment variable "
        f"{MIRROR} names, or give this machine a network"
    )


def at_hand(name: str) -> bool:
    """Whether every file is in the data folder or the mirror; no network, no hashing."""
    folders = [FOLDER / name, *([Path(_mirror(), name)] if _mirror() else [])]
    return all(any(Path(f, file).is_file() for f in folders) for file in row(name).files)


def report(names: Iterable[str] = ()) -> dict[str, Any]:
    """The rows asked for, or all, and which are at hand: `retrograd list --data`."""
    names = list(names) or list(read_table())
    return {
        "data_sets": [
            {"name": name, "at_hand": at_hand(name)} | row(name).model_dump()
            for name in names
        ]
    }


def text(report: Mapping[str, Any]) -> str:
    """A report in words."""
    return "\n\n".join("\n".join(_lines(entry)) for entry in report["data_sets"])


# ---- how -------------------------------------------------------------------------------

Downloader = Callable[[str, Any, Any], None]


def _table_path() -> Path:
    return FOLDER / "datasets.yaml"


def _mirror() -> str:
    return os.environ.get(MIRROR, "")


def _sources(name: str, file: str) -> Iterator[tuple[str, Downloader]]:
    """Where a file may be, and how it is had from there: the mirror, then the addresses."""
    import pooch

    if _mirror():
        yield str(Path(_mirror(), name, file)), _copy
    for address in row(name).public(file):
        yield address, pooch.HTTPDownloader(progressbar=False, timeout=TIMEOUT)


def _copy(source: str, target: Any, _: Any) -> None:
    shutil.copyfile(source, target)


def _first_line(error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return "no such file"
    text: str = str(error).partition("\n")[0]
    return text[:120] or type(error).__name__


def _lines(entry: Mapping[str, Any]) -> Iterator[str]:
    here = "at hand" if entry["at_hand"] else "not here"
    yield f"{entry['name']}: {here}; {entry['licence']}"
    yield f"  {entry['citation']} ({entry['version']}; {entry['format']})"
    for address in entry["addresses"]:
        yield f"  {address}"
    for name, file in entry["files"].items():
        shape = f", {' × '.join(map(str, file['shape']))}" if file["shape"] else ""
        own = f"; {file['licence']}" if file["licence"] else ""
        yield f"    {name}: {file['bytes'] / 1e3:.0f} kB{shape}{own}"
        yield from (f"      {file[key]}" for key in ("address", "derived") if file[key])
    if entry["not_checked"]:
        yield f"  not checked: {entry['not_checked']}"
