"""Generate one shard of the most copied prompts again, with text embeddings that are adjusted at the first step."""

import json
import os
from pathlib import Path

from vidmem.base.devices import claim_device, torch_device


def mitigate_clips(inputs, params, machine: dict, name: str, shard: int, device, threads: int, output) -> None:
    import torch

    from vidmem.base.logs import progress
    from vidmem.base.store import hash_text, load_table, save_table
    from vidmem.detection.adjustment import (
        AdjustmentPlan,
        adjust_embeddings,
        adjusted_requests,
        adjustment_table,
        mark_undefined,
    )
    from vidmem.detection.mitigation import harmless_magnitude, most_copied
    from vidmem.generation.adapter import adapter_of
    from vidmem.generation.shard import ClipSet, ClipSetFiles, generate_clip_set, prompts_of_shard, requests_of

    torch.set_num_threads(threads)
    spec, plan, seed, model_file = params.spec, params.mitigation, params.seed, Path(inputs.model).read_text()
    chosen = most_copied(load_table(inputs.prompts), plan["prompts"], plan["splits"])
    table = prompts_of_shard(chosen, shard, params.shards)
    adapter = adapter_of(spec, machine, seed, torch_device(device))
    target = harmless_magnitude(inputs.detector, plan["objective"], plan["target"])
    steps = AdjustmentPlan(plan["objective"], target, plan["steps"], plan["rate"])
    requests = requests_of(table, plan["samples"])
    found = list(progress(adjust_embeddings(adapter, requests, steps), "adjust", len(requests), "clip"))
    save_table(output.adjusted, adjustment_table(found, target))
    provenance = {**spec, "model_files": hash_text(model_file)[:16], "mitigation": plan, "target": target}
    recipe = json.dumps([params.recipe, provenance, seed], sort_keys=True)
    provenance |= {"device": device.kind, "gpu": device.gpu, "run_seed": seed}
    about = ClipSet(f"mitigated-{name}", plan["model"], spec["size"], spec["fps"], seed, provenance)
    files = ClipSetFiles(Path(output.frames), Path(output.clips), Path(output.guidance))
    generate_clip_set(files, adapter, adjusted_requests(found), recipe, mark_undefined(table, found), about)


if "snakemake" in globals():
    from vidmem.base.logs import start_logging

    start_logging(snakemake.log[0], snakemake.scriptdir, snakemake.params)
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    claimed = claim_device(snakemake.config["device"], snakemake.resources.get("gpu", 0))
    mitigate_clips(
        snakemake.input,
        snakemake.params,
        snakemake.config["models"][snakemake.params.mitigation["model"]],
        snakemake.wildcards.mitigation,
        int(snakemake.wildcards.shard),
        claimed,
        snakemake.threads,
        snakemake.output,
    )
