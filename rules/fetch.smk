"""Fetch stage: the only one that downloads. Weights pinned by hash; models hashed file by file, official checkpoints converted; data
sets pinned by commit."""


localrules:
    fetch_weights,
    convert_model,
    fetch_model,
    fetch_corpus,


rule fetch_weights:
    output:
        "results/weights/{name}",
    log:
        "results/weights/{name}.log",
    conda:
        "../envs/media.yaml"
    params:
        given=lambda wildcards: config["weights"].get(wildcards.name, {}),
    script:
        "../workflow_scripts/fetch_weights.py"


rule convert_model:
    output:
        "results/{run}/converted/{conversion}/model_index.json",
        "results/{run}/converted/{conversion}/conversion.json",
    log:
        "results/{run}/logs/convert_model/{conversion}.log",
    wildcard_constraints:
        conversion=one_of(CONVERSIONS),
    conda:
        "../envs/torch.yaml"
    params:
        # Not an input: a plan can be made on a machine without the weights, and their hash is stated.
        checkpoint=checkpoint_of,
        base=lambda wildcards: digest_base(checkpoint_of(wildcards)),
        code=digest_of("models/official"),
    script:
        "../workflow_scripts/convert_model.py"


rule fetch_model:
    input:
        lambda wildcards: converted_files(wildcards.model),
    output:
        "results/{run}/models/{model}.json",
    log:
        "results/{run}/logs/fetch_model/{model}.log",
    wildcard_constraints:
        model=one_of([*MODELS, *INVERSIONS]),
    conda:
        "../envs/media.yaml"
    params:
        path=lambda wildcards: model_spec(wildcards.model)["path"],
        revision=lambda wildcards: model_spec(wildcards.model).get("revision"),
        # Of converted models the input states the hashes. Not an input: the rule that trains the reference models would then run whenever the corpus is read.
        files=lambda wildcards: "" if wildcards.model in CONVERTED else digest_model(model_spec(wildcards.model)),
    script:
        "../workflow_scripts/fetch_model.py"


rule fetch_corpus:
    output:
        "results/{run}/corpora/{corpus}.{source}.json",
    log:
        "results/{run}/logs/fetch_corpus/{corpus}.{source}.log",
    wildcard_constraints:
        source="[a-z0-9-]+",
    conda:
        "../envs/media.yaml"
    params:
        source=lambda wildcards: source_of(wildcards),
    script:
        "../workflow_scripts/fetch_corpus.py"
