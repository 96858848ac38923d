"""Real data sets through the whole graph: with a mirror, and without one and no network."""

import os

import pytest

from conftest import ROOT, Clone
from retrograd import data_table, readme
from retrograd.artifacts import claims_path
from retrograd.config import load_paper
from retrograd.graph import Graph

needs_mirror = pytest.mark.skipif(
    data_table.MIRROR not in os.environ, reason=f"{data_table.MIRROR} names no mirror"
)


@needs_mirror
def test_the_claims_on_real_data_are_those_of_the_documentation(
    clone: Clone, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedded = Graph.load({"scale": "laptop"})
    clone.scale, clone.papers = "laptop", readme.real_papers(embedded)
    # What needs no data set is tested elsewhere: it comes from its pins.
    clone.done("git", "init", "--quiet")
    for slug in clone.papers:
        for artifact in embedded.artifacts(slug, "laptop"):
            if artifact.kind == "product":
                clone.done("retrograd", "fetch", *artifact.paths)
    wanted = [claims_path(slug, "laptop") for slug in clone.papers]
    run = clone.snakemake(*wanted, "--config", "data=real")
    assert run.returncode == 0, run.stdout + run.stderr
    monkeypatch.chdir(clone.path)
    shown = (ROOT / readme.REAL_CLAIMS).read_text(encoding="utf-8")
    assert readme.real_claims() == shown, "run `retrograd readme --real`"


@pytest.mark.parametrize("data", ["embedded", "real"])
def test_with_neither_network_nor_mirror_the_rest_is_made(clone: Clone, data: str) -> None:
    clone.environment.pop(data_table.MIRROR, None)
    clone.block_network()
    (slug,) = clone.papers = readme.real_papers(Graph.load({"scale": "laptop"}))[:1]
    run = clone.snakemake("--config", f"data={data}")
    assert run.returncode == 0, run.stdout + run.stderr
    paper = load_paper(slug, seed=0)
    real = {name for name, product in paper.products.items() if product.data_sets}
    made = {path.stem for path in (clone.path / "results" / slug).rglob("*.svg")}
    assert made == {n for n, figure in paper.figures.items() if not real & {*figure.need}}
    assert made < set(paper.figures)
    refused = clone.snakemake(
        f"results/{slug}/smoke/figures/{min(set(paper.figures) - made)}.svg",
        "--config",
        f"data={data}",
    )
    assert refused.returncode != 0
    assert "unknown figure" in refused.stdout + refused.stderr
