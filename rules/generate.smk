"""Generation: prompts of each model, and its clips with recorded guidance; or clips that were generated elsewhere.

Takes: captions of the corpus; lists of prompts and folders of clips of the user; records of the models.
Makes: prompts by model; the set generated-<model>: frames, clip tables and guidance by shard.
"""


include: "inputs/generate.smk"


rule list_prompts:
    input:
        clips=corpus_captions,
        listed=ancient(given_prompts),
        signals=ranked_captions,
    output:
        "results/{run}/prompts/{model}.parquet",
    log:
        "results/{run}/logs/list_prompts/{model}.log",
    conda:
        "../envs/media.yaml"
    params:
        prompts=prompt_keys,
        unconditional=unconditional_samples,
        listed=digest_prompts,
        code=RECIPES["list_prompts"],
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
        model=one_of(audit.prompted),
    conda:
        "../envs/torch.yaml"
    threads: share_of_cores()
    resources:
        gpu=1,
        mem_mb=growing(4000),
    params:
        seed=config["seed"],
        shards=config["sample_shards"],
        spec=generating_keys,
        attention=need_attention(asked(config["detection"]["baselines"])),
        recipe=RECIPES["generate_clips"],
    script:
        "../workflow_scripts/generate_clips.py"


rule read_generated:
    input:
        listed=ancient(generated_clips),
        corpus=corpus_captions,
    output:
        frames="results/{run}/data/generated-{model}/{shard}.frames.npy",
        clips="results/{run}/data/generated-{model}/{shard}.clips.parquet",
        guidance="results/{run}/data/generated-{model}/{shard}.guidance.parquet",
    log:
        "results/{run}/logs/read_generated/{model}.{shard}.log",
    wildcard_constraints:
        model=one_of(audit.from_files),
    conda:
        "../envs/media.yaml"
    params:
        shards=config["sample_shards"],
        model=lookup("models/{model}", within=config),
        files=digest_generated,
        code=digest_of("read_generated"),
    script:
        "../workflow_scripts/read_generated.py"
