"""Errors that a user can act on: what was expected, what was found, where, and what to do."""

from __future__ import annotations

from pathlib import Path

STATUSES = ("ok", "recovered", "undecodable", "missing", "gone", "mismatch", "failed", "skipped", "not_defined")
USABLE = ("ok", "recovered")
"""Statuses of clips whose frames can be used. A 'recovered' clip was found at another place, by its hash."""


class VidmemError(ValueError):
    """Bad input. The message says what was expected, what was found, where, and (sometimes) what to do.

    Args:
        expected: what the input should be.
        got: what the input is.
        where: file, line or configuration key of the input.
        hint: what the user can do; '' for no hint.
    """

    def __init__(self, expected: str, got: object, where: str, hint: str = ""):
        lines = [f"Expected {expected}", f"Got {got}", f"Where: {where}"]
        if hint:
            lines.append(f"Hint: {hint}")
        super().__init__("\n".join(lines))
        self.expected, self.got, self.where, self.hint = expected, got, where, hint


class ClipError(Exception):
    """One clip, image or prompt cannot be used. Its row in the table gets a status, and the job goes on with the others.

    Args:
        status: one of STATUSES that is not usable.
        reason: why it cannot be used, for the table.
    """

    def __init__(self, status: str, reason: str):
        if status not in STATUSES or status in USABLE:
            raise VidmemError(f"a failing status of {STATUSES}", status, "ClipError")
        super().__init__(f"{status}: {reason}")
        self.status, self.reason = status, reason


FORCED = " --force -- "


def fetch_command(command: str, record: str) -> str:
    """Command line that fetches the files of a record of the fetch stage.

    If the record exists, the command forces the fetch, because Snakemake would otherwise find nothing to do.

    Args:
        command: command line of the workflow, to which options and targets may be added.
        record: path of the record.

    >>> fetch_command("snakemake --configfile a.yaml --cores 1", "results/mine/models/net.json")
    'snakemake --configfile a.yaml --cores 1 results/mine/models/net.json'
    """
    return f"{command}{FORCED if Path(record).exists() else ' '}{record}"
