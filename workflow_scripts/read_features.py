"""Read one shard of a corpus whose frames are not stored: its clip table, descriptors and flows, clip by clip."""

from pathlib import Path

import cv2

from vidmem.base.devices import claim_device, torch_device
from vidmem.base.logs import progress, start_logging
from vidmem.corpus.listing import list_corpus
from vidmem.corpus.reading import read_clips
from vidmem.features.writers import DescriptorFiles, FlowFiles, write_clips


def read_features(
    corpus: dict, name: str, shard: int, shards: int, descriptors: DescriptorFiles, flows: FlowFiles, clips: Path
) -> None:
    work = list_corpus(corpus["sources"], shard, shards)
    read = progress(read_clips(corpus, name, work), f"read {name} {shard}", len(work), "clip")
    write_clips(read, descriptors, flows, clips)


if "snakemake" in globals():
    start_logging(snakemake.log[0], snakemake.scriptdir, snakemake.params)
    cv2.setNumThreads(snakemake.threads)
    inputs, output, params = snakemake.input, snakemake.output, snakemake.params
    claimed = claim_device(snakemake.config["device"], snakemake.resources.gpu) if snakemake.resources.get("gpu") else None
    device = torch_device(claimed) if claimed else "cpu"
    read_features(
        params.corpus,
        snakemake.wildcards.corpus,
        int(snakemake.wildcards.shard),
        params.shards,
        DescriptorFiles(
            Path(output.descriptors),
            Path(output.rows),
            Path(inputs.weights),
            params.preset,
            params.batch,
            snakemake.threads,
            device,
        ),
        FlowFiles(
            Path(output.flows),
            Path(output.pooled),
            Path(output.pairs),
            Path(inputs.flow_weights[0]) if inputs.flow_weights else None,
            params.flow,
            device,
        ),
        Path(output.clips),
    )
