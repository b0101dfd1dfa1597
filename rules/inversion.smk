"""Inversion (InvMM): how far from the prior the noise must be for a model to reproduce a training image or clip."""


rule invert_images:
    input:
        corpus=inverted_corpus,
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
        mem_mb=growing(6000),
    params:
        seed=config["seed"],
        shards=config["sample_shards"],
        preset=config["descriptors"]["preset"],
        inversion=lambda wildcards: inversion_spec(config["inversions"][wildcards.inversion]),
        recipe=RECIPES["invert_images"],
    script:
        "../workflow_scripts/invert_images.py"


rule probe_model:
    input:
        corpus=inverted_corpus,
        model="results/{run}/models/{inversion}.json",
        weights=weights_of(descriptor_weights()),
    output:
        evidence="results/{run}/inversion/{inversion}/membership.parquet",
        chance="results/{run}/inversion/{inversion}/chance.parquet",
    log:
        "results/{run}/logs/probe_model/{inversion}.log",
    benchmark:
        "results/{run}/benchmarks/probe_model/{inversion}.tsv"
    wildcard_constraints:
        inversion=one_of(INVERSIONS),
    conda:
        "../envs/torch.yaml"
    resources:
        gpu=1,
        mem_mb=growing(4000),
    params:
        seed=config["seed"],
        preset=config["descriptors"]["preset"],
        interval=config["interval"],
        inversion=lambda wildcards: inversion_spec(config["inversions"][wildcards.inversion]),
        code=digest_of("inversion/membership", "inversion/chance", "inversion/inputs", "inversion/presets"),
    script:
        "../workflow_scripts/probe_model.py"


rule tabulate_inversion:
    input:
        scores=collect("results/{{run}}/inversion/{inversion}/{shard}.parquet", inversion=INVERSIONS, shard=SAMPLE_SHARDS),
        evidence=collect("results/{{run}}/inversion/{inversion}/membership.parquet", inversion=INVERSIONS),
        chance=collect("results/{{run}}/inversion/{inversion}/chance.parquet", inversion=INVERSIONS),
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
        factors=report(
            "results/{run}/tables/invmm_factors.csv",
            caption="report/invmm.rst",
            category="Tables",
            labels={"exhibit": "InvMM", "what": "what the score depends on: copies, training steps, sampling"},
        ),
        membership=report(
            "results/{run}/tables/invmm_membership.csv",
            caption="report/invmm.rst",
            category="Tables",
            labels={"exhibit": "InvMM", "what": "memorization against membership"},
        ),
        chance=report(
            "results/{run}/tables/invmm_chance.csv",
            caption="report/invmm.rst",
            category="Tables",
            labels={"exhibit": "InvMM", "what": "plain samples, and acceptance by chance"},
        ),
    log:
        "results/{run}/logs/tabulate_inversion.log",
    conda:
        "../envs/torch.yaml"
    params:
        seed=config["seed"],
        interval=config["interval"],
        studies=[
            {"model": name, **config["inversions"][name]["study"]}
            for name in INVERSIONS
            if config["inversions"][name]["study"]
        ],
        code=digest_of("inversion/outcome", "inversion/chance", "tables"),
    script:
        "../workflow_scripts/tabulate_inversion.py"


rule plot_inversion:
    input:
        scores="results/{run}/tables/invmm_scores.csv",
        images="results/{run}/tables/invmm_images.csv",
        factors="results/{run}/tables/invmm_factors.csv",
        membership="results/{run}/tables/invmm_membership.csv",
        noise=collect("results/{{run}}/inversion/{inversion}/{shard}.safetensors", inversion=INVERSIONS, shard=SAMPLE_SHARDS),
        frames=collect("results/{{run}}/data/corpus-{corpus}/shards-frames.json", corpus=INVERTED),
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
        steps=report(
            "results/{run}/figures/fig_invmm_training_steps.png",
            caption="report/invmm.rst",
            category="Figures",
            labels={"exhibit": "InvMM", "what": "score against training steps"},
        ),
        sampling=report(
            "results/{run}/figures/fig_invmm_sampling.png",
            caption="report/invmm.rst",
            category="Figures",
            labels={"exhibit": "InvMM", "what": "samplers, guidance and conditioning"},
        ),
        membership=report(
            "results/{run}/figures/fig_invmm_membership.png",
            caption="report/invmm.rst",
            category="Figures",
            labels={"exhibit": "InvMM", "what": "memorization against membership"},
        ),
    log:
        "results/{run}/logs/plot_inversion.log",
    conda:
        "../envs/torch.yaml"
    params:
        corpora={name: config["inversions"][name]["corpus"] for name in INVERSIONS},
        sources={name: config["corpora"][name] for name in INVERTED},
        code=digest_of("inversion/plots", "clip_frames"),
    script:
        "../workflow_scripts/plot_inversion.py"
