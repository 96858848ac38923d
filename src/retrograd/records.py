"""What is known of how a result on this machine was made: its recipe, bytes, seconds.

A record lies beside the results and is never pinned or shared: it tells of this machine.
A result without one was pulled, and its pin tells; or its origin is unknown.
"""

import json
from pathlib import Path
from typing import TypedDict

from retrograd.files import write_text


class Record(TypedDict):
    recipe: str
    """recipe that the file was made by"""
    md5: dict[str, str]
    """digest of every file that the job wrote, by its path"""
    seconds: float
    """how long the job took"""
    planned: bool
    """whether it was a job of Snakemake, which remembers it too"""


def read(path: Path) -> Record | None:
    """The record of a result; None if there is none, or none that can be read."""
    try:
        record: Record = json.loads(path.read_text(encoding="utf-8"))
        record.setdefault("planned", True)  # records of earlier versions lack it
        return record if Record.__required_keys__ <= record.keys() else None
    except (OSError, ValueError, AttributeError):
        return None


def write(path: Path, record: Record) -> None:
    write_text(path, json.dumps(record, indent=1) + "\n")
