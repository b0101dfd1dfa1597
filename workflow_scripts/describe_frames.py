"""Compute SSCD descriptors of the frames of one shard."""

from pathlib import Path

from vidmem.base.devices import claim_device, torch_device
from vidmem.base.logs import start_logging
from vidmem.base.store import load_table
from vidmem.features.clip_features import frame_rows
from vidmem.features.writers import DescriptorFiles, write_features


def describe_frames(frames: Path, clips: Path, files: DescriptorFiles) -> None:
    write_features(files, frame_rows(load_table(clips), frames), "describe")


if "snakemake" in globals():
    start_logging(snakemake.log[0], snakemake.scriptdir, snakemake.params)
    claimed = claim_device(snakemake.config["device"], snakemake.resources.gpu) if snakemake.resources.get("gpu") else None
    files = DescriptorFiles(
        Path(snakemake.output.descriptors),
        Path(snakemake.output.rows),
        Path(snakemake.input.weights),
        snakemake.params.preset,
        snakemake.params.batch,
        snakemake.threads,
        torch_device(claimed) if claimed else "cpu",
    )
    describe_frames(Path(snakemake.input.frames), Path(snakemake.input.clips), files)
