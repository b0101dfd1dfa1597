"""List the prompts that no clip was planted for: of a list, or drawn from a grammar."""

from pathlib import Path

from vidmem.features import listed_clips
from vidmem.logs import LOGGER, start_logging
from vidmem.negatives import negative_prompts, prompts_of_grammar
from vidmem.prompt_lists import load_prompt_list
from vidmem.store import save_table


def list_negatives(clips: str, negatives: dict, seed: int, destination: Path) -> None:
    file, count = negatives["file"], negatives["count"]
    if not file:
        texts = []
    elif Path(file).suffix in (".yaml", ".yml"):
        texts = prompts_of_grammar(file, count, seed)
    else:
        texts = list(load_prompt_list(file).table["prompt"])[: count or None]
    table = negative_prompts(texts, listed_clips(clips)["caption"])
    LOGGER.info("%d negative prompts: %s", len(table), table["status"].value_counts().to_dict())
    save_table(destination, table)


if "snakemake" in globals():
    start_logging(snakemake.log[0], snakemake.scriptdir, snakemake.params)
    list_negatives(snakemake.input.clips, snakemake.params.negatives, snakemake.params.seed, Path(snakemake.output[0]))
