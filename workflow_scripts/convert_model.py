"""Convert an official checkpoint of a model that diffusers does not carry into a folder in diffusers form."""

from pathlib import Path

from fetch_model import fetched_folder
from vidmem.logs import LOGGER, start_logging
from vidmem.models.fingerprint import BASE_PARTS

WANTED = ["model_index.json", *(f"{part}/*" for part in BASE_PARTS)]
"""What is fetched of a saved Stable Diffusion."""


def convert_model(checkpoint: dict, destination: Path) -> None:
    from vidmem.models.official import convert_checkpoint

    base = checkpoint["base"]
    base = None if base is None else fetched_folder(base, checkpoint["base_revision"], WANTED)
    convert_checkpoint(checkpoint, base, destination)
    LOGGER.info("%s: converted to %s", checkpoint["file"], destination)


if "snakemake" in globals():
    start_logging(snakemake.log[0], snakemake.scriptdir, snakemake.params)
    convert_model(snakemake.params.checkpoint, Path(snakemake.output[0]).parent)
