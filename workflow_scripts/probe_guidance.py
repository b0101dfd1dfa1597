"""Record the guidance of the first denoising step for one shard of planted and negative prompts. No clip is generated."""

import os
from pathlib import Path

from vidmem.base.devices import claim_device, torch_device


def probe_guidance(prompts: list[str], params, machine: dict, shard: int, device: str, threads: int, destination: Path) -> None:
    import pandas as pd
    import torch

    from vidmem.base.store import load_table
    from vidmem.generation.adapter import adapter_of
    from vidmem.generation.detector_records import need_attention, of_first_step
    from vidmem.generation.probes import probe_rows
    from vidmem.generation.shard import prompts_of_shard, requests_of, save_guidance

    torch.set_num_threads(threads)
    table = pd.concat([load_table(path) for path in prompts], ignore_index=True)
    requests = requests_of(prompts_of_shard(table, shard, params.shards), 1)
    reads_attention = need_attention(of_first_step(params.baselines))
    adapter = adapter_of(params.spec, machine, params.seed, device, reads_attention)
    rows = probe_rows(adapter, requests, params.spec["guidance"], params.baselines, params.extra_pass)
    save_guidance(destination, rows)


if "snakemake" in globals():
    from vidmem.base.logs import start_logging

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
