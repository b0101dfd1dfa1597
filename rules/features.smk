"""Features of every set of clips: SSCD descriptors of the frames, optical flow of the frame pairs.

Takes: frames and clip tables of a set, or the footage of a corpus whose frames are not stored; weights of the networks.
Makes: descriptors and flows by shard, each with a table of its rows; clip tables of corpora whose frames are not stored;
the background of each corpus, the motion that its clips have in common.
"""

DESCRIPTOR_ENVIRONMENT = "../envs/torch.yaml" if audit.descriptor_gpus else "../envs/media.yaml"  # ONNX needs no torch
FLOW_ENVIRONMENT = "../envs/torch.yaml" if audit.flow_weights else "../envs/media.yaml"  # DIS needs no torch
FEATURE_ENVIRONMENT = "../envs/torch.yaml" if audit.descriptor_gpus or audit.flow_weights else "../envs/media.yaml"


rule describe_frames:
    input:
        frames="results/{run}/data/{set}/{shard}.frames.npy",
        clips="results/{run}/data/{set}/{shard}.clips.parquet",
        weights=weights_of(audit.descriptor_weights),
    output:
        descriptors="results/{run}/data/{set}/{shard}.descriptors.npy",
        rows="results/{run}/data/{set}/{shard}.descriptors.parquet",
    log:
        "results/{run}/logs/describe_frames/{set}.{shard}.log",
    benchmark:
        "results/{run}/benchmarks/describe_frames/{set}.{shard}.tsv"
    wildcard_constraints:
        set=none_of(f"corpus-{name}" for name in audit.streamed),
    conda:
        DESCRIPTOR_ENVIRONMENT
    threads: share_of_cores()
    resources:
        gpu=audit.descriptor_gpus,
        mem_mb=growing(2000),
    params:
        preset=config["descriptors"]["preset"],
        batch=config["descriptors"]["batch"],
        code=digest_of("describe_frames"),
    script:
        "../workflow_scripts/describe_frames.py"


rule compute_flow:
    input:
        frames="results/{run}/data/{set}/{shard}.frames.npy",
        clips="results/{run}/data/{set}/{shard}.clips.parquet",
        weights=[weights_of(name) for name in audit.flow_weights],
    output:
        flows="results/{run}/data/{set}/{shard}.flows.npy",
        pooled="results/{run}/data/{set}/{shard}.pooled.npy",
        pairs="results/{run}/data/{set}/{shard}.flows.parquet",
    log:
        "results/{run}/logs/compute_flow/{set}.{shard}.log",
    benchmark:
        "results/{run}/benchmarks/compute_flow/{set}.{shard}.tsv"
    wildcard_constraints:
        set=none_of(f"corpus-{name}" for name in audit.streamed),
    conda:
        FLOW_ENVIRONMENT
    threads: share_of_cores()
    resources:
        gpu=len(audit.flow_weights),
        mem_mb=growing(2000),
    params:
        flow=config["flow"],
        code=digest_of("compute_flow"),
    script:
        "../workflow_scripts/compute_flow.py"


rule fit_background:
    input:
        references="results/{run}/data/corpus-{corpus}/shards-motion.json",
        other=ancient(here(audit.background_files)),
    output:
        "results/{run}/background/{corpus}.parquet",
    log:
        "results/{run}/logs/fit_background/{corpus}.log",
    conda:
        "../envs/media.yaml"
    resources:
        mem_mb=growing(2000),
    params:
        seed=config["seed"],
        metric=config["motion"]["metric"],
        background=config["motion"]["background"],
        listed=digest_files(*audit.background_files),
        code=digest_of("fit_background"),
    script:
        "../workflow_scripts/fit_background.py"


rule read_features:
    input:
        corpus_records,
        weights=weights_of(audit.descriptor_weights),
        flow_weights=[weights_of(name) for name in audit.flow_weights],
    output:
        clips="results/{run}/data/corpus-{corpus}/{shard}.clips.parquet",
        descriptors="results/{run}/data/corpus-{corpus}/{shard}.descriptors.npy",
        rows="results/{run}/data/corpus-{corpus}/{shard}.descriptors.parquet",
        flows="results/{run}/data/corpus-{corpus}/{shard}.flows.npy",
        pooled="results/{run}/data/corpus-{corpus}/{shard}.pooled.npy",
        pairs="results/{run}/data/corpus-{corpus}/{shard}.flows.parquet",
    log:
        "results/{run}/logs/read_features/{corpus}.{shard}.log",
    benchmark:
        "results/{run}/benchmarks/read_features/{corpus}.{shard}.tsv"
    wildcard_constraints:
        corpus=one_of(audit.streamed),
    conda:
        FEATURE_ENVIRONMENT
    threads: share_of_cores()
    resources:
        gpu=max(audit.descriptor_gpus, len(audit.flow_weights)),
        mem_mb=growing(3000),
    params:
        shards=config["shards"],
        corpus=corpus_footage,
        listed=digest_shard,
        preset=config["descriptors"]["preset"],
        batch=config["descriptors"]["batch"],
        flow=config["flow"],
        code=RECIPES["read_features"],
    script:
        "../workflow_scripts/read_features.py"
