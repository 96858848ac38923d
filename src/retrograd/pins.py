"""Pins: the digests in dvc.lock, and beside them in dvc.yaml the recipes they came from.

Read here, on every parse of the Snakefile, so without DVC itself; written by `pinning`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from retrograd.errors import RetrogradError

STAGES = Path("dvc.yaml")
LOCK = Path("dvc.lock")


@dataclass(frozen=True)
class Pin:
    """What git keeps of one artifact."""

    path: str
    md5: str
    """digest of the file's bytes"""
    size: int
    """bytes"""
    recipe: str
    """recipe that it was made by, in a build from scratch"""
    recipe_from_pins: str
    """recipe that it has when its inputs are pins; empty for a product"""
    remote: str
    """DVC remote that holds it; empty for the default one"""


def stage_name(paper: str, scale: str) -> str:
    return f"{paper}-{scale}"


def read(folder: Path = Path()) -> dict[str, Pin]:
    """Every pin, by the artifact's path.

    Raises:
        RetrogradError: a file of DVC is there and cannot be understood.
    """
    locked, stages = _yaml(folder / LOCK), _yaml(folder / STAGES)
    return {pin.path: pin for pin in _pins(locked, stages)}


def _pins(locked: Mapping[str, Any], stages: Mapping[str, Any]) -> Iterator[Pin]:
    try:
        for name, stage in (locked.get("stages") or {}).items():
            outs = stages["stages"][name]["outs"]
            settings = {path: given for out in outs for path, given in out.items()}
            for out in stage["outs"]:
                given = settings.get(out["path"], {})
                meta = given.get("meta", {})
                yield Pin(
                    out["path"],
                    out["md5"],
                    int(out["size"]),
                    meta.get("recipe", ""),
                    meta.get("recipe_from_pins", ""),
                    given.get("remote", ""),
                )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RetrogradError(
            f"{LOCK} and {STAGES} do not fit together ({type(error).__name__}: {error}); "
            f"take both from one commit: git checkout -- {LOCK} {STAGES}"
        ) from error


def _yaml(path: Path) -> Any:
    """A YAML file with every scalar as text, as digests must be read; {} if absent."""
    try:
        with open(path, encoding="utf-8") as file:
            return yaml.load(file, Loader=_Loader) or {}
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise RetrogradError(
            f"{path}: cannot read it: {error}; restore it: git checkout -- {path}"
        ) from error


# libyaml where it is built in: the file has thousands of lines.
_Loader: Any = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
