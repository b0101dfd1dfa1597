"""Write the curated prompts of a corpus with their signals, one-step scores and combined rank, as Parquet with a card."""

import json
from pathlib import Path

from vidmem.base.code_digest import code_commit
from vidmem.base.logs import start_logging
from vidmem.base.store import hash_file, load_table, save_table, save_text
from vidmem.exhibits.prompt_card import prompt_card
from vidmem.prompts.curation import curate
from vidmem.prompts.prompt_lists import load_named_lists


def curate_prompts(inputs, corpus: str, curation: dict, output) -> None:
    scores = {Path(path).name.split(".")[0]: load_table(path) for path in inputs.scores}
    lists = load_named_lists(curation["lists"])
    table = curate(load_table(inputs.signals), scores, lists, f"corpus-{corpus}", curation["licence"])
    save_table(output.prompts, table)
    provenance = {
        "corpus": corpus,
        "curation": curation,
        "index": json.loads(Path(inputs.about).read_text(encoding="utf-8")),
        "commit": code_commit(Path(__file__).parent),
        "sha256": {
            Path(path).name: hash_file(path) for path in [inputs.signals, *inputs.scores, *inputs.lists, output.prompts]
        },
    }
    save_text(output.card, prompt_card(corpus, Path(output.prompts).name, table, provenance))


if "snakemake" in globals():
    start_logging(snakemake.log[0], snakemake.scriptdir, snakemake.params)
    curate_prompts(snakemake.input, snakemake.wildcards.corpus, snakemake.params.curation, snakemake.output)
