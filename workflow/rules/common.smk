def needs(kind, wildcards, name=""):
    """What a job reads: ancient, since recipes and not times decide what is stale.

    Except what is stale itself. Snakemake looks at a job's own recipe only if nothing
    that it reads is made again, so there it must follow the files.
    """
    paths = graph.inputs(kind, wildcards.paper, wildcards.scale, name)
    stale = graph.stale_inputs(kind, wildcards.paper, wildcards.scale, name)
    return [path if path in stale else ancient(path) for path in paths]
