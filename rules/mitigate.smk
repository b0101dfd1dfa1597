"""Mitigation while generating: the prompts with the most copies once more, with embeddings adjusted at the first step.

Takes: prompts, detector and record of a model; features and scores of its clips without and with mitigation.
Makes: the set mitigated-<name>, which is searched and scored like any other set; table mitigation.
"""


include: "inputs/mitigate.smk"


rule mitigate_clips:
    input:
        unpack(mitigated_inputs),
    output:
        frames="results/{run}/data/mitigated-{mitigation}/{shard}.frames.npy",
        clips="results/{run}/data/mitigated-{mitigation}/{shard}.clips.parquet",
        guidance="results/{run}/data/mitigated-{mitigation}/{shard}.guidance.parquet",
        adjusted="results/{run}/data/mitigated-{mitigation}/{shard}.adjusted.parquet",
    log:
        "results/{run}/logs/mitigate_clips/{mitigation}.{shard}.log",
    benchmark:
        "results/{run}/benchmarks/mitigate_clips/{mitigation}.{shard}.tsv"
    conda:
        "../envs/torch.yaml"
    threads: share_of_cores()
    resources:
        gpu=1,
        mem_mb=growing(4000),
    params:
        seed=config["seed"],
        shards=config["sample_shards"],
        mitigation=lookup("mitigations/{mitigation}", within=config),
        spec=mitigating_keys,
        recipe=RECIPES["mitigate_clips"],
    script:
        "../workflow_scripts/mitigate_clips.py"


rule tabulate_mitigation:
    input:
        unpack(mitigation_files),
    output:
        report(
            "results/{run}/tables/mitigation.csv",
            caption="report/mitigation.rst",
            category="Tables",
            labels={"exhibit": "Mitigation", "what": "memorization that adjusted prompt embeddings remove, and its cost"},
        ),
    log:
        "results/{run}/logs/tabulate_mitigation.log",
    conda:
        "../envs/media.yaml"
    params:
        mitigations=audit.mitigations,
        content=config["content"],
        motion=config["motion"],
        interval=config["interval"],
        code=digest_of("tabulate_mitigation"),
    script:
        "../workflow_scripts/tabulate_mitigation.py"
