"""Logging of jobs, and progress bars for the person who waits."""

from __future__ import annotations

import logging
import os
import resource
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sized
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from tqdm import tqdm

from ..errors import VidmemError
from .recipes import job_recipe
from .store import write_as

Item = TypeVar("Item")
LOGGER = logging.getLogger("vidmem")
LONGEST = 2000
"""Most characters of a line in a log."""


class Lines(logging.Formatter):
    """Formats a line of a log and cuts the middle out of a very long one: libraries repeat whole prompts in their warnings."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        """Line of a record, without its traceback."""
        line = super().formatMessage(record)
        left_out = len(line) - LONGEST
        return line if left_out <= 0 else f"{line[: LONGEST // 2]} ... {left_out} characters ... {line[-LONGEST // 2 :]}"


def start_logging(path: Path | str, checkout: Path | str, parameters: Mapping) -> None:
    """Write the library's log, warnings and the traceback of a failure to a file. Errors also go to the terminal.

    From then on, arrays and tables that the job writes state its recipe: a digest of its parameters.

    Args:
        path: log file of the rule.
        checkout: folder of the running script.
        parameters: snakemake.params.

    Raises:
        VidmemError: the imported library does not lie beside the script. Snakemake appends the script's folder to the module
            path, so an installed copy of the library would silently be used instead.
    """
    library = Path(__file__).resolve().parents[1]
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

    def record(error_type: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        LOGGER.error("failed", exc_info=(error_type, error, trace))
        if isinstance(error, VidmemError):  # the message is enough for the terminal; the log has the traceback
            print(f"\n{error}\nThe job's log: {path}\n", file=sys.stderr)
        else:
            previous(error_type, error, trace)

    sys.excepthook = record


def allow_open_files() -> None:
    """Raise the limit of open files to the allowed maximum: a job that reads a whole set maps the files of all its shards."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def progress(items: Iterable[Item], label: str, total: int | None = None, unit: str = "it") -> Iterator[Item]:
    """Iterate over items with a progress bar on the terminal and a line in the log every ten seconds.

    Without a terminal there is no bar: it would fill the log of a cluster.

    Args:
        items: things to iterate over.
        label: name of the work, shown in front of the bar.
        total: number of items; None for the length of `items`, if it has one.
        unit: what one item is called.
    """
    total = len(items) if total is None and isinstance(items, Sized) else total
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
