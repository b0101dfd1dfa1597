"""What the rules of fetch.smk take: functions of their wildcards."""

from vidmem.models.saved_files import digest_folder, digest_model


def given_weights(wildcards):
    """File and hash that the configuration gives for weights; {} for weights that the stage downloads."""
    return config["weights"].get(wildcards.name, {})


def fetched_source(wildcards):
    """Keys of a source of a corpus that decide what is downloaded."""
    return audit.source(wildcards.corpus, wildcards.source)


def checkpoint_of(wildcards):
    """Keys of the official checkpoint of a conversion."""
    return audit.loaded[audit.conversions[wildcards.conversion]]["checkpoint"]


def digest_base(wildcards):
    """Digest of the folder that supplies further components to a conversion; '' for a hub repository, or without a base."""
    base = checkpoint_of(wildcards)["base"]
    return digest_folder(base) if base else ""


def converted_files(wildcards):
    """Files that identify a converted model: its index, and the hashes of all its files; [] for other models."""
    if wildcards.model not in audit.converted:
        return []
    return [f"{audit.model(wildcards.model)['path']}/{file}" for file in ("model_index.json", "conversion.json")]


def model_path(wildcards):
    """Folder or hub repository of a model."""
    return audit.model(wildcards.model)["path"]


def model_revision(wildcards):
    """Pinned commit of a model; None without one."""
    return audit.model(wildcards.model).get("revision")


def digest_saved(wildcards):
    """Digest of the files of a model; '' for a converted model, whose hashes are an input of the rule."""
    return "" if wildcards.model in audit.converted else digest_model(audit.model(wildcards.model))
