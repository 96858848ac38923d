"""What the benchmarks share: CPU time of a call, their options, their table or JSON."""

import argparse
import json
from collections.abc import Callable, Sequence
from time import process_time
from typing import Any


def microseconds(act: Callable[[], object], per: float) -> float:
    """CPU time of a call, in µs, divided by `per`."""
    start = process_time()
    act()
    return (process_time() - start) * 1e6 / per


def options(
    doc: str | None, steps: int, repeat: int, of: str = "batched steps per turn"
) -> argparse.ArgumentParser:
    """--steps, --repeat and --json, with these defaults."""
    parser = argparse.ArgumentParser(description=(doc or "").partition("\n")[0])
    parser.add_argument("--steps", type=int, default=steps, help=of)
    parser.add_argument("--repeat", type=int, default=repeat, help="turns of each")
    parser.add_argument("--json", action="store_true", help="print JSON, not a table")
    return parser


def report(
    as_json: bool, heading: str, row: str, rows: Sequence[Sequence[Any]], **more: Any
) -> None:
    """Print rows under their heading, or as JSON with whatever else was measured."""
    if as_json:
        print(json.dumps({"columns": heading.split(), "rows": rows} | more))
    else:
        print(heading, *(row.format(*values) for values in rows), sep="\n")
