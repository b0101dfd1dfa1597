"""Table of the prompts of every corpus that are most likely to trigger memorization."""

import pandas as pd

from vidmem.base.logs import start_logging
from vidmem.base.store import load_table
from vidmem.exhibits.table_files import save_exhibit
from vidmem.exhibits.tables import prompt_rows


def tabulate(inputs: list[str], corpora: list[str], rows: int, destination: str) -> None:
    parts = [prompt_rows(name, load_table(path), rows) for name, path in zip(corpora, inputs, strict=True)]
    save_exhibit(destination, pd.concat(parts, ignore_index=True))


if "snakemake" in globals():
    start_logging(snakemake.log[0], snakemake.scriptdir, snakemake.params)
    tabulate(snakemake.input, snakemake.params.corpora, snakemake.params.rows, snakemake.output[0])
