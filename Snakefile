"""The graph of all papers: data, training, theory, figures, claims.

snakemake --cores N             every figure and claim of config/config.yaml
snakemake --cores N results/<paper>/<scale>/figures/<figure>.svg
snakemake -n                    what would run, and why
"""

import sys
from pathlib import Path

from snakemake.utils import min_version, validate

from retrograd.errors import RetrogradError
from retrograd.graph import Graph

min_version("9.27")


configfile: "config/config.yaml"


try:
    graph = Graph.load(config)
    graph.check_targets(sys.argv[1:])
except RetrogradError as error:
    sys.exit(f"retrograd: {error}")
validate(config, "workflow/schemas/config.json")


# Jobs find the command `retrograd` even if the environment was not activated.
shell.prefix(f"PATH=$PATH:{Path(sys.executable).parent}; ")


include: "workflow/rules/common.smk"
include: "workflow/rules/products.smk"
include: "workflow/rules/figures.smk"
include: "workflow/rules/claims.smk"


rule all:
    default_target: True
    input:
        graph.targets(),
