# A figure is drawn from products, in every format by one job.


rule figure:
    input:
        lambda w: inputs("figure", w, w.figure),
    output:
        "results/{paper}/{scale}/figures/{figure}.svg",
        "results/{paper}/{scale}/figures/{figure}.png",
    log:
        "results/{paper}/{scale}/logs/figure-{figure}.log",
    conda:
        "../../envs/conda.yaml"
    threads: 1
    params:
        recipe=lambda w: graph.recipe("figure", w.paper, w.scale, w.figure),
        seed=graph.config.seed,
    message:
        "{wildcards.paper} ({wildcards.scale}): figure {wildcards.figure}"
    shell:
        "retrograd make figure {wildcards.paper} {wildcards.scale} {wildcards.figure}"
        " --seed {params.seed} --recipe {params.recipe} --log {log:q} --mode "
        + f"{graph.config.mode} --data {graph.config.data}"
