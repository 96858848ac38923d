"""The laptop scale, whole: what the README shows is what the pipeline makes."""

import shutil
from pathlib import Path

import pytest

from conftest import ROOT, Clone, git_clone
from retrograd import readme


@pytest.fixture(scope="module")
def laptop(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    made = git_clone(tmp_path_factory.mktemp("laptop") / "clone")
    made.scale = "laptop"
    run = made.snakemake()
    assert run.returncode == 0, run.stdout + run.stderr
    return made


def test_the_readme_shows_the_claims_as_they_came_out(
    laptop: Clone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(laptop.path)
    text = Path(ROOT / readme.README).read_text(encoding="utf-8")
    assert readme.with_claims(text) == text, "run `make readme`"


def test_the_figure_in_the_readme_is_the_pipelines(
    laptop: Clone, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = (ROOT / readme.SHOWN_COPY).read_bytes()
    monkeypatch.chdir(laptop.path)
    assert readme.shown_figure().read_bytes() == shown, "run `make readme`"


def test_a_second_run_does_nothing(laptop: Clone) -> None:
    assert laptop.would_run() == set()
    shutil.rmtree(laptop.path)
