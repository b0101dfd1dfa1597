"""Generate one shard of a model's clips and record the guidance of every step."""

import json
import os
from pathlib import Path

from vidmem.devices import claim_device, torch_device


def generate_clips(inputs, params, models: dict, corpora: dict, model: str, shard: int, device, threads: int, output) -> None:
    import torch

    from vidmem import generation, store
    from vidmem.clip_frames import Frames
    from vidmem.models.adapter import adapter_of

    spec, seed, parts = params.spec, params.seed, Path(output.frames).parent / "parts"
    model_file = Path(inputs.model)
    torch.set_num_threads(threads)
    table = generation.prompts_of_shard(store.load_table(inputs.prompts), shard, params.shards)
    given = {}
    if inputs.corpus:
        table, given = generation.first_frames(table, Frames.listed(list(inputs.corpus), corpora))
    requests = generation.requests_of(table, spec["samples"], given)
    adapter = adapter_of(spec, models[model], seed, torch_device(device), params.attention)
    digests = {"first_frames": {name: store.hash_frames(frame) for name, frame in given.items()}} if given else {}
    recipe = json.dumps([params.recipe, {**spec, **digests}, params.attention, seed, model_file.read_text()], sort_keys=True)
    files = store.hash_text(model_file.read_text())[:16]
    provenance = {**spec, "model_files": files, "device": device.kind, "gpu": device.gpu, "run_seed": seed}
    about = generation.ClipSet(f"generated-{model}", model, spec["size"], spec["fps"], seed, provenance)
    generation.save_clip_set(output, generation.generate_resumable(adapter, requests, parts, recipe), table, about)
    generation.drop_parts(parts, recipe, requests)


if "snakemake" in globals():
    from vidmem.logs import start_logging

    start_logging(snakemake.log[0], snakemake.scriptdir, snakemake.params)
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    claimed = claim_device(snakemake.config["device"], snakemake.resources.get("gpu", 0))
    generate_clips(
        snakemake.input,
        snakemake.params,
        # No parameters of the rule: samples do not depend on their batch, and another one must not generate again. The clip
        # tables say whether the footage of a corpus changed.
        snakemake.config["models"],
        snakemake.config["corpora"],
        snakemake.wildcards.model,
        int(snakemake.wildcards.shard),
        claimed,
        snakemake.threads,
        snakemake.output,
    )
