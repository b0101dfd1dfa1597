"""What a person sees of a run: on a terminal, in a file, without the package rich, and after Ctrl-C."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios

import psutil
import pytest

from workflow_helpers import SMOKE

COMMAND = [sys.executable, "-m", "snakemake", "--cores", "2", *SMOKE, "--"]
LISTED = "results/smoke/data/corpus-tiny/shards-clips.json"


def on_a_terminal(folder, target, stop_at="", **environment):
    """Run on a pseudo terminal of 100 columns, press Ctrl-C when a word comes, and return the exit code and what was shown."""
    main, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
    env = {**os.environ, "TERM": "xterm", **environment}
    process = subprocess.Popen(
        [*COMMAND, target], cwd=folder, env=env, stdin=terminal, stdout=terminal, stderr=terminal, start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )  # fmt: skip
    os.close(terminal)
    shown, pressed = b"", False
    while True:
        try:
            shown += os.read(main, 65536)
        except OSError:  # Linux says so when the last process has closed the terminal
            break
        if stop_at and stop_at.encode() in shown and not pressed:
            pressed = True
            os.write(main, b"\x03")
    os.close(main)
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode())
    return process.wait(), text.replace("\r", "")


@pytest.fixture(scope="module")
def folder(project):
    return project()


def test_ctrl_c_ends_cleanly_and_says_how_to_go_on(folder):
    code, shown = on_a_terminal(folder, LISTED, stop_at="corpus: read_corpus")
    assert code == 1
    assert "jobs" in shown
    end = shown.split("Stopped. ")[1]
    assert end.strip().replace("\n", " ") == (
        "What was finished is kept, and long jobs go on where they were. "
        f"Go on with the same command: snakemake --cores 2 --configfile tests/config/smoke.yaml -- {LISTED}"
    )
    assert not re.search("Traceback|Error|pickle", shown)
    scripts = [process.info["cmdline"] for process in psutil.process_iter(["cmdline"])]
    assert not [line for line in scripts if str(folder) in " ".join(line or [])]
    assert not (folder / LISTED).exists()


def test_without_rich_a_terminal_has_a_line_for_each_job(folder, tmp_path):
    (tmp_path / "rich.py").write_text("raise ImportError('no package of this name')\n")
    code, shown = on_a_terminal(folder, LISTED, PYTHONPATH=str(tmp_path))
    assert code == 0
    assert re.search(r"1 of 2 jobs.*  done: corpus: read_corpus tiny 0 \(\d+ s\)\n", shown)
    assert re.search(r"2 of 2 jobs  done: corpus: list_shards corpus-tiny clips \(\d+ s\)\n", shown)


def test_a_file_has_no_repetitions_and_snakemakes_own_lines_come_back_on_demand(folder):
    (folder / LISTED).unlink()
    quiet = subprocess.run([*COMMAND, LISTED], cwd=folder, capture_output=True, text=True, check=True).stderr
    assert "1 of 1 jobs  done: corpus: list_shards" in quiet
    assert not re.search("Select jobs|Finished jobid|Execute", quiet)
    (folder / LISTED).unlink()
    own = subprocess.run(
        [*COMMAND[:-1], "--quiet", "host", "--", LISTED], cwd=folder, capture_output=True, text=True, check=True
    )
    assert "rule list_shards:" in own.stderr
