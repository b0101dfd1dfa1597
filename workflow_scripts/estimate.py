"""What the configured audit will cost: counted from the configuration and its lists, at measured rates. Runs nothing of it."""

import json
import subprocess
import tempfile
from pathlib import Path

from probe_model import LEAST, SAMPLES
from vidmem import estimate, rates, workload
from vidmem.devices import visible_gpus
from vidmem.errors import VidmemError
from vidmem.logs import start_logging
from vidmem.store import save_json


def dry_run(python: str, snakefile: str, config: dict, *arguments: str) -> dict[str, int]:
    """Jobs of each rule of the default target, as Snakemake itself counts them."""
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(config, file)
        file.flush()
        command = [python, "-m", "snakemake", "--dry-run", "--nolock", "--snakefile", snakefile, "--cores", "1"]
        command += ["--configfile", file.name, *arguments]
        result = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if result.returncode:
        last = (result.stdout + result.stderr).strip()[-800:]
        raise VidmemError("a dry run of the audit", last, "snakemake --dry-run", "the audit itself would stop there, too")
    return estimate.parse_job_stats(result.stdout + result.stderr)


def estimate_audit(python: str, snakefile: str, config: dict, results: Path) -> estimate.Estimate:
    hints, work = config["estimate"], workload.count_workload(config)
    calls = estimate.network_calls(config, work, SAMPLES, LEAST)
    device = hints["device"] if hints["device"] != "auto" else config["device"]
    device = device if device != "auto" else "cuda" if visible_gpus() else "cpu"
    table = rates.rates_by_class(results, config, device)
    gpus = estimate.gpu_rules(config) if device == "cuda" else set()
    jobs, to_do = (dry_run(python, snakefile, config, *more) for more in (["--forceall"], []))
    counted = [*estimate.feature_work(config, work), *estimate.search_work(config, work), *calls]
    costs = estimate.cost_rows(jobs, to_do, counted, table, gpus, hints["seconds"])
    unknown = estimate.unknown_counts(config, work, costs)
    downloads = estimate.download_rows(config, results)
    return estimate.Estimate(config["run"], device, costs, estimate.storage_rows(config, work), calls, downloads, unknown)


if "snakemake" in globals():
    start_logging(snakemake.log[0], snakemake.scriptdir, snakemake.params)
    params = snakemake.params
    found = estimate_audit(params.python, params.snakefile, params.config, Path("results"))
    save_json(params.destination, estimate.estimate_record(found))
    print(f"{estimate.estimate_text(found)}\n\nThe same as JSON: {params.destination}", flush=True)
