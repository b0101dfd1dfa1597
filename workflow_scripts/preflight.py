"""Write a page of everything that the configured audit needs, and whether it is here. Fail if something is missing."""

import sys
from pathlib import Path

from vidmem.base.logs import start_logging
from vidmem.base.store import save_json, save_text
from vidmem.models.saved_files import hub_cache
from vidmem.planning.page import audit_needs, lacking, preflight_record, preflight_text


def preflight(config: dict, command: str, scripts: Path | None, results: Path) -> bool:
    """Write the page and return whether nothing is missing."""
    needs = audit_needs(config, results, hub_cache(), command, scripts)
    save_json(results / config["run"] / "preflight.json", preflight_record(config["run"], needs))
    save_text(results / config["run"] / "preflight.txt", preflight_text(config["run"], needs, command) + "\n")
    return not lacking(needs)


if "snakemake" in globals():
    start_logging(snakemake.log[0], snakemake.scriptdir, snakemake.params)
    params = snakemake.params
    # Exit without a traceback, because no code failed. The workflow prints the page last (onsuccess, onerror).
    scripts = Path(snakemake.scriptdir) if params.packaged else None
    sys.exit(0 if preflight(params.config, params.command, scripts, Path("results")) else 1)
