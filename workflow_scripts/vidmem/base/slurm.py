"""Jobs on Slurm: which job a task of an array is for, and whether the controller still answers.

**Arrays.** The executor starts every task with the command of the array's first job, and passes the commands of the other jobs
in an option. In snakemake-executor-plugin-slurm 2.8.0 such a task runs its own job and then waits for the outputs of the
*first* job. If the first job takes longer, the task fails and deletes its own outputs
(snakemake/snakemake-executor-plugin-slurm#447). So a task replaces its process by its own job's before it reads the workflow.

**Controller.** The executor waits for ever for a controller that does not answer, and for a job that Slurm holds. A watching
thread ends the run in the first case and names the job in the second.
"""

from __future__ import annotations

import base64
import json
import subprocess
import time
import zlib
from collections.abc import Callable, Mapping, Sequence

from ..errors import VidmemError

OPTION = "--slurm-jobstep-array-execs"
PING = ("scontrol", "ping")
HELD = ("squeue", "--me", "--noheader", "--states=PENDING", "--format=%i|%r|%k")


def own_command(arguments: Sequence[str], environment: Mapping[str, str]) -> str | None:
    """Shell command of the job that this process was started for, if it differs from the process's own arguments.

    Args:
        arguments: sys.argv of Snakemake.
        environment: environment of the process; Slurm sets the numbers of this task and of the array's first task in it.

    Returns:
        The command; None outside an array, and for the first task of an array.

    Raises:
        VidmemError: the array has no command for this task, or the commands have another form.
    """
    task = environment.get("SLURM_ARRAY_TASK_ID")
    given = _value(arguments)
    if given is None or task is None or task == environment.get("SLURM_ARRAY_TASK_MIN"):
        return None
    try:
        return zlib.decompress(bytes.fromhex(json.loads(base64.b64decode(given.strip("'\"")))[task])).decode()
    except (ValueError, KeyError, TypeError, zlib.error) as error:
        hint = "another version of snakemake-executor-plugin-slurm? docs/cluster.md says which one is meant"
        got = f"{type(error).__name__}: {error}"
        raise VidmemError(f"the command of task {task} in {OPTION}", got, "job array", hint) from error


def _value(arguments: Sequence[str]) -> str | None:
    """Value of OPTION among the arguments, given as the next argument or behind an equals sign; None without the option."""
    for place, argument in enumerate(arguments):
        name, equals, value = argument.partition("=")
        if name == OPTION:
            return value if equals else next(iter(arguments[place + 1 :]), "")
    return None


def ping_controller(timeout_s: float = 60) -> str:
    """Ask the Slurm controller, or its backup, for an answer: '' if it answers, else what was answered instead."""
    try:
        result = subprocess.run(PING, capture_output=True, text=True, errors="replace", timeout=timeout_s)
    except subprocess.TimeoutExpired:
        return f"nothing for {timeout_s:g} s"
    except OSError as error:
        return str(error)
    heard = (result.stdout + result.stderr).strip()
    return "" if " is UP" in heard else heard.splitlines()[0] if heard else "nothing"


def held_jobs(timeout_s: float = 60) -> dict[str, str]:
    """Messages about the user's workflow jobs that Slurm holds and will not start by itself: number of the job -> message.

    The waiting tasks of an array count as one job with a number such as `8_[2-5]`, which scontrol understands.
    """
    try:
        heard = subprocess.run(HELD, capture_output=True, text=True, errors="replace", timeout=timeout_s).stdout
    except (subprocess.TimeoutExpired, OSError):
        return {}  # ping_controller asks whether the controller answers
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
    """Ask the controller at intervals; return after it has not answered for too long.

    Args:
        give_up: called once, with the reason, when the controller has not answered for too long.
        warn: called once for every job, or array of jobs, that Slurm holds.
        patience_s: longest silence, in seconds; a restart or a move to the backup takes a minute or two.
        every_s: seconds between two questions.
    """
    answered = time.monotonic()
    told: set[str] = set()
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
