"""The clip table: one row a clip, image or generated sample, whatever became of it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import pandas as pd

from .errors import STATUSES, VidmemError

DEFAULTS: dict[str, Any] = {
    "clip_id": "",
    "set": "",
    "source": "",
    "caption": "",
    "prompt_id": "",
    "target": "",
    "split": "",
    "copies": 0,
    "seed": -1,
    "first": 0,
    "count": 0,
    "fps": 0.0,
    "information": 0.0,
    "pixels": "",
    "status": "ok",
    "reason": "",
    "provenance": "{}",
}
"""Columns of every clip table and the values of fields that do not apply."""

GUIDANCE_COLUMNS = ["clip_id", "prompt_id", "step", "frame", "quantity", "value"]


def clip_row(provenance: dict, **fields: Any) -> dict[str, Any]:
    """Row of a clip; fields that are not given take their default.

    Args:
        provenance: how the clip came about, stored as JSON.
        **fields: columns of DEFAULTS, or further ones of a set.

    Raises:
        VidmemError: an unknown status, or a status that is not ok without a reason.
    """
    row = {**DEFAULTS, **fields, "provenance": json.dumps(provenance, sort_keys=True)}
    if row["status"] not in STATUSES or (row["status"] != "ok" and not row["reason"]):
        raise VidmemError(f"a status of {STATUSES}, with a reason unless ok", (row["status"], row["reason"]), row["clip_id"])
    return row


def clip_table(rows: Iterable[dict], extra: Iterable[str] = ()) -> pd.DataFrame:
    """Table of rows with the columns and types of every clip table, also when there are none.

    Args:
        extra: further text columns of the set.
    """
    kinds = {name: type(value) for name, value in DEFAULTS.items()} | dict.fromkeys(extra, str)
    return pd.DataFrame(list(rows), columns=list(kinds)).astype(kinds)
