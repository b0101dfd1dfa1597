"""Logging of jobs, and progress that the person who waits can see."""

from __future__ import annotations

import logging
import os
import resource
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

from tqdm import tqdm

from .errors import VidmemError
from .store import write_as
from .upkeep import job_recipe

Item = TypeVar("Item")
LOGGER = logging.getLogger("vidmem")
LONGEST = 2000
"""Characters of a line in a log."""


class Lines(logging.Formatter):
    """Lines of a log, the middle of very long messages left out: libraries repeat whole prompts in their warnings."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        """Format a record, without its traceback."""
        line = super().formatMessage(record)
        left_out = len(line) - LONGEST
        return line if left_out <= 0 else f"{line[: LONGEST // 2]} ... {left_out} characters ... {line[-LONGEST // 2 :]}"


def start_logging(path: Path | str, checkout: Path | str, parameters: Mapping) -> None:
    """Send the library's log, warnings and the traceback of a failure to a file; errors also to the terminal.

    Arrays and tables that the job writes will state its recipe: a digest of its parameters.

    Args:
        path: the rule's log.
        checkout: folder of the running script.
        parameters: snakemake.params.

    Raises:
        VidmemError: the library that was imported is not the one beside the script. Snakemake appends that folder
            to the module path, so an installed copy would silently win.
    """
    library = Path(__file__).resolve().parent
    if library.parent != Path(checkout).resolve():
        hint = "pip uninstall vidmem, or pip install -e ."
        raise VidmemError(f"the library of the checkout, {checkout}/vidmem", library, "import vidmem", hint)
    write_as(job_recipe(parameters, Path(path)))
    allow_open_files()
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(path, mode="w", encoding="utf-8")
    handler.setFormatter(Lines("%(asctime)s %(levelname)s %(message)s"))
    LOGGER.setLevel(logging.INFO)
    LOGGER.addHandler(handler)
    logging.captureWarnings(True)
    logging.getLogger("py.warnings").addHandler(handler)
    previous = sys.excepthook

    def record(kind, error, trace):
        LOGGER.error("failed", exc_info=(kind, error, trace))
        if isinstance(error, VidmemError):  # says all that is to be said; the log has the rest
            print(f"\n{error}\nThe job's log: {path}\n", file=sys.stderr)
        else:
            previous(kind, error, trace)

    sys.excepthook = record


def allow_open_files() -> None:
    """Raise the limit of open files to the most that is allowed: a job that reads a whole set maps each of its shards."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def progress(items: Iterable[Item], label: str, total: int | None = None, unit: str = "it") -> Iterator[Item]:
    """Iterate with a bar, a rate and an estimate on the terminal, and a line in the log every ten seconds.

    Without a terminal the bar is left out: a cluster's log would fill with it.
    """
    total = total if total is not None or not hasattr(items, "__len__") else len(items)
    bar = tqdm(items, desc=label, total=total, unit=unit, disable=not _has_terminal(), leave=False, file=sys.stderr)
    last, began = time.monotonic(), time.monotonic()
    for done, item in enumerate(bar, 1):
        yield item
        if time.monotonic() - last > 10:
            last = time.monotonic()
            rate = done / (last - began)
            left = "" if total is None else f", {(total - done) / rate:.0f} s left"
            LOGGER.info("%s: %d of %s, %.2f %s/s%s", label, done, total or "?", rate, unit, left)
    LOGGER.info("%s: %s done in %.1f s", label, total if total is not None else "all", time.monotonic() - began)


def _has_terminal() -> bool:
    return sys.stderr.isatty() or os.environ.get("VIDMEM_PROGRESS") == "1"
