"""Compute the optical flow of the frame pairs of one shard, and the numbers that the natural motion filter needs."""

from pathlib import Path

import cv2

from vidmem.base.devices import claim_device, torch_device
from vidmem.base.logs import start_logging
from vidmem.base.store import load_table
from vidmem.features.clip_features import frame_rows
from vidmem.features.writers import FlowFiles, write_features


def compute_flow(frames: Path, clips: Path, files: FlowFiles) -> None:
    write_features(files, frame_rows(load_table(clips), frames), "flow")


if "snakemake" in globals():
    start_logging(snakemake.log[0], snakemake.scriptdir, snakemake.params)
    cv2.setNumThreads(snakemake.threads)
    claimed = claim_device(snakemake.config["device"], snakemake.resources.gpu) if snakemake.resources.get("gpu") else None
    files = FlowFiles(
        Path(snakemake.output.flows),
        Path(snakemake.output.pooled),
        Path(snakemake.output.pairs),
        Path(snakemake.input.weights[0]) if snakemake.input.weights else None,
        snakemake.params.flow,
        torch_device(claimed) if claimed else "cpu",
    )
    compute_flow(Path(snakemake.input.frames), Path(snakemake.input.clips), files)
