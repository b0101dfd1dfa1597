"""What the rules of detect.smk take: functions of their wildcards."""

from vidmem.models.signatures import told_rate


def probing_keys(wildcards):
    """Keys of a model that change its first denoising step."""
    model = config["models"][wildcards.model]
    return probe_keys(model, told_rate(model["pipeline"]))


def detection_files(wildcards):
    """Prompts, probes, guidance, clips and scores of the models that take prompts, model by model, shard by shard."""
    stems = audit.stems(f"generated-{name}" for name in audit.guided)
    ends = {"probes": "probe", "guidance": "guidance", "clips": "clips"}
    return {
        "prompts": [f"{audit.root}/prompts/{name}.parquet" for name in audit.guided],
        "negatives": [f"{audit.root}/prompts/{name}.negatives.parquet" for name in audit.guided],
        "scores": [f"{audit.root}/scores/generated-{name}.parquet" for name in audit.guided],
        **{kind: [f"{stem}.{end}.parquet" for stem in stems] for kind, end in ends.items()},
    }
