"""Logs of jobs: long messages are cut, errors of bad input are printed as they are."""

import logging
import subprocess
import sys

from vidmem.base.logs import LONGEST, Lines
from workflow_helpers import ROOT


def test_a_library_that_repeats_a_prompt_does_not_flood_the_log():
    record = logging.LogRecord("a", logging.WARNING, "", 1, "the prompt %s was cut", ("word " * 4000,), None)
    line = Lines("%(levelname)s %(message)s").format(record)
    assert len(line) < LONGEST + 60
    assert (line.startswith("WARNING the prompt word"), line.endswith("was cut")) == (True, True)
    short = logging.LogRecord("a", logging.INFO, "", 1, "done", (), None)
    assert Lines("%(message)s").format(short) == "done"


def told(tmp_path, statement):
    scripts = ROOT / "workflow_scripts"
    code = f"""import sys; sys.path.insert(0, {str(scripts)!r})
from vidmem.errors import VidmemError
from vidmem.base.logs import start_logging
start_logging({str(tmp_path / "job.log")!r}, {str(scripts)!r}, {{}})
{statement}"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 1
    return result.stderr, (tmp_path / "job.log").read_text()


def test_bad_input_is_told_without_a_traceback_which_is_in_the_log(tmp_path):
    shown, log = told(tmp_path, "raise VidmemError('a list', 'none', 'a.csv', 'write one')")
    assert shown == f"\nExpected a list\nGot none\nWhere: a.csv\nHint: write one\nThe job's log: {tmp_path / 'job.log'}\n\n"
    assert "Traceback" in log
    shown, log = told(tmp_path, "raise ValueError('a fault of ours')")
    assert "Traceback" in shown
    assert "Traceback" in log
