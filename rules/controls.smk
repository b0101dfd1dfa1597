"""Controls: clips made from a corpus, for which the right answer is known, and the scores that every metric gives them.

Takes: frames and flows of a corpus.
Makes: the set controls-<corpus> (edits, content twins, motion twins, camera moves), and the scores of pairs with a known answer.
"""


rule make_controls:
    input:
        frames="results/{run}/data/corpus-{corpus}/shards-frames.json",
        motion="results/{run}/data/corpus-{corpus}/shards-motion.json",
    output:
        frames="results/{run}/data/controls-{corpus}/{shard}.frames.npy",
        clips="results/{run}/data/controls-{corpus}/{shard}.clips.parquet",
    log:
        "results/{run}/logs/make_controls/{corpus}.{shard}.log",
    conda:
        "../envs/media.yaml"
    resources:
        mem_mb=growing(2000),
    params:
        seed=config["seed"],
        shards=config["sample_shards"],
        controls=config["controls"],
        corpus=lookup("corpora/{corpus}", within=config),
        code=digest_of("make_controls"),
    script:
        "../workflow_scripts/make_controls.py"


rule validate_metrics:
    input:
        corpus_content="results/{run}/data/corpus-{corpus}/shards-content.json",
        corpus_motion="results/{run}/data/corpus-{corpus}/shards-motion.json",
        controls_content="results/{run}/data/controls-{corpus}/shards-content.json",
        controls_motion="results/{run}/data/controls-{corpus}/shards-motion.json",
        background="results/{run}/background/{corpus}.parquet",
    output:
        "results/{run}/scores/validation-{corpus}.parquet",
    log:
        "results/{run}/logs/validate_metrics/{corpus}.log",
    benchmark:
        "results/{run}/benchmarks/validate_metrics/{corpus}.tsv"
    conda:
        "../envs/media.yaml"
    threads: 2
    resources:
        mem_mb=growing(3000),
    params:
        seed=config["seed"],
        moving=config["controls"]["moving"],
        motion=audit.motion_search,
        code=digest_of("validate_metrics"),
    script:
        "../workflow_scripts/validate_metrics.py"
