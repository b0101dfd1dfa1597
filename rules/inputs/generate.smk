"""What the rules of generate.smk take: functions of their wildcards."""

from vidmem.generation.detector_records import asked, need_attention


def given_prompts(wildcards):
    """File with the prompts of a model, if the user gives one and it exists."""
    return here(audit.prompt_files(wildcards.model))


def digest_prompts(wildcards):
    """Digest of the file with the prompts of a model."""
    return digest_files(*audit.prompt_files(wildcards.model))


def prompt_keys(wildcards):
    """Keys of a model that choose its prompts."""
    return config["models"][wildcards.model].get("prompts", {})


def unconditional_samples(wildcards):
    """Number of clips of a model that takes no prompts; 0 for other models."""
    return config["models"][wildcards.model].get("unconditional", 0)


def ranked_captions(wildcards):
    """File with the static signals of the corpus, if the configuration ranks the prompts of a model by them."""
    curated = prompt_keys(wildcards).get("rank") == "curated"
    return [f"{audit.root}/prompts/signals-{config['models'][wildcards.model]['corpus']}.parquet"] if curated else []


def given_frames(wildcards):
    """Path of the list of clip tables and frames of the corpus, for a model that starts from a frame of the corpus."""
    model = config["models"][wildcards.model]
    return [audit.corpus_list("frames", model["corpus"])] if model["first_frame"] is not None else []


def generating_keys(wildcards):
    """Keys of a model that change what it generates."""
    return generation_keys(config["models"][wildcards.model])


def generated_clips(wildcards):
    """List or folder of the clips that were generated elsewhere, if it exists."""
    return here([config["models"][wildcards.model]["path"]])


def digest_generated(wildcards):
    """Digest of the names, sizes and times of the clips that were generated elsewhere; '' for an error that the job will report."""
    from vidmem.generation.elsewhere import digest_made

    try:
        return digest_made(wildcards.model, config["models"][wildcards.model]) if workflow.is_main_process else PLANNED
    except VidmemError:
        return ""
