"""Recipes: the digest of everything that decides a file before it is computed.

A recipe covers code, parameters and the recipes of what is read. Code counts by what it
does: comments, docstrings and layout are left out, and a module counts for exactly the
steps that import it, directly or through other modules of the package.
"""

import json
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from retrograd import code
from retrograd.code import Code, sha256
from retrograd.errors import RetrogradError

PACKAGE = "retrograd"
SOURCE = Path(__file__).resolve().parent


def module_path(module: str) -> Path | None:
    """File of a module of this package, or None if there is no such module."""
    path = SOURCE.joinpath(*module.split(".")[1:])
    for candidate in (path.with_suffix(".py"), path / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None


@cache
def _code(module: str) -> Code:
    path = module_path(module)
    if path is None:
        raise RetrogradError(f"there is no module {module} under {SOURCE}")
    try:
        return code.read(path)
    except SyntaxError as error:
        raise RetrogradError(f"{path}:{error.lineno}: {error.msg}") from error


def functions(module: str) -> set[str]:
    """Names of the public functions that a module defines, without importing it."""
    return set(_code(module)["functions"])


@cache
def _imports(module: str) -> frozenset[str]:
    """Modules of this package that a module imports anywhere in its text."""
    for line in _code(module)["relative"]:
        raise RetrogradError(
            f"{module_path(module)}:{line}: import {PACKAGE} modules by their full name; "
            "recipes follow no relative imports"
        )
    found: set[str] = set()
    for base, members in _code(module)["imports"]:
        found |= {m for m in members if _ours(m) and module_path(m)} or {base}
    return frozenset(filter(_ours, found))


def _ours(module: str) -> bool:
    return module == PACKAGE or module.startswith(f"{PACKAGE}.")


def imported(roots: Iterable[str]) -> set[str]:
    """The given modules and every module of this package they need, transitively."""
    seen: set[str] = set()
    waiting = list(roots)
    while waiting:
        module = waiting.pop()
        if module not in seen:
            seen.add(module)
            waiting += _imports(module)
    return seen


def recipe(modules: Iterable[str], parameters: Any, upstream: Mapping[str, str]) -> str:
    """Digest of the code of `modules` (and what they import), parameters and upstream.

    Args:
        modules: full names of the modules whose code decides the file.
        parameters: anything JSON can write.
        upstream: recipe of each file that is read, by its name.
    """
    decides = {
        "code": {module: _code(module)["digest"] for module in imported(modules)},
        "parameters": parameters,
        "upstream": dict(upstream),
    }
    return sha256(json.dumps(decides, sort_keys=True, ensure_ascii=False))
