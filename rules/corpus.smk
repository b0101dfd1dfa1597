"""Corpus: footage of every source as frames of one size, one shard a job; or, where they are not kept, as their features."""


localrules:
    list_shards,


rule read_corpus:
    input:
        lambda wildcards: fetched_sources(wildcards.corpus),
    output:
        frames="results/{run}/data/corpus-{corpus}/{shard}.frames.npy",
        clips="results/{run}/data/corpus-{corpus}/{shard}.clips.parquet",
    log:
        "results/{run}/logs/read_corpus/{corpus}.{shard}.log",
    benchmark:
        "results/{run}/benchmarks/read_corpus/{corpus}.{shard}.tsv"
    wildcard_constraints:
        corpus=one_of(name for name in config["corpora"] if name not in STREAMED),
    conda:
        "../envs/media.yaml"
    resources:
        mem_mb=growing(2000),
    params:
        shards=config["shards"],
        corpus=lambda wildcards: footage_of(wildcards.corpus),
        listed=digest_shard,
        code=digest_of("corpus/reading", "clip_table"),
    script:
        "../workflow_scripts/read_corpus.py"


rule read_features:
    input:
        lambda wildcards: fetched_sources(wildcards.corpus),
        weights=weights_of(descriptor_weights()),
        flow_weights=[weights_of(name) for name in flow_weights()],
    output:
        clips="results/{run}/data/corpus-{corpus}/{shard}.clips.parquet",
        descriptors="results/{run}/data/corpus-{corpus}/{shard}.descriptors.npy",
        rows="results/{run}/data/corpus-{corpus}/{shard}.descriptors.parquet",
        flows="results/{run}/data/corpus-{corpus}/{shard}.flows.npy",
        pairs="results/{run}/data/corpus-{corpus}/{shard}.flows.parquet",
    log:
        "results/{run}/logs/read_features/{corpus}.{shard}.log",
    benchmark:
        "results/{run}/benchmarks/read_features/{corpus}.{shard}.tsv"
    wildcard_constraints:
        corpus=one_of(STREAMED),
    conda:
        feature_environment()
    threads: share_of_cores()
    resources:
        gpu=max(descriptor_gpus(), len(flow_weights())),
        mem_mb=growing(3000),
    params:
        shards=config["shards"],
        corpus=lambda wildcards: footage_of(wildcards.corpus),
        listed=digest_shard,
        preset=config["descriptors"]["preset"],
        batch=config["descriptors"]["batch"],
        flow=config["flow"],
        code=digest_of("corpus/reading", "clip_table", "feature_files"),
    script:
        "../workflow_scripts/read_features.py"


rule list_shards:
    input:
        unpack(lambda wildcards: listed_shards(wildcards)),
    output:
        "results/{run}/data/{set}/shards-{kind}.json",
    log:
        "results/{run}/logs/list_shards/{set}.{kind}.log",
    wildcard_constraints:
        kind=one_of(LISTED_SHARDS),
    conda:
        "../envs/media.yaml"
    params:
        kinds=lambda wildcards: list(LISTED_SHARDS[wildcards.kind]),
        code=digest_of("shards"),
    script:
        "../workflow_scripts/list_shards.py"


rule tabulate_corpus:
    input:
        clips=collect("results/{{run}}/data/corpus-{corpus}/shards-clips.json", corpus=READ),
        # Of corpora that are only inverted no flow is computed.
        motion=collect("results/{{run}}/data/corpus-{corpus}/shards-motion.json", corpus=AUDITED),
    output:
        status=report(
            "results/{run}/tables/corpus_status.csv",
            caption="report/corpus_status.rst",
            category="Tables",
            labels={"exhibit": "Corpus", "what": "clips by source, split and status"},
        ),
        motion=report(
            "results/{run}/tables/corpus_motion.csv",
            caption="report/corpus_motion.rst",
            category="Tables",
            labels={"exhibit": "Corpus", "what": "share of windows that are static or otherwise natural"},
        ),
    log:
        "results/{run}/logs/tabulate_corpus.log",
    conda:
        "../envs/media.yaml"
    params:
        motion={key: config["motion"][key] for key in ("k", "filter")},
        code=digest_of("tables"),
    script:
        "../workflow_scripts/tabulate_corpus.py"
