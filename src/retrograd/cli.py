"""The command `retrograd`: the thin rest beside Snakemake and DVC."""

import argparse
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from retrograd.arithmetic import fix_instruction_set
from retrograd.errors import RetrogradError

OK, FAILED = 0, 1  # and 2, from argparse: wrong use


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code: 0 fine, 1 failed, 2 wrong use."""
    fix_instruction_set()
    options = _parser().parse_args(arguments)
    try:
        print(options.command(options), flush=True)
    except RetrogradError as error:
        print(f"retrograd: {error}", file=sys.stderr)
        return FAILED
    return OK


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="retrograd", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    make = commands.add_parser("make", help="carry out one job (the rules call this)")
    make.add_argument("kind", choices=("product", "figure", "claims"))
    make.add_argument("paper", help="slug of the paper")
    make.add_argument("scale")
    make.add_argument("name", nargs="?", default="", help="of the product or the figure")
    make.add_argument("--seed", type=int, default=0, help="master seed (default 0)")
    make.add_argument("--device", default="auto", help="auto, cpu or cuda")
    make.add_argument("--mode", default="build", help="pinned: inputs must be their pins")
    make.add_argument("--recipe", help="refuse if code or config now give another one")
    make.add_argument("--log", type=Path, help="what happened goes here as well")
    make.set_defaults(command=_make)

    fetch = commands.add_parser("fetch", help="place a pinned file (the rules call this)")
    fetch.add_argument("path", help="of a product under results/")
    fetch.add_argument("--log", type=Path, help="what happened goes here as well")
    fetch.set_defaults(command=_fetch)

    schemas = commands.add_parser("schemas", help="write the JSON schemas of the configs")
    schemas.set_defaults(command=_schemas)

    readme = commands.add_parser("readme", help="write the README's table and figure")
    readme.set_defaults(command=_readme)
    return parser


def _make(options: argparse.Namespace) -> str:
    from retrograd import jobs

    return _logged(
        options.log,
        lambda: jobs.run(
            options.kind,
            options.paper,
            options.scale,
            options.name,
            seed=options.seed,
            device=options.device,
            mode=options.mode,
            recipe=options.recipe,
        ),
    )


def _fetch(options: argparse.Namespace) -> str:
    from retrograd import jobs

    return _logged(options.log, lambda: jobs.fetch(options.path))


def _logged(log: Path | None, job: Callable[[], str]) -> str:
    try:
        said = job()
    except Exception as error:
        known = isinstance(error, RetrogradError)
        _log(log, str(error) if known else traceback.format_exc())
        raise
    _log(log, said)
    return said


def _log(path: Path | None, text: str) -> None:
    if path is None:
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n", encoding="utf-8")
    except OSError as error:  # the job's own outcome matters more than its log
        print(f"retrograd: {path}: cannot write the log: {error}", file=sys.stderr)


def _schemas(options: argparse.Namespace) -> str:
    from retrograd import schemas

    return "\n".join(map(str, schemas.write()))


def _readme(options: argparse.Namespace) -> str:
    from retrograd import readme

    return "\n".join(map(str, readme.write()))


if __name__ == "__main__":
    sys.exit(main())
