"""The command `retrograd`: the thin rest beside Snakemake and DVC.

Each command prints for people, or with --json for programs. Exit codes: 0 fine, 1 failed
or differs, 2 wrong use.
"""

import argparse
import json
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from retrograd.arithmetic import fix_instruction_set
from retrograd.errors import RetrogradError, UsageError, check_known

OK, FAILED, WRONG_USE = 0, 1, 2  # 2 is argparse's as well


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    fix_instruction_set()
    options = _parser().parse_args(arguments)
    try:
        said, fine = options.command(options)
    except RetrogradError as error:
        print(f"retrograd: {error}", file=sys.stderr)
        return WRONG_USE if isinstance(error, UsageError) else FAILED
    try:
        print(said, flush=True)
    except BrokenPipeError:  # `| head` has seen enough
        sys.stderr.close()
    return OK if fine else FAILED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="retrograd",
        description="Rebuild, verify and explain figures from pinned data.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, command: Callable[..., Any], help: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=help, description=help)
        added.set_defaults(command=command)
        return added

    def report(
        name: str, command: Callable[..., Any], help: str
    ) -> argparse.ArgumentParser:
        added = add(name, command, help)
        added.add_argument("--json", action="store_true", help="print JSON")
        return added

    def scaled(added: argparse.ArgumentParser) -> argparse.ArgumentParser:
        added.add_argument("--scale", help="smoke, laptop or published (config.yaml's)")
        return added

    what = "PAPER, PAPER/FIGURE or a path under results/; everything if none is given"
    listed = scaled(
        report("list", _list, "papers, figures, claims; what is pinned or stale")
    )
    listed.add_argument("what", nargs="*", metavar="PAPER", help="all papers if none")
    listed.add_argument("--data", action="store_true", help="data sets and their licences")
    figure = scaled(
        report("figure", _figure, "draw one figure from its pins and verify it")
    )
    figure.add_argument("what", metavar="PAPER/FIGURE")
    figure.add_argument("--cores", type=int, help="all if not given")
    verify = scaled(report("verify", _verify, "compare what is here with what is pinned"))
    verify.add_argument("what", nargs="*", help=what)
    verify.add_argument("--certificate", type=Path, metavar="FILE", help="write a manifest")
    explain = report("explain", _explain, "what a figure, product or claims file is")
    explain.add_argument("file", type=Path, help="anywhere, also one sent by e-mail")
    plan = report("plan", _plan, "what would run and why, minutes and bytes")
    plan.add_argument("what", nargs="*", help="paths under results/")
    plan.add_argument(
        "--config", nargs="+", default=[], metavar="KEY=VALUE", help="as in snakemake"
    )
    pin = scaled(report("pin", _pin, "pin the results as they are now, for all who clone"))
    pin.add_argument("what", nargs="*", metavar="PAPER", help="all papers if none")
    pin.add_argument("--remote", default="embedded", help="of DVC (default: embedded)")
    report("fsck", _fsck, "hash workspace, cache and remotes again")

    make = add("make", _make, "carry out one job (the rules call this)")
    make.add_argument("kind", choices=("product", "figure", "claims"))
    make.add_argument("paper", help="slug of the paper")
    make.add_argument("scale")
    make.add_argument("name", nargs="?", default="", help="of the product or the figure")
    make.add_argument("--seed", type=int, default=0, help="master seed (default 0)")
    make.add_argument("--device", default="auto", help="auto, cpu or cuda")
    make.add_argument("--mode", default="build", help="pinned: inputs must be their pins")
    make.add_argument("--data", default="embedded", help="real: data sets as well")
    make.add_argument("--recipe", help="refuse if code or config now give another one")
    make.add_argument("--log", type=Path, help="what happened goes here as well")
    fetch = add("fetch", _fetch, "place a pinned file (the rules call this)")
    fetch.add_argument("path", help="of a product under results/")
    fetch.add_argument("--log", type=Path, help="what happened goes here as well")
    download = add("download", _download, "have real data sets, by hash")
    download.add_argument("what", nargs="*", metavar="NAME", help="all if none")
    add("schemas", _schemas, "write the JSON schemas of the configs")
    readme = add("readme", _readme, "write the README's table and figure")
    readme.add_argument("--real", action="store_true", help="the page of `data: real`")
    return parser


Said = tuple[str, bool]  # the text to print, and whether all is fine


def _said(options: argparse.Namespace, report: Any, text: Callable[[Any], str]) -> Said:
    said = (
        json.dumps(report, indent=1, ensure_ascii=False) if options.json else text(report)
    )
    return said, report.get("ok", True)


def _list(options: argparse.Namespace) -> Said:
    from retrograd import data_table, inventory
    from retrograd.graph import Graph

    if options.data:
        return _said(options, data_table.report(options.what), data_table.text)
    graph = Graph.here(papers=options.what or None, scale=options.scale, mode="build")
    return _said(options, inventory.inventory(graph), inventory.text)


def _figure(options: argparse.Namespace) -> Said:
    from retrograd import reviewing, verification
    from retrograd.graph import Graph

    slug, _, name = options.what.partition("/")
    graph = Graph.here(papers=[slug], scale=options.scale, mode="build")
    check_known(options.what, name, graph.figures(slug), "figure")
    (target,) = graph.selected([options.what])
    report = reviewing.figure(graph, target, options.cores)
    return _said(options, report, verification.text)


def _verify(options: argparse.Namespace) -> Said:
    from retrograd import verification
    from retrograd.graph import Graph

    graph = Graph.here(scale=options.scale, mode="build")
    report = verification.verify(graph, graph.selected(options.what))
    if options.certificate:
        verification.write_certificate(options.certificate, graph, report)
    return _said(options, report, verification.text)


def _explain(options: argparse.Namespace) -> Said:
    from retrograd import explain

    return _said(options, explain.explain(options.file), explain.text)


def _plan(options: argparse.Namespace) -> Said:
    from retrograd import plan

    return _said(options, plan.plan(options.what, options.config), plan.text)


def _pin(options: argparse.Namespace) -> Said:
    from retrograd import pinning
    from retrograd.graph import Graph

    graph = Graph.here(papers=options.what or None, scale=options.scale, mode="build")
    return _said(options, pinning.pin(graph, options.remote), pinning.text)


def _fsck(options: argparse.Namespace) -> Said:
    from retrograd import fsck

    return _said(options, fsck.check(), fsck.text)


def _make(options: argparse.Namespace) -> Said:
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
            data=options.data,
            recipe=options.recipe,
        ),
    )


def _fetch(options: argparse.Namespace) -> Said:
    from retrograd import store

    return _logged(options.log, lambda: store.place(options.path))


def _logged(log: Path | None, job: Callable[[], str]) -> Said:
    try:
        said = job()
    except Exception as error:
        known = isinstance(error, RetrogradError)
        _log(log, str(error) if known else traceback.format_exc())
        raise
    _log(log, said)
    return said, True


def _log(path: Path | None, text: str) -> None:
    if path is None:
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n", encoding="utf-8")
    except OSError as error:  # the job's own outcome matters more than its log
        print(f"retrograd: {path}: cannot write the log: {error}", file=sys.stderr)


def _download(options: argparse.Namespace) -> Said:
    from retrograd import data_table

    names = options.what or list(data_table.read_table())
    paths = [data_table.fetch(n, file) for n in names for file in data_table.row(n).files]
    return "\n".join(map(str, paths)), True


def _schemas(options: argparse.Namespace) -> Said:
    from retrograd import schemas

    return "\n".join(map(str, schemas.write())), True


def _readme(options: argparse.Namespace) -> Said:
    from retrograd import readme

    return "\n".join(map(str, readme.write(options.real))), True


if __name__ == "__main__":
    sys.exit(main())
