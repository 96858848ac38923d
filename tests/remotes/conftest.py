"""A tiny paper, pinned to a remote of each kind, and clones of it."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import chdir
from pathlib import Path

import pytest
import yaml

from conftest import PAPER, SMOKE, Clone, git_clone
from remotes.servers import KINDS, Lab, Settings, name
from retrograd import cli, pins
from retrograd.patience import TIMEOUT

LOCAL = Path(".dvc", "config.local")
CONFIG = f"config/papers/{PAPER}.yaml"
PRODUCTS = ("nscale_instance", "nscale_sgd", "nscale_ode")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """A git repository of one paper with three products, a figure and a claim, made."""
    made = git_clone(tmp_path_factory.mktemp("tiny") / "clone")
    paper = yaml.safe_load((made.path / CONFIG).read_text(encoding="utf-8"))
    kept = {"products": PRODUCTS, "figures": ("fig5",), "claims": ("G2",)}
    for part, names in kept.items():
        paper[part] = {name: paper[part][name] for name in names}
    del paper["seconds"]
    text = yaml.safe_dump(paper, sort_keys=False, allow_unicode=True)
    (made.path / CONFIG).write_text(text, encoding="utf-8")
    for old in ("dvc.yaml", "dvc.lock"):
        (made.path / old).unlink()
    shutil.rmtree(made.path / "pinned")
    jobs = [("product", PAPER, "smoke", product) for product in PRODUCTS]
    jobs += [("figure", PAPER, "smoke", "fig5"), ("claims", PAPER, "smoke")]
    with chdir(made.path):
        for job in jobs:  # in this process, where each starts sooner
            assert cli.main(["make", *job]) == 0
    made.done("git", "init", "--quiet")
    made.commit("a tiny paper")
    return made


@pytest.fixture(scope="module", params=KINDS)
def lab(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Lab]:
    base = tmp_path_factory.mktemp(request.param)
    server = base / "server"
    server.mkdir()
    with KINDS[request.param](server) as lab:
        yield lab


@pytest.fixture(scope="module")
def author(lab: Lab, tiny: Clone, tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """The tiny paper, pinned to the lab's remote by the commands of docs/remotes.md."""
    path = tmp_path_factory.mktemp(f"author-{lab.kind}") / "clone"
    shutil.copytree(tiny.path, path)
    author = at_home(Clone(path), lab)
    author.done("dvc", "remote", "add", "lab", lab.address)
    author.done("dvc", "remote", "modify", "lab", "verify", "true")
    for key, value in lab.settings.items():
        author.done("dvc", "remote", "modify", "lab", key, value)
    for key, value in lab.secrets.items():
        author.done("dvc", "remote", "modify", "--local", "lab", key, value)
    author.done("retrograd", "pin", *SMOKE, "--remote", "lab")
    author.commit("pin to the lab")
    return author


@pytest.fixture
def reader(author: Clone, lab: Lab, tmp_path: Path) -> Clone:
    """A fresh clone, with the same credentials as the author's."""
    reader = at_home(author.git_clone(tmp_path / "reader"), lab)
    give(reader, lab.secrets)
    return reader


@pytest.fixture(autouse=True)
def mended(author: Clone, lab: Lab) -> Iterator[None]:
    """After a test, the line carries again, the remote is whole, the author let in."""
    held = {digest: lab.read(digest) for digest in digests(author)}
    yield
    if lab.line:
        lab.line.mend()
    give(author, lab.secrets)
    author.environment.pop(TIMEOUT, None)
    for digest, content in held.items():
        if name(digest) not in lab.names() or lab.read(digest) != content:
            lab.write(digest, content)


@pytest.fixture
def retrograd(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str]]:
    """The command, in this process, where it starts sooner: exit code and what it says."""

    def run(clone: Clone, *arguments: str) -> tuple[int, str]:
        monkeypatch.chdir(clone.path)
        monkeypatch.delenv(TIMEOUT, raising=False)
        for key, value in clone.environment.items():
            monkeypatch.setenv(key, value)
        code = cli.main(arguments)
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        return code, said.out + said.err

    return run


def at_home(clone: Clone, lab: Lab) -> Clone:
    """With the home folder of someone who knows the lab's hosts, and nothing else."""
    clone.environment["HOME"] = str(lab.home)
    return clone


def give(clone: Clone, secrets: Settings) -> None:
    """Credentials, as `dvc remote modify --local` writes them."""
    lines = [f"    {key} = {value}\n" for key, value in secrets.items()]
    text = "".join(["['remote \"lab\"']\n", *lines])
    (clone.path / LOCAL).write_text(text, encoding="utf-8")


def digests(clone: Clone) -> list[str]:
    return sorted({pin.md5 for pin in pins.read(clone.path).values()})
