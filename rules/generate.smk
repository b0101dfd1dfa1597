"""Generation: prompts of each model, and its clips with the guidance recorded. Or clips generated elsewhere."""


rule list_prompts:
    input:
        clips=captions_of,
        listed=ancient(lambda wildcards: here(prompt_files(wildcards.model))),
        signals=lambda wildcards: ranked_captions(wildcards.model),
    output:
        "results/{run}/prompts/{model}.parquet",
    log:
        "results/{run}/logs/list_prompts/{model}.log",
    conda:
        "../envs/media.yaml"
    params:
        prompts=lambda wildcards: config["models"][wildcards.model].get("prompts", {}),
        unconditional=lambda wildcards: config["models"][wildcards.model].get("unconditional", 0),
        listed=lambda wildcards: digest_files(*prompt_files(wildcards.model)),
        code=digest_of("prompts"),
    script:
        "../workflow_scripts/list_prompts.py"


rule generate_clips:
    input:
        prompts="results/{run}/prompts/{model}.parquet",
        model="results/{run}/models/{model}.json",
        corpus=given_frames,
    output:
        frames="results/{run}/data/generated-{model}/{shard}.frames.npy",
        clips="results/{run}/data/generated-{model}/{shard}.clips.parquet",
        guidance="results/{run}/data/generated-{model}/{shard}.guidance.parquet",
    log:
        "results/{run}/logs/generate_clips/{model}.{shard}.log",
    benchmark:
        "results/{run}/benchmarks/generate_clips/{model}.{shard}.tsv"
    wildcard_constraints:
        model=one_of(PROMPTED),
    conda:
        "../envs/torch.yaml"
    threads: share_of_cores()
    resources:
        gpu=1,
        mem_mb=growing(4000),
    params:
        seed=config["seed"],
        shards=config["sample_shards"],
        spec=lambda wildcards: generation_spec(config["models"][wildcards.model]),
        attention=not {"attention_entropy", "bright_ending"}.isdisjoint(config["detection"]["baselines"]),
        recipe=RECIPES["generate_clips"],
    script:
        "../workflow_scripts/generate_clips.py"


rule read_generated:
    input:
        listed=ancient(lambda wildcards: here([config["models"][wildcards.model]["path"]])),
        corpus=captions_of,
    output:
        frames="results/{run}/data/generated-{model}/{shard}.frames.npy",
        clips="results/{run}/data/generated-{model}/{shard}.clips.parquet",
        guidance="results/{run}/data/generated-{model}/{shard}.guidance.parquet",
    log:
        "results/{run}/logs/read_generated/{model}.{shard}.log",
    wildcard_constraints:
        model=one_of(FROM_FILES),
    conda:
        "../envs/media.yaml"
    params:
        shards=config["sample_shards"],
        model=lambda wildcards: config["models"][wildcards.model],
        files=lambda wildcards: digest_listed(wildcards.model),
        code=digest_of("elsewhere", "corpus/reading"),
    script:
        "../workflow_scripts/read_generated.py"
