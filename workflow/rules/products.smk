# One rule makes every product: what it reads and which function makes it is in the
# paper's config. It is stale when its recipe changes, and a recipe covers the recipes
# of what is read.


rule product:
    input:
        lambda w: inputs("product", w, w.product),
    output:
        "results/{paper}/{scale}/products/{product}.nc",
    log:
        "results/{paper}/{scale}/logs/product-{product}.log",
    conda:
        "../../envs/conda.yaml"
    threads: 1
    resources:
        gpu=lambda w: graph.gpus(w.paper, w.scale, w.product),
        runtime=lambda w, attempt: graph.minutes(w.paper, w.scale, w.product, attempt),
    params:
        recipe=lambda w: graph.recipe("product", w.paper, w.scale, w.product),
        seed=graph.config.seed,
        device=graph.config.device,
    message:
        "{wildcards.paper} ({wildcards.scale}): product {wildcards.product}"
    shell:
        "retrograd make product {wildcards.paper} {wildcards.scale} {wildcards.product}"
        " --seed {params.seed} --device {params.device} --recipe {params.recipe} --log {log:q} --data "
        + graph.config.data
