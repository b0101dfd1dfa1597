"""Memorization before and after every mitigation, and what it costs."""

from pathlib import Path

import pandas as pd

from vidmem.features import listed_features
from vidmem.logs import start_logging
from vidmem.mitigated import COLUMNS, Side, mitigation_row
from vidmem.store import load_table, load_tables
from vidmem.tables import save_exhibit


def tabulate(inputs, mitigations: dict, shards: int, config: dict, destination: Path) -> None:
    rows = []
    for place, (name, plan) in enumerate(mitigations.items()):
        sides = []
        for side in ("before", "after"):
            features = listed_features(inputs[f"{side}_content"][place], "content")
            sides.append(Side(features.clips, load_table(inputs[f"{side}_scores"][place]), features))
        adjusted = load_tables(inputs.adjusted[place * shards : (place + 1) * shards])
        rows.append(mitigation_row(name, plan, adjusted, *sides, config))
    save_exhibit(destination, pd.DataFrame(rows, columns=COLUMNS))


if "snakemake" in globals():
    start_logging(snakemake.log[0], snakemake.scriptdir, snakemake.params)
    params = snakemake.params
    definitions = {name: params[name] for name in ("content", "motion", "interval")}
    tabulate(snakemake.input, params.mitigations, params.shards, definitions, Path(snakemake.output[0]))
