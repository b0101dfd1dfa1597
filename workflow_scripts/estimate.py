"""Estimate the cost of the configured audit from its configuration and lists, at measured rates. No stage is run."""

from pathlib import Path

from vidmem.base.logs import start_logging
from vidmem.base.store import save_json
from vidmem.planning.dry_run import count_jobs
from vidmem.planning.estimate import estimate_audit, estimate_record, estimate_text


def estimate(python: str, snakefile: str, config: dict, destination: str) -> str:
    jobs, to_do = (count_jobs(python, snakefile, config, *more) for more in (["--forceall"], []))
    found = estimate_audit(config, jobs, to_do, Path("results"))
    save_json(destination, estimate_record(found))
    return f"{estimate_text(found)}\n\nThe same as JSON: {destination}"


if "snakemake" in globals():
    start_logging(snakemake.log[0], snakemake.scriptdir, snakemake.params)
    params = snakemake.params
    print(estimate(params.python, params.snakefile, params.config, params.destination), flush=True)
