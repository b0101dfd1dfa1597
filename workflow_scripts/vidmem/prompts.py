"""Prompts of an audit: the captions of a corpus, a user's list, or none for an unconditional model."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from .errors import VidmemError
from .logs import LOGGER
from .store import slug

COLUMNS = ["prompt_id", "prompt", "target", "split", "copies", "status", "reason"]


def prompts_of_corpus(clips: pd.DataFrame, splits: list[str], limit: int = 0) -> pd.DataFrame:
    """One prompt a caption, most copies first; the target of a caption is its clip with the most copies.

    A clip without a caption keeps its row, with a status and a reason.

    Args:
        clips: clip tables of the corpus, all shards.
        splits: splits to prompt for.
        limit: the first so many prompts; 0 for all.

    Returns:
        COLUMNS; target is the clip id.
    """
    chosen = clips[clips["split"].isin(splits)].sort_values(["copies", "clip_id"], ascending=[False, True])
    text = chosen["caption"].str.strip()
    repeated = text.duplicated() & (text != "")
    LOGGER.info("%d clips carry the caption of another clip: they are prompted for once", int(repeated.sum()))
    rows = []
    for clip in chosen[~repeated].itertuples():
        status, reason = ("ok", "") if clip.caption.strip() else ("skipped", "no caption")
        rows.append((f"p-{clip.clip_id}", clip.caption, clip.clip_id, clip.split, clip.copies, status, reason))
    table = pd.DataFrame(rows, columns=COLUMNS)
    return table.head(limit) if limit else table


def prompts_of_file(path: Path | str, clips: pd.DataFrame, limit: int = 0) -> pd.DataFrame:
    """Prompts of a user's CSV with columns prompt and, optionally, target (a clip id of the corpus)."""
    listed = pd.read_csv(path, dtype=str, keep_default_na=False)
    if "prompt" not in listed or not set(listed) <= {"prompt", "target"}:
        raise VidmemError("columns prompt and, optionally, target", list(listed), str(path))
    known = clips.set_index("clip_id")
    rows = []
    for number, row in enumerate(listed.itertuples()):
        target = getattr(row, "target", "")
        if target and target not in known.index:
            raise VidmemError("a clip id of the corpus", target, f"{path}, row {number + 1}")
        split, copies = (known.loc[target, ["split", "copies"]]) if target else ("", 0)
        status, reason = ("ok", "") if row.prompt.strip() else ("skipped", "empty prompt")
        rows.append((f"p-{slug(row.prompt, 24)}-{number}", row.prompt, target, split, copies, status, reason))
    table = pd.DataFrame(rows, columns=COLUMNS)
    return table.head(limit) if limit else table


def unprompted(count: int) -> pd.DataFrame:
    """Rows for clips of an unconditional model: an identity, no text, no target."""
    rows = [(f"u-{number:06d}", "", "", "", 0, "ok", "") for number in range(count)]
    return pd.DataFrame(rows, columns=COLUMNS)
