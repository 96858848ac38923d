"""docs/clamping.md: its examples are run, and it names what there is."""

import re
from pathlib import Path
from typing import Any, get_args

import pytest
from ruamel.yaml import YAML

from retrograd import clamps
from retrograd.clamps import Clamping, compile
from retrograd.transformer import Architecture


def page() -> str:
    return Path("docs", "clamping.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page(), re.S)


def test_the_python_example_says_what_the_page_says(
    capsys: pytest.CaptureFixture[str],
) -> None:
    (code,) = blocks("python")
    names: dict[str, Any] = {}
    exec(code, names)
    alone, given = names["losses"].tolist()
    assert alone > 0.6
    assert given < 0.1
    assert f"left alone {alone:.2f}, given" in capsys.readouterr().out


def test_the_configs_are_valid() -> None:
    found = [Clamping.model_validate(YAML(typ="safe").load(b)) for b in blocks("yaml")]
    assert len(found) == 2
    for clamping in found:
        assert compile([clamping], Architecture(inputs=8, labels=3, d=16, heads=4))


def test_every_activation_and_replacement_is_on_the_page() -> None:
    text = page()
    for name in (*get_args(clamps.Activation), *get_args(clamps.To)):
        assert re.search(rf"^\| .*`{name}`", text, re.M), name
    for field in Clamping.model_fields:
        assert field in text


def test_files_it_names_are_there() -> None:
    paths = re.findall(r"`((?:tests|config|src|docs)/[\w./]+)`", page())
    assert len(paths) == 3
    assert all(Path(path).is_file() for path in paths)
