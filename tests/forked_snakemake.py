"""Snakemake with the scripts run in forks of this process, which has the libraries loaded that an earlier script has used.

Hundreds of small jobs then cost their work and not as many starts of Python. Everything else is Snakemake's own.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import tempfile
import threading
import traceback
from typing import BinaryIO

from snakemake.benchmark import benchmarked
from snakemake.cli import main
from snakemake.script import PythonScript

LOCK = threading.Lock()
USED: set[str] = set()
"""Modules of installed packages that ended scripts had loaded and this process has not."""


def load_used() -> None:
    """Load what scripts used. What cannot be loaded by its name alone is left to the scripts."""
    for name in sorted(USED - set(sys.modules)):
        with contextlib.suppress(Exception):
            importlib.import_module(name)
    USED.clear()


def run_script(path: str, loaded: BinaryIO) -> None:
    """Run a script in this process, say which installed modules it loaded, and end the process."""
    before = set(sys.modules)
    try:
        with open(path) as file:
            exec(compile(file.read(), path, "exec"), {"__name__": "__main__", "__file__": path})
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        status = 1
    new = [name for name, module in sys.modules.items() if "site-packages" in (getattr(module, "__file__", "") or "")]
    loaded.write("\n".join(set(new) - before).encode())
    loaded.flush()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def execute_script(self: PythonScript, path: str, edit: bool = False) -> None:
    with tempfile.TemporaryFile() as loaded:
        with LOCK:
            load_used()
            child = os.fork()
        if child == 0:
            run_script(path, loaded)
        with benchmarked(child, self.bench_record):
            _, status = os.waitpid(child, 0)
        loaded.seek(0)
        with LOCK:
            USED.update(loaded.read().decode().split())
    if status:
        raise RuntimeError(f"{path} ended with status {status}")


if __name__ == "__main__":
    PythonScript.execute_script = execute_script
    main(sys.argv[1:])
