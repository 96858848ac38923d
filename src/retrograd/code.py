"""What recipes need of a Python source text: what it does, defines and imports.

Reading a hundred modules takes longer than all else when the graph is loaded, so what was
found is kept in Snakemake's folder by the digest of the text. Any of it may go at any
time, be damaged, or be written by two at once: it is then found again.
"""

import ast
import hashlib
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TypedDict

KEPT = Path(".snakemake", "retrograd-code")
# Another Python writes syntax trees out differently, and so may another version of this.
_READER = (sys.version + Path(__file__).read_text(encoding="utf-8")).encode()


class Code(TypedDict):
    digest: str
    """of the code without comments, docstrings and layout"""
    functions: list[str]
    """names of the public functions"""
    imports: list[tuple[str, list[str]]]
    """modules, and the names that are imported from each; dotted and in full"""
    relative: list[int]
    """lines of relative imports"""


def read(path: Path) -> Code:
    """What is in a source file.

    Raises:
        OSError, SyntaxError: it cannot be read, or is not Python.
    """
    text = path.read_text(encoding="utf-8")
    kept = KEPT / hashlib.sha256(_READER + text.encode()).hexdigest()
    found = _recall(kept)
    if found is None:
        found = _code(ast.parse(text))
        _keep(kept, found)
    return found


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _recall(kept: Path) -> Code | None:
    with suppress(OSError, ValueError):
        digest, body = kept.read_text(encoding="utf-8").split("\n", 1)
        if digest == sha256(body):
            code: Code = json.loads(body)
            return code
    return None


def _keep(kept: Path, code: Code) -> None:
    if not KEPT.parent.is_dir():
        return
    body = json.dumps(code)
    with suppress(OSError):  # a folder that cannot be written to costs time only
        KEPT.mkdir(exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=KEPT, delete=False) as file:
            file.write(f"{sha256(body)}\n{body}")
        os.replace(file.name, kept)


def _code(tree: ast.Module) -> Code:
    functions = [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
    code: Code = {
        "digest": "",
        "functions": [name for name in functions if not name.startswith("_")],
        "imports": [],
        "relative": [],
    }
    for node in _statements(tree):
        if isinstance(node, ast.Import):
            code["imports"] += [(alias.name, []) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            code["imports"].append((base, [f"{base}.{alias.name}" for alias in node.names]))
            if node.level:
                code["relative"].append(node.lineno)
        body = getattr(node, "body", None)
        if isinstance(body, list):
            # A bare string is a docstring (of a module, function, class or attribute).
            kept = [n for n in body if not _is_bare_string(n)]
            node.body = kept or [ast.Pass()]  # type: ignore[attr-defined]
    code["digest"] = sha256(ast.unparse(tree))
    return code


def _statements(node: ast.AST) -> Iterator[ast.AST]:
    """A module and the statements in it, at any depth; without what they consist of."""
    yield node
    for block in ("body", "handlers", "orelse", "finalbody", "cases"):
        for inner in getattr(node, block, ()):
            yield from _statements(inner)


def _is_bare_string(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )
