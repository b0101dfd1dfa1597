"""Wall time, peak memory and workflow overhead of a whole audit, measured in one run.

    python benchmarks/audit.py [snakemake arguments; default: --cores all --forceall]

Peak memory is the largest sum of resident memory over the processes running at once, pages shared between them counted
once (PSS), sampled five times a second. Overhead is the CPU time of the scheduler and of starting the jobs (a Python that
imports what the cheapest script imports, times the number of jobs), as a share of all CPU time.
"""

from __future__ import annotations

import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[1]


class Watch(threading.Thread):
    """Samples a process and its children."""

    def __init__(self, process: psutil.Process):
        super().__init__(daemon=True)
        self.process, self.peak, self.seconds = process, 0, {}

    def run(self) -> None:
        while self.process.is_running() and self.process.status() != psutil.STATUS_ZOMBIE:
            total = 0
            for member in [self.process, *self.process.children(recursive=True)]:
                try:
                    total += member.memory_full_info().pss
                    times = member.cpu_times()
                    self.seconds[member.pid, member.create_time()] = times.user + times.system
                except psutil.Error:
                    continue
            self.peak = max(self.peak, total)
            time.sleep(0.2)


def job_start_seconds() -> float:
    """CPU seconds of starting one cheap job."""
    code = "import sys; sys.path.insert(0, 'workflow_scripts'); import vidmem.base.store, vidmem.base.logs"
    before = psutil.Process().cpu_times()
    for _ in range(3):
        subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
    after = psutil.Process().cpu_times()
    return (after.children_user + after.children_system - before.children_user - before.children_system) / 3


def main(arguments: list[str]) -> None:
    began = time.monotonic()
    command = [sys.executable, "-m", "snakemake", *(arguments or ["--cores", "all", "--forceall"])]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    watch = Watch(psutil.Process(process.pid))
    watch.start()
    output = process.communicate()[0]
    wall = time.monotonic() - began
    if process.returncode:
        sys.exit(output[-3000:])
    jobs = int(re.findall(r"of (\d+) steps", output)[-1])
    scheduler = next(seconds for (pid, _), seconds in watch.seconds.items() if pid == process.pid)
    total, starts = sum(watch.seconds.values()), jobs * job_start_seconds()
    print(f"audit: {jobs} jobs, {wall:.0f} s wall, {total:.0f} s CPU, peak {watch.peak / 2**30:.2f} GiB over all processes")
    print(f"audit: overhead {(scheduler + starts) / total:.1%} (scheduler {scheduler:.0f} s, starting jobs {starts:.0f} s)")


if __name__ == "__main__":
    main(sys.argv[1:])
