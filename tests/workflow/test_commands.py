"""The commands beside Snakemake and DVC: for people, and with --json."""

import json
import os
import shutil
import time
from pathlib import Path

import pytest
import yaml

from conftest import PAPER, PINNED, SMOKE, Clone

CONFIG = f"config/papers/{PAPER}.yaml"
FIG5 = f"results/{PAPER}/smoke/figures/fig5.svg"


# ---- verify ----------------------------------------------------------------------------


def test_a_rebuild_from_scratch_is_the_pinned_one(author: Clone, tmp_path: Path) -> None:
    rebuilt = author.git_clone(tmp_path / "rebuilt")
    assert rebuilt.snakemake("--cores", "1").returncode == 0
    report = json.loads(rebuilt.done("retrograd", "verify", *SMOKE, "--json"))
    assert report["ok"]
    assert report["counts"]["SAME_BYTES"] == len(report["files"])
    shutil.rmtree(rebuilt.path)


def test_verify_names_file_variable_deviation_and_place(co_author: Clone) -> None:
    """Another initial condition: other numbers in a product, its figure, the claims."""
    section = "both_lin: {<<: *smoke_scm"
    co_author.edit(CONFIG, section, f"{section}, seed: 3")
    assert co_author.snakemake().returncode == 0
    run = co_author.run("retrograd", "verify", *SMOKE)
    assert run.returncode == 1
    lines = run.stdout.splitlines()
    assert any(line.startswith("DIFFERENT") and "both_lin_sgd.nc" in line for line in lines)
    assert any("another parameters was asked for" in line for line in lines)
    assert any(line.startswith("SAME_BYTES") and "scm_erf_sgd.nc" in line for line in lines)
    one = co_author.run("retrograd", "verify", f"{PAPER}/fig5", "--scale", "smoke")
    assert one.returncode == 0
    assert "4 files: 4 SAME_BYTES" in one.stdout


def test_what_was_not_made_is_unverifiable_and_not_the_same(reviewer: Clone) -> None:
    run = reviewer.run("retrograd", "verify", *SMOKE, "--json")
    report = json.loads(run.stdout)
    assert (run.returncode, report["ok"]) == (1, False)
    assert report["counts"]["UNVERIFIABLE"] == len(report["files"])


def test_the_certificate_says_what_was_checked_and_on_what(author: Clone) -> None:
    path = author.path.parent / "certificate.yml"
    author.done("retrograd", "verify", *SMOKE, "--certificate", str(path))
    text = path.read_text(encoding="utf-8")
    found = yaml.safe_load(text)
    assert found["version"].startswith("https://codecheck.org.uk/spec/config/")
    assert found["paper"][0]["title"].startswith("Dynamics of stochastic gradient descent")
    assert found["commit"] == author.done("git", "rev-parse", "HEAD").strip()
    assert found["machine"]["processor"]
    assert {"file", "comment", "md5", "pinned_md5"} == set(found["manifest"][0])
    assert all(m["comment"].startswith("SAME_BYTES") for m in found["manifest"])
    for secret in (str(author.path), os.uname().nodename):
        assert secret not in text.replace(found["machine"]["system"], "")


# ---- explain ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["figures/fig5.svg", "figures/fig5.png", "products/nscale_ode.nc", "claims.json"],
)
def test_explain_reads_a_lone_file_anywhere_and_finds_its_commit_in_a_clone(
    author: Clone, tmp_path: Path, name: str
) -> None:
    lone = tmp_path / f"from-an-e-mail{Path(name).suffix}"
    shutil.copyfile(author.results(name), lone)
    commit = author.done("git", "rev-parse", "HEAD").strip()
    inside = json.loads(author.done("retrograd", "explain", str(lone), "--json"))
    assert inside["commit"]["commit"] == commit
    assert inside["stamp"]["paper"] == PAPER
    assert inside["pinned_as"].endswith(name)
    assert all(of["commit"]["commit"] == commit for of in inside["inputs"].values())
    assert "pin the smoke results" in author.done("retrograd", "explain", str(lone))
    elsewhere = Clone(author.path)
    elsewhere.path = tmp_path
    outside = json.loads(elsewhere.done("retrograd", "explain", str(lone), "--json"))
    assert outside["stamp"] == inside["stamp"]
    assert outside["commit"] is None


def test_explain_without_a_stamp_says_so_with_exit_code_2(author: Clone) -> None:
    for name, content in (
        ("a.svg", "<svg/>"),
        ("b.nc", "x"),
        ("c.txt", ""),
        ("d.png", "x"),
    ):
        path = author.path.parent / name
        path.write_text(content, encoding="utf-8")
        run = author.run("retrograd", "explain", str(path))
        assert run.returncode == 2, name
        assert "no stamp" in run.stderr
        assert "Traceback" not in run.stderr
    assert author.run("retrograd", "explain", "nothing.svg").returncode == 2


# ---- list, plan, fsck --------------------------------------------------------------------


def test_list_tells_what_is_here_pinned_and_stale(
    co_author: Clone, reviewer: Clone
) -> None:
    def rows(clone: Clone) -> dict[str, tuple[str, str]]:
        said = clone.done("retrograd", "list", *SMOKE, "--json")
        (paper,) = json.loads(said)["papers"]
        assert len(paper["claims"]) == 20
        return {a["name"] or a["kind"]: (a["here"], a["pin"]) for a in paper["artifacts"]}

    assert set(rows(co_author).values()) == {("current", "current")}
    assert set(rows(reviewer).values()) == {("absent", "current")}
    co_author.edit(CONFIG, "The data set matters", "The set matters")
    assert {k for k, v in rows(co_author).items() if v == ("stale", "stale")} == {"fig6"}
    assert co_author.snakemake().returncode == 0
    assert rows(co_author)["fig6"] == ("current", "stale")
    assert "NOT_TESTED" in co_author.done("retrograd", "list", *SMOKE)


def test_plan_gives_reasons_minutes_and_bytes(co_author: Clone, reviewer: Clone) -> None:
    one_paper = f"papers={json.dumps([PAPER])}"
    asked = ("retrograd", "plan", "--json", "--config", one_paper, "scale=smoke")
    assert json.loads(co_author.done(*asked))["jobs"] == []
    co_author.edit(CONFIG, "The data set matters", "The set matters")
    (job,) = json.loads(co_author.done(*asked))["jobs"]
    assert (job["name"], job["seconds_from"]) == ("fig6", "its last run here")
    assert "Params have changed" in job["reason"]

    pinned = json.loads(reviewer.done(*asked, "mode=pinned"))
    products = [job for job in pinned["jobs"] if job["kind"] == "product"]
    assert {job["step"] for job in products} == {"fetch"}
    pins = json.loads(reviewer.done("retrograd", "list", *SMOKE, "--json"))
    size = {a["name"]: a["bytes"] for a in pins["papers"][0]["artifacts"]}
    assert pinned["bytes_to_fetch"] == sum(size[job["name"]] for job in products)
    reviewer.done("dvc", "fetch", "--quiet")
    assert json.loads(reviewer.done(*asked, "mode=pinned"))["bytes_to_fetch"] == 0

    laptop = json.loads(reviewer.done(*asked[:-1], "scale=laptop"))
    sources = {
        j["name"]: j["seconds_from"] for j in laptop["jobs"] if j["kind"] == "product"
    }
    assert sources["traj_sgd"] == "the config's estimate"
    assert "jobs" in reviewer.done(*asked[:2], "--config", one_paper, "scale=laptop")
    wrong = reviewer.run("retrograd", "plan", "results/nothing/smoke/claims.json")
    assert wrong.returncode == 1
    assert "unknown paper" in wrong.stderr
    assert "Traceback" not in wrong.stderr


def test_fsck_hashes_all_and_says_how_to_repair(co_author: Clone) -> None:
    report = json.loads(co_author.done("retrograd", "fsck", "--json"))
    assert report["ok"]
    assert set(report["checked"]) == {"workspace", "cache", "remote embedded"}
    assert all(count > 30 for count in report["checked"].values())
    path = co_author.results("products/traj_ode.nc")
    content = bytearray(path.read_bytes())
    content[7] ^= 4
    path.write_bytes(content)
    run = co_author.run("retrograd", "fsck")
    assert run.returncode == 1
    assert "workspace: " in run.stdout
    assert f"snakemake --cores 1 results/{PAPER}/smoke/products/traj_ode.nc" in run.stdout


def test_commands_outside_the_project_say_where_to_run_them(tmp_path: Path) -> None:
    nowhere = Clone(tmp_path / "nowhere")
    nowhere.path.mkdir()
    nowhere.environment["PYTHONPATH"] = ""
    for command in ("list", "verify", "pin"):
        run = nowhere.run("retrograd", command)
        assert run.returncode == 2
        assert "run this in the project's folder" in run.stderr


def test_pinned_figures_are_drawn_again_only_if_asked_otherwise(reviewer: Clone) -> None:
    """A pulled figure with a fresh date is not newer or older than its products."""
    reviewer.done("dvc", "pull", "--quiet")
    now = time.time()
    os.utime(reviewer.results("products/nscale_sgd.nc"), (now + 60, now + 60))
    assert reviewer.would_run(*PINNED, FIG5) == set()
