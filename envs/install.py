"""Create .venv from the locked files beside this script; do nothing if it is current.

Needs only Python's standard library. The environment counts as whole when
.venv/installed.sha256 holds the digest of everything that decides it; that file is
written last, so an interrupted install is seen and started afresh.
"""

import fcntl
import hashlib
import shutil
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENT = ROOT / ".venv"
STAMP = ENVIRONMENT / "installed.sha256"
DECIDING = (
    "envs/requirements.txt",
    "envs/torch.txt",
    "envs/install.py",
    "pyproject.toml",
)
OLDEST_PYTHON = (3, 11)


def digest() -> str:
    """Digest of the locked files, the interpreter and the place (scripts hold paths)."""
    parts = [sys.version, sys.base_prefix, str(ROOT)]
    parts += [(ROOT / name).read_text() for name in DECIDING]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def is_current() -> bool:
    return STAMP.is_file() and STAMP.read_text() == digest()


def install() -> None:
    shutil.rmtree(ENVIRONMENT, ignore_errors=True)
    venv.create(ENVIRONMENT, with_pip=True)
    pip = [str(ENVIRONMENT / "bin" / "python"), "-m", "pip", "--quiet", "install"]
    for what in (
        ["--require-hashes", "--no-deps", "-r", "envs/requirements.txt"],
        ["-r", "envs/torch.txt"],
        ["--no-deps", "--no-build-isolation", "--editable", "."],
    ):
        subprocess.run(pip + what, cwd=ROOT, check=True)
    STAMP.write_text(digest())


def main() -> int:
    if sys.version_info < OLDEST_PYTHON:
        found = ".".join(map(str, sys.version_info[:3]))
        print(
            f"retrograd needs Python 3.11 or newer; {sys.executable} is {found}. "
            "Name another with: make PYTHON=python3.11",
            file=sys.stderr,
        )
        return 2
    with open(ROOT / ".venv.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two makes at once: the second one waits
        if is_current():
            return 0
        print("installing the locked environment into .venv (once) ...", flush=True)
        try:
            install()
        except (subprocess.CalledProcessError, OSError) as error:
            print(
                f"the environment is not complete: {error}\n"
                "pip's own message is above; the same command starts afresh.",
                file=sys.stderr,
            )
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
