"""What a person sees when the graph is given something wrong."""

import json
import os
import re
import shutil

import pytest

from conftest import PAPER, Clone

CONFIG = f"config/papers/{PAPER}.yaml"
FIG5 = f"results/{PAPER}/smoke/figures/fig5.svg"
NSCALE = "products/nscale_sgd.nc"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([f"results/{PAPER}/smoke/figures/fgi5.svg"], "did you mean 'fig5.svg'?"),
        ([f"results/{PAPER}/smok/figures/fig5.svg"], "did you mean 'smoke'?"),
        (["results/goldt2019/smoke/figures/fig5.svg"], f"did you mean '{PAPER}'?"),
        ([f"results/{PAPER}/smoke/product/x.nc"], "did you mean 'products'?"),
        (["--config", "sede=3"], "did you mean 'seed'?"),
        (["--config", "seed=-3"], "greater than or equal to 0 (found -3)"),
        (["--config", "papers=[goldt2019]"], f"did you mean '{PAPER}'?"),
    ],
)
def test_a_wrong_name_is_one_line_with_the_nearest_one(
    finished: Clone, arguments: list[str], said: str
) -> None:
    run = finished.snakemake("--dry-run", *arguments)
    assert run.returncode != 0
    errors = [line for line in run.stderr.splitlines() if line.startswith("retrograd:")]
    assert len(errors) == 1
    assert said in errors[0]
    assert "Traceback" not in run.stderr


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "N: [32, 64], M: 2",
            "N: [32, 64], MM: 2",
            "nscale: unknown key 'MM'; did you mean 'M'?",
        ),
        ("N: [32, 64]", "N: [32, 48]", "scales.smoke.nscale: N: each must be a multiple"),
        ("  smoke:\n    traj", "  smke:\n    traj", "did you mean 'smoke'?"),
        ("need: [nscale_instance]", "need: [nscale]", "products.nscale_ode.need: unknown"),
        (
            "step: data, parameters: traj",
            "step: dta, parameters: traj",
            "did you mean 'data'?",
        ),
        ("  fig5:", "  fig9:", "function of figures.py: unknown 'fig9'"),
        (
            "title: Dynamics",
            "title: Dynamics\ntitle: Statics",
            ":3: not valid YAML",
        ),
        (
            "traj_sgd: {step: train, parameters: traj}",
            "traj_sgd: {step: train, parameters: traj, need: [traj_sgd]}",
            "circle: traj_sgd <- traj_sgd",
        ),
    ],
)
def test_a_wrong_config_fails_before_any_job(
    clone: Clone, old: str, new: str, said: str
) -> None:
    clone.edit(CONFIG, old, new)
    run = clone.snakemake()
    assert run.returncode != 0
    assert f"retrograd: {CONFIG}" in run.stderr
    assert said in run.stderr
    assert "Traceback" not in run.stderr
    assert not (clone.path / "results").exists()


def _truncate(content: bytes) -> bytes:
    return content[: len(content) // 2]


def _flip(content: bytes) -> bytes:
    at = len(content) - 1000
    return content[:at] + bytes([content[at] ^ 16]) + content[at + 1 :]


@pytest.mark.parametrize("damage", [_truncate, _flip])
def test_nothing_is_drawn_from_a_corrupt_product(copy: Clone, damage: object) -> None:
    path = copy.results(NSCALE)
    good = path.read_bytes()
    path.write_bytes(damage(good))  # type: ignore[operator]
    for format in ("svg", "png"):
        copy.results(f"figures/fig5.{format}").unlink()
    run = copy.snakemake(FIG5)
    assert run.returncode != 0
    assert "nscale_sgd.nc: corrupt: " in run.stderr
    assert not copy.results("figures/fig5.svg").exists()
    rebuild = re.search(r"rebuild it with: snakemake (.*)", run.stderr)
    assert rebuild is not None
    assert copy.snakemake(*rebuild[1].split()).returncode == 0
    assert path.read_bytes() == good
    assert copy.snakemake(FIG5).returncode == 0


def test_a_diverging_run_names_condition_and_step(clone: Clone) -> None:
    clone.edit(CONFIG, "scm_lin: {<<: *smoke_scm, activation: lin}", DIVERGES)
    run = clone.snakemake(f"results/{PAPER}/smoke/products/scm_lin_sgd.nc")
    assert run.returncode != 0
    pattern = r"diverged: condition 'first, K=22, η=1, σ=0.1', seed \d, .* at step \d+"
    assert re.search(pattern, run.stderr)
    assert clone.artifacts() == {}


DIVERGES = "scm_lin: {<<: *smoke_scm, activation: lin, K: [2, 22], eta: 1}"


def test_results_that_cannot_be_written_say_so_and_leave_nothing(clone: Clone) -> None:
    target = f"results/{PAPER}/smoke/products/traj_instance.nc"
    assert clone.snakemake(target).returncode == 0
    clone.results(target.split("/")[-1]).parent.mkdir(exist_ok=True)
    folder = clone.results("products")
    kept = clone.artifacts()
    limited = "import resource, sys; from retrograd.cli import main; resource.setrlimit("
    limited += "resource.RLIMIT_FSIZE, (4096, 4096)); sys.exit(main(sys.argv[1:]))"
    run = clone.run("python", "-c", limited, "make", "product", PAPER, "smoke", "traj_ode")
    assert run.returncode == 1
    assert "traj_ode.nc: cannot write it" in run.stderr
    assert "Traceback" not in run.stderr
    assert clone.artifacts() == kept
    assert [p.name for p in folder.iterdir()] == ["traj_instance.nc"]


def test_a_job_refuses_when_the_code_changed_after_it_was_planned(copy: Clone) -> None:
    run = copy.run("retrograd", "make", "figure", PAPER, "smoke", "fig5", "--recipe", "0")
    assert run.returncode == 1
    assert "changed after this run was planned" in run.stderr


def test_a_lone_job_records_its_recipe_and_seconds(copy: Clone) -> None:
    assert copy.run("retrograd", "make", "figure", PAPER, "smoke", "fig5").returncode == 0
    record = json.loads(copy.results("records/figure-fig5.json").read_text())
    assert set(record) == {"recipe", "md5", "seconds", "planned"}
    assert copy.would_run() == set()


def test_what_a_lone_job_made_with_older_code_is_made_again(copy: Clone) -> None:
    product = copy.results("products/denoiser_theory.nc")
    product.unlink()
    shutil.rmtree(copy.path / ".snakemake" / "metadata")
    (copy.path / ".snakemake" / "metadata").mkdir()
    job = ("retrograd", "make", "product", PAPER, "smoke", "denoiser_theory")
    assert copy.run(*job).returncode == 0
    assert "denoiser_theory" not in copy.would_run()
    copy.edit("src/retrograd/ode.py", "def integrate(", "EDITED = 1\n\n\ndef integrate(")
    assert "denoiser_theory" in copy.would_run()


def test_cuda_that_is_not_there_is_refused(clone: Clone) -> None:
    if os.environ.get("CUDA_VISIBLE_DEVICES") is None:
        clone.environment["CUDA_VISIBLE_DEVICES"] = ""
    target = f"results/{PAPER}/smoke/products/traj_sgd.nc"
    run = clone.snakemake(target, "--config", "device=cuda")
    assert run.returncode != 0
    assert "torch finds no CUDA device here" in run.stderr
