"""Every kind of remote, with a real server: pinned to, pulled from, and what fails.

Each failure is one message that names the file, the remote, its address and the mend; the
exit code says so; and nothing is half-written or lost.
"""

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from conftest import PAPER, SMOKE, Clone
from remotes.conftest import LOCAL, digests, give
from remotes.servers import Lab, name
from retrograd import pins
from retrograd.patience import TIMEOUT

Run = Callable[..., tuple[int, str]]
PRODUCT = f"results/{PAPER}/smoke/products/nscale_sgd.nc"
PIN = ("pin", *SMOKE, "--remote", "lab")
HALF = 8000  # bytes: more than a greeting, less than the product


def digest_of(clone: Clone, path: str = PRODUCT) -> str:
    return pins.read(clone.path)[path].md5


def refuses_to_fetch(retrograd: Run, reader: Clone, lab: Lab, *words: str) -> None:
    """Fetching the product fails as it should, and leaves nothing."""
    code, said = retrograd(reader, "fetch", PRODUCT)
    assert code == 1
    assert len(said.splitlines()) == 1
    for word in (PRODUCT, digest_of(reader), f"lab ({lab.address})", *words):
        assert word in said, said
    assert not reader.results("products").exists()
    assert files(reader.path / ".dvc" / "cache") == []


def refuses_to_pin(retrograd: Run, author: Clone, lab: Lab, *words: str) -> None:
    """Pinning fails as it should, and changes no pin."""
    before = {path: path.read_bytes() for path in author.path.glob("dvc.*")}
    code, said = retrograd(author, *PIN)
    assert code == 1
    assert len(said.splitlines()) == 1
    for word in (f"results/{PAPER}/smoke", f"the remote 'lab' ({lab.address})", *words):
        assert word in said, said
    assert {path: path.read_bytes() for path in author.path.glob("dvc.*")} == before


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def over_a_line(lab: Lab) -> None:
    if lab.line is None:
        pytest.skip("a folder has no line and no credentials")


# ---- what should be --------------------------------------------------------------------


def test_pulled_in_a_fresh_clone_it_is_what_was_pinned(
    lab: Lab, author: Clone, reader: Clone
) -> None:
    assert lab.names() == [name(digest) for digest in digests(author)]
    reader.done("dvc", "pull", "--quiet")
    assert reader.artifacts() == author.artifacts()


def test_a_figure_is_drawn_from_it(reader: Clone) -> None:
    said = reader.done("retrograd", "figure", f"{PAPER}/fig5", "--scale", "smoke")
    assert said.count("SAME_BYTES") == 5  # two products, two formats, and the sum


def test_credentials_are_in_no_committed_file(lab: Lab, author: Clone) -> None:
    assert author.done("git", "ls-files", str(LOCAL)) == ""
    for key, value in lab.secrets.items():
        found = author.run("git", "grep", "--quiet", "--fixed-strings", value)
        assert found.returncode == 1 or key == "user"  # a user's name is no secret


def test_several_fetches_at_once_all_end_well(reader: Clone, author: Clone) -> None:
    wanted = [path for path in pins.read(reader.path) if path.endswith(".nc")] * 2
    runs = [
        threading.Thread(target=reader.done, args=("retrograd", "fetch", path))
        for path in wanted
    ]
    for run in runs:
        run.start()
    for run in runs:
        run.join(timeout=120)
    made = {
        path: content for path, content in author.artifacts().items() if "products" in path
    }
    assert reader.artifacts() == made


# ---- what fails ------------------------------------------------------------------------


def test_an_object_that_is_missing_is_named_and_pinning_again_brings_it(
    lab: Lab, author: Clone, reader: Clone, retrograd: Run
) -> None:
    lab.remove(digest_of(author))
    refuses_to_fetch(retrograd, reader, lab, "does not have it;", "dvc remote add")
    assert retrograd(author, *PIN)[0] == 0
    assert retrograd(reader, "fetch", PRODUCT)[0] == 0


def test_a_corrupt_object_is_named_and_pinning_again_mends_it(
    lab: Lab, author: Clone, reader: Clone, retrograd: Run
) -> None:
    digest = digest_of(author)
    half = lab.read(digest)[:HALF]
    lab.write(digest, half)
    refuses_to_fetch(retrograd, reader, lab, "holds a corrupt object, of digest ")
    assert lab.read(digest) == half  # nothing is deleted
    code, said = retrograd(author, "fsck")
    assert code == 1
    assert "retrograd pin --remote lab" in said
    assert retrograd(author, *PIN)[0] == 0
    assert retrograd(reader, "fetch", PRODUCT)[0] == 0


def test_wrong_credentials_are_told_from_a_missing_object(
    lab: Lab, author: Clone, reader: Clone, retrograd: Run
) -> None:
    over_a_line(lab)
    give(reader, lab.wrong)
    words = ("refuses access", "dvc remote modify --local lab")
    refuses_to_fetch(retrograd, reader, lab, *words)
    code, said = retrograd(reader, "fsck")
    assert code == 1
    assert said.count("refuses access") == 1
    give(author, lab.wrong)
    refuses_to_pin(retrograd, author, lab, *words)


def test_a_line_lost_half_way_leaves_nothing_half_written(
    lab: Lab, author: Clone, reader: Clone, retrograd: Run
) -> None:
    over_a_line(lab)
    if lab.kind == "s3":  # it tries again by itself, for longer than a test may take
        words = ("again",)
        author.environment[TIMEOUT] = reader.environment[TIMEOUT] = "4"
    else:
        words = ("lost half-way", "run the same command again")
    lab.line.cut_after(HALF, "down")
    refuses_to_fetch(retrograd, reader, lab, *words)
    lab.line.mend()
    lab.remove(digest_of(author))
    lab.line.cut_after(HALF, "up")
    refuses_to_pin(retrograd, author, lab, *words)
    assert name(digest_of(author)) not in lab.names()
    lab.line.mend()
    assert retrograd(author, *PIN)[0] == 0
    assert retrograd(reader, "fetch", PRODUCT)[0] == 0


def test_a_server_that_never_answers_is_given_up(
    lab: Lab, author: Clone, reader: Clone, retrograd: Run
) -> None:
    if lab.line:
        lab.line.go_dead()
    else:  # a drive that hangs: the open file gives nothing
        lab.remove(digest_of(author))
        os.mkfifo(lab.folder / name(digest_of(author)))
    words = ("did not answer for 2 s", TIMEOUT)
    author.environment[TIMEOUT] = reader.environment[TIMEOUT] = "2"
    began = time.monotonic()
    refuses_to_fetch(retrograd, reader, lab, *words)
    refuses_to_pin(retrograd, author, lab, *words)
    assert time.monotonic() - began < 30


def test_a_place_that_is_not_there_is_told_from_a_missing_object(
    lab: Lab, reader: Clone, retrograd: Run
) -> None:
    elsewhere = f"{lab.address}-elsewhere"
    config = (reader.path / ".dvc" / "config").read_text()
    (reader.path / ".dvc" / "config").write_text(config.replace(lab.address, elsewhere))
    code, said = retrograd(reader, "fetch", PRODUCT)
    assert code == 1
    assert f"lab ({elsewhere}): does not have it, nor anything else" in said


def test_a_host_whose_key_is_not_known_is_not_trusted(
    lab: Lab, reader: Clone, retrograd: Run
) -> None:
    if lab.kind != "ssh":
        pytest.skip("only ssh has host keys")
    reader.environment["HOME"] = str(reader.path)
    refuses_to_fetch(retrograd, reader, lab, "known_hosts", "log in once by ssh")
