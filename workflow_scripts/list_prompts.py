"""List the prompts of a model: captions of its corpus, a user's file, or none."""

from pathlib import Path

from vidmem.logs import LOGGER, start_logging
from vidmem.prompts import prompts_of_corpus, prompts_of_file, unprompted
from vidmem.store import load_tables, save_table


def list_prompts(clips: list[str], prompts: dict, unconditional: int, destination: Path) -> None:
    corpus = load_tables(clips)
    if unconditional:
        table = unprompted(unconditional)
    elif prompts["file"]:
        table = prompts_of_file(prompts["file"], corpus, prompts["limit"])
    else:
        table = prompts_of_corpus(corpus, prompts["splits"], prompts["limit"])
    LOGGER.info("%d prompts: %s", len(table), table["status"].value_counts().to_dict())
    save_table(destination, table)


if "snakemake" in globals():
    start_logging(snakemake.log[0], snakemake.scriptdir)
    list_prompts(snakemake.input.clips, snakemake.params.prompts, snakemake.params.unconditional, Path(snakemake.output[0]))
