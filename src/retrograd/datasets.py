"""Real data sets: digits, which scikit-learn carries, and those of data/datasets.yaml.

A file is taken from data/<name>/ if it is there with the right digest; else from the
folder that the environment variable RETROGRAD_DATA_MIRROR names (laid out <name>/<file>),
else from its public address. It appears under its name only when whole and checked.
Nothing is unpickled.
"""

import gzip
import os
import shutil
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pooch  # type: ignore[import-untyped]
from numpy.typing import NDArray
from pydantic import Field
from ruamel.yaml import YAML

from retrograd.errors import RetrogradError, check_known
from retrograd.parameters import Model

FOLDER = Path("data")
MIRROR = "RETROGRAD_DATA_MIRROR"
Name = Literal["digits", "mnist", "fashion_mnist", "cifar10"]
TIMEOUT = 30  # seconds without a byte


class File(Model):
    """One file of a data set."""

    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    bytes: Annotated[int, Field(ge=1)]
    shape: list[int]
    """of what it holds"""


class DataSet(Model):
    """One row of data/datasets.yaml."""

    version: str
    citation: str
    licence: str
    format: str
    addresses: Annotated[list[str], Field(min_length=1)]
    """public folders that hold the files, in order of preference; each ends in /"""
    files: Annotated[dict[str, File], Field(min_length=1)]
    checked: bool = True
    """whether we have had the files and read them"""


@dataclass(frozen=True)
class Labelled:
    """Training and test images with their classes.

    Attributes:
        train_x: float32 in [0, 1], (image, pixel).
        train_y: int64 classes 0 to 9, (image,).
        test_x: as train_x.
        test_y: as train_y.
    """

    train_x: NDArray[np.float32]
    train_y: NDArray[np.int64]
    test_x: NDArray[np.float32]
    test_y: NDArray[np.int64]


# ---- the data sets -----------------------------------------------------------------------


def digits() -> Labelled:
    """UCI optical digits, 8 × 8 (CC BY 4.0): 1437 training and 360 test images.

    The order is that of default_rng(0), the same for everyone.
    """
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(x))
    x, y = (x[order] / 16).astype(np.float32), y[order].astype(np.int64)
    return Labelled(x[:1437], y[:1437], x[1437:], y[1437:])


def mnist() -> Labelled:
    """MNIST, 28 × 28: 60000 training and 10000 test images."""
    return _mnist_like("mnist")


def fashion_mnist() -> Labelled:
    """Fashion-MNIST, 28 × 28: 60000 training and 10000 test images."""
    return _mnist_like("fashion_mnist")


def cifar10() -> Labelled:
    """CIFAR-10, 3 × 32 × 32: 50000 training and 10000 test images."""
    path = fetch("cifar10", "cifar-10-binary.tar.gz")
    with tarfile.open(path, "r:gz") as archive:
        parts = {name: _records(archive, name) for name in _CIFAR10_PARTS}
    train = np.concatenate([parts[name] for name in _CIFAR10_PARTS[:-1]])
    test = parts[_CIFAR10_PARTS[-1]]
    return Labelled(*_split(train), *_split(test))


def named(name: Name) -> Labelled:
    """The labelled images that go by a name."""
    return _BY_NAME[name]()


_BY_NAME: dict[Name, Callable[[], Labelled]] = {
    "digits": digits,
    "mnist": mnist,
    "fashion_mnist": fashion_mnist,
    "cifar10": cifar10,
}


def fetch(name: str, file: str) -> Path:
    """Have a file of a data set, and give its path.

    Raises:
        RetrogradError: no source has it, or one has another content; says what was tried
            and the mend.
    """
    table = read_table()
    check_known(str(_table_path()), name, table, "data set")
    entry = table[name].files[file]
    tried = []
    pooch.get_logger().setLevel("WARNING")
    for source, downloader in _sources(name, file, table[name].addresses):
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
    raise RetrogradError(
        f"data set {name}: cannot get {file} ({entry.bytes / 1e6:.1f} MB); tried "
        f"{'; '.join(tried)}. Put it into {FOLDER / name}/, or into {name}/ of a folder "
        f"that the environment variable {MIRROR} names, or give this machine a network"
    )


def read_table() -> dict[str, DataSet]:
    """The data sets of data/datasets.yaml, by name."""
    rows = YAML(typ="safe", pure=True).load(_table_path())
    return {name: DataSet.model_validate(row) for name, row in rows.items()}


# ---- how -------------------------------------------------------------------------------

_CIFAR10_PARTS = [
    f"cifar-10-batches-bin/{part}.bin"
    for part in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch")
]

Downloader = Callable[[str, Any, Any], None]


def _table_path() -> Path:
    return FOLDER / "datasets.yaml"


def _sources(
    name: str, file: str, addresses: list[str]
) -> Iterator[tuple[str, Downloader]]:
    """Where a file may be, and how it is had from there: the mirror, then the addresses."""
    mirror = os.environ.get(MIRROR)
    if mirror:
        yield str(Path(mirror, name, file)), _copy
    for address in addresses:
        yield address + file, pooch.HTTPDownloader(progressbar=False, timeout=TIMEOUT)


def _copy(source: str, target: Any, _: Any) -> None:
    shutil.copyfile(source, target)


def _first_line(error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return "no such file"
    text: str = str(error).partition("\n")[0]
    return text[:120] or type(error).__name__


def _mnist_like(name: str) -> Labelled:
    """The four gzip IDX files of MNIST and of those made like it."""
    images, labels = "images-idx3-ubyte.gz", "labels-idx1-ubyte.gz"
    train_x, train_y, test_x, test_y = (
        _idx(name, f"{part}-{kind}")
        for part in ("train", "t10k")
        for kind in (images, labels)
    )
    return Labelled(_pixels(train_x), _classes(train_y), _pixels(test_x), _classes(test_y))


def _idx(name: str, file: str) -> NDArray[np.uint8]:
    """Read a gzip IDX file of uint8: two zeros, 8, the number of axes, their lengths."""
    content = gzip.decompress(fetch(name, file).read_bytes())
    axes = content[3]
    shape = np.frombuffer(content, ">u4", count=axes, offset=4).tolist()
    expected = read_table()[name].files[file].shape
    if content[:3] != b"\0\0\x08" or shape != expected:
        raise RetrogradError(
            f"{FOLDER / name / file}: holds uint8 of shape {shape}, where "
            f"data/datasets.yaml says {expected}; mend the table"
        )
    return np.frombuffer(content, np.uint8, offset=4 + 4 * axes).reshape(shape)


def _records(archive: tarfile.TarFile, name: str) -> NDArray[np.uint8]:
    """Records of CIFAR-10, (image, 1 + 3072): the class, then the pixels."""
    member = archive.extractfile(name)
    if member is None:
        raise RetrogradError(f"{archive.name!r}: {name} in it is no file")
    return np.frombuffer(member.read(), np.uint8).reshape(-1, 1 + 3 * 32 * 32)


def _split(
    records: NDArray[np.uint8],
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    return _pixels(records[:, 1:]), _classes(records[:, 0])


def _pixels(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    return images.reshape(len(images), -1).astype(np.float32) / np.float32(255)


def _classes(labels: NDArray[np.uint8]) -> NDArray[np.int64]:
    return labels.astype(np.int64)
