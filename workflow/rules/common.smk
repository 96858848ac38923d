# What the rules share.


def inputs(kind, w, name=""):
    """The products that a file is made from; and if it is outdated, what makes it run."""
    artifact = Artifact(kind, w.paper, w.scale, name)
    return graph.inputs(*artifact) + [staleness.MARKER] * (artifact in outdated)
