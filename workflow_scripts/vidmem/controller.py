"""What Snakemake's Slurm executor would wait for without a word: a controller that is gone, a job that is held.

The executor loses sight of its jobs when their status cannot be asked for, and then waits for ever. So a run on a cluster
watches the controller itself, and ends with a reason when it has been away too long. A job that Slurm holds (after a launch
that failed, say) is pending to the executor, and stays so until somebody acts: the run names it.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable

from .errors import VidmemError

PING = ("scontrol", "ping")
HELD = ("squeue", "--me", "--noheader", "--states=PENDING", "--format=%i|%r|%k")


def ping_controller(timeout_s: float = 60) -> str:
    """'' where a Slurm controller, or its backup, answers; else what was heard instead."""
    try:
        result = subprocess.run(PING, capture_output=True, text=True, errors="replace", timeout=timeout_s)
    except subprocess.TimeoutExpired:
        return f"nothing for {timeout_s:g} s"
    except OSError as error:
        return str(error)
    heard = (result.stdout + result.stderr).strip()
    return "" if " is UP" in heard else heard.splitlines()[0] if heard else "nothing"


def held_jobs(timeout_s: float = 60) -> dict[str, str]:
    """What is to be said of each of this user's workflow jobs that Slurm will not start by itself, by the job's number.

    Tasks of an array that wait are one: `8_[2-5]`, as scontrol takes it.
    """
    try:
        heard = subprocess.run(HELD, capture_output=True, text=True, errors="replace", timeout=timeout_s).stdout
    except (subprocess.TimeoutExpired, OSError):
        return {}  # whether the controller answers is asked by ping_controller
    jobs = [line.split("|", 2) for line in heard.splitlines() if line.count("|") >= 2]
    return {
        number: f"Job {number} ({what}) waits, and Slurm will not start it by itself: {reason}. "
        f"Hint: scontrol show job '{number}'; then scontrol release '{number}', or scancel '{number}' to have it tried again; "
        "a drained node is for the administrator"
        for number, reason, what in jobs
        if "held" in reason.lower() and what.startswith("rule_")
    }


def watch_controller(
    give_up: Callable[[VidmemError], None], warn: Callable[[str], None], patience_s: float, every_s: float = 10
) -> None:
    """Ask the controller at intervals; returns after it has not answered for too long.

    Args:
        give_up: called once, with the reason.
        warn: called once for every job, or array of jobs, that is held.
        patience_s: how long it may be away, in seconds; a restart or a move to the backup takes a minute or two.
        every_s: seconds between two questions.
    """
    answered, told = time.monotonic(), set()
    while True:
        time.sleep(every_s)
        heard = ping_controller()
        away = time.monotonic() - answered
        if not heard:
            held = {number.partition("_")[0]: words for number, words in held_jobs().items()}
            for number in held.keys() - told:
                warn(held[number])
            told = set(held)
            answered = time.monotonic()  # squeue may have taken a minute
        elif away >= patience_s:
            hint = "when it is back, cancel what still runs (squeue --me, scancel), then give the same command again"
            give_up(VidmemError("an answer of the Slurm controller", f"{heard!r} for {away:.0f} s", " ".join(PING), hint))
            return
