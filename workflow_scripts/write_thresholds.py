"""Write the thresholds in force on every corpus, from the configuration or from the calibration."""

import json
from pathlib import Path

from vidmem.base.logs import start_logging
from vidmem.scoring.thresholds import choose_in_force, save_in_force


def write_thresholds(calibrated: list[str], corpora: list[str], content: float | str, motion: float | str, destination) -> None:
    stated = {"content": content, "motion": motion}
    chosen = [json.loads(Path(path).read_text(encoding="utf-8")) for path in calibrated] or [{}] * len(corpora)
    save_in_force(destination, {name: choose_in_force(stated, own) for name, own in zip(corpora, chosen, strict=True)})


if "snakemake" in globals():
    start_logging(snakemake.log[0], snakemake.scriptdir, snakemake.params)
    named = {name: snakemake.params[name] for name in ("corpora", "content", "motion")}
    write_thresholds(snakemake.input.calibrated, **named, destination=snakemake.output[0])
