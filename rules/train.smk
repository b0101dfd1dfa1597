"""Training of the reference models (small models with known training data). An audit never trains: their weights are shipped.

Takes: frames and clip tables of the training corpus; weights of SSCD.
Makes: an autoencoder; models in the format of diffusers, each with a card and a record of its training.
"""


include: "inputs/train.smk"


rule train_autoencoder:
    input:
        frames=collect(
            "results/{run}/data/corpus-{corpus}/{shard}.frames.npy",
            run=audit.run,
            corpus=config["train"]["corpus"],
            shard=audit.shards,
        ),
        weights=weights_of(audit.descriptor_weights),
    output:
        "results/{run}/train/autoencoder/config.json",
        "results/{run}/train/autoencoder/diffusion_pytorch_model.safetensors",
        ceiling="results/{run}/train/autoencoder/ceiling.json",
    log:
        "results/{run}/logs/train_autoencoder.log",
    conda:
        "../envs/torch.yaml"
    threads: 2
    resources:
        mem_mb=growing(4000),
    params:
        seed=config["seed"],
        plan=config["train"]["autoencoder"],
        code=digest_of("train_autoencoder"),
        preset=config["descriptors"]["preset"],
    script:
        "../workflow_scripts/train_autoencoder.py"


rule train_model:
    input:
        frames=collect(
            "results/{run}/data/corpus-{corpus}/{shard}.frames.npy",
            run=audit.run,
            corpus=config["train"]["corpus"],
            shard=audit.shards,
        ),
        clips=collect(
            "results/{run}/data/corpus-{corpus}/{shard}.clips.parquet",
            run=audit.run,
            corpus=config["train"]["corpus"],
            shard=audit.shards,
        ),
        autoencoder=f"{audit.root}/train/autoencoder/config.json",
        ceiling=f"{audit.root}/train/autoencoder/ceiling.json",
    output:
        f"{config['train']['output']}/{{kind}}/model_index.json",
        card=f"{config['train']['output']}/{{kind}}/README.md",
        history=f"{config['train']['output']}/{{kind}}/training.json",
    log:
        f"{config['train']['output']}/{{kind}}/training.log",
    wildcard_constraints:
        kind=one_of(config["train"]["models"]),
    conda:
        "../envs/torch.yaml"
    threads: 2
    resources:
        gpu=1,
        mem_mb=growing(6000),
    params:
        seed=config["seed"],
        plan=training_plan,
        recipe=RECIPES["train_model"],
        corpus=training_footage,
        checkpoint=training_checkpoint,
    script:
        "../workflow_scripts/train_model.py"
