"""What the audit left out, model by model, and why."""

import pandas as pd

from vidmem.logs import start_logging
from vidmem.tables import not_done_table, save_exhibit


def tabulate_omissions(content: str, motion: str, models: dict, destination: str) -> None:
    paths = {"content detection": content, "motion detection": motion}
    detection = {what: pd.read_csv(path, keep_default_na=False) for what, path in paths.items()}
    save_exhibit(destination, not_done_table(models, detection))


if "snakemake" in globals():
    start_logging(snakemake.log[0], snakemake.scriptdir, snakemake.params)
    inputs = snakemake.input
    tabulate_omissions(inputs.content, inputs.motion, snakemake.params.models, snakemake.output[0])
