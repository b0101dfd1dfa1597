"""The answer to "is this file in there?": rows, sentences and a page about where the windows of a file were found."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..corpus.clip_frames import Frames
from ..corpus.frames import fit_frames
from ..corpus.whole_file import file_items, read_file
from ..features.metrics import KINDS
from ..generation.elsewhere import file_of
from .clip_rows import training_file
from .playable_clips import write_mp4
from .report_page import HEIGHT, data_address, in_step, render_page
from .table_files import on_one_line

COLUMNS = [
    "where", "set", "kind", "window", "window_s", "clip_id", "file", "caption", "score", "threshold", "verdict", "file_s",
    "clip_s", "file_frame", "clip_frame", "view", "reason",
]  # fmt: skip
NAMED = 3
"""Found clips that the answer names for each set and kind."""


def found_rows(
    matches: pd.DataFrame, windows: pd.DataFrame, clips: pd.DataFrame, where: str, thresholds: Mapping[str, float]
) -> pd.DataFrame:
    """The best match of every window of a file in one set of clips.

    Args:
        matches: table of matches with the column kind.
        windows: clip table of the windows.
        clips: clip table of the searched set.
        where: what was searched, in words.
        thresholds: kind -> threshold of the verdict.

    Returns:
        Table of COLUMNS, ordered by kind and window. Times are in seconds from the beginning of the file and of the clip's
        own file. Captions and files are untrusted.
    """
    best, own, theirs = matches[matches["rank"] == 1], windows.set_index("clip_id"), clips.set_index("clip_id")
    rows = []
    for match in best.itertuples():
        window, clip = own.loc[match.query], theirs.loc[match.reference] if match.reference else None
        start, limit = _start(window["provenance"]), thresholds[match.kind]
        file, clip_start = ("", 0.0) if clip is None else _place(clip)
        rows.append({
            "where": where, "set": "" if clip is None else clip["set"], "kind": match.kind, "window": match.query,
            "window_s": start, "clip_id": match.reference, "file": file, "caption": "" if clip is None else clip["caption"],
            "score": match.score, "threshold": limit, "verdict": bool(match.score >= limit),
            "file_s": _time(start, match.query_frame, window["fps"]),
            "clip_s": np.nan if clip is None else _time(clip_start, match.reference_frame, clip["fps"]),
            "file_frame": match.query_frame, "clip_frame": match.reference_frame, "view": match.view, "reason": match.natural,
        })  # fmt: skip
    order = pd.DataFrame(rows, columns=COLUMNS)
    return order.sort_values(["kind", "window"], kind="stable", ignore_index=True)


def _start(provenance: str) -> float:
    return float(json.loads(provenance).get("start_s") or 0.0)


def _place(clip: pd.Series) -> tuple[str, float]:
    """File of a corpus clip, and where the clip begins in it; file of a generated clip, which begins at 0."""
    if clip["set"].startswith("corpus-"):
        return training_file(clip["provenance"])
    return file_of(clip["provenance"]), 0.0


def _time(start: float, frame: int, fps: float) -> float:
    return start + frame / fps if frame >= 0 and fps > 0 else start


def answer_lines(name: str, windows: pd.DataFrame, found: pd.DataFrame) -> list[str]:
    """The answer in words, for a terminal and for the head of the page.

    Args:
        name: name of the file, untrusted.
        windows: clip table of its windows.
        found: rows of all searched sets.
    """
    usable = windows[windows["count"] > 0]
    unread = windows[windows["count"] == 0]
    lines = [f"{on_one_line(name, 120)}: {len(usable)} windows were looked up."]
    if len(unread):
        lines.append(f"{len(unread)} windows could not be read: {unread['reason'].iloc[0]}.")
    for where in dict.fromkeys(found["where"]):
        for kind in KINDS:
            own = found[(found["where"] == where) & (found["kind"] == kind)]
            lines += set_lines(where, kind, own)
    return lines


def set_lines(where: str, kind: str, rows: pd.DataFrame) -> list[str]:
    """What was found in one set by one kind: a sentence, and a line for each of the best clips that count."""
    scored, hits = rows[rows["score"].notna()], rows[rows["verdict"].astype(bool)]
    if not len(scored):
        why = "the file shows no movement of its own" if kind == "motion" else "nothing to compare"
        return [f"{where}, {kind}: not compared, {why}."]
    best = scored.sort_values(["score", "clip_id"], ascending=[False, True]).iloc[0]
    if not len(hits):
        near = f"The closest is {best['clip_id']} at {best['score']:.2f}, below the threshold {best['threshold']:.2f}."
        return [f"{where}, {kind}: not found. {near}"]
    ranked = hits.sort_values(["score", "clip_id"], ascending=[False, True]).drop_duplicates("clip_id")
    counted = f"{len(hits)} of {len(scored)} windows match {len(ranked)} clip{'s' if len(ranked) > 1 else ''}"
    more = [f"  and {len(ranked) - NAMED} more clips"] if len(ranked) > NAMED else []
    return [f"{where}, {kind}: found. {counted}.", *(_clip_line(row) for row in ranked.head(NAMED).to_dict("records")), *more]


def _clip_line(row: Mapping) -> str:
    named = f" ({on_one_line(row['file'], 80)})" if row["file"] else ""
    seen = f", {row['view']}" if row["view"] else ""
    times = f"second {row['file_s']:.2f} of the file is second {row['clip_s']:.2f}"
    return f"  {row['clip_id']}{named}: {times}, score {row['score']:.2f}{seen}"


def shown_rows(found: pd.DataFrame, path: Path, corpus: Mapping, frames: Frames) -> list[dict[str, Any]]:
    """Rows that the page plays, each with its video: the best of each set and kind, those that count first.

    Args:
        found: rows of found_rows.
        path: the file; corpus: entry of the corpus whose rates and size it was read with.
        frames: frames of the searched sets.
    """
    items = {item.clip_id: (source, item) for source, item in file_items(path, corpus)}
    scored = found[found["score"].notna()].sort_values(["verdict", "score", "clip_id"], ascending=[False, False, True])
    chosen = scored.drop_duplicates(["where", "kind"]).to_dict("records")
    for row in chosen:
        _, window = next(read_file(path, corpus, [items[row["window"]]]))
        clip = fit_frames(frames.of(row["set"], row["clip_id"]), window.shape[1:3], "stretch")
        row["video"] = pair_video(window, clip, row, items[row["window"]][0]["fps"])
    return chosen


def pair_video(window: np.ndarray, clip: np.ndarray, row: Mapping, fps: float) -> str:
    """A window of the file and the clip that was found, in step, as a video in a data address."""
    seen = window[:, :, ::-1] if row["view"] == "mirrored" else window
    file = io.BytesIO()
    write_mp4(file, in_step(seen, clip, row["file_frame"], row["clip_frame"], 1), max(1.0, fps), HEIGHT, 1)
    return data_address("video/mp4", file.getvalue())


def found_page(name: str, run: str, lines: Sequence[str], found: pd.DataFrame, shown: Sequence[Mapping]) -> str:
    """The page of a file: the answer, the closest clips as playing pairs, and every window.

    Args:
        name: name of the file, untrusted; run: name of the audit.
        lines: answer of answer_lines.
    """
    parts = {"name": on_one_line(name, 120), "run": run, "lines": lines, "rows": found.to_dict("records"), "shown": shown}
    return render_page(parts, "find.html.j2")
