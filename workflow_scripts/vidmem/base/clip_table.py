"""The clip table: one row for every clip, image or generated sample, also for those that could not be used."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd

from ..errors import STATUSES, USABLE, VidmemError

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
"""Columns of every clip table, and their values where a column does not apply."""

GUIDANCE_COLUMNS = ["clip_id", "prompt_id", "step", "frame", "quantity", "value"]


def clip_row(provenance: dict, **fields: Any) -> dict[str, Any]:
    """Row of a clip in the clip table; a field that is not given takes its default.

    Args:
        provenance: where the clip comes from or how it was made, stored as JSON.
        **fields: values of columns of DEFAULTS, or of further columns of the set.

    Raises:
        VidmemError: an unknown status, or a status other than 'ok' without a reason.
    """
    row = {**DEFAULTS, **fields, "provenance": json.dumps(provenance, sort_keys=True)}
    if row["status"] not in STATUSES or (row["status"] != "ok" and not row["reason"]):
        raise VidmemError(f"a status of {STATUSES}, with a reason unless ok", (row["status"], row["reason"]), row["clip_id"])
    return row


def clip_table(rows: Iterable[dict], extra: Iterable[str] = ()) -> pd.DataFrame:
    """Clip table of rows, with the right columns and types even when there are no rows.

    Args:
        rows: rows of clip_row.
        extra: names of further text columns of the set.
    """
    kinds = {name: type(value) for name, value in DEFAULTS.items()} | dict.fromkeys(extra, str)
    return pd.DataFrame(list(rows), columns=list(kinds)).astype(kinds)


REFERENCE_SPLITS = ("member", "image")
"""Splits whose clips are references: clips or images that a model was trained on."""


def is_usable(clips: pd.DataFrame) -> pd.Series:
    """Whether the frames of each clip can be used: its status is ok or recovered; bool by row."""
    return clips["status"].isin(USABLE)


def usable(clips: pd.DataFrame, splits: Sequence[str] = ()) -> pd.DataFrame:
    """Rows of the clips that can be used, from the given splits or from all."""
    kept = clips[is_usable(clips)]
    return kept[kept["split"].isin(splits)] if splits else kept


def query_clips(clips: pd.DataFrame) -> list[str]:
    """Ids of the clips that are looked up: all usable clips of a generated set, but only the held-out clips of a corpus."""
    kept = usable(clips)
    held_out = ~kept["set"].str.startswith("corpus-") | (kept["split"] == "heldout")
    return list(kept[held_out]["clip_id"])
