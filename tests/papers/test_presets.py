"""Every preset of every paper can be planned; the published ones are run a few steps."""

import pytest
import torch

from retrograd.config import SCALES, available_papers, load_paper
from retrograd.graph import Graph
from retrograd.papers.goldt2019_teacher_student.params import SizeSweep, Training
from retrograd.papers.goldt2019_teacher_student.train import Ensemble


@pytest.mark.parametrize("scale", SCALES)
def test_every_scale_of_every_paper_has_its_figures_and_claims(scale: str) -> None:
    graph = Graph.load({"scale": scale})
    for slug, paper in graph.papers.items():
        targets = [t for t in graph.targets() if t.startswith(f"results/{slug}/{scale}/")]
        assert len(targets) == 2 * len(graph.figures(slug)) + 1
        assert graph.figures(slug)
        for name in paper.products:
            if paper.parameters(name, scale) is not None:  # type: ignore[arg-type]
                assert len(graph.recipe("product", slug, scale, name)) == 64


def test_published_presets_of_goldt2019_take_their_steps() -> None:
    published = load_paper("goldt2019_teacher_student", seed=0).scales["published"]
    trained = 0
    for _, params in published:
        if isinstance(params, SizeSweep):
            params = params.at(params.N[-1])
        if isinstance(params, Training):
            ensemble = Ensemble(params, torch.device("cpu"))
            ensemble.advance_to(3)
            assert ensemble.step == 3
            assert all(torch.isfinite(state).all() for state in (ensemble.w, ensemble.v))
            trained += 1
    assert trained == 11


def test_papers_are_found_by_their_config_file() -> None:
    assert "goldt2019_teacher_student" in available_papers()
