"""Generate one shard of a model's clips and record the guidance of every step."""

import json
import os
from pathlib import Path

from vidmem.base.devices import claim_device, torch_device


def generate_clips(inputs, params, models: dict, corpora: dict, model: str, shard: int, device, threads: int, output) -> None:
    import torch

    from vidmem.base.store import hash_frames, hash_text, load_table
    from vidmem.corpus.clip_frames import Frames
    from vidmem.generation.adapter import adapter_of
    from vidmem.generation.shard import (
        ClipSet,
        ClipSetFiles,
        first_frames,
        generate_clip_set,
        prompts_of_shard,
        requests_of,
    )

    torch.set_num_threads(threads)
    spec, seed, model_file, given = params.spec, params.seed, Path(inputs.model).read_text(), {}
    table = prompts_of_shard(load_table(inputs.prompts), shard, params.shards)
    if inputs.corpus:
        table, given = first_frames(table, Frames.listed(list(inputs.corpus), corpora))
    requests = requests_of(table, spec["samples"], given)
    adapter = adapter_of(spec, models[model], seed, torch_device(device), params.attention)
    digests = {"first_frames": {name: hash_frames(frame) for name, frame in given.items()}} if given else {}
    recipe = json.dumps([params.recipe, {**spec, **digests}, params.attention, seed, model_file], sort_keys=True)
    provenance = {**spec, "model_files": hash_text(model_file)[:16]}
    provenance |= {"device": device.kind, "gpu": device.gpu, "run_seed": seed}
    about = ClipSet(f"generated-{model}", model, spec["size"], spec["fps"], seed, provenance)
    files = ClipSetFiles(Path(output.frames), Path(output.clips), Path(output.guidance))
    generate_clip_set(files, adapter, requests, recipe, table, about)


if "snakemake" in globals():
    from vidmem.base.logs import start_logging

    start_logging(snakemake.log[0], snakemake.scriptdir, snakemake.params)
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    claimed = claim_device(snakemake.config["device"], snakemake.resources.get("gpu", 0))
    generate_clips(
        snakemake.input,
        snakemake.params,
        # These are no parameters of the rule. Samples do not depend on the batch size, so a change of it must not start the
        # generation again. The clip tables show whether the footage of a corpus changed.
        snakemake.config["models"],
        snakemake.config["corpora"],
        snakemake.wildcards.model,
        int(snakemake.wildcards.shard),
        claimed,
        snakemake.threads,
        snakemake.output,
    )
