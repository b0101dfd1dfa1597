"""Curation: which captions of a corpus are most prone to trigger memorization?

Takes: descriptors and content index of a corpus; one-step scores of its models; published lists of prompts.
Makes: static signals of the captions; the curated prompts as a data set with a card; table prompts.
"""


include: "inputs/curate.smk"


rule cluster_corpus:
    input:
        references="results/{run}/data/corpus-{corpus}/shards-content.json",
        index="results/{run}/index/{corpus}/content.faiss",
        lists="results/{run}/index/{corpus}/content.lists",
    output:
        "results/{run}/prompts/signals-{corpus}.parquet",
    log:
        "results/{run}/logs/cluster_corpus/{corpus}.log",
    benchmark:
        "results/{run}/benchmarks/cluster_corpus/{corpus}.tsv"
    conda:
        SEARCH_ENVIRONMENT
    threads: 2
    resources:
        mem_mb=growing(4000),
    params:
        curation={key: config["curation"][key] for key in ("similarity", "min_information", "caption_similarity")},
        block=config["search"]["block"],
        code=digest_of("cluster_corpus"),
    script:
        "../workflow_scripts/cluster_corpus.py"


rule curate_prompts:
    input:
        signals="results/{run}/prompts/signals-{corpus}.parquet",
        about="results/{run}/index/{corpus}/content.json",
        scores=one_step_scores,
        lists=ancient(here(audit.prompt_lists)),
    output:
        prompts="results/{run}/prompts/curated-{corpus}.parquet",
        card="results/{run}/prompts/curated-{corpus}.md",
    log:
        "results/{run}/logs/curate_prompts/{corpus}.log",
    conda:
        SEARCH_ENVIRONMENT
    params:
        curation=config["curation"],
        lists=digest_files(*audit.prompt_lists),
        code=digest_of("curate_prompts"),
    script:
        "../workflow_scripts/curate_prompts.py"


rule tabulate_prompts:
    input:
        collect("results/{{run}}/prompts/curated-{corpus}.parquet", corpus=audit.audited),
    output:
        report(
            "results/{run}/tables/prompts.csv",
            caption="report/prompts.rst",
            category="Tables",
            labels={"exhibit": "Prompts", "what": "captions most prone to trigger memorization, with every signal"},
        ),
    log:
        "results/{run}/logs/tabulate_prompts.log",
    conda:
        "../envs/media.yaml"
    params:
        corpora=audit.audited,
        rows=config["curation"]["table_rows"],
        code=digest_of("tabulate_prompts"),
    script:
        "../workflow_scripts/tabulate_prompts.py"
