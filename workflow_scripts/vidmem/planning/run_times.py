"""How long a run will still take: estimated seconds of each job, corrected by what the finished jobs really took.

Standard library only: the process that schedules jobs reads it.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

PRIOR_S = 30.0
"""So many seconds of the run's own pace weigh as much as the estimate."""
RATE = re.compile(r" INFO ([^\n]+: \d+ of [^\n]+)\n")


class Job(NamedTuple):
    """A running job.

    Attributes:
        rule: name of its rule; about: its wildcards in words; log: path of its log, '' for none.
        began: when it began, seconds of the clock that the run uses.
    """

    rule: str
    about: str
    log: str
    began: float


@dataclass
class RunTimes:
    """The jobs of a run: what is done, what runs, and how long the rest will take.

    Attributes:
        to_do: rule -> number of its jobs when the run began.
        lanes: jobs that run beside each other at most.
        began: when the run began, seconds.
        seconds: rule -> estimated seconds of one job; empty while nothing is estimated.
        done: rule -> number of finished jobs.
        running: number of a job -> the job.
    """

    to_do: Mapping[str, int]
    lanes: int
    began: float
    seconds: Mapping[str, float] = field(default_factory=dict)
    done: Counter[str] = field(default_factory=Counter)
    running: dict[int, Job] = field(default_factory=dict)

    def finish(self, number: int) -> Job | None:
        """Count a job as done. Return it, or None if its start was not seen."""
        job = self.running.pop(number, None)
        if job:
            self.done[job.rule] += 1
        return job

    def left(self, now: float) -> float | None:
        """Seconds until the run ends; None if that is not known.

        The estimate is divided by the pace: estimated seconds that were done in each second of the run.
        """
        rest = sum((count - self.done[rule]) * self.seconds.get(rule, math.inf) for rule, count in self.to_do.items()
                   if count > self.done[rule])  # fmt: skip
        begun = sum(
            min(now - job.began, self.seconds.get(job.rule, 0.0)) for job in tuple(self.running.values())
        )  # another thread reads
        finished = sum(count * self.seconds.get(rule, 0.0) for rule, count in self.done.items()) + begun
        pace = (finished + PRIOR_S * self.lanes) / (now - self.began + PRIOR_S)
        return None if math.isinf(rest) else max(0.0, rest - begun) / pace


def last_rate(log: str) -> str:
    """The last line of a job's log that tells how far the job is; '' if there is none."""
    try:
        with Path(log).open("rb") as file:
            file.seek(max(0, Path(log).stat().st_size - 4096))
            found = RATE.findall(file.read().decode("utf-8", "replace"))
    except OSError:
        return ""
    return found[-1] if found else ""
