"""The table of the calibration: thresholds, false-positive rates and recall of every corpus."""

import json
from pathlib import Path

import numpy as np
import pandas as pd

from vidmem.calibration import CALIBRATED
from vidmem.calibration_table import calibration_table
from vidmem.logs import start_logging
from vidmem.store import load_table
from vidmem.tables import save_exhibit


def tabulate(inputs, corpora: list[str], content: dict, motion: dict, rate: float, interval: dict, seed: int, table) -> None:
    parts = []
    for corpus, scores, pairs, chosen in zip(corpora, inputs.scores, inputs.pairs, inputs.thresholds, strict=True):
        calibrated = json.loads(Path(chosen).read_text())
        stated = {"gsscd": content["threshold"], "vsscd": content["threshold"], "ofs_k": motion["threshold"]}
        for metric, value in stated.items():
            supported = calibrated[metric]["threshold"]
            stated[metric] = value if value != CALIBRATED else np.nan if supported is None else supported
        parts.append(
            calibration_table(load_table(scores), load_table(pairs), corpus, stated, rate, motion, interval, seed)
        )
    save_exhibit(table, pd.concat(parts, ignore_index=True))


if "snakemake" in globals():
    start_logging(snakemake.log[0], snakemake.scriptdir)
    named = {name: snakemake.params[name] for name in ("corpora", "content", "motion", "rate", "interval", "seed")}
    tabulate(snakemake.input, **named, table=snakemake.output[0])
