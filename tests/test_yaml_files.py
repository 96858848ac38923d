"""Configs are YAML 1.2, and say where they are not."""

from pathlib import Path

import pytest
from ruamel.yaml import YAML

from retrograd import yaml_files
from retrograd.config import CONFIG, PAPERS
from retrograd.errors import RetrogradError


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-9", 1e-9),
        ("-.5", -0.5),
        ("12", 12),
        ("010", 10),
        ("no", "no"),
        ("True", True),
        ("null", None),
        ("1:30", "1:30"),
        ("2026-11-30", "2026-11-30"),
    ],
)
def test_scalars_are_those_of_yaml_1_2(tmp_path: Path, text: str, value: object) -> None:
    (tmp_path / "a.yaml").write_text(f"key: {text}\n")
    found = yaml_files.read(tmp_path / "a.yaml")["key"]
    assert (type(found), found) == (type(value), value)


def test_a_parser_in_pure_python_reads_the_same() -> None:
    for file in [CONFIG, *PAPERS.glob("*.yaml"), Path("data/datasets.yaml")]:
        expected = YAML(typ="safe", pure=True).load(file)
        assert repr(yaml_files.read(file)) == repr(expected), file


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: 1\nb: {c: 1,\n  c: 2}\n", r':3: not valid YAML: found duplicate key "c"'),
        ("a: &a {x: 1}\nb: {<<: *a, x: 2}\nc: {x: 3, x: 4}\n", r":3: .*duplicate"),
        ("a: [1\n", ":2: not valid YAML"),
        ("a: b: c\n", ":1: not valid YAML"),
        ("a: *b\n", ":1: not valid YAML: .*undefined alias"),
        ("a: \x01\n", "not valid YAML"),
    ],
)
def test_what_is_not_yaml_is_one_line(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(RetrogradError, match=f"a.yaml.*{said}"):
        yaml_files.read(tmp_path / "a.yaml")


def test_a_merged_mapping_may_be_overridden_and_merged_again(tmp_path: Path) -> None:
    text = "a: &a {x: 1, y: 1}\nb: &b {<<: *a, x: 2}\n"
    text += "c: {<<: *b, y: 3}\nd: {<<: [*a, *b]}\n"
    (tmp_path / "a.yaml").write_text(text)
    found = yaml_files.read(tmp_path / "a.yaml")
    assert found["b"] == {"x": 2, "y": 1}
    assert found["c"] == {"x": 2, "y": 3}
    assert found["d"] == {"x": 1, "y": 1}
