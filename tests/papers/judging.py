"""The verdict of one claim on made-up products, as configured."""

from collections.abc import Mapping
from functools import cache
from importlib import import_module
from typing import Any

import numpy as np
import xarray as xr

from retrograd.claims import evaluate
from retrograd.config import Paper, load_paper


@cache
def _paper(slug: str) -> Paper[Any]:
    return load_paper(slug, seed=0)


def entry(slug: str, name: str, products: Mapping[str, xr.Dataset]) -> dict[str, Any]:
    """The entry of claims.json, tested at whatever scale; `products` are all it needs."""
    paper = _paper(slug)
    claim = paper.claims[name].model_dump()
    assert set(products) == set(claim["need"])
    functions = import_module(f"retrograd.papers.{slug}.claims")
    statistic = getattr(functions, paper.function_of("claims", name))
    return evaluate(name, claim | {"not_tested": None}, statistic, products)


def statistics(entry: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Values of every statistic, {name: (group, value)}."""
    return {
        s["name"]: np.array([[*group["values"].values()] for group in s["groups"]], float)
        for s in entry["statistics"]
    }
