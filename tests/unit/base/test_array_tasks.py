"""Tasks of a job array: each takes its own job's command, the first and single jobs go on as they are."""

import base64
import json
import zlib

import pytest

from vidmem.base.slurm import OPTION, own_command
from vidmem.errors import VidmemError

COMMANDS = {"2": "python -m snakemake --target-jobs 'two'", "3": "python -m snakemake --target-jobs 'three' && true"}


def payload(commands):
    told = {task: zlib.compress(command.encode(), level=9).hex() for task, command in commands.items()}
    return base64.b64encode(json.dumps(told).encode()).decode()


def started(task, first="1", *, behind=True, commands=COMMANDS):
    value = payload(commands)
    arguments = ["__main__.py", "--target-jobs", "one", *([OPTION, value] if behind else [f"{OPTION}={value}"])]
    return own_command(arguments, {"SLURM_ARRAY_TASK_ID": task, "SLURM_ARRAY_TASK_MIN": first})


@pytest.mark.parametrize("behind", [True, False])
def test_a_task_has_the_command_of_its_own_job(behind):
    assert started("2", behind=behind) == COMMANDS["2"]
    assert started("3", behind=behind) == COMMANDS["3"]


def test_the_first_task_and_single_jobs_go_on():
    assert started("1") is None
    assert started("2", first="2") is None
    assert (
        own_command(["__main__.py", "--target-jobs", "one"], {"SLURM_ARRAY_TASK_ID": "2", "SLURM_ARRAY_TASK_MIN": "1"}) is None
    )
    assert own_command(["__main__.py", OPTION, payload(COMMANDS)], {}) is None


def test_an_array_without_this_task_and_other_forms_are_refused():
    with pytest.raises(VidmemError, match="command of task 4 in --slurm-jobstep-array-execs\nGot KeyError"):
        started("4")
    told = {"SLURM_ARRAY_TASK_ID": "2", "SLURM_ARRAY_TASK_MIN": "1"}
    for value in ("", "not base64!", base64.b64encode(b"[1]").decode(), base64.b64encode(b'{"2": "00"}').decode()):
        with pytest.raises(VidmemError, match="command of task 2"):
            own_command(["__main__.py", OPTION, value], told)


def test_the_plugin_reads_what_is_read_here():
    """The same command as the executor's own reading, in the version that is installed."""
    from snakemake_executor_plugin_slurm_jobstep import parse_array_execs

    read = parse_array_execs(payload(COMMANDS))
    assert {task: zlib.decompress(bytes.fromhex(told)).decode() for task, told in read.items()} == COMMANDS
