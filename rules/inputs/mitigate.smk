"""What the rules of mitigate.smk take: functions of their wildcards."""


def mitigated_model(wildcards):
    """Name of the model that a mitigation is for."""
    return audit.mitigations[wildcards.mitigation]["model"]


def mitigated_inputs(wildcards):
    """Prompts, detector and record of the model that a mitigation is for."""
    model = mitigated_model(wildcards)
    return {
        "prompts": f"{audit.root}/prompts/{model}.parquet",
        "detector": f"{audit.root}/detection/{model}.json",
        "model": f"{audit.root}/models/{model}.json",
    }


def mitigating_keys(wildcards):
    """Keys that change what the model of a mitigation generates."""
    return generation_keys(config["models"][mitigated_model(wildcards)])


def mitigation_files(wildcards):
    """Features and scores without and with every mitigation, and its adjustments, mitigation by mitigation, shard by shard."""
    sides = {
        "before": [f"generated-{mitigation['model']}" for mitigation in audit.mitigations.values()],
        "after": [f"mitigated-{name}" for name in audit.mitigations],
    }
    files = {"adjusted": [f"{stem}.adjusted.parquet" for stem in audit.stems(sides["after"])]}
    for side, sets in sides.items():
        files[f"{side}_scores"] = [f"{audit.root}/scores/{name}.parquet" for name in sets]
        files[f"{side}_content"] = audit.lists("content", sets)
    return files
