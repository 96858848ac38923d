"""The graph, run with the real snakemake in temporary clones at smoke scale."""

import json
import re
import shlex

import pytest

from conftest import PAPER, Clone

SOURCE = f"src/retrograd/papers/{PAPER}"
CONFIG = f"config/papers/{PAPER}.yaml"
FIGURES = {f"fig{i}" for i in range(1, 7)}


def test_everything_asked_for_is_there(finished: Clone) -> None:
    made = set(finished.artifacts())
    assert {f"figures/{f}.{e}" for f in FIGURES for e in ("svg", "png")} < made
    assert "claims.json" in made


def test_a_second_run_does_nothing(finished: Clone) -> None:
    again = finished.snakemake()
    assert "Nothing to be done" in again.stdout + again.stderr


def test_one_core_and_two_give_the_same_bytes(finished: Clone, clone: Clone) -> None:
    clone.cores = 1
    assert clone.snakemake().returncode == 0
    ours, theirs = finished.artifacts(), clone.artifacts()
    assert ours.keys() == theirs.keys()
    assert [name for name in ours if ours[name] != theirs[name]] == []


def test_one_figure_runs_only_what_it_needs(clone: Clone) -> None:
    target = f"results/{PAPER}/smoke/figures/fig2.svg"
    assert clone.would_run(target) == {"fig2", "scm_erf_sgd", "scm_erf_theory"}
    assert clone.snakemake(target).returncode == 0
    assert set(clone.artifacts()) == {
        "figures/fig2.svg",
        "figures/fig2.png",
        "products/scm_erf_sgd.nc",
        "products/scm_erf_theory.nc",
    }


def test_a_dry_run_gives_the_reason_of_every_job(copy: Clone) -> None:
    copy.edit(f"{SOURCE}/figures.py", "SGD, mean ± sd", "SGD")
    text = copy.snakemake("--dry-run").stdout
    assert text.count("Reason: Params have changed") == len(FIGURES)


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        (f"{SOURCE}/train.py", '"""The simulation:', '"""A simulation:'),
        (f"{SOURCE}/theory.py", "# ---- trajectories", "# ---- curves"),
        ("src/retrograd/gaussian.py", '    """⟨g(a) g(b)⟩', '    """\n    ⟨g(a) g(b)⟩'),
        ("src/retrograd/gaussian.py", "C: Array", "C:   Array"),
        ("src/retrograd/graph.py", "def targets(self)", "def targets(self )"),
    ],
)
def test_comments_docstrings_and_layout_do_not_count(
    copy: Clone, file: str, old: str, new: str
) -> None:
    copy.edit(file, old, new)
    assert copy.would_run() == set()


def test_an_edit_of_figures_draws_and_does_not_train(copy: Clone) -> None:
    before = copy.artifacts()
    copy.edit(f"{SOURCE}/figures.py", "SGD, mean ± sd", "SGD")
    assert copy.would_run() == FIGURES
    assert copy.snakemake().returncode == 0
    after = copy.artifacts()
    changed = {name for name in after if after[name] != before[name]}
    assert changed == {"figures/fig2.svg", "figures/fig2.png"}


def test_an_edit_of_train_reaches_what_needs_it_in_one_run(copy: Clone) -> None:
    copy.edit(f"{SOURCE}/train.py", "math.sqrt(0.5)", "0.5**0.5")
    data_and_theory = {"traj_ode", "nscale_ode", "scm_erf_theory", "tail_ode"}
    planned = copy.would_run()
    assert {"traj_sgd", "both_lin_theory", "claims"} | FIGURES <= planned
    assert planned.isdisjoint(data_and_theory)
    assert copy.snakemake().returncode == 0
    assert copy.would_run() == set()


def test_a_changed_caption_redraws_its_figure_only(copy: Clone) -> None:
    copy.edit(CONFIG, "The data set matters", "The set matters")
    assert copy.would_run() == {"fig6"}


def test_another_master_seed_gives_other_numbers(finished: Clone, clone: Clone) -> None:
    target = f"results/{PAPER}/smoke/products/traj_sgd.nc"
    assert clone.snakemake(target, "--config", "seed=1").returncode == 0
    assert (
        clone.artifacts()["products/traj_sgd.nc"]
        != (finished.artifacts()["products/traj_sgd.nc"])
    )


def test_a_killed_run_just_works_again_and_ends_with_the_same_bytes(
    finished: Clone, clone: Clone
) -> None:
    clone.killed_run(after=1)
    assert 0 < len(clone.artifacts()) < len(finished.artifacts())
    again = clone.snakemake()
    assert again.returncode == 0, again.stdout + again.stderr
    assert clone.artifacts() == finished.artifacts()


def test_stamps_hold_nothing_of_this_machine(finished: Clone) -> None:
    for name, content in finished.artifacts().items():
        assert str(finished.path).encode() not in content, name


def test_claims_at_smoke_scale_are_not_tested_and_say_why(finished: Clone) -> None:
    report = json.loads(finished.results("claims.json").read_text(encoding="utf-8"))
    assert {c["verdict"] for c in report["claims"]} == {"NOT_TESTED"}
    assert all(c["reason"] for c in report["claims"])


@pytest.mark.parametrize("terminal", [True, False])
def test_a_long_job_shows_its_progress_on_a_terminal_only(
    copy: Clone, terminal: bool
) -> None:
    """`script` (util-linux) gives the run a terminal, `stty` gives that a size."""
    target = f"results/{PAPER}/smoke/products/scm_erf_sgd.nc"
    run = shlex.join(copy.command("--force", target))
    shown = (
        copy.run("script", "-qec", f"stty rows 24 cols 80; {run}", "/dev/null")
        if terminal
        else copy.run("sh", "-c", run)
    )
    assert shown.returncode == 0, shown.stdout + shown.stderr
    bar = re.search(r"N=50: +\d+%\|.*\| [\d.k]+/2.00k \[.*step/s\]", shown.stdout)
    assert bool(bar) == terminal
    assert "1 of 1 steps (100%) done" in shown.stdout + shown.stderr
