"""Claims: statistics of products, compared with thresholds, and the verdicts."""

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from retrograd.errors import RetrogradError
from retrograd.files import write_text

Products = Mapping[str, xr.Dataset]
Statistics = Mapping[str, "float | xr.DataArray"]


class Verdict(StrEnum):
    """What became of a claim."""

    REPRODUCED = "REPRODUCED"
    NOT_REPRODUCED = "NOT_REPRODUCED"
    NOT_TESTED = "NOT_TESTED"


def evaluate(
    claim_id: str,
    claim: Mapping[str, Any],
    statistic: Callable[[Products], Statistics],
    products: Products,
) -> dict[str, Any]:
    """Compute a claim's statistics per group of seeds and judge them.

    Args:
        claim_id: the claim's name in the config.
        claim: its entry in the request: sentence, need, thresholds, seeds_per_group,
            and not_tested, the reason why it is not tested at this scale (or None).
        statistic: the paper's function; gets the products of one group of seeds and
            gives one number, or a labelled array of numbers, per statistic.
        products: what the claim needs, as far as this scale makes it.
    """
    entry: dict[str, Any] = {"id": claim_id, "sentence": claim["sentence"]}
    reason = claim["not_tested"]
    if reason is not None:
        return entry | {
            "verdict": Verdict.NOT_TESTED,
            "reason": reason,
            "statistics": [],
        }
    groups = [
        (seeds, _statistics(claim_id, claim, statistic, group))
        for seeds, group in seed_groups(products, claim["seeds_per_group"])
    ]
    judged = [
        _judge(name, threshold, [(seeds, values[name]) for seeds, values in groups])
        for name, threshold in claim["thresholds"].items()
    ]
    holds = all(s["holds"] for s in judged)
    verdict = Verdict.REPRODUCED if holds else Verdict.NOT_REPRODUCED
    return entry | {"verdict": verdict, "statistics": judged}


def seed_groups(
    products: Products, size: int | None
) -> Iterator[tuple[list[int], Products]]:
    """Split the seeds into disjoint groups; products without seeds go to every group.

    Raises:
        RetrogradError: the seeds do not divide into groups of that size.
    """
    counts = {p.sizes["seed"] for p in products.values() if "seed" in p.sizes}
    count = max(counts, default=0)
    if size is None:
        yield list(range(count)), products
        return
    if len(counts) != 1 or count % size:
        raise RetrogradError(
            f"seeds_per_group: {size} does not divide the numbers of seeds "
            f"{sorted(counts)} of {', '.join(products)}"
        )
    for start in range(0, count, size):
        chosen = {"seed": slice(start, start + size)}
        yield (
            list(range(start, start + size)),
            {
                name: product.isel(chosen) if "seed" in product.sizes else product
                for name, product in products.items()
            },
        )


def _statistics(
    claim_id: str,
    claim: Mapping[str, Any],
    statistic: Callable[[Products], Statistics],
    products: Products,
) -> dict[str, dict[str, float]]:
    values = {name: _labelled(value) for name, value in statistic(products).items()}
    if set(values) != set(claim["thresholds"]):
        raise RetrogradError(
            f"claims.{claim_id}: the statistics are {sorted(values)}, "
            f"but thresholds are given for {sorted(claim['thresholds'])}"
        )
    return values


def _labelled(value: "float | xr.DataArray") -> dict[str, float]:
    """Values by label: {"": number}, or {"K=2": number, ...} for an array."""
    if not isinstance(value, xr.DataArray):
        return {"": float(value)}
    flat = value.stack(all=value.dims) if value.ndim != 1 else value
    labels = [_label(value.dims, key) for key in flat[flat.dims[0]].values.tolist()]
    return dict(zip(labels, map(float, flat.values), strict=True))


def _label(dims: Sequence[Any], key: Any) -> str:
    keys = key if isinstance(key, tuple) else (key,)
    return ", ".join(
        k if isinstance(k, str) else f"{d}={k}" for d, k in zip(dims, keys, strict=True)
    )


def _judge(
    name: str,
    threshold: Mapping[str, float | None],
    groups: Sequence[tuple[list[int], dict[str, float]]],
) -> dict[str, Any]:
    values = np.array([list(group.values()) for _, group in groups])
    low, high = threshold["min"], threshold["max"]
    # NaN lies within no interval, so a statistic that failed never holds.
    holds = np.isfinite(values)
    if low is not None:
        holds &= values >= low
    if high is not None:
        holds &= values <= high
    return {
        "name": name,
        "threshold": {k: v for k, v in threshold.items() if v is not None},
        "holds": bool(holds.all()) and holds.size > 0,
        "groups": [
            {"seeds": seeds, "values": {k: _finite(v) for k, v in group.items()}}
            for seeds, group in groups
        ],
    }


def _finite(value: float) -> float | None:
    """JSON has no NaN and no infinity: null says that the statistic failed."""
    return value if math.isfinite(value) else None


def write(path: Path, report: Mapping[str, Any]) -> None:
    """Write claims.json whole; same report, same bytes."""
    text = json.dumps(report, indent=1, ensure_ascii=False, allow_nan=False)
    write_text(path, text + "\n")


def read(path: Path) -> dict[str, Any]:
    """Read a claims.json.

    Raises:
        RetrogradError: there is none, or it is no JSON.
    """
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RetrogradError(
            f"{path}: cannot read it: {error}; "
            f"build it with: snakemake --cores 1 --force {path}"
        ) from error
    return found


def table(reports: Sequence[Mapping[str, Any]]) -> str:
    """The Markdown table of claims: what was claimed, measured, allowed, and found."""
    lines = [
        "| claim | says | statistic: measured (allowed) | verdict |",
        "| --- | --- | --- | --- |",
    ]
    for report in reports:
        for claim in report["claims"]:
            measured = "; ".join(map(_measured, claim["statistics"]))
            lines.append(
                f"| {claim['id']} | {claim['sentence']} "
                f"| {measured or claim.get('reason', '')} | {claim['verdict']} |"
            )
    return "\n".join(lines)


def _measured(statistic: Mapping[str, Any]) -> str:
    values = [v for g in statistic["groups"] for v in g["values"].values()]
    if None in values:
        shown = "not finite"
    else:
        ends = [f"{end:.3g}" for end in (min(values), max(values))]
        shown = " to ".join(dict.fromkeys(ends))
    low, high = (statistic["threshold"].get(k) for k in ("min", "max"))
    if low is None:
        allowed = f"≤ {high:g}"
    elif high is None:
        allowed = f"≥ {low:g}"
    else:
        allowed = f"{low:g} to {high:g}"
    return f"{statistic['name'].replace('_', ' ')}: {shown} ({allowed})"
