"""Table of memorization before and after every mitigation, with its cost."""

from pathlib import Path

import pandas as pd

from vidmem.base.logs import start_logging
from vidmem.base.named_files import files_by_name
from vidmem.base.store import load_tables
from vidmem.detection.mitigation import COLUMNS, Side, mitigation_row
from vidmem.exhibits.table_files import save_exhibit
from vidmem.features.clip_features import listed_features
from vidmem.features.statistics import IntervalRule
from vidmem.scoring.scores import VerdictRule


def tabulate(
    files: dict, mitigations: dict, content: VerdictRule, motion: VerdictRule, interval: IntervalRule, destination: Path
) -> None:
    rows = []
    for name, plan in mitigations.items():
        sides, own = [], files[name]
        for side in ("before", "after"):
            features = listed_features(*own[f"{side}_content"], "content")
            sides.append(Side(features.clips, load_tables(own[f"{side}_scores"]), features))
        rows.append(mitigation_row(name, plan, load_tables(own["adjusted"]), *sides, content, motion, interval))
    save_exhibit(destination, pd.DataFrame(rows, columns=COLUMNS))


if "snakemake" in globals():
    start_logging(snakemake.log[0], snakemake.scriptdir, snakemake.params)
    params = snakemake.params
    files = files_by_name(dict(snakemake.input.items()), list(params.mitigations))
    rules = VerdictRule.of(params.content), VerdictRule.of(params.motion), IntervalRule(**params.interval)
    tabulate(files, params.mitigations, *rules, Path(snakemake.output[0]))
