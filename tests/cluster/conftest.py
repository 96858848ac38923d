"""One private Slurm cluster for all tests of this folder, skipped where there is none."""

import os
import subprocess
from collections.abc import Iterator

import pytest

from cluster.slurm import Cluster, cluster
from conftest import Clone, git_clone

# The profile as it is, but asking sooner: these jobs last seconds.
PROFILE = ("--profile", "workflow/profiles/slurm")
SOON = ("--slurm-init-seconds-before-status-checks", "6", "--latency-wait", "20")


class Member(Clone):
    """A clone in a folder that all nodes share, whose runs go through Slurm."""

    def through_slurm(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        return self.snakemake(*PROFILE, *SOON, *arguments)


@pytest.fixture(scope="session")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with cluster(tmp_path_factory.mktemp("slurm") / "cluster") as running:
        yield running


@pytest.fixture(scope="session")
def member(slurm: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Member:
    """All papers at smoke scale; tests share it, and each makes what others do not."""
    path = git_clone(tmp_path_factory.mktemp("member") / "clone").path
    made = Member(path, cores=1, papers=[])
    made.environment |= slurm.environment | {"PATH": _path(made, slurm)}
    return made


def _path(member: Member, slurm: Cluster) -> str:
    return f"{slurm.folder / 'bin'}{os.pathsep}{member.environment['PATH']}"
