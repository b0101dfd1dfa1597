"""Guidance of the first denoising step for one shard of prompts, planted and negative, without generating anything."""

import os
from pathlib import Path

from vidmem.devices import claim_device, torch_device


def probe_guidance(prompts: list[str], params, batch: int, shard: int, device: str, threads: int, destination: Path) -> None:
    import pandas as pd
    import torch

    from vidmem import generation, store
    from vidmem.guidance import first_step_reducer, with_settings
    from vidmem.logs import progress
    from vidmem.models.adapter import Sample, adapter_of

    torch.set_num_threads(threads)
    table = pd.concat([store.load_table(path) for path in prompts], ignore_index=True)
    table = generation.prompts_of_shard(table, shard, params.shards)
    requests = generation.requests_of(table, params.spec["samples"])
    adapter = adapter_of(params.spec, batch, params.seed, device)
    reduce = with_settings(first_step_reducer(adapter.pipeline.scheduler, params.spec["guidance"]))
    steps = adapter.first_steps(requests, reduce, params.extra_pass)
    rows = []
    for request, found in progress(steps, "probe", len(requests), "prompt"):
        rows += generation.guidance_rows(Sample(request, None, guidance=[found]))
    generation.save_guidance(destination, rows)


if "snakemake" in globals():
    from vidmem.logs import start_logging

    start_logging(snakemake.log[0], snakemake.scriptdir)
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    claimed = claim_device(snakemake.config["device"], snakemake.resources.get("gpu", 0))
    probe_guidance(
        [snakemake.input.prompts, snakemake.input.negatives],
        snakemake.params,
        snakemake.config["models"][snakemake.wildcards.model]["batch"],
        int(snakemake.wildcards.shard),
        torch_device(claimed),
        snakemake.threads,
        Path(snakemake.output[0]),
    )
