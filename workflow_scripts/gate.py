"""Compare the verdict with that of another run and with the limits of the configuration. Fail if a model is worse."""

import sys
from pathlib import Path

import pandas as pd

from vidmem.base.logs import start_logging
from vidmem.base.store import save_csv, save_text
from vidmem.exhibits.gate import COLUMNS, check_complete, check_limits, compare_verdicts, gate_text, read_verdict


def gate(verdict: Path, against: str, section: dict, level: float, destination: Path) -> bool:
    """Write the table and the page beside the verdict. Return whether every model passes."""
    table_file, page = destination.with_suffix(".csv"), destination.with_suffix(".txt")
    for path in (table_file, page):  # a refusal must not leave the page of another comparison
        path.unlink(missing_ok=True)
    now = read_verdict(verdict, "verdict")
    rows = [*check_complete(now), *check_limits(now, section["limits"])]
    if against:
        rows += compare_verdicts(now, read_verdict(against, "against"), section, level)
    table = pd.DataFrame(rows, columns=COLUMNS)
    save_csv(table_file, table)
    save_text(page, gate_text(table) + "\n")
    return bool(len(table)) and bool(table["passes"].all())


if "snakemake" in globals():
    start_logging(snakemake.log[0], snakemake.scriptdir, snakemake.params)
    params, verdict = snakemake.params, Path(snakemake.input.verdict)
    # Exit without a traceback, because no code failed. The workflow prints the page last (onsuccess, onerror).
    sys.exit(0 if gate(verdict, params.against, params.gate, params.level, verdict.with_name("gate")) else 1)
