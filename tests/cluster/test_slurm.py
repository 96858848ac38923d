"""The graph on a real Slurm cluster of three nodes, through workflow/profiles/slurm."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from snakemake.profiles import ProfileConfigFileParser

from cluster.conftest import PROFILE, SOON, Member
from cluster.slurm import GPU_NODE, NODES, Cluster
from conftest import PAPER, ROOT, Clone, git_clone
from retrograd import products
from retrograd.config import available_papers

GROUPED = ("--groups", "product=paper", "figure=paper", "claims=paper")
# One process makes everything: each job starts sooner, and nothing of Snakemake is in it.
LOCAL = """
from retrograd.arithmetic import fix_instruction_set
fix_instruction_set()
from retrograd import cli
from retrograd.graph import Graph
graph = Graph.here(scale="smoke")
for artifact in graph.needed(graph.target_artifacts()):
    kind, paper, scale, name = artifact
    assert cli.main(["make", *filter(None, [kind, paper, scale, name])]) == 0, artifact
"""
# The first attempt outlasts its limit of one minute, the second has two and is quick.
OVER_TIME = """
rule all:
    default_target: True
    input: "done"

rule slow:
    output: "done"
    resources: runtime=lambda w, attempt: attempt
    shell: "sleep $(( 300 * (2 - {resources.runtime}) )) && touch {output}"
"""


def results(clone: Clone) -> dict[str, bytes]:
    """Contents of every artifact of every paper, by its path."""
    kinds = ("*/smoke/products/*.nc", "*/smoke/figures/*", "*/smoke/claims.json")
    folder = clone.path / "results"
    found = [path for kind in kinds for path in folder.glob(kind)]
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def jobs_of(slurm: Cluster, clone: Clone, *states: str) -> list[dict[str, str]]:
    return [j for j in slurm.jobs(*states) if j["WorkDir"] == str(clone.path)]


def wait_for(there: Callable[[], object], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not there():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.3)


@pytest.fixture(scope="session", autouse=True)
def over_time(
    slurm: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> Iterator["subprocess.Popen[str]"]:
    """A run whose job exceeds its time limit: started first, since that takes a minute."""
    folder = tmp_path_factory.mktemp("over_time")
    shutil.copytree(ROOT / "workflow" / "profiles", folder / "workflow" / "profiles")
    (folder / "Snakefile").write_text(OVER_TIME)
    tools = f"{Path(sys.executable).parent}{os.pathsep}{slurm.environment['PATH']}"
    run = subprocess.Popen(
        ["snakemake", "--workflow-profile", "workflow/profiles/default", *PROFILE, *SOON],
        cwd=folder,
        env=os.environ | slurm.environment | {"PATH": tools},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    wait_for(lambda: slurm.jobs("RUNNING"))  # on n1, and is in nobody's way there
    yield run
    run.kill()
    run.wait()


@pytest.fixture(autouse=True)
def every_node_at_work(slurm: Cluster) -> Iterator[None]:
    """Before the next test."""
    yield
    for node in NODES:
        if "drain" in slurm.state(node):
            slurm.tell("scontrol", "update", f"NodeName={node}", "State=RESUME")


@pytest.fixture(scope="session")
def whole(member: Member) -> Member:
    """Everything at smoke scale made through Slurm, one Slurm job per paper."""
    run = member.through_slurm(*GROUPED)
    assert run.returncode == 0, run.stdout + run.stderr
    return member


def test_every_paper_at_smoke_scale_has_the_bytes_of_a_local_run(
    slurm: Cluster, whole: Member, tmp_path: Path
) -> None:
    local = git_clone(tmp_path / "local")
    local.done("python", "-c", LOCAL)

    theirs, ours = results(whole), results(local)
    assert {name.split("/")[0] for name in ours} == set(available_papers())
    assert theirs.keys() == ours.keys()
    assert [name for name in ours if theirs[name] != ours[name]] == []

    submitted = jobs_of(slurm, whole)
    assert len(submitted) == len(available_papers())  # a group for each
    assert {job["NodeList"] for job in submitted} == set(NODES)
    for job in submitted:
        assert job["TRES"].startswith("cpu=1,mem=8000M,node=1,")  # of the largest in it
    assert whole.would_run() == set()  # the login node knows what the nodes did


def test_a_waiting_run_survives_drained_nodes_and_mends_a_cancelled_job(
    slurm: Cluster, member: Member
) -> None:
    target = f"results/{PAPER}/smoke/products/traj_instance.nc"
    (member.path / target).unlink(missing_ok=True)
    for node in NODES:
        slurm.tell("scontrol", "update", f"NodeName={node}", "State=DRAIN", "Reason=test")
    known = {job["JobId"] for job in slurm.jobs()}

    def waiting() -> list[dict[str, str]]:
        return [j for j in jobs_of(slurm, member, "PENDING") if j["JobId"] not in known]

    run = member.started(*PROFILE, *SOON, "--retries", "0", target)
    wait_for(waiting)
    (job,) = waiting()
    assert (job["Partition"], job["NumTasks"], job["CPUs/Task"]) == ("cpu", "1", "1")
    assert (job["MinMemoryNode"], job["TimeLimit"]) == ("8000M", "00:10:00")
    assert "TresPerJob" not in job  # no GPU
    slurm.tell("scancel", job["JobId"])
    _, said = run.communicate()
    assert run.returncode != 0
    assert f"SLURM-job '{job['JobId']}' failed, SLURM status is: 'CANCELLED'" in said
    assert not (member.path / target).exists()

    run = member.started(*PROFILE, *SOON, target)
    wait_for(lambda: any(j["JobId"] != job["JobId"] for j in waiting()))
    slurm.tell("scontrol", "update", "NodeName=n2", "State=RESUME")
    _, said = run.communicate()
    assert run.returncode == 0, said
    assert jobs_of(slurm, member)[-1]["NodeList"] == "n2"
    made = (member.path / target).read_bytes()
    member.done("retrograd", "make", "product", PAPER, "smoke", "traj_instance")
    assert (member.path / target).read_bytes() == made


def test_gpu_jobs_ask_for_one_gpu_and_share_it_one_after_the_other(
    slurm: Cluster, member: Member
) -> None:
    """It is a GPU to Slurm, not to CUDA: `device: auto` finds none and uses the CPU."""
    slug, names = "lowe2023_insight", ("variants", "printed")
    targets = [f"results/{slug}/published/products/{name}.nc" for name in names]
    beside = f"results/{slug}/laptop/products/task.nc"
    run = member.through_slurm(*targets, beside)
    assert run.returncode == 0, run.stdout + run.stderr
    asked = {job["Comment"].split("_")[-1]: job for job in jobs_of(slurm, member)}
    first, second = sorted((asked[name] for name in names), key=lambda j: j["StartTime"])
    for job in (first, second):
        assert job["TresPerJob"] == "gres:gpu:1"
        assert (job["Partition"], job["NodeList"]) == ("gpu", GPU_NODE)
        assert job["TRES"].startswith("cpu=1,mem=8000M,node=1,")
        assert job["NumTasks"] == "1"
    asked_for, ended, started = (
        datetime.fromisoformat(time)
        for time in (second["SubmitTime"], first["EndTime"], second["StartTime"])
    )
    assert asked_for < ended <= started
    for path in targets:
        assert products.read(member.path / path).attrs["device"] == "cpu"
    assert asked["task"]["Partition"] == "cpu"


def test_a_failed_job_shows_its_last_lines_and_keeps_its_log(
    whole: Member,
) -> None:
    target = f"results/{PAPER}/smoke/figures/fig5.svg"
    product = whole.path / f"results/{PAPER}/smoke/products/nscale_sgd.nc"
    good = product.read_bytes()
    product.write_bytes(good[: len(good) // 2])
    for format in ("svg", "png"):
        (whole.path / target).with_suffix(f".{format}").unlink()
    run = whole.through_slurm("--retries", "0", target)
    product.write_bytes(good)
    assert run.returncode != 0
    assert "nscale_sgd.nc: corrupt: " in run.stdout + run.stderr
    logs = list((whole.path / "results" / "slurm-logs" / "rule_figure").rglob("*.log"))
    assert any("nscale_sgd.nc: corrupt: " in log.read_text() for log in logs)


def test_a_job_over_its_time_limit_is_tried_again_with_more(
    slurm: Cluster, over_time: "subprocess.Popen[str]"
) -> None:
    said, _ = over_time.communicate(timeout=200)
    assert over_time.returncode == 0, said
    assert "SLURM status is: 'TIMEOUT'" in said
    limits = {
        job["JobState"]: job["TimeLimit"]
        for job in slurm.jobs("TIMEOUT", "COMPLETED")
        if job["Comment"] == "rule_slow"
    }
    assert limits == {"TIMEOUT": "00:01:00", "COMPLETED": "00:02:00"}


def test_the_site_file_names_account_and_partitions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What Snakemake reads of the profile, as it is and adapted to another cluster."""
    folder = tmp_path / "workflow" / "profiles" / "slurm"
    shutil.copytree(ROOT / "workflow" / "profiles" / "slurm", folder)
    monkeypatch.chdir(tmp_path)
    asked = read_profile(folder)
    assert asked["slurm-partition-config"] == str(folder / "site.yaml")
    assert not [line for line in asked["default-resources"] if "account" in line]
    site = yaml.safe_load((folder / "site.yaml").read_text(encoding="utf-8"))
    (folder / "site.yaml").write_text(yaml.safe_dump(site | {"account": "4711"}))
    assert "slurm_account='4711'" in read_profile(folder)["default-resources"]


def read_profile(folder: Path) -> dict[str, Any]:
    with open(folder / "config.yaml", encoding="utf-8") as stream:
        read: dict[str, Any] = ProfileConfigFileParser().parse(stream)
    return read
