"""What the files of the data sets hold."""

import gzip
import io
import os
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from conftest import ROOT
from data_folder import list_files, put
from retrograd import data_table, datasets
from retrograd.errors import RetrogradError

# ---- contents --------------------------------------------------------------------------


def idx(values: np.ndarray) -> bytes:
    head = b"\0\0\x08" + bytes([values.ndim])
    return gzip.compress(head + np.array(values.shape, ">u4").tobytes() + values.tobytes())


def mnist_files(rng: np.random.Generator) -> tuple[dict[str, bytes], list[np.ndarray]]:
    arrays = [
        rng.integers(0, 256, (5, 2, 3), np.uint8),
        rng.integers(0, 10, 5, np.uint8),
        rng.integers(0, 256, (4, 2, 3), np.uint8),
        rng.integers(0, 10, 4, np.uint8),
    ]
    names = [f"{p}-{k}" for p in ("train", "t10k") for k in ("images-idx3", "labels-idx1")]
    files = {f"{n}-ubyte.gz": idx(array) for n, array in zip(names, arrays, strict=True)}
    return files, arrays


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_idx_files_are_read_as_they_were_written(
    name: str, data: Path, mirror: Path
) -> None:
    files, arrays = mnist_files(np.random.default_rng(0))
    shapes = {f: list(a.shape) for f, a in zip(files, arrays, strict=True)}
    list_files(data, name, files, shapes)
    put(mirror, name, files)
    found = getattr(datasets, name)()
    np.testing.assert_array_equal(np.rint(found.train_x * 255), arrays[0].reshape(5, 6))
    np.testing.assert_array_equal(np.rint(found.test_x * 255), arrays[2].reshape(4, 6))
    np.testing.assert_array_equal(found.train_y, arrays[1])
    np.testing.assert_array_equal(found.test_y, arrays[3])
    assert (found.train_x.dtype, found.train_y.dtype) == (np.float32, np.int64)


def test_a_shape_that_is_not_the_tables_is_refused(data: Path, mirror: Path) -> None:
    files, _ = mnist_files(np.random.default_rng(0))
    list_files(data, "mnist", files)
    put(mirror, "mnist", files)
    with pytest.raises(
        RetrogradError, match=r"of shape \[5, 2, 3\], where .* uint8 of \[1\]"
    ):
        datasets.mnist()


def test_cifar10_is_read_from_its_binary_records(data: Path, mirror: Path) -> None:
    rng = np.random.default_rng(0)
    records = rng.integers(0, 10, (6, 2, 3073), np.uint8)
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for part, values in zip(
            (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"), records, strict=True
        ):
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{part}.bin")
            member.size = values.nbytes
            archive.addfile(member, io.BytesIO(values.tobytes()))
    files = {"cifar-10-binary.tar.gz": packed.getvalue()}
    list_files(data, "cifar10", files)
    put(mirror, "cifar10", files)
    found = datasets.cifar10()
    assert found.train_x.shape == (10, 3072)
    np.testing.assert_array_equal(found.test_y, records[5, :, 0])
    np.testing.assert_array_equal(np.rint(found.test_x * 255), records[5, :, 1:])
    np.testing.assert_array_equal(found.train_y, records[:5, :, 0].ravel())


def test_digits_are_all_of_them_once_in_a_fixed_order() -> None:
    found = datasets.digits()
    assert found.train_x.shape == (1437, 64)
    assert found.test_x.shape == (360, 64)
    x = np.concatenate([found.train_x, found.test_x])
    assert (x.min(), x.max()) == (0, 1)
    assert set(np.unique(x * 16)) == set(range(17))
    counts = np.bincount(np.concatenate([found.train_y, found.test_y]))
    assert counts.tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    np.testing.assert_array_equal(found.train_x, datasets.digits().train_x)
    # Shuffled: the classes do not come in scikit-learn's order 0, 1, 2, ...
    assert found.train_y[:10].tolist() != list(range(10))


# ---- npz, zip and text -----------------------------------------------------------------


def npz(**arrays: np.ndarray) -> bytes:
    packed = io.BytesIO()
    np.savez_compressed(packed, **arrays)
    return packed.getvalue()


def test_kmnist_is_read_from_its_npz_files(data: Path, mirror: Path) -> None:
    rng = np.random.default_rng(0)
    images, classes = (
        rng.integers(0, 256, (5, 2, 3), np.uint8),
        np.arange(5, dtype=np.uint8),
    )
    files = {
        "kmnist-test-imgs.npz": npz(arr_0=images),
        "kmnist-test-labels.npz": npz(arr_0=classes),
    }
    list_files(data, "kmnist", files, dict(zip(files, ([5, 2, 3], [5]), strict=True)))
    put(mirror, "kmnist", files)
    x, y = datasets.kmnist_test()
    np.testing.assert_array_equal(np.rint(x * 255), images.reshape(5, 6))
    np.testing.assert_array_equal(y, classes)


def test_an_npz_of_pickles_is_refused(data: Path, mirror: Path) -> None:
    files = {"kodak24_gray_u8.npz": npz(images=np.array([{}], object))}
    list_files(data, "natural_images", files)
    put(mirror, "natural_images", files)
    with pytest.raises(ValueError, match="allow_pickle=False"):
        datasets.natural_images()


def test_a_character_is_known_by_the_path_of_its_drawing(data: Path, mirror: Path) -> None:
    ink = np.random.default_rng(0).integers(0, 2, (2, 3, 3), np.uint8)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        # Later first: the order of the archive does not count.
        for i, path in ((1, "B/character03/0409_20.png"), (0, "A/character01/0394_02.png")):
            drawing = io.BytesIO()
            Image.fromarray(255 * (1 - ink[i])).convert("1").save(drawing, "png")
            archive.writestr(f"images_background_small1/{path}", drawing.getvalue())
    files = {"images_background_small1.zip": packed.getvalue()}
    list_files(data, "omniglot", files)
    put(mirror, "omniglot", files)
    found = datasets.omniglot("small1")
    np.testing.assert_array_equal(found.ink, ink)
    assert found.alphabet.tolist() == ["A", "B"]
    assert found.character.tolist() == [0, 2]
    assert found.drawer.tolist() == [1, 19]


def test_a_corpus_is_its_text(data: Path, mirror: Path) -> None:
    files = {"verse.txt": "Blätter\n".encode()}
    list_files(data, "text", files)
    put(mirror, "text", files)
    assert datasets.text("verse") == "Blätter\n"


def test_git_keeps_the_table_and_ignores_the_data() -> None:
    lines = (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
    assert lines.index("data/*") < lines.index("!data/datasets.yaml")


# ---- the real files --------------------------------------------------------------------

needs_mirror = pytest.mark.skipif(
    data_table.MIRROR not in os.environ, reason=f"{data_table.MIRROR} names no mirror"
)


@pytest.fixture
def fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real table, and an empty data folder."""
    table = Path("data", "datasets.yaml").read_bytes()
    (tmp_path / "datasets.yaml").write_bytes(table)
    monkeypatch.setattr(data_table, "FOLDER", tmp_path)


@needs_mirror
@pytest.mark.usefixtures("fetched")
@pytest.mark.parametrize(
    ("name", "mean", "deviation"),
    [("mnist", 0.1307, 0.3081), ("fashion_mnist", 0.2860, 0.3530)],
)
def test_real_images_hold_what_is_known_of_them(
    name: str, mean: float, deviation: float
) -> None:
    found = getattr(datasets, name)()
    assert found.train_x.shape == (60000, 784)
    assert found.train_x.mean(dtype=np.float64) == pytest.approx(mean, abs=1e-4)
    assert found.train_x.std(dtype=np.float64) == pytest.approx(deviation, abs=1e-4)
    assert np.bincount(found.test_y).sum() == 10000


@needs_mirror
@pytest.mark.usefixtures("fetched")
def test_the_other_real_files_hold_what_is_known_of_them() -> None:
    x, y = datasets.kmnist_test()
    assert x.mean() == pytest.approx(0.1846, abs=1e-4)
    assert np.bincount(y).tolist() == [1000] * 10
    assert datasets.natural_images().shape == (24, 512, 768)
    drawn = [datasets.omniglot("small1"), datasets.omniglot("small2")]
    assert [len(part.ink) for part in drawn] == [2720, 3120]
    assert [np.unique(part.alphabet).size for part in drawn] == [5, 5]
    characters = {
        pair
        for part in drawn
        for pair in zip(part.alphabet.tolist(), part.character.tolist(), strict=True)
    }
    assert len(characters) == 242
    assert all(np.bincount(part.drawer).size == 20 for part in drawn)
    for file in data_table.row("text").files:
        assert len(datasets.text(file.removesuffix(".txt"))) > 500_000
