"""List negative prompts, for which no clip was planted. They come from a list or are drawn from a grammar."""

from pathlib import Path

from vidmem.base.logs import LOGGER, start_logging
from vidmem.base.store import save_table
from vidmem.features.clip_features import listed_clips
from vidmem.prompts.negatives import negative_prompts, prompts_of_grammar
from vidmem.prompts.prompt_lists import load_prompt_list


def list_negatives(clips: str, negatives: dict, seed: int, destination: Path) -> None:
    file, count = negatives["file"], negatives["count"]
    texts, faults = [], []
    if Path(file or "").suffix in (".yaml", ".yml"):
        texts = prompts_of_grammar(file, count, seed)
    elif file:
        listed = load_prompt_list(file).table[: count or None]
        texts, faults = list(listed["prompt"]), list(listed["reason"].where(listed["status"] != "ok", ""))
    table = negative_prompts(texts, listed_clips(clips)["caption"], faults)
    LOGGER.info("%d negative prompts: %s", len(table), table["status"].value_counts().to_dict())
    save_table(destination, table)


if "snakemake" in globals():
    start_logging(snakemake.log[0], snakemake.scriptdir, snakemake.params)
    list_negatives(snakemake.input.clips, snakemake.params.negatives, snakemake.params.seed, Path(snakemake.output[0]))
