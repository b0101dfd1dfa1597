"""Inversion (InvMM): how far from the prior the noise must be for a model to reproduce a training image or clip."""


rule invert_images:
    input:
        clips=lambda wildcards: collect(
            "results/{{run}}/data/corpus-{corpus}/{shard}.clips.parquet",
            corpus=config["inversions"][wildcards.inversion]["corpus"],
            shard=SHARDS,
        ),
        frames=lambda wildcards: collect(
            "results/{{run}}/data/corpus-{corpus}/{shard}.frames.npy",
            corpus=config["inversions"][wildcards.inversion]["corpus"],
            shard=SHARDS,
        ),
        model="results/{run}/models/{inversion}.json",
        weights=weights_of(descriptor_weights()),
    output:
        scores="results/{run}/inversion/{inversion}/{shard}.parquet",
        noise="results/{run}/inversion/{inversion}/{shard}.safetensors",
    log:
        "results/{run}/logs/invert_images/{inversion}.{shard}.log",
    benchmark:
        "results/{run}/benchmarks/invert_images/{inversion}.{shard}.tsv"
    wildcard_constraints:
        inversion=one_of(INVERSIONS),
    conda:
        "../envs/torch.yaml"
    threads: share_of_cores()
    resources:
        gpu=1,
        mem_mb=6000,
    params:
        seed=config["seed"],
        shards=config["shards"],
        preset=config["descriptors"]["preset"],
        inversion=lambda wildcards: inversion_spec(config["inversions"][wildcards.inversion]),
        recipe=RECIPES["invert_images"],
    script:
        "../workflow_scripts/invert_images.py"


rule tabulate_inversion:
    input:
        collect("results/{{run}}/inversion/{inversion}/{shard}.parquet", inversion=INVERSIONS, shard=SHARDS),
    output:
        scores=report(
            "results/{run}/tables/invmm_scores.csv",
            caption="report/invmm.rst",
            category="Tables",
            labels={"exhibit": "InvMM", "what": "inversion scores of every image and seed"},
        ),
        images=report(
            "results/{run}/tables/invmm_images.csv",
            caption="report/invmm.rst",
            category="Tables",
            labels={"exhibit": "InvMM", "what": "mean score of every image"},
        ),
        separation=report(
            "results/{run}/tables/invmm_separation.csv",
            caption="report/invmm.rst",
            category="Tables",
            labels={"exhibit": "InvMM", "what": "images planted often against held-out ones"},
        ),
    log:
        "results/{run}/logs/tabulate_inversion.log",
    conda:
        "../envs/torch.yaml"
    params:
        seed=config["seed"],
        interval=config["interval"],
        code=digest_of("inversion/outcome", "tables"),
    script:
        "../workflow_scripts/tabulate_inversion.py"


rule plot_inversion:
    input:
        scores="results/{run}/tables/invmm_scores.csv",
        images="results/{run}/tables/invmm_images.csv",
        noise=collect("results/{{run}}/inversion/{inversion}/{shard}.safetensors", inversion=INVERSIONS, shard=SHARDS),
        clips=collect("results/{{run}}/data/corpus-{corpus}/{shard}.clips.parquet", corpus=INVERTED, shard=SHARDS),
        frames=collect("results/{{run}}/data/corpus-{corpus}/{shard}.frames.npy", corpus=INVERTED, shard=SHARDS),
    output:
        copies=report(
            "results/{run}/figures/fig_invmm_copies.png",
            caption="report/invmm.rst",
            category="Figures",
            labels={"exhibit": "InvMM", "what": "score against planted copies"},
        ),
        distribution=report(
            "results/{run}/figures/fig_invmm_distribution.png",
            caption="report/invmm.rst",
            category="Figures",
            labels={"exhibit": "InvMM", "what": "distribution of the scores"},
        ),
        samples=report(
            "results/{run}/figures/fig_invmm_samples.png",
            caption="report/invmm.rst",
            category="Figures",
            labels={"exhibit": "InvMM", "what": "targets, samples from the inverted noise, samples from the prior"},
        ),
    log:
        "results/{run}/logs/plot_inversion.log",
    conda:
        "../envs/torch.yaml"
    params:
        corpora={name: config["inversions"][name]["corpus"] for name in INVERSIONS},
        code=digest_of("figures", "exhibit_data"),
    script:
        "../workflow_scripts/plot_inversion.py"
