"""What a person sees while a run lasts: how much is done, how long it will take, and what runs now.

It takes the place of Snakemake's lines on the terminal. Snakemake's own log file keeps them.
"""

from __future__ import annotations

import contextlib
import logging
import signal
import threading
import time
from collections.abc import Callable, Mapping
from types import FrameType
from typing import Any, NamedTuple, Protocol, TextIO, cast

import psutil

from .run_times import Job, RunTimes, last_rate

SHOWN = 8
"""Running jobs that are shown at once."""
SILENT = ("shellcmd", "resources_info", "run_info", "job_started", "progress")
"""Events of Snakemake that the display says in its own way, or not at all."""
REPEATED = "Select jobs to execute"
"""Beginning of a message that comes before every job."""
IGNORE_INTERRUPT = "set -euo pipefail; trap '' INT; "
"""Before the shell command of a job: as Snakemake has it, and without tracebacks of all running jobs after Ctrl-C."""


def rough_time(seconds: float) -> str:
    """A time in words that promise no more than an estimate knows.

    >>> rough_time(12), rough_time(200), rough_time(9000)
    ('less than a minute', 'about 3 min', 'about 2.5 h')
    """
    if seconds < 60:
        return "less than a minute"
    return f"about {seconds / 60:.0f} min" if seconds < 5400 else f"about {seconds / 3600:.1f} h"


def end_jobs() -> None:
    """End all processes that this one has started, until it ends itself: a job that waits for its turn still begins."""
    while True:
        for child in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                child.terminate()
        time.sleep(0.2)


class View(NamedTuple):
    """A run at one moment.

    Attributes:
        share: share of the jobs that are done, 0 to 1.
        head: how many are done, and how long the rest will take.
        jobs: a line for each running job.
    """

    share: float
    head: str
    jobs: list[str]


class Screen(Protocol):
    """Where a run is shown."""

    def say(self, text: str) -> None:
        """Show a message that stays."""

    def finished(self, line: str) -> None:
        """Show that a job is done."""

    def close(self) -> None:
        """Show nothing more."""


ScreenMaker = Callable[[Callable[[], View]], Screen]
"""Makes a screen from a function that returns the present view."""


class RunDisplay(logging.Handler):
    """Takes the records of Snakemake's logger and shows the run.

    Args:
        before: the handler that wrote Snakemake's lines. Its filter and format are used for errors and warnings.
        times: the jobs of the run.
        stages: rule -> stage, of the rules that do some work.
        screen_of: makes the screen.
        clock: seconds that never go back.

    Attributes:
        interrupted: whether the user stopped the run. Whatever fails from then on fails because of that, and is not shown.
        failed: rules whose jobs failed.
        held: messages that wait, because a page at the end may say more; None if messages are shown at once.
    """

    def __init__(
        self, before: logging.Handler, times: RunTimes, stages: Mapping[str, str], screen_of: ScreenMaker,
        clock: Callable[[], float] = time.monotonic,
    ):  # fmt: skip
        super().__init__()
        self.interrupted, self.failed, self.held = False, set[str](), cast("list[str] | None", None)
        self._before, self._times, self._stages, self._clock = before, times, stages, clock
        self._screen = screen_of(self.view)

    def emit(self, record: logging.LogRecord) -> None:
        """Show a record."""
        event, about = getattr(getattr(record, "event", None), "value", ""), record.__dict__
        if self.interrupted:
            return
        if event == "job_info":
            self._times.running[about["jobid"]] = self._job(about)
        elif event == "job_finished":
            self._finish(about["job_id"])
        elif event == "job_error":
            self._times.running.pop(about["jobid"], None)
            self.failed.add(about.get("rule_name", ""))
            self._say(self._before.format(record))
        elif event not in SILENT and not record.getMessage().startswith(REPEATED) and self._before.filter(record):
            self._say(self._before.format(record))

    def _say(self, text: str) -> None:
        if self.held is None:
            self._screen.say(text)
        else:
            self.held.append(text)

    def _job(self, about: Mapping[str, Any]) -> Job:
        words = " ".join(str(value) for name, value in about["wildcards"].items() if name != "run")
        return Job(about["rule_name"], words, next(iter(about["log"] or []), ""), self._clock())

    def _finish(self, number: int) -> None:
        job = self._times.finish(number)
        if job and job.rule in self._stages:
            self._screen.finished(f"{self.head()}  done: {self._named(job)} ({self._clock() - job.began:.0f} s)")

    def _named(self, job: Job) -> str:
        return f"{self._stages[job.rule]}: {job.rule} {job.about}".strip()

    def head(self) -> str:
        """How many jobs are done, and how long the rest will take."""
        done, every = self._times.done.total(), sum(self._times.to_do.values())
        left = self._times.left(self._clock())
        return f"{done} of {every} jobs" + ("" if left is None or done == every else f", {rough_time(left)} left")

    def view(self) -> View:
        """The run as it is now, with the first SHOWN running jobs."""
        named = [job for job in tuple(self._times.running.values()) if job.rule in self._stages]
        now, jobs = self._clock(), sorted(named, key=lambda job: job.began)
        told = [f"{self._named(job)}  {now - job.began:.0f} s  {last_rate(job.log)}".rstrip() for job in jobs[:SHOWN]]
        told = ["".join(letter if letter.isprintable() else " " for letter in line) for line in told]  # names are hostile
        more = [f"and {len(jobs) - SHOWN} more"] if len(jobs) > SHOWN else []
        return View(self._times.done.total() / max(1, sum(self._times.to_do.values())), self.head(), told + more)

    def interrupt(self, number: int, frame: FrameType | None, local: bool = True) -> None:
        """Handler of the signal that Ctrl-C sends: end the jobs on this machine, which ignore the signal, and then the run.

        Args:
            local: whether the jobs run here. Snakemake itself ends those of a cluster.
        """
        self.interrupted = True
        if local:
            threading.Thread(target=end_jobs, daemon=True).start()
        signal.default_int_handler(number, frame)

    def close(self) -> None:
        """End the display; may be called twice."""
        self._screen.close()
        super().close()


class PlainScreen:
    """Lines for a file or a pipe: one for each finished job, and the running jobs if nothing ends for a minute.

    Args:
        view: see RunDisplay.view.
        stream: where to write.
        patience_s: seconds without a line, after which the running jobs are told.
    """

    def __init__(self, view: Callable[[], View], stream: TextIO, patience_s: float = 60.0):
        self._view, self._stream, self._patience_s = view, stream, patience_s
        self._told, self._over = threading.Event(), False
        threading.Thread(target=self._watch, daemon=True).start()

    def say(self, text: str) -> None:
        """Write a message."""
        self._stream.write(f"{text}\n")
        self._stream.flush()
        self._told.set()

    def finished(self, line: str) -> None:
        """Write the line of a finished job, with the time of day."""
        self.say(f"{time.strftime('%H:%M:%S')}  {line}")

    def close(self) -> None:
        """Write nothing more."""
        self._over = True
        self._told.set()

    def _watch(self) -> None:
        while not self._over:
            if self._told.wait(self._patience_s):
                self._told.clear()
            else:
                _, head, jobs = self._view()
                self.finished("\n          ".join([f"{head}  running:", *jobs]))


class LiveScreen:
    """A picture of the run at the lower end of a terminal, drawn anew twice a second.

    Args:
        view: see RunDisplay.view.
        stream: the terminal.

    Raises:
        ImportError: the package rich is not installed.
    """

    def __init__(self, view: Callable[[], View], stream: TextIO):
        from rich.console import Console
        from rich.live import Live

        self._view = view
        self._live = Live(get_renderable=self._picture, console=Console(file=stream), refresh_per_second=2, transient=True)
        self._live.start()

    def _picture(self) -> Any:
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        share, head, jobs = self._view()
        top = Table.grid(padding=(0, 1))
        top.add_row(ProgressBar(total=1, completed=share, width=30), Text(head, style="bold"))
        return Group(top, *(Text(f"  {line}", overflow="ellipsis", no_wrap=True) for line in jobs))

    def say(self, text: str) -> None:
        """Write a message above the picture."""
        from rich.text import Text

        self._live.console.print(Text.from_ansi(text), soft_wrap=True)

    def finished(self, line: str) -> None:
        """Nothing is written: the picture shows it."""

    def close(self) -> None:
        """Remove the picture."""
        self._live.stop()


def screen_on(stream: TextIO) -> ScreenMaker:
    """Maker of the screen for a stream: a picture on a terminal, else lines. Without the package rich there are lines, too."""

    def made(view: Callable[[], View]) -> Screen:
        try:
            return LiveScreen(view, stream) if stream.isatty() else PlainScreen(view, stream)
        except ImportError:
            return PlainScreen(view, stream)

    return made
