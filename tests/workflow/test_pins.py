"""Pins: fetched, verified, refused when corrupt or missing; written on purpose only."""

import json
import random
from pathlib import Path

import pytest

from conftest import PAPER, PINNED, SMOKE, Clone

CONFIG = f"config/papers/{PAPER}.yaml"
FIG5 = f"results/{PAPER}/smoke/figures/fig5.svg"
NSCALE = f"results/{PAPER}/smoke/products/nscale_sgd.nc"


def pin_of(clone: Clone, path: str) -> str:
    """The md5 of a pin, from the text of dvc.lock."""
    lines = (clone.path / "dvc.lock").read_text(encoding="utf-8").splitlines()
    at = lines.index(f"    - path: {path}")
    return next(line.split()[-1] for line in lines[at:] if "md5: " in line)


def stored(clone: Clone, folder: str, digest: str) -> Path:
    return clone.path / folder / "files" / "md5" / digest[:2] / digest[2:]


def flip_a_bit(path: Path, at: int = 1000) -> None:
    content = bytearray(path.read_bytes())
    content[at % len(content)] ^= 1 << at % 8
    path.chmod(0o644)
    path.write_bytes(content)


# ---- a reviewer ------------------------------------------------------------------------


def test_pinned_and_present_needs_no_network(reviewer: Clone) -> None:
    """With every socket blocked, in snakemake and in all that it starts."""
    reviewer.block_network()
    for _ in range(2):
        run = reviewer.snakemake(*PINNED, FIG5)
        assert run.returncode == 0, run.stderr


def test_figure_draws_verifies_and_says_what_it_is(reviewer: Clone) -> None:
    said = reviewer.done("retrograd", "figure", f"{PAPER}/fig5", "--scale", "smoke")
    assert said.count("SAME_BYTES") == 5  # two products, two formats, and the sum
    assert (reviewer.path / FIG5).exists()
    wrong = reviewer.run("retrograd", "figure", f"{PAPER}/fig55", "--scale", "smoke")
    assert wrong.returncode == 2
    assert "did you mean 'fig5'?" in wrong.stderr
    assert "Traceback" not in wrong.stderr


def test_what_is_not_pinned_is_refused_with_the_two_ways_on(reviewer: Clone) -> None:
    reviewer.scale = "published"
    run = reviewer.snakemake(*PINNED, FIG5.replace("smoke", "published"))
    assert run.returncode != 0
    assert "nothing is pinned under that name" in run.stderr
    assert f"retrograd pin {PAPER}" in run.stderr
    assert "Traceback" not in run.stderr


def test_an_object_in_no_remote_names_itself_the_remotes_and_the_ways_on(
    reviewer: Clone,
) -> None:
    digest = pin_of(reviewer, NSCALE)
    stored(reviewer, "pinned", digest).unlink()
    reviewer.done("dvc", "remote", "add", "lab", str(reviewer.path.parent / "nowhere"))
    run = reviewer.snakemake(*PINNED, FIG5)
    assert run.returncode != 0
    message = next(line for line in run.stderr.splitlines() if digest in line)
    assert "embedded" in message
    assert "lab" in message
    assert "dvc remote add" in message
    assert "mode=build" in message
    assert not (reviewer.path / FIG5).exists()


@pytest.mark.parametrize("place", [".dvc/cache", "pinned"])
def test_a_corrupt_object_fails_the_job_names_both_digests_and_is_kept(
    reviewer: Clone, place: str
) -> None:
    digest = pin_of(reviewer, NSCALE)
    if place == ".dvc/cache":
        reviewer.done("dvc", "fetch", "--quiet")
    flip_a_bit(stored(reviewer, place, digest))
    corrupt = stored(reviewer, place, digest).read_bytes()
    run = reviewer.snakemake(*PINNED, FIG5)
    assert run.returncode != 0
    found = reviewer.done("md5sum", str(stored(reviewer, place, digest))).split()[0]
    assert any(digest in line and found in line for line in run.stderr.splitlines())
    assert not (reviewer.path / FIG5).exists()
    assert not (reviewer.path / NSCALE).exists()
    assert stored(reviewer, place, digest).read_bytes() == corrupt
    check = reviewer.run("retrograd", "fsck", "--json")
    assert check.returncode == 1
    (bad,) = json.loads(check.stdout)["bad"]
    assert (bad["expected"], bad["found"]) == (digest, found)
    if place == ".dvc/cache":  # as fsck says
        assert f"rm -f {stored(reviewer, place, digest)}" in bad["repair"]
        stored(reviewer, place, digest).unlink()
    else:
        assert "git checkout" in bad["repair"]
        reviewer.done("git", "checkout", "--", "pinned")
    assert reviewer.snakemake(*PINNED, FIG5).returncode == 0
    reviewer.done("retrograd", "fsck")


def test_a_second_remote_serves_what_the_first_one_has_lost(
    reviewer: Clone, tmp_path: Path
) -> None:
    reviewer.done("cp", "-r", "pinned", str(tmp_path / "lab"))
    reviewer.done("dvc", "remote", "add", "lab", str(tmp_path / "lab"))
    flip_a_bit(stored(reviewer, "pinned", pin_of(reviewer, NSCALE)))
    assert reviewer.snakemake(*PINNED, FIG5).returncode == 0


@pytest.mark.parametrize("seed", range(2))
def test_no_figure_is_drawn_from_a_flipped_bit_wherever_it_is(
    reviewer: Clone, author: Clone, seed: int
) -> None:
    """The short form of benchmarks/bit_flips.py."""
    draw = random.Random(seed)
    place = ("results", ".dvc/cache")[seed]
    reviewer.done("dvc", "pull", "--quiet")
    path = reviewer.path / NSCALE
    if place != "results":
        path.unlink()
        path = stored(reviewer, place, pin_of(reviewer, NSCALE))
    good = author.artifacts()["figures/fig5.svg"]
    (reviewer.path / FIG5).unlink()
    flip_a_bit(path, draw.randrange(path.stat().st_size))
    run = reviewer.snakemake(*PINNED, FIG5)
    if place == "results":  # fetched again
        assert run.returncode == 0
        assert (reviewer.path / FIG5).read_bytes() == good
    else:
        assert run.returncode != 0
        assert not (reviewer.path / FIG5).exists()


def test_two_runs_at_once_both_end_well(reviewer: Clone, author: Clone) -> None:
    runs = [reviewer.started(*PINNED) for _ in range(2)]
    for run in runs:
        _, said = run.communicate(timeout=300)
        assert run.returncode == 0, said
    assert reviewer.artifacts().items() <= author.artifacts().items()
    assert reviewer.would_run(*PINNED) == set()


# ---- an author -------------------------------------------------------------------------


def test_pin_refuses_what_is_stale_missing_or_corrupt_and_changes_nothing(
    co_author: Clone,
) -> None:
    lock = (co_author.path / "dvc.lock").read_bytes()
    co_author.edit(CONFIG, "{error_ratio: {min: 3.98", "{error_ratio: {min: 3.97")
    flip_a_bit(co_author.results("products/tail_ode.nc"))
    co_author.results("figures/fig3.png").unlink()
    run = co_author.run("retrograd", "pin", *SMOKE)
    assert run.returncode == 1
    lines = run.stderr.splitlines()
    for file, why in (
        ("claims.json", "stale: code or config changed"),
        ("tail_ode.nc", "unknown origin, or changed since it was made"),
        ("fig3.png", "missing"),
        ("claims.json", "made from another"),
    ):
        assert any(file in line and why in line for line in lines), (file, why, lines)
    assert "fig2.svg" not in run.stderr
    assert (co_author.path / "dvc.lock").read_bytes() == lock


def test_pin_changes_no_dates_and_says_what_changed(co_author: Clone) -> None:
    said = co_author.done("retrograd", "pin", *SMOKE)
    assert "0 new, 0 changed" in said
    assert co_author.would_run() == set()
    assert co_author.done("git", "status", "--porcelain") == ""


def test_a_failed_push_leaves_the_pins_as_they_were(co_author: Clone) -> None:
    before = (co_author.path / "dvc.lock").read_bytes()
    co_author.edit(CONFIG, "The data set matters", "The set matters")
    assert co_author.snakemake().returncode == 0
    assert co_author.run("retrograd", "pin", *SMOKE, "--remote", "no").returncode == 2
    co_author.done("dvc", "remote", "add", "nowhere", "/dev/null/pins")
    run = co_author.run("retrograd", "pin", *SMOKE, "--remote", "nowhere")
    assert run.returncode == 1
    assert "nowhere" in run.stderr
    assert "Traceback" not in run.stderr
    assert (co_author.path / "dvc.lock").read_bytes() == before
    co_author.done("retrograd", "pin", *SMOKE)
    assert (co_author.path / "dvc.lock").read_bytes() != before


def test_a_bare_copy_of_the_files_says_that_it_is_no_clone(finished: Clone) -> None:
    run = finished.run("retrograd", "fsck")
    assert run.returncode == 1
    assert "git clone" in run.stderr
    assert "Traceback" not in run.stderr


def test_dvc_yaml_and_lock_from_different_commits_say_so(co_author: Clone) -> None:
    (co_author.path / "dvc.yaml").write_text("stages: {}\n", encoding="utf-8")
    run = co_author.snakemake(*PINNED)
    assert run.returncode != 0
    assert "git checkout -- dvc.lock dvc.yaml" in run.stderr
    assert "Traceback" not in run.stderr
