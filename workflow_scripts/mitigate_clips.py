"""Generate the most copied prompts again, with text embeddings adjusted at the first step, for one shard."""

import json
import os
from pathlib import Path

from vidmem.devices import claim_device, torch_device


def mitigate_clips(inputs, params, machine: dict, name: str, shard: int, device, threads: int, output) -> None:
    import torch

    from vidmem import generation, mitigation, store
    from vidmem.logs import progress
    from vidmem.mitigated import harmless_magnitude, most_copied
    from vidmem.models.adapter import adapter_of

    torch.set_num_threads(threads)
    spec, plan, model_file = params.spec, params.mitigation, Path(inputs.model).read_text()
    chosen = most_copied(store.load_table(inputs.prompts), plan["prompts"], plan["splits"])
    table = generation.prompts_of_shard(chosen, shard, params.shards)
    requests = generation.requests_of(table, plan["samples"])
    adapter = adapter_of(spec, machine, params.seed, torch_device(device))
    target = harmless_magnitude(inputs.detector, plan["objective"], plan["target"])
    steps = mitigation.AdjustmentPlan(plan["objective"], target, plan["steps"], plan["rate"])
    found = list(progress(mitigation.adjust_embeddings(adapter, requests, steps), "adjust", len(requests), "clip"))
    provenance = {**spec, "model_files": store.hash_text(model_file)[:16], "mitigation": plan, "target": target}
    recipe = json.dumps([params.recipe, provenance, params.seed], sort_keys=True)
    provenance |= {"device": device.kind, "gpu": device.gpu, "run_seed": params.seed}
    about = generation.ClipSet(f"mitigated-{name}", plan["model"], spec["size"], spec["fps"], params.seed, provenance)
    parts, requests = Path(output.frames).parent / "parts", mitigation.adjusted_requests(found)
    table = mitigation.mark_undefined(table, found)
    generation.save_clip_set(output, generation.generate_resumable(adapter, requests, parts, recipe), table, about)
    store.save_table(output.adjusted, mitigation.adjustment_table(found, target))
    generation.drop_parts(parts, recipe, requests)


if "snakemake" in globals():
    from vidmem.logs import start_logging

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
