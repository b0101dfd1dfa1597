"""Scores and verdicts of every set of clips."""


rule score_clips:
    input:
        own_content="results/{run}/data/{set}/shards-content.json",
        own_motion="results/{run}/data/{set}/shards-motion.json",
        corpus_content=lambda wildcards: lists_of("content", [f"corpus-{corpus_of(wildcards)}"])[0],
        corpus_motion=lambda wildcards: lists_of("motion", [f"corpus-{corpus_of(wildcards)}"])[0],
        content=collect("results/{{run}}/matches/{{set}}/{part}.content.parquet", part=PARTS),
        motion=collect("results/{{run}}/matches/{{set}}/{part}.motion.parquet", part=PARTS),
        thresholds=lambda wildcards: calibrated_thresholds([corpus_of(wildcards)]),
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
        corpus=lambda wildcards: corpus_of(wildcards),
        code=digest_of("scores", "thresholds"),
    script:
        "../workflow_scripts/score_clips.py"


rule write_verdict:
    input:
        table="results/{run}/tables/table2_memorization.csv",
        not_done="results/{run}/tables/not_done.csv",
        models=collect("results/{{run}}/models/{model}.json", model=PROMPTED),
        scores=collect("results/{{run}}/scores/generated-{model}.parquet", model=MODELS),
        clips=collect("results/{{run}}/data/generated-{model}/shards-content.json", model=MODELS),
        corpus=collect("results/{{run}}/data/corpus-{corpus}/shards-content.json", corpus=AUDITED),
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
        # Hints for an estimate and for getting files are no part of what was audited.
        config={key: value for key, value in config.items() if key not in ("estimate", "obtain")},
        prompted=PROMPTED,
        code=digest_of("verdict"),
        schema=str(Path(workflow.basedir) / "rules/schemas/verdict.schema.yaml"),
    script:
        "../workflow_scripts/write_verdict.py"
