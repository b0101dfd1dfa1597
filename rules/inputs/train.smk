"""What the rules of train.smk take: functions of their wildcards."""


def training_plan(wildcards):
    """Sizes and training steps of a reference model."""
    return config["train"]["models"][wildcards.kind]


def training_footage(wildcards):
    """Keys of the training corpus that change its frames."""
    return audit.footage(config["train"]["corpus"])


def training_checkpoint(wildcards):
    """Path of the checkpoint from which a killed training goes on."""
    return f"{audit.root}/train/{wildcards.kind}.checkpoint"
