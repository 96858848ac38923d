"""A private Slurm cluster for tests: three nodes on this host, one of them with a GPU.

Everything lies below one folder, and ends with the tests. The GPU is one to Slurm alone (a
generic resource, its device /dev/null). Its node has a second CPU, so that it is the GPU
that keeps GPU jobs apart.
"""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from secrets import token_bytes

import pytest

NODES = ("n1", "n2", "n3")
GPU_NODE = "n3"
START = 60  # seconds until every node must have registered


@dataclass
class Cluster:
    """A running cluster, and how its commands reach it."""

    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        path = f"{self.folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
        return {"SLURM_CONF": str(self.folder / "slurm.conf"), "PATH": path}

    def tell(self, *command: str) -> str:
        """Run a Slurm command that must succeed; returns what it says."""
        run = subprocess.run(
            command, env=os.environ | self.environment, capture_output=True, text=True
        )
        assert run.returncode == 0, run.stdout + run.stderr
        return run.stdout

    def jobs(self, *states: str) -> list[dict[str, str]]:
        """What Slurm knows of its jobs, also of those that have ended (for 5 minutes)."""
        said = self.tell("scontrol", "--oneliner", "show", "jobs")
        lines = [line.split(" ") for line in said.splitlines() if line.startswith("JobId=")]
        found = [dict(word.partition("=")[::2] for word in words) for words in lines]
        return [job for job in found if not states or job.get("JobState") in states]

    def state(self, node: str) -> str:
        said = self.tell("sinfo", "--noheader", "--nodes", node, "--format", "%T")
        return said.split()[0]

    def logs(self) -> str:
        files = sorted((self.folder / "log").iterdir())
        return "\n".join(f"== {file.name}\n{file.read_text()[-2000:]}" for file in files)


def why_not() -> str:
    """Why no cluster can be started here; empty if one can."""
    needed = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scontrol")
    lacking = [program for program in needed if not shutil.which(program)]
    if lacking:
        return f"no {', '.join(lacking)} (Debian: slurm-wlm, munge)"
    return "" if os.geteuid() == 0 else "only root can start slurmd"


@contextmanager
def cluster(folder: Path) -> Iterator[Cluster]:
    """Start munge, the controller and the nodes; stop them all at the end."""
    if reason := why_not():
        pytest.skip(f"no Slurm cluster: {reason}")
    for name in ("bin", "log", "run", "state", "spool"):
        (folder / name).mkdir(parents=True)
    # Snakemake's plugin takes SLURM_CONF from the jobs' `srun`; where the configuration is
    # not in its usual place, as here, that would not find it.
    srun = folder / "bin" / "srun"
    own = f"SLURM_CONF={folder}/slurm.conf"
    srun.write_text(f'#!/bin/sh\n{own} exec {shutil.which("srun")} "$@"\n')
    srun.chmod(0o755)
    (folder / "run").chmod(0o755)  # munged insists
    (folder / "slurm.conf").write_text(_slurm_conf(folder))
    (folder / "gres.conf").write_text(f"NodeName={GPU_NODE} Name=gpu File=/dev/null\n")
    made = Cluster(folder)
    with ExitStack() as running:

        def start(*command: str) -> None:
            running.enter_context(_running(made, *command))

        start("munged", "--foreground", "--force", *_munge_files(folder))
        _wait("munge", made, lambda: (folder / "run" / "munge.socket").exists())
        start("slurmctld", "-D", "-i")
        for node in NODES:
            start("slurmd", "-D", "-N", node)
        _wait(
            "the nodes",
            made,
            lambda: _answers(made) and all(made.state(node) == "idle" for node in NODES),
        )
        yield made
        for job in made.jobs("RUNNING", "PENDING", "SUSPENDED"):
            made.tell("scancel", job["JobId"])


def _answers(made: Cluster) -> bool:
    ping = subprocess.run(
        ["scontrol", "ping"],
        env=os.environ | made.environment,
        capture_output=True,
        text=True,
    )
    return "UP" in ping.stdout


def _wait(what: str, made: Cluster, there: Callable[[], bool]) -> None:
    deadline = time.monotonic() + START
    while not there():
        assert time.monotonic() < deadline, f"{what} did not start:\n{made.logs()}"
        time.sleep(0.2)


@contextmanager
def _running(made: Cluster, *command: str) -> Iterator[None]:
    name = f"{command[0]}-{command[-1].rpartition('/')[2].lstrip('-')}"
    with open(made.folder / "log" / name, "w") as log:
        process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "TERM", *command],  # even if the tests are killed
            env=os.environ | made.environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            yield
        finally:
            process.terminate()
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _munge_files(folder: Path) -> Iterator[str]:
    key = folder / "run" / "munge.key"
    key.write_bytes(token_bytes(128))
    key.chmod(0o400)
    yield f"--key-file={key}"
    for file in ("socket", "seed-file", "pid-file", "log-file"):
        yield f"--{file}={folder / 'run' / f'munge.{file}'}"


def _free_ports(count: int) -> list[int]:
    with ExitStack() as held:
        servers = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
        return [held.enter_context(server).getsockname()[1] for server in servers]


def _slurm_conf(folder: Path) -> str:
    controller, *ports = _free_ports(1 + len(NODES))
    host = socket.gethostname()
    nodes = "\n".join(
        f"NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} "
        f"RealMemory=16000 {'CPUs=2 Gres=gpu:1' if node == GPU_NODE else 'CPUs=1'}"
        for node, port in zip(NODES, ports, strict=True)
    )
    return f"""\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/run/munge.socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
SlurmctldPidFile={folder}/run/slurmctld.pid
SlurmdPidFile={folder}/run/slurmd-%n.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SlurmdParameters=config_overrides
SchedulerParameters=sched_interval=2,bf_interval=2
ReturnToService=2
KillWait=2
MinJobAge=3600
MpiDefault=none
GresTypes=gpu
{nodes}
PartitionName=cpu Nodes={",".join(NODES)} Default=YES MaxTime=1-0 State=UP
PartitionName=gpu Nodes={GPU_NODE} MaxTime=1-0 State=UP
"""
