"""YAML 1.2 by libyaml's parser: ten times faster than one in pure Python.

PyYAML reads YAML 1.1 (1e-9 is a text, `no` is false) and lets a later key replace an
earlier one of the same name. This loader does neither: numbers and booleans are those of
YAML 1.2's core schema, in decimals, and a key given twice is an error.
"""

import re
from pathlib import Path
from typing import Any

import yaml

from retrograd.errors import RetrogradError

# Where PyYAML was built without libyaml, the same in pure Python.
_SafeLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_SafeLoader):
    yaml_implicit_resolvers: dict[str, Any] = {}

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        # Every mapping comes here before what it merges (<<) is written into it; one that
        # others merge comes again, by then with keys that override merged ones.
        seen = self.__dict__.setdefault("seen", set())
        if node not in seen:
            seen.add(node)
            _check_keys(node)
        super().flatten_mapping(node)


def _check_keys(node: yaml.MappingNode) -> None:
    scalars = [key for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
    seen = set()
    for key in scalars:
        if (key.tag, key.value) in seen:
            problem = f'found duplicate key "{key.value}"'
            raise yaml.MarkedYAMLError("", node.start_mark, problem, key.start_mark)
        seen.add((key.tag, key.value))


_CORE = {
    "bool": (r"true|True|TRUE|false|False|FALSE", "tTfF"),
    "int": (r"[-+]?[0-9]+", "-+0123456789"),
    "float": (
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?"
        r"|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        "-+.0123456789",
    ),
    "merge": (r"<<", "<"),
    "null": (r"~|null|Null|NULL|", ["~", "n", "N", ""]),
}
for _tag, (_pattern, _first) in _CORE.items():
    _regexp = re.compile(rf"^(?:{_pattern})$")
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", _regexp, list(_first))
_Loader.add_constructor("tag:yaml.org,2002:int", lambda _, node: int(node.value))


def read(file: Path) -> Any:
    """The contents of a YAML file.

    Raises:
        RetrogradError: it cannot be read, or is not YAML; names the line.
    """
    try:
        with open(file, encoding="utf-8") as stream:
            return yaml.load(stream, _Loader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else "?"
        raise RetrogradError(f"{file}:{line}: not valid YAML: {error.problem}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RetrogradError(f"{file}: not valid YAML: {error}") from error
    except OSError as error:
        raise RetrogradError(f"{file}: cannot read it: {error.strerror}") from error
