"""Real data sets, as arrays: digits, which scikit-learn carries, and data/datasets.yaml's.

Nothing is unpickled.
"""

import gzip
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import PurePosixPath
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from retrograd.data_table import fetch, row
from retrograd.errors import RetrogradError

Name = Literal["digits", "mnist", "fashion_mnist", "cifar10", "cifar100"]


@dataclass(frozen=True)
class Labelled:
    """Training and test images with their classes.

    Attributes:
        train_x: float32 in [0, 1], (image, pixel).
        train_y: int64 classes from 0, (image,).
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
    batches = [f"cifar-10-batches-bin/data_batch_{i}.bin" for i in range(1, 6)]
    return _cifar("cifar10", batches, "cifar-10-batches-bin/test_batch.bin", labels=1)


def cifar100() -> Labelled:
    """CIFAR-100, 3 × 32 × 32: 50000 training and 10000 test images of 100 fine classes."""
    parts = [f"cifar-100-binary/{part}.bin" for part in ("train", "test")]
    return _cifar("cifar100", parts[:1], parts[1], labels=2)


def named(name: Name) -> Labelled:
    """The labelled images that go by a name."""
    return _BY_NAME[name]()


_BY_NAME: dict[Name, Callable[[], Labelled]] = {
    "digits": digits,
    "mnist": mnist,
    "fashion_mnist": fashion_mnist,
    "cifar10": cifar10,
    "cifar100": cifar100,
}


def kmnist_test() -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The test set of Kuzushiji-MNIST, 28 × 28: 10000 images and their classes."""
    images, labels = (
        _npz("kmnist", f"kmnist-test-{kind}.npz") for kind in ("imgs", "labels")
    )
    return _pixels(images), _classes(labels)


def natural_images() -> NDArray[np.float32]:
    """24 photographs, luminance in [0, 1], (image, row, column) = (24, 512, 768)."""
    images = _npz("natural_images", "kodak24_gray_u8.npz", "images")
    return images.astype(np.float32) / np.float32(255)


@dataclass(frozen=True)
class Characters:
    """Drawings of handwritten characters.

    Attributes:
        ink: 1 where there is ink, else 0; uint8, (image, 105, 105).
        alphabet: its name, (image,).
        character: number within the alphabet from 0, int64, (image,).
        drawer: from 0, int64, (image,).
    """

    ink: NDArray[np.uint8]
    alphabet: NDArray[np.str_]
    character: NDArray[np.int64]
    drawer: NDArray[np.int64]


def omniglot(part: Literal["small1", "small2"]) -> Characters:
    """One of the two small background sets of Omniglot: 5 alphabets, 20 drawers.

    The two share two alphabets. Images come in the order of their paths.
    """
    from PIL import Image

    with zipfile.ZipFile(fetch("omniglot", f"images_background_{part}.zip")) as archive:
        paths = sorted(name for name in archive.namelist() if name.endswith(".png"))
        drawings = [np.array(Image.open(BytesIO(archive.read(path)))) for path in paths]
    names = [PurePosixPath(path).parts[-3:] for path in paths]
    return Characters(
        ink=1 - np.array(drawings, np.uint8),
        alphabet=np.array([alphabet for alphabet, _, _ in names]),
        character=np.array([int(n.removeprefix("character")) - 1 for _, n, _ in names]),
        drawer=np.array([int(PurePosixPath(n).stem.split("_")[1]) - 1 for *_, n in names]),
    )


def text(corpus: str) -> str:
    """A corpus of plain text, by the name of its file without .txt."""
    return fetch("text", f"{corpus}.txt").read_text(encoding="utf-8")


# ---- how -------------------------------------------------------------------------------


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
    if content[:3] != b"\0\0\x08":
        raise RetrogradError(f"data set {name}: {file} is no IDX file of uint8")
    values = np.frombuffer(content, np.uint8, offset=4 + 4 * axes).reshape(shape)
    _check_shape(name, file, values)
    return values


def _npz(name: str, file: str, array: str = "arr_0") -> NDArray[np.uint8]:
    with np.load(fetch(name, file), allow_pickle=False) as arrays:
        values: NDArray[np.uint8] = arrays[array]
    _check_shape(name, file, values)
    return values


def _check_shape(name: str, file: str, values: NDArray[np.uint8]) -> None:
    expected = row(name).files[file].shape
    if values.dtype != np.uint8 or list(values.shape) != expected:
        raise RetrogradError(
            f"data set {name}: {file} holds {values.dtype} of shape {list(values.shape)}, "
            f"where data/datasets.yaml says uint8 of {expected}; mend the table"
        )


def _cifar(name: str, train: list[str], test: str, labels: int) -> Labelled:
    """Records of so many labels, of which the last counts, and 3072 pixels each."""
    (file,) = row(name).files
    with tarfile.open(fetch(name, file), "r:gz") as archive:
        parts = [_records(archive, part, labels) for part in (*train, test)]
    found = [np.concatenate(parts[:-1]), parts[-1]]
    (train_x, train_y), (test_x, test_y) = (
        (_pixels(records[:, labels:]), _classes(records[:, labels - 1]))
        for records in found
    )
    return Labelled(train_x, train_y, test_x, test_y)


def _records(archive: tarfile.TarFile, part: str, labels: int) -> NDArray[np.uint8]:
    member = archive.extractfile(part)
    if member is None:
        raise RetrogradError(f"{archive.name!r}: {part} in it is no file")
    return np.frombuffer(member.read(), np.uint8).reshape(-1, labels + 3 * 32 * 32)


def _pixels(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    return images.reshape(len(images), -1).astype(np.float32) / np.float32(255)


def _classes(labels: NDArray[np.uint8]) -> NDArray[np.int64]:
    return labels.astype(np.int64)
