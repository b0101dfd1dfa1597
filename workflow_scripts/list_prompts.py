"""List the prompts of a model: captions of its corpus, a user's file, or no text for an unconditional model."""

from pathlib import Path

from vidmem.base.logs import LOGGER, start_logging
from vidmem.base.store import load_table, save_table
from vidmem.features.clip_features import listed_clips
from vidmem.prompts.audit_prompts import prompts_of_corpus, prompts_of_file, unprompted


def list_prompts(clips: str, signals: list[str], prompts: dict, unconditional: int, destination: Path) -> None:
    corpus = listed_clips(clips)
    if unconditional:
        table = unprompted(unconditional)
    elif prompts["file"]:
        table = prompts_of_file(prompts["file"], corpus, prompts["limit"], prompts["columns"])
    else:
        ranks = None
        if signals:
            ranked = load_table(signals[0]).dropna(subset="rank")
            ranks = dict(zip(ranked["prompt"].str.strip(), ranked["rank"]))
        table = prompts_of_corpus(corpus, prompts["splits"], prompts["limit"], ranks)
    LOGGER.info("%d prompts: %s", len(table), table["status"].value_counts().to_dict())
    save_table(destination, table)


if "snakemake" in globals():
    start_logging(snakemake.log[0], snakemake.scriptdir, snakemake.params)
    inputs, params = snakemake.input, snakemake.params
    list_prompts(inputs.clips, list(inputs.signals), params.prompts, params.unconditional, Path(snakemake.output[0]))
