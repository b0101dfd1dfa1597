"""The report page of an audit: one HTML file that opens from disk, with its pictures and playing pairs inside."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
import numpy as np
import pandas as pd

from ..corpus.clip_frames import Frames
from ..features.metrics import KINDS
from .best_matches import Pair, matched_frames
from .playable_clips import write_mp4

PAGE = Path(__file__).parent / "page"
HEIGHT = 192
"""Smallest height of a playing pair, pixels."""
MARK = (255, 196, 0)


class PairKey(NamedTuple):
    """What names a playing pair: model, generated clip and training clip."""

    model: str
    generated: str
    training: str


def in_step(training: np.ndarray, generated: np.ndarray, first: int, second: int, length: int) -> np.ndarray:
    """Two clips of one size beside each other, so that the matching frames are seen at the same time, with a frame around them.

    Args:
        training, generated: uint8 [T, H, W, 3] and [U, H, W, 3].
        first, second: first matching frame of each clip.
        length: number of matching frames.

    Returns:
        uint8 [n, H, 2 W, 3]. A clip that begins later, or ends earlier, shows its first or last frame meanwhile.
    """
    ahead = max(first, second)
    steps = np.arange(max(len(training) - first, len(generated) - second) + ahead)
    sides = [clip[np.clip(steps - ahead + own, 0, len(clip) - 1)] for clip, own in ((training, first), (generated, second))]
    both = np.concatenate(sides, axis=2)
    edge = max(1, both.shape[1] // 32)
    for step in range(ahead, min(ahead + length, len(both))):
        for place in (both[step, :edge], both[step, -edge:], both[step, :, :edge], both[step, :, -edge:]):
            place[...] = MARK
    return both


def playing_pair(pair: Pair, frames: Frames, corpus: str, length: int) -> str:
    """A pair as an MP4 in a data address.

    Args:
        frames: frames of both sets of clips.
        corpus: name of the corpus that has the training clip.
        length: number of matching frames.
    """
    training, generated = matched_frames(pair, frames, corpus)
    if pair.view == "mirrored":
        generated = generated[:, :, ::-1]
    both = in_step(training, generated, pair.training_frame, pair.generated_frame, length)
    file = io.BytesIO()
    write_mp4(file, both, max(1.0, frames.fps(f"generated-{pair.model}", pair.generated)), HEIGHT, 1)
    return data_address("video/mp4", file.getvalue())


def data_address(kind: str, content: bytes) -> str:
    """Content as an address that stands in the page itself."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def sample_rows(
    models: Sequence[str], clips: Sequence[pd.DataFrame], scores: Sequence[pd.DataFrame], metrics: Mapping[str, str]
) -> list[dict[str, Any]]:
    """A row for every usable generated clip, with its best match by content and by motion.

    Args:
        clips, scores: clip table and table of scores of each model.
        metrics: kind -> metric of the verdict.
    """
    rows = []
    for model, made, table in zip(models, clips, scores, strict=True):
        best = {kind: table[table["metric"] == metric].set_index("clip_id") for kind, metric in metrics.items()}
        for clip in made.sort_values("clip_id").itertuples():
            row = {"model": model, "id": clip.clip_id, "prompt": clip.caption, "target": clip.target, "split": clip.split,
                   "copies": int(clip.copies), "status": clip.status, "reason": clip.reason}  # fmt: skip
            for kind, own in best.items():
                row[kind] = _match(own.loc[clip.clip_id]) if clip.clip_id in own.index else None
            rows.append(row)
    return rows


def _match(row: pd.Series) -> dict[str, Any] | None:
    """The best match of a generated clip by one metric; None if no window of it can carry a verdict."""
    if pd.isna(row["value"]) or not row["match"]:
        return None
    return {"score": round(float(row["value"]), 3), "match": row["match"], "verdict": bool(row["verdict"]), "view": row["view"],
            "frames": [int(row["reference_frame"]), int(row["query_frame"])]}  # fmt: skip


def chosen_pairs(rows: Iterable[Mapping[str, Any]], training: pd.DataFrame, most: int) -> dict[PairKey, dict[str, Any]]:
    """The pairs that the page plays: the best matches of the generated clips and of the training clips, strongest first.

    Args:
        rows: see sample_rows.
        training: table of training_rows.
        most: largest number of pairs.

    Returns:
        Pair -> its score, kind, view, and first matching frames of the training clip and of the generated clip.
    """
    wanted = [
        (PairKey(row["model"], row["id"], row[kind]["match"]), {"kind": kind, **row[kind]})
        for row in rows
        for kind in KINDS
        if row[kind]
    ]
    for clip in training.to_dict("records"):
        for kind in KINDS:
            if clip[f"{kind}_generated"]:
                key = PairKey(clip[f"{kind}_model"], clip[f"{kind}_generated"], clip["clip_id"])
                frames = [clip[f"{kind}_training_frame"], clip[f"{kind}_generated_frame"]]
                about = {name: clip[f"{kind}_{name}"] for name in ("score", "verdict", "view")}
                wanted.append((key, {"kind": kind, "frames": frames, **about}))
    found: dict[PairKey, dict[str, Any]] = {}
    for key, match in sorted(wanted, key=lambda one: (not one[1]["verdict"], one[1]["kind"], -one[1]["score"], one[0])):
        found.setdefault(key, match)
    return dict(list(found.items())[:most])


def render_page(parts: Mapping[str, Any], template: str = "report.html.j2") -> str:
    """A page. Everything that comes from prompts, captions and file names is escaped by the template."""
    loader = jinja2.FileSystemLoader(PAGE)
    environment = jinja2.Environment(
        loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.filters["script"] = lambda name: jinja2.utils.markupsafe.Markup((PAGE / name).read_text(encoding="utf-8"))
    return environment.get_template(template).render(parts) + "\n"
