"""What the configured audit needs and what of it is here, on one page. Runs nothing of it; fails where something is missing."""

import sys
from pathlib import Path

from vidmem.inventory import hub_cache
from vidmem.logs import start_logging
from vidmem.preflight import audit_needs, lacking, preflight_record, preflight_text
from vidmem.store import save_json, save_text


def preflight(config: dict, command: str, scripts: Path | None, results: Path) -> bool:
    """Write the page; whether nothing is missing."""
    needs = audit_needs(config, results, hub_cache(), command, scripts)
    save_json(results / config["run"] / "preflight.json", preflight_record(config["run"], needs))
    save_text(results / config["run"] / "preflight.txt", preflight_text(config["run"], needs, command) + "\n")
    return not lacking(needs)


if "snakemake" in globals():
    start_logging(snakemake.log[0], snakemake.scriptdir, snakemake.params)
    params = snakemake.params
    # No traceback: nothing went wrong. The page is printed last, by the workflow (onsuccess, onerror).
    scripts = Path(snakemake.scriptdir) if params.packaged else None
    sys.exit(0 if preflight(params.config, params.command, scripts, Path("results")) else 1)
