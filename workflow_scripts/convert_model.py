"""Convert an official checkpoint of a model that diffusers does not support into a folder in diffusers form."""

from pathlib import Path

from vidmem.base.logs import LOGGER, start_logging


def convert_model(checkpoint: dict, destination: Path) -> None:
    from vidmem.models.conversion import convert_checkpoint
    from vidmem.models.download import OF_A_BASE, fetched_folder

    base = checkpoint["base"]
    base = None if base is None else fetched_folder(base, checkpoint["base_revision"], OF_A_BASE)
    convert_checkpoint(checkpoint, base, destination)
    LOGGER.info("%s: converted to %s", checkpoint["file"], destination)


if "snakemake" in globals():
    start_logging(snakemake.log[0], snakemake.scriptdir, snakemake.params)
    convert_model(snakemake.params.checkpoint, Path(snakemake.output[0]).parent)
