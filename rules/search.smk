"""Indexes of the references, and the search of every set of clips in them."""


rule train_index:
    input:
        references="results/{run}/data/corpus-{corpus}/shards-{kind}.json",
    output:
        temp("results/{run}/index/{corpus}/{kind}.trained"),
    log:
        "results/{run}/logs/train_index/{corpus}.{kind}.log",
    benchmark:
        "results/{run}/benchmarks/train_index/{corpus}.{kind}.tsv"
    wildcard_constraints:
        kind="content|motion",
    conda:
        search_environment()
    threads: share_of_cores(2)
    resources:
        mem_mb=growing(4000),
    params:
        search=INDEX,
        motion=lambda wildcards: MOTION_SEARCH if wildcards.kind == "motion" else {},
        seed=config["seed"],
        code=digest_of("approximate"),
    script:
        "../workflow_scripts/train_index.py"


rule fill_index:
    input:
        trained="results/{run}/index/{corpus}/{kind}.trained",
        references="results/{run}/data/corpus-{corpus}/shards-{kind}.json",
    output:
        temp("results/{run}/index/{corpus}/{kind}.{part}.part"),
    log:
        "results/{run}/logs/fill_index/{corpus}.{kind}.{part}.log",
    wildcard_constraints:
        kind="content|motion",
    conda:
        search_environment()
    threads: 1
    resources:
        mem_mb=growing(3000),
    params:
        parts=len(PARTS),
        search=INDEX,
        motion=lambda wildcards: MOTION_SEARCH if wildcards.kind == "motion" else {},
        code=digest_of("approximate"),
    script:
        "../workflow_scripts/fill_index.py"


rule merge_index:
    input:
        references="results/{run}/data/corpus-{corpus}/shards-{kind}.json",
        trained="results/{run}/index/{corpus}/{kind}.trained",
        parts=collect("results/{{run}}/index/{{corpus}}/{{kind}}.{part}.part", part=PARTS),
    output:
        index="results/{run}/index/{corpus}/{kind}.faiss",
        lists="results/{run}/index/{corpus}/{kind}.lists",
        about="results/{run}/index/{corpus}/{kind}.json",
    log:
        "results/{run}/logs/merge_index/{corpus}.{kind}.log",
    wildcard_constraints:
        kind="content|motion",
    conda:
        search_environment()
    resources:
        mem_mb=growing(4000),
    params:
        search=INDEX,
        motion=lambda wildcards: MOTION_SEARCH if wildcards.kind == "motion" else {},
        flow_grid=config["flow"]["grid"],
        code=digest_of("approximate"),
    script:
        "../workflow_scripts/merge_index.py"


rule certify_index:
    input:
        queries=lambda wildcards: certificate_queries(wildcards.corpus, wildcards.kind),
        references="results/{run}/data/corpus-{corpus}/shards-{kind}.json",
        index="results/{run}/index/{corpus}/{kind}.faiss",
        lists="results/{run}/index/{corpus}/{kind}.lists",
        thresholds=lambda wildcards: calibrated_thresholds([wildcards.corpus]),
    output:
        "results/{run}/index/{corpus}/{kind}.certificate.json",
    log:
        "results/{run}/logs/certify_index/{corpus}.{kind}.log",
    benchmark:
        "results/{run}/benchmarks/certify_index/{corpus}.{kind}.tsv"
    wildcard_constraints:
        kind="content|motion",
    conda:
        search_environment()
    threads: share_of_cores(2)
    resources:
        mem_mb=growing(4000),
    params:
        search=config["search"],
        content=config["content"],
        motion=config["motion"],
        level=config["interval"]["level"],
        seed=config["seed"],
        code=digest_of("approximate"),
    script:
        "../workflow_scripts/certify_index.py"


rule search_content:
    input:
        unpack(lambda wildcards: query_and_reference(wildcards, "content")),
        index=lambda wildcards: index_files(wildcards, "content"),
        certificate=lambda wildcards: certificate_of(wildcards, "content"),
    output:
        "results/{run}/matches/{set}/{part}.content.parquet",
    log:
        "results/{run}/logs/search_content/{set}.{part}.log",
    benchmark:
        "results/{run}/benchmarks/search_content/{set}.{part}.tsv"
    conda:
        search_environment()
    threads: share_of_cores(len(PARTS))
    resources:
        gpu=int(config["search"]["gpu"]),
        mem_mb=growing(3000),
    params:
        # Which held-out clips of a corpus are looked up here.
        parts=len(PARTS),
        search=config["search"],
        metric=config["content"]["metric"],
        code=digest_of("approximate", "matching", "search_gpu"),
    script:
        "../workflow_scripts/search_content.py"


rule search_motion:
    input:
        unpack(lambda wildcards: query_and_reference(wildcards, "motion")),
        index=lambda wildcards: index_files(wildcards, "motion"),
        certificate=lambda wildcards: certificate_of(wildcards, "motion"),
    output:
        "results/{run}/matches/{set}/{part}.motion.parquet",
    log:
        "results/{run}/logs/search_motion/{set}.{part}.log",
    benchmark:
        "results/{run}/benchmarks/search_motion/{set}.{part}.tsv"
    conda:
        search_environment()
    threads: share_of_cores(len(PARTS))
    resources:
        mem_mb=growing(4000),
    params:
        # Which held-out clips of a corpus are looked up here.
        parts=len(PARTS),
        search=config["search"],
        motion=MOTION_SEARCH,
        code=digest_of("approximate", "matching"),
    script:
        "../workflow_scripts/search_motion.py"
