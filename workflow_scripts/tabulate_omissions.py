"""Table of the parts of the audit that were left out, for every model, with the reason."""

import pandas as pd

from vidmem.base.logs import start_logging
from vidmem.exhibits.table_files import save_exhibit
from vidmem.exhibits.tables import not_done_table


def tabulate_omissions(content: str, motion: str, models: dict, destination: str) -> None:
    paths = {"content detection": content, "motion detection": motion}
    detection = {what: pd.read_csv(path, keep_default_na=False) for what, path in paths.items()}
    save_exhibit(destination, not_done_table(models, detection))


if "snakemake" in globals():
    start_logging(snakemake.log[0], snakemake.scriptdir, snakemake.params)
    inputs = snakemake.input
    tabulate_omissions(inputs.content, inputs.motion, snakemake.params.models, snakemake.output[0])
