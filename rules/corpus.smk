"""Corpus: footage of every source as frames of one size, one job a shard. features.smk reads corpora that keep no frames.

Takes: lists and folders of the user; data sets that the fetch stage downloaded.
Makes: frames and clip tables by shard; lists of the shards of every set; tables corpus_status and corpus_motion.
"""


include: "inputs/corpus.smk"


localrules:
    list_shards,


rule read_corpus:
    input:
        corpus_records,
    output:
        frames="results/{run}/data/corpus-{corpus}/{shard}.frames.npy",
        clips="results/{run}/data/corpus-{corpus}/{shard}.clips.parquet",
    log:
        "results/{run}/logs/read_corpus/{corpus}.{shard}.log",
    benchmark:
        "results/{run}/benchmarks/read_corpus/{corpus}.{shard}.tsv"
    wildcard_constraints:
        corpus=one_of(name for name in config["corpora"] if name not in audit.streamed),
    conda:
        "../envs/media.yaml"
    resources:
        mem_mb=growing(2000),
    params:
        shards=config["shards"],
        corpus=corpus_footage,
        listed=digest_shard,
        code=RECIPES["read_corpus"],
    script:
        "../workflow_scripts/read_corpus.py"


rule list_shards:
    input:
        unpack(shards_to_list),
    output:
        "results/{run}/data/{set}/shards-{kind}.json",
    log:
        "results/{run}/logs/list_shards/{set}.{kind}.log",
    wildcard_constraints:
        kind=one_of(LISTED_SHARDS),
    conda:
        "../envs/media.yaml"
    params:
        kinds=names_in_list,
        code=RECIPES["list_shards"],
    script:
        "../workflow_scripts/list_shards.py"


rule tabulate_corpus:
    input:
        clips=collect("results/{{run}}/data/corpus-{corpus}/shards-clips.json", corpus=audit.read),
        # A corpus that is only inverted has no flow.
        motion=collect("results/{{run}}/data/corpus-{corpus}/shards-motion.json", corpus=audit.audited),
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
        code=digest_of("tabulate_corpus"),
    script:
        "../workflow_scripts/tabulate_corpus.py"
