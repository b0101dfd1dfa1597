"""What the workflow tests share."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import yaml

ROOT = Path(__file__).resolve().parents[1]
SNAKEMAKE = (sys.executable, str(ROOT / "tests/forked_snakemake.py"))
SMOKE = ("--configfile", "tests/config/smoke.yaml")
STAGES = {
    rule: path.stem for path in (ROOT / "rules").glob("*.smk") for rule in re.findall(r"^rule (\w+):", path.read_text(), re.M)
}


def exhibits(folder: Path, run: str) -> dict[str, bytes]:
    """Bytes of every table, figure and clip of an audit, by relative name."""
    root = folder / "results" / run
    files = [path for kind in ("tables", "figures", "clips") for path in sorted((root / kind).iterdir())]
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in files}


def changed(folder: Path, path: str, value: object) -> tuple[str, ...]:
    """Arguments for the smoke audit with one key changed; path is the key's path, parts joined by slashes."""
    config = yaml.safe_load((folder / "tests/config/smoke.yaml").read_text())
    *parents, last = path.split("/")
    inner = config
    for part in parents:
        inner = inner.setdefault(part, {})
    inner[last] = value
    (folder / "changed.yaml").write_text(yaml.safe_dump(config))
    return "--configfile", "changed.yaml"


def started(text: str) -> dict[str, str]:
    """Job number -> rule of every job that a run says it has started."""
    return {job: rule for rule, job in re.findall(r"^(?:local)?rule (\w+):\n(?: .*\n)*?    jobid: (\d+)", text, re.M)}


def running(text: str) -> set[str]:
    """Stages of the jobs that were running when a run fell silent."""
    ended = set(re.findall(r"^Finished jobid: (\d+)", text, re.M))
    return {STAGES[rule] for job, rule in started(text).items() if job not in ended and rule in STAGES}


def kill_when(folder: Path, ready, delay: float, arguments=SMOKE) -> str:
    """Run an audit, kill it some time after what it printed says so, and return what it printed."""
    with open(folder / "printed.txt", "w+") as printed:
        command = [*SNAKEMAKE, "--quiet", "host", "--cores", "2", *arguments]
        process = subprocess.Popen(command, cwd=folder, stdout=printed, stderr=printed, start_new_session=True)
        while process.poll() is None and not ready((folder / "printed.txt").read_text()):
            time.sleep(0.05)
        assert process.poll() is None, (folder / "printed.txt").read_text()[-3000:]
        time.sleep(delay)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    return (folder / "printed.txt").read_text()


class GpuJob(NamedTuple):
    """A job of generate_clips: whose it was, when it ran (seconds since 1970), and on which GPU."""

    model: str
    start: float
    end: float
    gpu: str


def gpu_jobs(folder: Path) -> list[GpuJob]:
    """From the benchmarks, written at a job's end, and the provenance of the clips."""
    root, jobs = folder / "results/smoke", []
    for path in sorted((root / "benchmarks/generate_clips").glob("*.tsv")):
        model, shard = path.stem.split(".")
        end = path.stat().st_mtime
        provenance = pd.read_parquet(root / f"data/generated-{model}/{shard}.clips.parquet")["provenance"]
        gpus = {json.loads(text)["gpu"] for text in provenance if "gpu" in json.loads(text)}
        jobs += [GpuJob(model, end - pd.read_table(path)["s"][0], end, gpu) for gpu in gpus]
    return jobs


def at_once(jobs: list[GpuJob]) -> list[tuple[GpuJob, GpuJob]]:
    """Pairs that ran at the same time for more than a second."""
    pairs = [(one, other) for place, one in enumerate(jobs) for other in jobs[place + 1 :]]
    return [(one, other) for one, other in pairs if min(one.end, other.end) - max(one.start, other.start) > 1]
