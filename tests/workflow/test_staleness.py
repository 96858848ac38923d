"""The staleness matrix: what runs after each event, with the real tools, every row."""

import os
import shutil
import time
from pathlib import Path

import pytest

from conftest import PAPER, PINNED, SMOKE, Clone

SOURCE = f"src/retrograd/papers/{PAPER}"
CONFIG = f"config/papers/{PAPER}.yaml"
FIGURES = {f"fig{i}" for i in range(1, 7)}
FIG2 = f"results/{PAPER}/smoke/figures/fig2.svg"
NEEDS_OF_FIG2 = {"scm_erf_sgd", "scm_erf_theory"}


def pulled(reviewer: Clone) -> Clone:
    reviewer.done("dvc", "pull", "--quiet")
    return reviewer


def shuffle_dates(clone: Clone) -> None:
    for age, name in enumerate(sorted(clone.artifacts(), reverse=True)):
        now = time.time() - age
        os.utime(clone.results(name), (now, now))


def test_one_figure_in_a_fresh_clone_fetches_what_it_needs_and_draws(
    reviewer: Clone, author: Clone
) -> None:
    assert reviewer.would_run(*PINNED, FIG2) == NEEDS_OF_FIG2 | {"fig2"}
    said = reviewer.snakemake(*PINNED, FIG2)
    assert said.returncode == 0, said.stderr
    made, pinned = reviewer.artifacts(), author.artifacts()
    assert set(made) == {
        *(f"products/{name}.nc" for name in NEEDS_OF_FIG2),
        *(f"figures/fig2.{format}" for format in ("svg", "png")),
    }
    assert all(made[name] == pinned[name] for name in made)
    assert reviewer.would_run(*PINNED, FIG2) == set()  # the same again


def test_after_dvc_pull_a_pinned_run_trains_nothing_and_draws_nothing(
    reviewer: Clone,
) -> None:
    pulled(reviewer)
    shuffle_dates(reviewer)
    assert reviewer.would_run(*PINNED) == set()
    assert reviewer.snakemake(*PINNED).returncode == 0
    report = reviewer.done("retrograd", "verify", *SMOKE)
    assert set(line.split()[0] for line in report.splitlines()[:-1]) == {"SAME_BYTES"}


def test_after_dvc_pull_a_build_run_has_nothing_to_do_either(reviewer: Clone) -> None:
    shuffle_dates(pulled(reviewer))
    assert reviewer.would_run() == set()


def test_a_change_of_mode_alone_makes_nothing_stale(co_author: Clone) -> None:
    assert co_author.would_run(*PINNED) == set()
    assert co_author.would_run() == set()
    target = co_author.results("products/scm_erf_sgd.nc")
    target.unlink()
    assert co_author.snakemake(*PINNED, FIG2).returncode == 0
    assert co_author.would_run(FIG2) == set()


@pytest.mark.parametrize("mode", [(), PINNED])
@pytest.mark.parametrize("made_here", [True, False])
def test_an_edit_of_figures_draws_that_papers_figures(
    co_author: Clone, reviewer: Clone, mode: tuple[str, ...], made_here: bool
) -> None:
    clone = co_author if made_here else pulled(reviewer)
    clone.edit(f"{SOURCE}/figures.py", "SGD, mean ± sd", "SGD")
    assert clone.would_run(*mode) == FIGURES


@pytest.mark.parametrize("mode", [(), PINNED])
def test_a_comment_or_a_docstring_runs_nothing(
    reviewer: Clone, mode: tuple[str, ...]
) -> None:
    pulled(reviewer)
    reviewer.edit(f"{SOURCE}/train.py", '"""The simulation:', '"""A simulation:')
    reviewer.edit(f"{SOURCE}/theory.py", "# ---- trajectories", "# ---- curves")
    assert reviewer.would_run(*mode) == set()


@pytest.mark.parametrize("made_here", [True, False])
def test_an_edit_of_train_trains_again_in_build_mode_only(
    co_author: Clone, reviewer: Clone, made_here: bool
) -> None:
    clone = co_author if made_here else pulled(reviewer)
    clone.edit(f"{SOURCE}/train.py", "math.sqrt(0.5)", "0.5**0.5")
    planned = clone.would_run()
    assert {"traj_sgd", "both_lin_theory", "claims"} | FIGURES <= planned
    assert planned.isdisjoint({"traj_ode", "nscale_ode", "scm_erf_theory", "tail_ode"})
    assert clone.would_run(*PINNED) == set()  # the pins are as they were


@pytest.mark.parametrize("made_here", [True, False])
def test_an_edit_of_a_shared_module_reaches_exactly_its_importers(
    co_author: Clone, reviewer: Clone, made_here: bool
) -> None:
    clone = co_author if made_here else pulled(reviewer)
    clone.edit("src/retrograd/progress.py", "mininterval=0.5", "mininterval=0.6")
    planned = clone.would_run()
    assert {"traj_sgd", "traj_ode", "scm_lin_theory"} <= planned
    assert planned.isdisjoint({"traj_instance", "nscale_instance", "tail_instance"})


@pytest.mark.parametrize("made_here", [True, False])
def test_a_parameter_reaches_its_scale_and_a_threshold_the_claims(
    co_author: Clone, reviewer: Clone, made_here: bool
) -> None:
    clone = co_author if made_here else pulled(reviewer)
    clone.edit(CONFIG, "{error_ratio: {min: 3.98", "{error_ratio: {min: 3.97")
    assert clone.would_run() == {"claims"}
    clone.edit(CONFIG, "layers: [first], init: informed, eta: [0.1, 0.05]}", EDITED)
    assert clone.would_run() == {"small_eta_theory", "claims"}
    clone.scale = "laptop"
    laptop = clone.would_run()
    clone.edit(CONFIG, EDITED, EDITED.replace("0.04", "0.03"))
    assert clone.would_run() == laptop


EDITED = "layers: [first], init: informed, eta: [0.1, 0.04]}"


@pytest.mark.parametrize("made_here", [True, False])
def test_a_new_pin_that_git_pull_brings_is_fetched_with_what_needs_it(
    co_author: Clone, tmp_path: Path, made_here: bool
) -> None:
    """The author changes the science and pins; a clone with the old results pulls."""
    theirs = co_author.git_clone(tmp_path / "theirs")
    if made_here:
        assert theirs.snakemake(*PINNED).returncode == 0
    else:
        pulled(theirs)
    before = theirs.artifacts()
    co_author.edit(CONFIG, "layers: [first], init: informed, eta: [0.1, 0.05]}", EDITED)
    assert co_author.snakemake().returncode == 0
    co_author.done("retrograd", "pin", *SMOKE)
    co_author.commit("another learning rate, pinned on purpose")
    theirs.done("git", "pull", "--quiet")
    assert theirs.would_run(*PINNED) == {"small_eta_theory", "claims"}
    assert theirs.snakemake(*PINNED).returncode == 0
    after = theirs.artifacts()
    changed = {name for name in after if after[name] != before[name]}
    assert changed == {"products/small_eta_theory.nc", "claims.json"}
    assert after.items() <= co_author.artifacts().items()
    shutil.rmtree(theirs.path)


def test_files_of_unknown_origin_are_made_again(copy: Clone) -> None:
    """Neither made here nor pinned: nobody knows what they are."""
    shutil.rmtree(copy.results("records"))
    assert FIGURES | {"traj_sgd", "claims"} <= copy.would_run()


def test_a_pinned_run_keeps_what_it_replaces(co_author: Clone) -> None:
    """Results of one's own, that are not the pins and in no cache, are not lost."""
    co_author.edit(CONFIG, "layers: [first], init: informed, eta: [0.1, 0.05]}", EDITED)
    assert co_author.snakemake().returncode == 0
    own = co_author.artifacts()["products/small_eta_theory.nc"]
    assert co_author.snakemake(*PINNED).returncode == 0
    (kept,) = co_author.results("replaced").iterdir()
    assert kept.read_bytes() == own
    assert kept.name.startswith("small_eta_theory-")


def test_a_pinned_run_that_is_killed_just_works_again(
    reviewer: Clone, author: Clone
) -> None:
    reviewer.killed_run(*PINNED, after=3)
    assert 0 < len(reviewer.artifacts()) < len(author.artifacts())
    assert reviewer.snakemake(*PINNED).returncode == 0
    assert reviewer.artifacts().items() <= author.artifacts().items()
    assert reviewer.would_run(*PINNED) == set()
