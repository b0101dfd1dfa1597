"""Scores of every set of clips, and the verdict of the audit.

Takes: features and matches of a set; thresholds in force; table 2.
Makes: scores by set, with the match, threshold and verdict of each clip; verdict.json.
"""


include: "inputs/score.smk"


rule score_clips:
    input:
        own_content="results/{run}/data/{set}/shards-content.json",
        own_motion="results/{run}/data/{set}/shards-motion.json",
        corpus_content=reference_content,
        corpus_motion=reference_motion,
        background=background_of_set,
        content=collect("results/{{run}}/matches/{{set}}/{part}.content.parquet", part=audit.sample_shards),
        motion=collect("results/{{run}}/matches/{{set}}/{part}.motion.parquet", part=audit.sample_shards),
        thresholds="results/{run}/thresholds.json",
    output:
        "results/{run}/scores/{set}.parquet",
    log:
        "results/{run}/logs/score_clips/{set}.log",
    benchmark:
        "results/{run}/benchmarks/score_clips/{set}.tsv"
    conda:
        "../envs/media.yaml"
    resources:
        mem_mb=growing(2000),
    params:
        content=config["content"],
        motion=config["motion"],
        corpus=corpus_of_set,
        code=digest_of("score_clips"),
    script:
        "../workflow_scripts/score_clips.py"


rule write_verdict:
    input:
        table="results/{run}/tables/table2_memorization.csv",
        not_done="results/{run}/tables/not_done.csv",
        models=collect("results/{{run}}/models/{model}.json", model=audit.prompted),
        scores=collect("results/{{run}}/scores/generated-{model}.parquet", model=audit.models),
        clips=collect("results/{{run}}/data/generated-{model}/shards-content.json", model=audit.models),
        corpus=collect("results/{{run}}/data/corpus-{corpus}/shards-content.json", corpus=audit.audited),
    output:
        report(
            "results/{run}/verdict.json",
            caption="report/verdict.rst",
            category="Verdict",
            labels={"exhibit": "Verdict", "what": "machine-readable: shares, thresholds, worst matches, provenance"},
        ),
    log:
        "results/{run}/logs/write_verdict.log",
    conda:
        "../envs/media.yaml"
    params:
        # Hints for an estimate and for obtaining files are not part of what was audited.
        config={key: value for key, value in config.items() if key not in ("estimate", "obtain")},
        prompted=audit.prompted,
        code=digest_of("write_verdict"),
    script:
        "../workflow_scripts/write_verdict.py"
