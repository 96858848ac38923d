# All claims of a paper at a scale are checked by one job.


rule claims:
    input:
        lambda w: inputs("claims", w),
    output:
        "results/{paper}/{scale}/claims.json",
    log:
        "results/{paper}/{scale}/logs/claims.log",
    conda:
        "../../envs/conda.yaml"
    threads: 1
    params:
        recipe=lambda w: graph.recipe("claims", w.paper, w.scale),
        seed=graph.config.seed,
    message:
        "{wildcards.paper} ({wildcards.scale}): claims"
    shell:
        "retrograd make claims {wildcards.paper} {wildcards.scale}"
        " --seed {params.seed} --recipe {params.recipe} --log {log:q} --mode "
        + f"{graph.config.mode} --data {graph.config.data}"
