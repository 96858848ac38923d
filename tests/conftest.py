"""Shared by all tests: the fixed instruction set, and clones to run the real tools in."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from retrograd import data_table
from retrograd.arithmetic import fix_instruction_set

fix_instruction_set()  # before anything imports numpy

ROOT = Path(__file__).resolve().parent.parent
PAPER = "goldt2019_teacher_student"
PINNED = ("--profile", "workflow/profiles/pinned")
SMOKE = (PAPER, "--scale", "smoke")


@pytest.fixture(autouse=True)
def at_project_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty data folder and no mirror."""
    folder = tmp_path / "data"
    folder.mkdir()
    monkeypatch.setattr(data_table, "FOLDER", folder)
    monkeypatch.delenv(data_table.MIRROR, raising=False)
    return folder


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "mirror"
    monkeypatch.setenv(data_table.MIRROR, str(folder))
    return folder


@dataclass
class Clone:
    """A folder with the project, whose tools import the `retrograd` in it.

    One paper stands for all, unless `papers` is emptied.
    """

    path: Path
    scale: str = "smoke"
    cores: int = 2
    papers: list[str] = field(default_factory=lambda: [PAPER])
    environment: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        tools = str(Path(sys.executable).parent)
        self.environment = (
            os.environ
            | {
                "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}",
                "PYTHONPATH": str(self.path / "src"),
                # Nothing of the machine's own git or DVC settings.
                "GIT_CONFIG_GLOBAL": os.devnull,
                "DVC_GLOBAL_CONFIG_DIR": str(self.path.parent / "no-dvc-config"),
                "DVC_SITE_CACHE_DIR": str(self.path.parent / "dvc-site-cache"),
            }
            | {
                f"GIT_{who}_{what}": value
                for who in ("AUTHOR", "COMMITTER")
                for what, value in (("NAME", "A. Tester"), ("EMAIL", "tester@example.org"))
            }
        )

    def run(self, *command: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            command, cwd=self.path, env=self.environment, capture_output=True, text=True
        )

    def done(self, *command: str) -> str:
        """Run a command that must succeed; returns what it said."""
        run = self.run(*command)
        assert run.returncode == 0, run.stdout + run.stderr
        return run.stdout

    def commit(self, message: str) -> None:
        self.done("git", "add", "--all")
        self.done("git", "commit", "--quiet", "--message", message)

    def git_clone(self, path: Path) -> "Clone":
        """What someone else gets: tracked files only."""
        self.done("git", "clone", "--quiet", str(self.path), str(path))
        return Clone(path, self.scale, self.cores)

    def snakemake(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        return self.run(*self.command(*arguments))

    def command(self, *arguments: str) -> list[str]:
        """Of snakemake; `--config` must come last, so that it can be extended."""
        config = [] if "--config" in arguments else ["--config"]
        command = ["snakemake", "--cores", str(self.cores), *arguments, *config]
        named = not self.papers or any(a.startswith("papers=") for a in arguments)
        papers = [] if named else [f"papers={json.dumps(self.papers)}"]
        return [*command, f"scale={self.scale}", *papers]

    def block_network(self) -> None:
        """Let every socket that its tools connect be refused."""
        block = "import socket\ndef refuse(*_, **__): raise OSError('no network here')\n"
        block += "socket.socket.connect = socket.create_connection = refuse\n"
        folder = self.path.parent / "blocked"
        folder.mkdir()
        (folder / "sitecustomize.py").write_text(block, encoding="utf-8")
        paths = f"{folder}{os.pathsep}{self.environment['PYTHONPATH']}"
        self.environment["PYTHONPATH"] = paths
        refused = self.run(
            "python", "-c", "import urllib.request as r; r.urlopen('http://[::1]')"
        )
        assert "no network here" in refused.stderr

    def started(self, *arguments: str) -> "subprocess.Popen[str]":
        """Start snakemake in the background, in a process group of its own."""
        return subprocess.Popen(
            self.command(*arguments),
            cwd=self.path,
            env=self.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def killed_run(self, *arguments: str, after: int) -> None:
        """Start snakemake, and kill all of it once so many artifacts are there."""
        run = self.started(*arguments)
        deadline = time.monotonic() + 120
        while len(self.artifacts()) < after and time.monotonic() < deadline:
            time.sleep(0.05)
        os.killpg(run.pid, signal.SIGKILL)
        run.communicate()

    def would_run(self, *arguments: str) -> set[str]:
        """Names of the jobs that a run would start: products, figures, `claims`."""
        planned = self.snakemake("--dry-run", *arguments)
        assert planned.returncode == 0, planned.stdout + planned.stderr
        text = planned.stdout + planned.stderr
        said = re.findall(r"^Job \d+: \S+ \(\w+\): (?:product |figure )?(\w+)", text, re.M)
        return set(said)

    def edit(self, file: str, old: str, new: str) -> None:
        text = (self.path / file).read_text(encoding="utf-8")
        assert old in text, f"{file} no longer contains {old!r}"
        (self.path / file).write_text(text.replace(old, new), encoding="utf-8")

    def results(self, kind: str = "") -> Path:
        return self.path / "results" / PAPER / self.scale / kind

    def artifacts(self) -> dict[str, bytes]:
        """Contents of every artifact, by its path under the scale's folder."""
        wanted = ("products/*.nc", "figures/*", "claims.json")
        paths = [path for pattern in wanted for path in self.results().glob(pattern)]
        return {str(p.relative_to(self.results())): p.read_bytes() for p in paths}


def git_clone(path: Path) -> Clone:
    """A copy of the working tree as git sees it: tracked, and new but not ignored."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    files = subprocess.run(listed, cwd=ROOT, check=True, capture_output=True).stdout
    for name in filter(None, files.decode().split("\0")):
        if (ROOT / name).is_file():
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, path / name)
    return Clone(path)


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    return git_clone(tmp_path / "clone")


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """A clone in which everything is made at smoke scale; tests leave it as it is."""
    made = git_clone(tmp_path_factory.mktemp("finished") / "clone")
    run = made.snakemake()
    assert run.returncode == 0, run.stdout + run.stderr
    return made


@pytest.fixture(scope="session")
def author(finished: Clone, tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """A git repository whose smoke results are pinned; tests leave it as it is."""
    path = tmp_path_factory.mktemp("author") / "clone"
    shutil.copytree(finished.path, path)
    made = Clone(path)
    made.done("git", "init", "--quiet")
    made.done("retrograd", "pin", *SMOKE)
    made.commit("pin the smoke results")
    return made


@pytest.fixture
def reviewer(author: Clone, tmp_path: Path) -> Clone:
    """A fresh clone of the author's repository: pins, and no results."""
    return author.git_clone(tmp_path / "reviewer")


@contextmanager
def copied(clone: Clone, path: Path) -> Iterator[Clone]:
    """A folder as it is, results, records and Snakemake's memory included."""
    shutil.copytree(clone.path, path)
    yield Clone(path)
    shutil.rmtree(path)


@pytest.fixture
def co_author(author: Clone, tmp_path: Path) -> Iterator[Clone]:
    """A copy of the author's folder."""
    with copied(author, tmp_path / "co_author") as copy:
        yield copy


@pytest.fixture
def copy(finished: Clone, tmp_path: Path) -> Iterator[Clone]:
    """A copy of the finished clone."""
    with copied(finished, tmp_path / "copy") as copy:
        yield copy
