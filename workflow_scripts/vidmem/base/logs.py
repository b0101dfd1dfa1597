"""Logging of jobs: their messages, their failures, and how far they are."""

from __future__ import annotations

import logging
import resource
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sized
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from ..errors import VidmemError
from .recipes import job_recipe
from .store import write_as

Item = TypeVar("Item")
LOGGER = logging.getLogger("vidmem")
LONGEST = 2000
"""Most characters of a line in a log."""
EVERY_S = 10.0
"""Shortest time in seconds between two lines that tell how far a job is."""


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


class Progress:
    """How far a job is: a line in its log at most every ten seconds. The display of the run shows the last of these lines.

    Args:
        label: name of the work.
        total: number of items; None if it is not known.
        unit: what one item is called.
    """

    def __init__(self, label: str, total: int | None = None, unit: str = "it"):
        self._label, self._total, self._unit = label, total, unit
        self._last = self._began = time.monotonic()

    def show(self, done: int, more: str = "") -> None:
        """Tell that so many items are done.

        Args:
            more: what else there is to say, such as a loss.
        """
        now = time.monotonic()
        if now - self._last > EVERY_S:
            self._last, rate = now, done / (now - self._began)
            left = "" if self._total is None or not rate else f", {(self._total - done) / rate:.0f} s left"
            facts = f"{done} of {self._total or '?'}, {rate:.2f} {self._unit}/s{left}"
            LOGGER.info("%s: %s", self._label, f"{facts}; {more}" if more else facts)

    def end(self) -> None:
        """Tell that the work is done, and how long it took."""
        count = "all" if self._total is None else self._total
        LOGGER.info("%s: %s done in %.1f s", self._label, count, time.monotonic() - self._began)


def progress(items: Iterable[Item], label: str, total: int | None = None, unit: str = "it") -> Iterator[Item]:
    """Iterate over items, and tell in the log how far the work is; see Progress.

    Args:
        items: things to iterate over.
        total: number of items; None for the length of `items`, if it has one.
    """
    shown = Progress(label, len(items) if total is None and isinstance(items, Sized) else total, unit)
    for done, item in enumerate(items, 1):
        yield item
        shown.show(done)
    shown.end()
