"""JSON schemas of the configs, generated from the models, for editors and Snakemake."""

import json
from pathlib import Path
from typing import Any

from retrograd.config import Config, available_papers, paper_model
from retrograd.files import write_text

FOLDER = Path("workflow", "schemas")


def generated() -> dict[Path, str]:
    """Text of every schema file by its path."""
    models: dict[str, Any] = {"config": Config}
    models |= {f"papers/{slug}": paper_model(slug) for slug in available_papers()}
    return {
        FOLDER / f"{name}.json": json.dumps(
            {"$schema": "https://json-schema.org/draft/2020-12/schema"}
            | model.model_json_schema(),
            indent=1,
        )
        + "\n"
        for name, model in models.items()
    }


def write() -> list[Path]:
    """Write every schema file; returns their paths."""
    texts = generated()
    for path, text in texts.items():
        write_text(path, text)
    return list(texts)
