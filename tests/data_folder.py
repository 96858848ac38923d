"""Made-up data sets in a data folder and a mirror of a test's own."""

import hashlib
from pathlib import Path

from ruamel.yaml import YAML

NOWHERE = "http://127.0.0.1:9/"  # the discard port: refused at once


def list_files(
    data: Path,
    name: str,
    files: dict[str, bytes],
    shapes: dict[str, list[int]] | None = None,
    address: str | None = NOWHERE,
    own: str = "",
    derived: str = "",
) -> None:
    """Write a table with one data set of these contents.

    Args:
        data: the folder.
        name: of the data set.
        files: their contents by name.
        shapes: of what they hold, by name.
        address: a public folder, if there is one.
        own: the public address of each file.
        derived: how each was made.
    """
    row = {
        "version": "1",
        "citation": "nobody",
        "licence": "none",
        "format": "any",
        "addresses": [address] if address else [],
        "files": {
            file: {
                "sha256": hashlib.sha256(content).hexdigest(),
                "bytes": len(content),
                "shape": (shapes or {}).get(file, [1]),
                "address": own,
                "derived": derived,
            }
            for file, content in files.items()
        },
    }
    YAML().dump({name: row}, data / "datasets.yaml")


def put(folder: Path, name: str, files: dict[str, bytes]) -> None:
    (folder / name).mkdir(parents=True, exist_ok=True)
    for file, content in files.items():
        (folder / name / file).write_bytes(content)
