"""Guidance of the first denoising step for one shard of prompts, planted and negative, without generating anything."""

import os
from pathlib import Path

from vidmem.devices import claim_device, torch_device


def probe_guidance(prompts: list[str], params, machine: dict, shard: int, device: str, threads: int, destination: Path) -> None:
    import pandas as pd
    import torch

    from vidmem import generation, store
    from vidmem.baselines import probing
    from vidmem.guidance import first_step_reducer, with_settings
    from vidmem.logs import LOGGER, progress
    from vidmem.models.adapter import adapter_of

    torch.set_num_threads(threads)
    table = pd.concat([store.load_table(path) for path in prompts], ignore_index=True)
    table = generation.prompts_of_shard(table, shard, params.shards)
    requests = generation.requests_of(table, 1)
    adapter = adapter_of(params.spec, machine, params.seed, device, "attention_entropy" in params.baselines)
    scheduler = adapter.pipeline.scheduler
    reduce = probing(with_settings(first_step_reducer(scheduler, params.spec["guidance"])), scheduler, params.baselines)
    probed = (sample for batch in adapter.probe(requests, reduce, params.extra_pass) for sample in batch)
    rows = []
    for sample in progress(probed, "probe", len(requests), "prompt"):
        if sample.status != "ok":  # no row: the tables count it among the prompts without guidance
            clip_id, prompt = generation.clip_id_of(sample.request), sample.request.prompt
            LOGGER.error("no guidance of %s, prompt %.80r: %s", clip_id, prompt, sample.reason)
        rows += generation.guidance_rows(sample)
    generation.save_guidance(destination, rows)


if "snakemake" in globals():
    from vidmem.logs import start_logging

    start_logging(snakemake.log[0], snakemake.scriptdir, snakemake.params)
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    claimed = claim_device(snakemake.config["device"], snakemake.resources.get("gpu", 0))
    probe_guidance(
        [snakemake.input.prompts, snakemake.input.negatives],
        snakemake.params,
        snakemake.config["models"][snakemake.wildcards.model],
        int(snakemake.wildcards.shard),
        torch_device(claimed),
        snakemake.threads,
        Path(snakemake.output[0]),
    )
