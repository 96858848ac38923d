"""Real data sets: the table, fetching a file whole and checked, and what the files hold."""

import gzip
import hashlib
import io
import os
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import numpy as np
import pytest
from ruamel.yaml import YAML

from conftest import ROOT
from retrograd import datasets
from retrograd.errors import RetrogradError

NOWHERE = "http://127.0.0.1:9/"  # the discard port: refused at once


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty data folder and no mirror."""
    folder = tmp_path / "data"
    folder.mkdir()
    monkeypatch.setattr(datasets, "FOLDER", folder)
    monkeypatch.delenv(datasets.MIRROR, raising=False)
    return folder


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "mirror"
    monkeypatch.setenv(datasets.MIRROR, str(folder))
    return folder


def list_files(
    data: Path,
    name: str,
    files: dict[str, bytes],
    shapes: dict[str, list[int]] | None = None,
    address: str = NOWHERE,
) -> None:
    """Write a table with one data set of these contents."""
    row = {
        "version": "1",
        "citation": "nobody",
        "licence": "none",
        "format": "any",
        "addresses": [address],
        "files": {
            file: {
                "sha256": hashlib.sha256(content).hexdigest(),
                "bytes": len(content),
                "shape": (shapes or {}).get(file, [1]),
            }
            for file, content in files.items()
        },
    }
    YAML().dump({name: row}, data / "datasets.yaml")


def put(folder: Path, name: str, files: dict[str, bytes]) -> None:
    (folder / name).mkdir(parents=True, exist_ok=True)
    for file, content in files.items():
        (folder / name / file).write_bytes(content)


@contextmanager
def server(content: bytes, promised: int) -> Iterator[str]:
    """A web server that promises so many bytes of any file, and sends `content`."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(promised))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    http = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=http.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{http.server_port}/"
    finally:
        http.shutdown()
        thread.join()
        http.server_close()


# ---- fetching --------------------------------------------------------------------------


def test_a_file_comes_from_the_mirror_and_then_from_the_data_folder(
    data: Path, mirror: Path
) -> None:
    list_files(data, "tiny", {"a": b"abc"})
    put(mirror, "tiny", {"a": b"abc"})
    path = datasets.fetch("tiny", "a")
    assert path == data / "tiny" / "a"
    assert path.read_bytes() == b"abc"
    (mirror / "tiny" / "a").unlink()
    assert datasets.fetch("tiny", "a").read_bytes() == b"abc"


def test_a_file_comes_from_its_public_address(data: Path) -> None:
    with server(b"abc", 3) as address:
        list_files(data, "tiny", {"a": b"abc"}, address=address)
        assert datasets.fetch("tiny", "a").read_bytes() == b"abc"


def test_the_address_is_asked_if_the_mirror_lacks_the_file(
    data: Path, mirror: Path
) -> None:
    with server(b"abc", 3) as address:
        list_files(data, "tiny", {"a": b"abc"}, address=address)
        assert datasets.fetch("tiny", "a").read_bytes() == b"abc"


def test_what_cannot_be_had_names_all_that_was_tried_and_the_mend(
    data: Path, mirror: Path
) -> None:
    list_files(data, "tiny", {"a": b"abc"})
    with pytest.raises(RetrogradError) as raised:
        datasets.fetch("tiny", "a")
    text = str(raised.value)
    for part in (str(mirror / "tiny" / "a"), f"{NOWHERE}a", datasets.MIRROR, "data/tiny"):
        assert part in text


def test_another_content_names_both_digests_and_is_not_kept(
    data: Path, mirror: Path
) -> None:
    list_files(data, "tiny", {"a": b"abc"})
    put(mirror, "tiny", {"a": b"abd"})
    with pytest.raises(RetrogradError) as raised:
        datasets.fetch("tiny", "a")
    for content in (b"abc", b"abd"):
        assert hashlib.sha256(content).hexdigest() in str(raised.value)
    assert list((data / "tiny").iterdir()) == []


def test_an_interrupted_download_never_passes_for_whole(data: Path) -> None:
    with server(b"ab", 3) as address:
        list_files(data, "tiny", {"a": b"abc"}, address=address)
        with pytest.raises(RetrogradError, match=r"cannot get a|is not the file"):
            datasets.fetch("tiny", "a")
    assert list((data / "tiny").iterdir()) == []


def test_a_corrupt_file_in_the_data_folder_is_fetched_anew(
    data: Path, mirror: Path
) -> None:
    list_files(data, "tiny", {"a": b"abc"})
    put(data, "tiny", {"a": b"ab"})
    put(mirror, "tiny", {"a": b"abc"})
    assert datasets.fetch("tiny", "a").read_bytes() == b"abc"


def test_an_unknown_data_set_is_refused_with_the_nearest_name(data: Path) -> None:
    list_files(data, "tiny", {"a": b"abc"})
    with pytest.raises(RetrogradError, match="unknown data set 'tny'; did you mean 'tiny'"):
        datasets.fetch("tny", "a")


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
    with pytest.raises(RetrogradError, match=r"of shape \[5, 2, 3\], where .* says \[1\]"):
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


# ---- the table -------------------------------------------------------------------------


def test_the_table_is_whole() -> None:
    table = datasets.read_table()
    assert set(table) == {"mnist", "fashion_mnist", "cifar10"}
    digests = [file.sha256 for row in table.values() for file in row.files.values()]
    assert len(set(digests)) == 9
    for row in table.values():
        assert all(a.startswith("http") and a.endswith("/") for a in row.addresses)
    assert [name for name, row in table.items() if not row.checked] == ["cifar10"]


def test_git_keeps_the_table_and_ignores_the_data() -> None:
    lines = (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
    assert lines.index("data/*") < lines.index("!data/datasets.yaml")


@pytest.mark.skipif(
    datasets.MIRROR not in os.environ, reason=f"{datasets.MIRROR} names no mirror"
)
@pytest.mark.parametrize(
    ("name", "mean", "deviation"),
    [("mnist", 0.1307, 0.3081), ("fashion_mnist", 0.2860, 0.3530)],
)
def test_real_files_hold_what_is_known_of_them(
    name: str,
    mean: float,
    deviation: float,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    table = Path("data", "datasets.yaml").read_bytes()
    (tmp_path / "datasets.yaml").write_bytes(table)
    monkeypatch.setattr(datasets, "FOLDER", tmp_path)
    found = getattr(datasets, name)()
    assert found.train_x.shape == (60000, 784)
    assert found.train_x.mean(dtype=np.float64) == pytest.approx(mean, abs=1e-4)
    assert found.train_x.std(dtype=np.float64) == pytest.approx(deviation, abs=1e-4)
    assert np.bincount(found.test_y).sum() == 10000
