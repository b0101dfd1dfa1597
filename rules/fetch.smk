"""Fetch stage: the only one that downloads. Weights pinned by hash; models are hashed file by file."""


localrules:
    fetch_weights,
    fetch_model,


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


rule fetch_model:
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
        # Not an input: the rule that trains the reference models would then run whenever the corpus is read.
        files=lambda wildcards: digest_folder(model_spec(wildcards.model)["path"]),
    script:
        "../workflow_scripts/fetch_model.py"
