"""Recipes: what counts as a change, and for whom."""

import ast
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from retrograd import code, recipes
from retrograd.errors import RetrogradError

BEFORE = '''"""Docstring."""
import math

def area(r):
    """Docstring."""
    return math.pi * r**2  # comment
'''


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package of modules a -> b -> c, and d alone, in place of our own source."""
    monkeypatch.setattr(recipes, "SOURCE", tmp_path)
    texts = {
        "a": "from retrograd import b\nfrom retrograd.b import area\n",
        "b": BEFORE + "def f():\n    import retrograd.c\n",
        "c": "C = 1\n",
        "d": "D = 1\n",
        "__init__": '"""Package."""\n',
    }
    for name, text in texts.items():
        (tmp_path / f"{name}.py").write_text(text)
    return tmp_path


def of(module: str, parameters: object = None, **upstream: str) -> str:
    recipes._code.cache_clear()
    recipes._imports.cache_clear()
    return recipes.recipe([f"retrograd.{module}"], parameters, upstream)


def test_imports_are_followed_transitively_and_inside_functions(package: Path) -> None:
    of("a")
    names = {f"retrograd.{m}" for m in "abc"}
    assert recipes.imported(["retrograd.a"]) == names
    assert recipes.imported(["retrograd.d"]) == {"retrograd.d"}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"""Docstring."""', '"""Another."""'),
        ('    """Docstring."""\n', ""),
        ("# comment", "# other"),
        ("import math\n", "import math\n\n\n"),
        ("math.pi * r**2", "(math.pi*r ** 2)"),
    ],
)
def test_comments_docstrings_and_layout_do_not_count(
    package: Path, old: str, new: str
) -> None:
    before = of("a")
    text = (package / "b.py").read_text()
    assert old in text
    (package / "b.py").write_text(text.replace(old, new))
    assert of("a") == before


@pytest.mark.parametrize("module", ["a", "b", "c"])
def test_code_counts_for_exactly_its_importers(package: Path, module: str) -> None:
    before = {name: of(name) for name in "abcd"}
    with open(package / f"{module}.py", "a") as file:
        file.write("X = 2\n")
    changed = {name for name in "abcd" if of(name) != before[name]}
    assert changed == set("abcd"[: "abc".index(module) + 1])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3)
    ),
    max_leaves=6,
)


@settings(max_examples=50, deadline=None)
@given(one=JSON, other=JSON)
def test_parameters_count_by_value(one: object, other: object) -> None:
    import json

    same = json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
    modules = ["retrograd.errors"]
    equal = recipes.recipe(modules, one, {}) == recipes.recipe(modules, other, {})
    assert equal == same


def test_upstream_recipes_count(package: Path) -> None:
    assert of("d", x="1") != of("d", x="2")


def test_relative_imports_and_syntax_errors_name_the_line(package: Path) -> None:
    (package / "d.py").write_text("\nfrom . import a\n")
    with pytest.raises(RetrogradError, match=r"d\.py:2: import retrograd modules by"):
        of("d")
    (package / "d.py").write_text("\ndef f(:\n")
    with pytest.raises(RetrogradError, match=r"d\.py:2: invalid syntax"):
        of("d")


def test_functions_are_found_without_importing(package: Path) -> None:
    (package / "d.py").write_text("raise SystemExit\ndef fig1(): ...\ndef _own(): ...\n")
    of("b")
    assert recipes.functions("retrograd.d") == {"fig1"}


@pytest.fixture
def kept(package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of what is known of sources, in a project that has run before."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".snakemake").mkdir()
    return tmp_path / code.KEPT


def test_a_source_is_parsed_once_for_all_runs(
    kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = of("a")
    assert len(list(kept.iterdir())) == 3
    monkeypatch.setattr(ast, "parse", None)
    assert of("a") == before


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff\n", b"0\n{}"])
def test_what_is_kept_of_a_source_may_be_damaged(kept: Path, content: bytes) -> None:
    before = of("a")
    whole = {path: path.read_bytes() for path in kept.iterdir()}
    for path in whole:
        path.write_bytes(content)
    assert of("a") == before
    assert {path: path.read_bytes() for path in kept.iterdir()} == whole


def test_one_flipped_bit_of_what_is_kept_is_seen(kept: Path) -> None:
    before = of("a")
    for path in kept.iterdir():
        text = path.read_text()
        at = text.index('"digest": "') + 11
        path.write_text(text[:at] + ("1" if text[at] == "0" else "0") + text[at + 1 :])
    assert of("a") == before


def test_where_nothing_can_be_kept_recipes_are_the_same(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = of("a")
    assert not code.KEPT.parent.exists()
    code.KEPT.parent.mkdir()
    code.KEPT.write_text("a file in the way of the folder")
    assert of("a") == before


def test_many_may_keep_what_they_found_at_once(kept: Path, package: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(code.read, [package / "b.py"] * 64))
    assert all(entry["digest"] == found[0]["digest"] for entry in found)
    (entry,) = kept.iterdir()
    assert code._recall(entry) is not None
