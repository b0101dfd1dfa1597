"""Errors a user can act on: what was expected, what was found, where, and what to do."""

from __future__ import annotations

STATUSES = ("ok", "recovered", "undecodable", "missing", "gone", "mismatch", "failed", "skipped", "not_defined")
USABLE = ("ok", "recovered")
"""Statuses of clips whose frames are those of what was listed: recovered ones were found at another place, by their hash."""


class VidmemError(ValueError):
    """Bad input. The message names the expectation, the finding, the place and, where there is one, a hint."""

    def __init__(self, expected: str, got: object, where: str, hint: str = ""):
        lines = [f"Expected {expected}", f"Got {got}", f"Where: {where}"]
        if hint:
            lines.append(f"Hint: {hint}")
        super().__init__("\n".join(lines))
        self.expected, self.got, self.where, self.hint = expected, got, where, hint


class ClipError(Exception):
    """One clip, image or prompt cannot be used. It becomes a status row and the rest goes on."""

    def __init__(self, status: str, reason: str):
        if status not in STATUSES or status in USABLE:
            raise VidmemError(f"a failing status of {STATUSES}", status, "ClipError")
        super().__init__(f"{status}: {reason}")
        self.status, self.reason = status, reason
