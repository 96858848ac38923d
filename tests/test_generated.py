"""What is generated or prescribed is in step: schemas, style, types, the rules' lint."""

import difflib
import subprocess
import sys
from pathlib import Path

import pytest

from retrograd import schemas
from retrograd.files import md5
from retrograd.readme import README

TOOLS = Path(sys.executable).parent


def test_the_schemas_are_those_of_the_models() -> None:
    for path, text in schemas.generated().items():
        found = path.read_text(encoding="utf-8") if path.exists() else ""
        difference = difflib.unified_diff(
            found.splitlines(), text.splitlines(), str(path), "generated", lineterm="", n=1
        )
        assert found == text, "run `make schemas`:\n" + "\n".join(difference)


@pytest.mark.parametrize(
    "command",
    [
        "ruff check .",
        "ruff format --check .",
        "mypy",
        "snakefmt --check workflow",
        "snakemake --lint",
    ],
)
def test_checkers_are_content(command: str) -> None:
    tool, *arguments = command.split()
    run = subprocess.run([TOOLS / tool, *arguments], capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr


def test_the_readme_is_short() -> None:
    assert len(README.read_text(encoding="utf-8").splitlines()) < 140


def test_the_digest_of_a_file_is_the_one_dvc_pins(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"abc")
    assert md5(path) == "900150983cd24fb0d6963f7d28e17f72"
