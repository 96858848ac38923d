"""The table of real data sets, and fetching a file whole and checked."""

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from data_folder import NOWHERE, list_files, put
from retrograd import data_table
from retrograd.errors import RetrogradError


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
    path = data_table.fetch("tiny", "a")
    assert path == data / "tiny" / "a"
    assert path.read_bytes() == b"abc"
    (mirror / "tiny" / "a").unlink()
    assert data_table.fetch("tiny", "a").read_bytes() == b"abc"


def test_a_file_comes_from_its_public_address(data: Path) -> None:
    with server(b"abc", 3) as address:
        list_files(data, "tiny", {"a": b"abc"}, address=address)
        assert data_table.fetch("tiny", "a").read_bytes() == b"abc"


def test_the_address_is_asked_if_the_mirror_lacks_the_file(
    data: Path, mirror: Path
) -> None:
    with server(b"abc", 3) as address:
        list_files(data, "tiny", {"a": b"abc"}, address=address)
        assert data_table.fetch("tiny", "a").read_bytes() == b"abc"


def test_what_cannot_be_had_names_all_that_was_tried_and_the_mend(
    data: Path, mirror: Path
) -> None:
    list_files(data, "tiny", {"a": b"abc"})
    with pytest.raises(RetrogradError) as raised:
        data_table.fetch("tiny", "a")
    text = str(raised.value)
    for part in (str(mirror / "tiny" / "a"), f"{NOWHERE}a", data_table.MIRROR, "data/tiny"):
        assert part in text


def test_another_content_names_both_digests_and_is_not_kept(
    data: Path, mirror: Path
) -> None:
    list_files(data, "tiny", {"a": b"abc"})
    put(mirror, "tiny", {"a": b"abd"})
    with pytest.raises(RetrogradError) as raised:
        data_table.fetch("tiny", "a")
    for content in (b"abc", b"abd"):
        assert hashlib.sha256(content).hexdigest() in str(raised.value)
    assert list((data / "tiny").iterdir()) == []


def test_an_interrupted_download_never_passes_for_whole(data: Path) -> None:
    with server(b"ab", 3) as address:
        list_files(data, "tiny", {"a": b"abc"}, address=address)
        with pytest.raises(RetrogradError, match=r"cannot get a|is not the file"):
            data_table.fetch("tiny", "a")
    assert list((data / "tiny").iterdir()) == []


def test_a_corrupt_file_in_the_data_folder_is_fetched_anew(
    data: Path, mirror: Path
) -> None:
    list_files(data, "tiny", {"a": b"abc"})
    put(data, "tiny", {"a": b"ab"})
    put(mirror, "tiny", {"a": b"abc"})
    assert data_table.fetch("tiny", "a").read_bytes() == b"abc"


def test_an_unknown_data_set_is_refused_with_the_nearest_name(data: Path) -> None:
    list_files(data, "tiny", {"a": b"abc"})
    with pytest.raises(RetrogradError, match="unknown data set 'tny'; did you mean 'tiny'"):
        data_table.fetch("tny", "a")


def test_a_file_without_a_public_address_says_what_it_was_made_from(data: Path) -> None:
    list_files(data, "tiny", {"a": b"abc"}, address=None, derived="from b, cut")
    with pytest.raises(RetrogradError, match="No public address has it as it is: from b"):
        data_table.fetch("tiny", "a")


def test_a_file_may_have_an_address_of_its_own(data: Path) -> None:
    with server(b"abc", 3) as address:
        list_files(data, "tiny", {"a": b"abc"}, address=None, own=f"{address}elsewhere")
        assert data_table.fetch("tiny", "a").read_bytes() == b"abc"


# ---- what is at hand, and the terms ----------------------------------------------------


def test_a_data_set_is_at_hand_if_every_file_is_here_or_in_the_mirror(
    data: Path, mirror: Path
) -> None:
    list_files(data, "tiny", {"a": b"abc", "b": b"bc"})
    put(data, "tiny", {"a": b"abc"})
    assert not data_table.at_hand("tiny")
    put(mirror, "tiny", {"b": b"bc"})
    assert data_table.at_hand("tiny")


def test_the_report_shows_licences_and_what_was_not_checked() -> None:
    said = data_table.text(data_table.report())
    for name, row in data_table.read_table().items():
        assert f"{name}: " in said
        assert row.licence in said
        assert row.not_checked in said
        for file in row.files.values():
            assert file.licence in said
            assert file.derived in said


@pytest.mark.parametrize(("name", "row"), data_table.read_table().items())
def test_every_file_has_a_public_address_or_says_what_it_was_made_from(
    name: str, row: data_table.DataSet
) -> None:
    for file, entry in row.files.items():
        assert bool(row.public(file)) != bool(entry.derived), f"{name}/{file}"
        assert not entry.derived or row.not_checked


def test_no_file_is_listed_twice() -> None:
    files = [
        file for row in data_table.read_table().values() for file in row.files.values()
    ]
    assert len({file.sha256 for file in files}) == len(files)
