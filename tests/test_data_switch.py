"""`data: embedded` and `data: real`: what each makes of a paper, and why not the rest."""

from pathlib import Path

import pytest

from data_folder import list_files, put
from retrograd.config import Config, Data, Mode, load_paper
from retrograd.graph import Graph

SLUG = "goldt2019_teacher_student"
FIGURE = "results/goldt2019_teacher_student/laptop/figures/fig1.svg"


@pytest.fixture
def files(data: Path) -> dict[str, bytes]:
    """The one data set of the table, not at hand yet."""
    files = {"a": b"abc"}
    list_files(data, "tiny", files)
    return files


def graph(kind: Data, mode: Mode = "build") -> Graph:
    """A graph of a paper whose first product reads the data set."""
    paper = load_paper(SLUG, seed=0)
    product = paper.products["traj_instance"].model_copy(update={"data_sets": ["tiny"]})
    products = {**paper.products, "traj_instance": product}
    return Graph(
        Config(data=kind, mode=mode, papers=[SLUG], scale="laptop"),
        {SLUG: paper.model_copy(update={"products": products})},
    )


def names(of: Graph, kind: str) -> set[str]:
    return {a.name for a in of.artifacts(SLUG, "laptop") if a.kind == kind}


def not_tested(of: Graph) -> dict[str, str]:
    claims = of.request("claims", SLUG, "laptop")["claims"]
    return {name: claim["not_tested"] for name, claim in claims.items()}


def test_embedded_lacks_what_needs_real_data_directly_or_not(
    files: dict[str, bytes],
) -> None:
    embedded, paper = graph("embedded"), load_paper(SLUG, seed=0)
    absent = set(paper.products) - names(embedded, "product")
    assert absent == {"traj_instance", "traj_ode"}  # which starts from the instance
    assert set(paper.figures) - names(embedded, "figure") == {
        name for name, figure in paper.figures.items() if absent & set(figure.need)
    }
    for name, reason in not_tested(embedded).items():
        if absent & set(paper.claims[name].need):
            assert reason == "on real data (tiny): set data: real"
        else:
            assert reason == paper.reason_not_tested(name, "laptop")
    assert FIGURE not in embedded.targets()


def test_real_data_that_are_not_at_hand_are_a_reason_and_no_failure(
    files: dict[str, bytes],
) -> None:
    real = graph("real")
    assert names(real, "product") == names(graph("embedded"), "product")
    assert "tiny not at hand: retrograd download tiny" in not_tested(real).values()


def test_real_data_at_hand_make_the_whole_graph(
    files: dict[str, bytes], data: Path
) -> None:
    put(data, "tiny", files)
    real, paper = graph("real"), load_paper(SLUG, seed=0)
    assert names(real, "figure") == set(paper.figures)
    assert FIGURE in real.targets()
    assert not_tested(real) == {
        name: paper.reason_not_tested(name, "laptop") for name in paper.claims
    }


def test_pinned_real_products_ask_for_no_data_set(files: dict[str, bytes]) -> None:
    assert "traj_instance" in names(graph("real", "pinned"), "product")
    assert "traj_instance" not in names(graph("embedded", "pinned"), "product")
