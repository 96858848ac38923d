"""What is known of how a result on this machine was made: its recipe, bytes, seconds.

A record lies beside the results, is read when the graph is planned, and is never pinned
or shared: it tells of this machine. A result without one (pulled, or copied) is as good.
"""

import json
from pathlib import Path
from typing import TypedDict

from retrograd.files import written_whole


class Record(TypedDict):
    recipe: str
    """recipe that the file was made by"""
    md5: dict[str, str]
    """digest of every file that the job wrote, by its path"""
    seconds: float
    """how long the job took"""


def read(path: Path) -> Record | None:
    """The record at `path`; None if there is none, or none that can be read."""
    try:
        record: Record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) and "recipe" in record else None


def write(path: Path, record: Record) -> None:
    with written_whole(path) as temporary:
        temporary.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
