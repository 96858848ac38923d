# In pinned mode the rule of every product is this one: fetch its pinned bytes from DVC's
# cache or a remote. There is no rule that trains. The parameters are those of the rule in
# products.smk, so that a change of mode alone makes nothing stale.


rule product:
    input:
        lambda w: inputs("product", w, w.product),
    output:
        ensure(
            "results/{paper}/{scale}/products/{product}.nc",
            md5=lambda w: graph.pin(w.paper, w.scale, w.product).md5,
        ),
    log:
        "results/{paper}/{scale}/logs/product-{product}.log",
    conda:
        "../../envs/conda.yaml"
    threads: 1
    params:
        recipe=lambda w: graph.recipe("product", w.paper, w.scale, w.product),
        seed=graph.config.seed,
        device=graph.config.device,
    message:
        "{wildcards.paper} ({wildcards.scale}): product {wildcards.product}, from its pin"
    shell:
        "retrograd fetch {output:q} --log {log:q}"
