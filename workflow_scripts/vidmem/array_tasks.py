"""Which job a task of a Slurm job array is for.

The executor starts every task with the command of the array's first job and hands the others' commands over in an option. In
snakemake-executor-plugin-slurm 2.8.0 such a task runs its own job and then waits for the *first* job's outputs, does not find
them if that one takes longer, fails, and deletes them (snakemake/snakemake-executor-plugin-slurm#447). So a task becomes the
process of its own job before it has looked at the first one's.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Mapping, Sequence

from .errors import VidmemError

OPTION = "--slurm-jobstep-array-execs"


def own_command(arguments: Sequence[str], environment: Mapping[str, str]) -> str | None:
    """Shell command of the job that this process was started for, if it is another than its arguments say.

    Args:
        arguments: sys.argv of Snakemake.
        environment: of the process; Slurm tells the number of the task and of the array's first.

    Returns:
        None outside of arrays, and for the first task of one.

    Raises:
        VidmemError: the array has no command for this task, or of another form.
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
    """Value of the option, given behind it or behind an equals sign."""
    for place, argument in enumerate(arguments):
        name, equals, value = argument.partition("=")
        if name == OPTION:
            return value if equals else next(iter(arguments[place + 1 :]), "")
    return None
