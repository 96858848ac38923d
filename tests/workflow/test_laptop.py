"""The laptop scale, whole: what is pinned and shown is what the pipeline makes.

The longest products are taken from their pins, to keep the suite short, unless the
environment variable RETROGRAD_REBUILD is `all`.
"""

import json
import os
import re
import shutil
from pathlib import Path

import pytest

from conftest import PAPER, ROOT, Clone, git_clone
from retrograd import pinning, pins, readme
from retrograd.config import available_papers
from retrograd.graph import Graph

LONG = 10  # seconds, as a paper's config estimates them


@pytest.fixture(scope="module")
def laptop(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    made = git_clone(tmp_path_factory.mktemp("laptop") / "clone")
    made.scale, made.papers = "laptop", []
    made.done("git", "init", "--quiet")
    graph = Graph.load({"scale": "laptop"})
    every = [a for slug in graph.papers for a in graph.artifacts(slug, "laptop")]
    if os.environ.get("RETROGRAD_REBUILD") != "all":
        for artifact in every:
            seconds = graph.papers[artifact.paper].seconds.get("laptop", {})
            if seconds.get(artifact.name, 0) > LONG:
                made.done("retrograd", "fetch", *artifact.paths)
    # By name: what only a pinned product needs would not be made otherwise.
    run = made.snakemake(*(path for artifact in every for path in artifact.paths))
    assert run.returncode == 0, run.stdout + run.stderr
    return made


def test_the_readme_shows_the_claims_as_they_came_out(
    laptop: Clone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(laptop.path)
    text = Path(ROOT / readme.README).read_text(encoding="utf-8")
    assert readme.with_claims(text) == text, "run `make readme`"
    shown = Path(ROOT / readme.CLAIMS).read_text(encoding="utf-8")
    assert readme.all_claims() == shown, "run `make readme`"


def test_the_figure_in_the_readme_is_the_pipelines(
    laptop: Clone, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = (ROOT / readme.SHOWN_COPY).read_bytes()
    monkeypatch.chdir(laptop.path)
    assert readme.shown_figure().read_bytes() == shown, "run `make readme`"


def test_a_rebuild_from_scratch_has_the_pinned_bytes(laptop: Clone) -> None:
    report = json.loads(laptop.done("retrograd", "verify", "--json"))
    assert report["counts"]["SAME_BYTES"] == len(report["files"]) == len(pins.read())
    said = json.loads(laptop.done("retrograd", "list", "--json"))
    artifacts = [a for paper in said["papers"] for a in paper["artifacts"]]
    assert {(a["here"], a["pin"]) for a in artifacts} == {("current", "current")}


def test_everything_at_laptop_scale_is_pinned_in_a_small_remote() -> None:
    graph, known = Graph.load({"scale": "laptop"}), pins.read()
    for slug in available_papers():
        wanted = {path for a in graph.artifacts(slug, "laptop") for path in a.paths}
        assert wanted == {path for path in known if path.startswith(f"results/{slug}/")}
    objects = {p.parent.name + p.name: p for p in (ROOT / "pinned").glob("files/md5/*/*")}
    sizes = {digest: path.stat().st_size for digest, path in objects.items()}
    assert {pin.md5: pin.size for pin in known.values()}.items() <= sizes.items()
    assert max(sizes.values()) < pinning.FILE_BUDGET
    assert sum(sizes.values()) < pinning.TOTAL_BUDGET


def test_a_second_run_does_nothing(laptop: Clone) -> None:
    assert laptop.would_run() == set()


def test_an_edit_of_one_papers_training_reaches_no_other_paper(laptop: Clone) -> None:
    source = f"src/retrograd/papers/{PAPER}/train.py"
    laptop.edit(source, "math.sqrt(0.5)", "0.5**0.5")
    planned = laptop.snakemake("--dry-run").stdout
    assert set(re.findall(r"^Job \d+: (\S+) \(", planned, re.M)) == {PAPER}
    shutil.rmtree(laptop.path)
