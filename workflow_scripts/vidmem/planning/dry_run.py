"""Numbers of jobs of an audit, as a dry run of Snakemake counts them."""

from __future__ import annotations

import json
import subprocess
import tempfile

from ..config import Config
from ..errors import VidmemError
from .estimate import parse_job_stats


def count_jobs(python: str, snakefile: str, config: Config, *arguments: str) -> dict[str, int]:
    """Number of jobs of each rule for the default target, from a dry run.

    Args:
        python: interpreter that has Snakemake.
        snakefile: path of the workflow's Snakefile.
        config: configuration of the audit.
        arguments: further arguments of Snakemake. For example, --forceall counts all jobs instead of only those that are due.

    Raises:
        VidmemError: the dry run fails. The error quotes the end of what it printed.
    """
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(config, file)
        file.flush()
        command = [python, "-m", "snakemake", "--dry-run", "--nolock", "--snakefile", snakefile, "--cores", "1"]
        command += ["--configfile", file.name, *arguments]
        result = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if result.returncode:
        last = (result.stdout + result.stderr).strip()[-800:]
        raise VidmemError("a dry run of the audit", last, "snakemake --dry-run", "the audit itself would stop there, too")
    return parse_job_stats(result.stdout + result.stderr)
