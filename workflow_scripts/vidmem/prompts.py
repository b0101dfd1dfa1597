"""Prompts of an audit: the captions of a corpus, a user's list, or none for an unconditional model."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pandas as pd

from .errors import VidmemError
from .lists import read_list
from .logs import LOGGER
from .store import hash_text, slug

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
    known = clips.set_index("clip_id")
    rows, repeats = [], Counter()
    for line, row in read_list(path, ["prompt"], ["target"]):
        prompt, target = row["prompt"], row.get("target", "")
        if target and target not in known.index:
            raise VidmemError("a clip id of the corpus", target, f"{path}, line {line}")
        split, copies = (known.loc[target, ["split", "copies"]]) if target else ("", 0)
        status, reason = ("ok", "") if prompt.strip() else ("skipped", "empty prompt")
        # Named by what it says, not by its place: a line put in elsewhere must not change its noise.
        identity = f"p-{slug(prompt, 24)}-{hash_text(prompt, target)[:8]}"
        repeats[identity] += 1
        identity += f"-{repeats[identity]}" if repeats[identity] > 1 else ""
        rows.append((identity, prompt, target, split, copies, status, reason))
    if not rows:
        raise VidmemError("at least one prompt", "none", str(path))
    table = pd.DataFrame(rows, columns=COLUMNS)
    return table.head(limit) if limit else table


def unprompted(count: int) -> pd.DataFrame:
    """Rows for clips of an unconditional model: an identity, no text, no target."""
    rows = [(f"u-{number:06d}", "", "", "", 0, "ok", "") for number in range(count)]
    return pd.DataFrame(rows, columns=COLUMNS)
