"""Fresh clones of this repository, whose tools import the `retrograd` in them."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def clone(path: Path) -> Path:
    """Clone what is committed here."""
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(path)], check=True)
    return path


def run(folder: Path, *command: str) -> "subprocess.CompletedProcess[str]":
    """Run a command in a clone, with the tools of the environment that runs this."""
    tools = str(Path(sys.executable).parent)
    environment = os.environ | {
        "PYTHONPATH": str(folder / "src"),
        "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}",
    }
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True
    )
