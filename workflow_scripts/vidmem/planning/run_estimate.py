"""Estimated seconds of the jobs of a run, as a program of its own.

An estimate imports what inversions are computed with. The process that schedules jobs should not load that, and must not import
in a thread while other threads start processes. It gives the question as JSON on the standard input and reads the answer.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path

from .estimate import Cost, estimate_audit


def job_seconds(costs: Sequence[Cost]) -> dict[str, float | None]:
    """Estimated seconds of one job of each rule; None where no rate is known."""
    means = {cost.rule: (cost.seconds.low + cost.seconds.high) / 2 / cost.jobs for cost in costs if cost.jobs}
    return {rule: None if math.isinf(seconds) else seconds for rule, seconds in means.items()}


def main() -> None:
    """Read config, jobs and to_do (numbers of jobs by rule), and print seconds by rule."""
    asked = json.load(sys.stdin)
    estimate = estimate_audit(asked["config"], asked["jobs"], asked["to_do"], Path("results"))
    print(json.dumps(job_seconds(estimate.costs)))


if __name__ == "__main__":
    main()
