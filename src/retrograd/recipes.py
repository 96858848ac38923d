"""Recipes: the digest of everything that decides a file before it is computed.

A recipe covers code, parameters and the recipes of what is read. Code counts by what it
does: comments, docstrings and layout are left out, and a module counts for exactly the
steps that import it, directly or through other modules of the package.
"""

import ast
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

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
def _parsed(module: str) -> ast.Module:
    path = module_path(module)
    if path is None:
        raise RetrogradError(f"there is no module {module} under {SOURCE}")
    try:
        return ast.parse(path.read_text(encoding="utf-8"))
    except SyntaxError as error:
        raise RetrogradError(f"{path}:{error.lineno}: {error.msg}") from error


def _statements(node: ast.AST) -> Iterator[ast.AST]:
    """A module and the statements in it, at any depth; without what they consist of."""
    yield node
    for block in ("body", "handlers", "orelse", "finalbody", "cases"):
        for inner in getattr(node, block, ()):
            yield from _statements(inner)


def functions(module: str) -> set[str]:
    """Names of the public functions that a module defines, without importing it."""
    names = {n.name for n in _parsed(module).body if isinstance(n, ast.FunctionDef)}
    return {name for name in names if not name.startswith("_")}


@cache
def _imports(module: str) -> frozenset[str]:
    """Modules of this package that a module imports anywhere in its text."""
    found: set[str] = set()
    for node in _statements(_parsed(module)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                raise RetrogradError(
                    f"{module_path(module)}:{node.lineno}: import {PACKAGE} modules by "
                    "their full name; recipes follow no relative imports"
                )
            base = node.module or ""
            members = {f"{base}.{alias.name}" for alias in node.names}
            found |= {m for m in members if _ours(m) and module_path(m)} or {base}
    return frozenset(name for name in found if _ours(name))


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


@cache
def _code_digest(module: str) -> str:
    tree = _parsed(module)  # stripped in place: no function and no import is lost
    for node in _statements(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            # A bare string is a docstring (of a module, function, class or attribute).
            kept = [n for n in body if not _is_bare_string(n)]
            node.body = kept or [ast.Pass()]  # type: ignore[attr-defined]
    return _sha256(ast.unparse(tree))


def _is_bare_string(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def recipe(modules: Iterable[str], parameters: Any, upstream: Mapping[str, str]) -> str:
    """Digest of the code of `modules` (and what they import), parameters and upstream.

    Args:
        modules: full names of the modules whose code decides the file.
        parameters: anything JSON can write.
        upstream: recipe of each file that is read, by its name.
    """
    decides = {
        "code": {module: _code_digest(module) for module in imported(modules)},
        "parameters": parameters,
        "upstream": dict(upstream),
    }
    return _sha256(json.dumps(decides, sort_keys=True, ensure_ascii=False))
