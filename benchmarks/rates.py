"""Rates of a finished run, as entries of workflow_scripts/vidmem/planning/rates.yaml.

    python benchmarks/rates.py results/default [--configfile config.yaml] [--start 9.0]

The start of a job that loads a model cannot be told from its work where all jobs are of one size: --start states it.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "workflow_scripts"))

from vidmem.config import complete_config, load_schema
from vidmem.planning.rates import finished_jobs, rates_of_jobs

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="results/<run>")
    parser.add_argument("--configfile", type=Path, default=ROOT / "config.yaml")
    parser.add_argument("--start", type=float, default=9.0)
    options = parser.parse_args()
    given = yaml.safe_load(options.configfile.read_text(encoding="utf-8"))
    config = complete_config(given, load_schema(ROOT / "rules/schemas/config.schema.yaml"))
    for rate in rates_of_jobs(finished_jobs(options.run, config), "", {"evaluation": options.start}):
        about = {"of": rate.of, "variant": rate.variant, "rule": rate.rule, "unit": rate.unit}
        numbers = {"seconds": float(f"{rate.seconds:.3g}"), "start": float(f"{rate.start:.2g}")}
        entry = {name: value for name, value in (about | numbers).items() if value not in ("", 0.0)}
        print("      - " + yaml.safe_dump(entry, default_flow_style=True, sort_keys=False, width=1000).strip())
