"""Inversion (InvMM): how far must the noise be from the prior until a model reproduces a training image or clip?

Takes: frames of a corpus; the record of a model; weights of SSCD.
Makes: scores and inverted noise by shard; evidence of membership and of chance by model; the invmm tables and figures.
"""


include: "inputs/inversion.smk"


rule invert_images:
    input:
        corpus=inverted_frames,
        model="results/{run}/models/{inversion}.json",
        weights=weights_of(audit.descriptor_weights),
    output:
        scores="results/{run}/inversion/{inversion}/{shard}.parquet",
        noise="results/{run}/inversion/{inversion}/{shard}.safetensors",
    log:
        "results/{run}/logs/invert_images/{inversion}.{shard}.log",
    benchmark:
        "results/{run}/benchmarks/invert_images/{inversion}.{shard}.tsv"
    wildcard_constraints:
        inversion=one_of(audit.inversions),
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
        inversion=inverting_keys,
        recipe=RECIPES["invert_images"],
    script:
        "../workflow_scripts/invert_images.py"


rule probe_model:
    input:
        corpus=inverted_frames,
        model="results/{run}/models/{inversion}.json",
        weights=weights_of(audit.descriptor_weights),
    output:
        evidence="results/{run}/inversion/{inversion}/membership.parquet",
        chance="results/{run}/inversion/{inversion}/chance.parquet",
    log:
        "results/{run}/logs/probe_model/{inversion}.log",
    benchmark:
        "results/{run}/benchmarks/probe_model/{inversion}.tsv"
    wildcard_constraints:
        inversion=one_of(audit.inversions),
    conda:
        "../envs/torch.yaml"
    resources:
        gpu=1,
        mem_mb=growing(4000),
    params:
        seed=config["seed"],
        preset=config["descriptors"]["preset"],
        interval=config["interval"],
        inversion=inverting_keys,
        code=digest_of("probe_model"),
    script:
        "../workflow_scripts/probe_model.py"


rule tabulate_inversion:
    input:
        scores=collect(
            "results/{{run}}/inversion/{inversion}/{shard}.parquet", inversion=audit.inversions, shard=audit.sample_shards
        ),
        evidence=collect("results/{{run}}/inversion/{inversion}/membership.parquet", inversion=audit.inversions),
        chance=collect("results/{{run}}/inversion/{inversion}/chance.parquet", inversion=audit.inversions),
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
            for name in audit.inversions
            if config["inversions"][name]["study"]
        ],
        code=digest_of("tabulate_inversion"),
    script:
        "../workflow_scripts/tabulate_inversion.py"


rule plot_inversion:
    input:
        scores="results/{run}/tables/invmm_scores.csv",
        images="results/{run}/tables/invmm_images.csv",
        factors="results/{run}/tables/invmm_factors.csv",
        membership="results/{run}/tables/invmm_membership.csv",
        noise=collect(
            "results/{{run}}/inversion/{inversion}/{shard}.safetensors", inversion=audit.inversions, shard=audit.sample_shards
        ),
        frames=collect("results/{{run}}/data/corpus-{corpus}/shards-frames.json", corpus=audit.inverted),
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
            wanted("results/{run}/figures/fig_invmm_training_steps.png"),
            caption="report/invmm.rst",
            category="Figures",
            labels={"exhibit": "InvMM", "what": "score against training steps"},
        ),
        sampling=report(
            wanted("results/{run}/figures/fig_invmm_sampling.png"),
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
        corpora={name: config["inversions"][name]["corpus"] for name in audit.inversions},
        sources={name: config["corpora"][name] for name in audit.inverted},
        code=digest_of("plot_inversion"),
    script:
        "../workflow_scripts/plot_inversion.py"
