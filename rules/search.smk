"""Indexes of the references (the clips of a corpus), and the search for the best matches of every set of clips.

Takes: descriptors and flows of the references and of the clips that are looked up.
Makes: for each corpus an index for content and one for motion; a recall certificate of each index that is used; best matches.
"""


include: "inputs/search.smk"


# Only a search on a GPU needs a conda environment with torch.
SEARCH_ENVIRONMENT = "../envs/search-gpu.yaml" if config["search"]["gpu"] else "../envs/search-cpu.yaml"


rule train_index:
    input:
        references="results/{run}/data/corpus-{corpus}/shards-{kind}.json",
        background=background_of_index,
    output:
        temp("results/{run}/index/{corpus}/{kind}.trained"),
    log:
        "results/{run}/logs/train_index/{corpus}.{kind}.log",
    benchmark:
        "results/{run}/benchmarks/train_index/{corpus}.{kind}.tsv"
    wildcard_constraints:
        kind="content|motion",
    conda:
        SEARCH_ENVIRONMENT
    threads: share_of_cores(2)
    resources:
        mem_mb=growing(4000),
    params:
        search=audit.index,
        motion=motion_keys,
        seed=config["seed"],
        code=digest_of("train_index"),
    script:
        "../workflow_scripts/train_index.py"


rule fill_index:
    input:
        trained="results/{run}/index/{corpus}/{kind}.trained",
        references="results/{run}/data/corpus-{corpus}/shards-{kind}.json",
        background=background_of_index,
    output:
        temp("results/{run}/index/{corpus}/{kind}.{part}.part"),
    log:
        "results/{run}/logs/fill_index/{corpus}.{kind}.{part}.log",
    wildcard_constraints:
        kind="content|motion",
    conda:
        SEARCH_ENVIRONMENT
    threads: 1
    resources:
        mem_mb=growing(3000),
    params:
        parts=len(audit.sample_shards),
        search=audit.index,
        motion=motion_keys,
        code=digest_of("fill_index"),
    script:
        "../workflow_scripts/fill_index.py"


rule merge_index:
    input:
        references="results/{run}/data/corpus-{corpus}/shards-{kind}.json",
        trained="results/{run}/index/{corpus}/{kind}.trained",
        parts=collect("results/{{run}}/index/{{corpus}}/{{kind}}.{part}.part", part=audit.sample_shards),
        background=background_of_index,
    output:
        index="results/{run}/index/{corpus}/{kind}.faiss",
        lists="results/{run}/index/{corpus}/{kind}.lists",
        about="results/{run}/index/{corpus}/{kind}.json",
    log:
        "results/{run}/logs/merge_index/{corpus}.{kind}.log",
    wildcard_constraints:
        kind="content|motion",
    conda:
        SEARCH_ENVIRONMENT
    resources:
        mem_mb=growing(4000),
    params:
        search=audit.index,
        motion=motion_keys,
        flow_grid=config["flow"]["grid"],
        code=digest_of("merge_index"),
    script:
        "../workflow_scripts/merge_index.py"


rule certify_index:
    input:
        queries=certificate_queries,
        references="results/{run}/data/corpus-{corpus}/shards-{kind}.json",
        index="results/{run}/index/{corpus}/{kind}.faiss",
        lists="results/{run}/index/{corpus}/{kind}.lists",
        thresholds="results/{run}/thresholds.json",
        background=background_of_index,
    output:
        "results/{run}/index/{corpus}/{kind}.certificate.json",
    log:
        "results/{run}/logs/certify_index/{corpus}.{kind}.log",
    benchmark:
        "results/{run}/benchmarks/certify_index/{corpus}.{kind}.tsv"
    wildcard_constraints:
        kind="content|motion",
    conda:
        SEARCH_ENVIRONMENT
    threads: share_of_cores(2)
    resources:
        mem_mb=growing(4000),
    params:
        search=config["search"],
        content=config["content"],
        motion=audit.motion_search,
        level=config["interval"]["level"],
        seed=config["seed"],
        code=digest_of("certify_index"),
    script:
        "../workflow_scripts/certify_index.py"


rule search_content:
    input:
        unpack(searched_content),
    output:
        "results/{run}/matches/{set}/{part}.content.parquet",
    log:
        "results/{run}/logs/search_content/{set}.{part}.log",
    benchmark:
        "results/{run}/benchmarks/search_content/{set}.{part}.tsv"
    conda:
        SEARCH_ENVIRONMENT
    threads: share_of_cores(len(audit.sample_shards))
    resources:
        gpu=int(config["search"]["gpu"]),
        mem_mb=growing(3000),
    params:
        # Which held-out clips of a corpus are looked up here.
        parts=len(audit.sample_shards),
        search=config["search"],
        metric=config["content"]["metric"],
        code=digest_of("search_content"),
    script:
        "../workflow_scripts/search_content.py"


rule search_motion:
    input:
        unpack(searched_motion),
    output:
        "results/{run}/matches/{set}/{part}.motion.parquet",
    log:
        "results/{run}/logs/search_motion/{set}.{part}.log",
    benchmark:
        "results/{run}/benchmarks/search_motion/{set}.{part}.tsv"
    conda:
        SEARCH_ENVIRONMENT
    threads: share_of_cores(len(audit.sample_shards))
    resources:
        mem_mb=growing(4000),
    params:
        # Which held-out clips of a corpus are looked up here.
        parts=len(audit.sample_shards),
        search=config["search"],
        motion=audit.motion_search,
        code=digest_of("search_motion"),
    script:
        "../workflow_scripts/search_motion.py"
