"""Fetch stage: the only stage that downloads. It pins weights by their hash, and models and data sets by their commit.

Takes: names, addresses, commits and hashes of the configuration.
Makes: weights; a record for each model with the hash of every file; folders of converted checkpoints; a record for each data set.
"""


include: "inputs/fetch.smk"


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
        given=given_weights,
    script:
        "../workflow_scripts/fetch_weights.py"


rule convert_model:
    output:
        "results/{run}/converted/{conversion}/model_index.json",
        "results/{run}/converted/{conversion}/conversion.json",
    log:
        "results/{run}/logs/convert_model/{conversion}.log",
    wildcard_constraints:
        conversion=one_of(audit.conversions),
    conda:
        "../envs/torch.yaml"
    params:
        # The checkpoint is no input, so that an audit can be planned without it. Its keys state its hash.
        checkpoint=checkpoint_of,
        base=digest_base,
        code=RECIPES["convert_model"],
    script:
        "../workflow_scripts/convert_model.py"


rule fetch_model:
    input:
        converted_files,
    output:
        "results/{run}/models/{model}.json",
    log:
        "results/{run}/logs/fetch_model/{model}.log",
    wildcard_constraints:
        model=one_of([*audit.models, *audit.inversions]),
    conda:
        "../envs/media.yaml"
    params:
        path=model_path,
        revision=model_revision,
        # The files are no input: otherwise the rule that trains the reference models would run whenever the corpus is read.
        files=digest_saved,
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
        source=fetched_source,
    script:
        "../workflow_scripts/fetch_corpus.py"
