"""The report page of an audit: one HTML file that opens from disk, with its pictures and playing pairs inside or beside it."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd

from ..corpus.clip_frames import Frames
from ..features.metrics import KINDS
from ..generation.elsewhere import file_of
from .answers import percent
from .best_matches import Match, playing_frames
from .playable_clips import write_mp4

PAGE = Path(__file__).parent / "page"
HEIGHT = 64
"""Smallest height of a playing pair, pixels. The page enlarges the pixels of small clips without blurring them."""
MEDIA = {".mp4": "video/mp4", ".png": "image/png"}


def playing_pair(match: Match, frames: Frames, corpus: str, length: int) -> bytes:
    """A match as an MP4, both clips in step.

    Args:
        frames: frames of both sets of clips.
        corpus: name of the corpus that has the training clip.
        length: number of matching frames.
    """
    file = io.BytesIO()
    fps = max(1.0, frames.fps(f"generated-{match.model}", match.generated))
    write_mp4(file, playing_frames(match, frames, corpus, length), fps, HEIGHT, 1)
    return file.getvalue()


def data_address(name: str, content: bytes) -> str:
    """Content of a file as an address that stands in the page itself."""
    return f"data:{MEDIA[Path(name).suffix]};base64,{base64.b64encode(content).decode()}"


def sample_rows(
    models: Sequence[str], clips: Sequence[pd.DataFrame], scores: Sequence[pd.DataFrame], metrics: Mapping[str, str]
) -> list[dict[str, Any]]:
    """A row for every generated clip, with its best match by content and by motion.

    Args:
        clips, scores: clip table and table of scores of each model.
        metrics: kind -> metric of the verdict.
    """
    rows = []
    for model, made, table in zip(models, clips, scores, strict=True):
        best = {kind: _matches(table[table["metric"] == metric]) for kind, metric in metrics.items()}
        for clip in made.sort_values("clip_id").itertuples():
            row = {"model": model, "id": clip.clip_id, "prompt": clip.caption, "file": file_of(clip.provenance),
                   "split": clip.split, "reason": clip.reason}  # fmt: skip
            rows.append(row | {kind: own.get(clip.clip_id) for kind, own in best.items()})
    return rows


def _matches(scores: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Generated clip -> its best match by one metric. A clip no window of which can carry a verdict has none."""
    return {
        row.clip_id: {"score": round(float(row.value), 3), "match": row.match, "verdict": bool(row.verdict), "view": row.view,
                      "frames": [int(row.reference_frame), int(row.query_frame)]}
        for row in scores[scores["value"].notna() & (scores["match"] != "")].itertuples()
    }  # fmt: skip


def chosen_pairs(rows: Iterable[Mapping[str, Any]], training: pd.DataFrame, most: int) -> dict[Match, str]:
    """The pairs that the page plays: the best matches of the generated clips and of the training clips, strongest first.

    Args:
        rows: see sample_rows.
        training: table of training_rows.
        most: largest number of pairs.

    Returns:
        Match -> its kind. There is one match for two clips: that of the kind that counts, else of content.
    """
    wanted = [
        (not row[kind]["verdict"], kind, -row[kind]["score"], _match_of(row, kind))
        for row in rows
        for kind in KINDS
        if row[kind]
    ]
    for clip in training.to_dict("records"):
        for kind in (kind for kind in KINDS if clip[f"{kind}_generated"]):
            frames = int(clip[f"{kind}_generated_frame"]), int(clip[f"{kind}_training_frame"])
            match = Match(clip[f"{kind}_model"], clip[f"{kind}_generated"], clip["clip_id"], *frames, clip[f"{kind}_view"])
            wanted.append((not clip[f"{kind}_verdict"], kind, -clip[f"{kind}_score"], match))
    found: dict[tuple, tuple[Match, str]] = {}
    for _, kind, _, match in sorted(wanted, key=lambda one: (*one[:3], pair_key(one[3]))):
        found.setdefault(pair_key(match), (match, kind))
    return dict(list(found.values())[:most])


def _match_of(row: Mapping[str, Any], kind: str) -> Match:
    training, generated = row[kind]["frames"]
    return Match(row["model"], row["id"], row[kind]["match"], generated, training, row[kind]["view"])


def pair_key(match: Match) -> tuple[str, str, str]:
    """What names a playing pair: model, generated clip and training clip."""
    return match.model, match.generated, match.training


def clip_records(training: pd.DataFrame) -> list[dict[str, Any]]:
    """What the page says of every training clip.

    Args:
        training: table of training_rows.
    """
    about = [f"{kind}_{name}" for kind in KINDS for name in ("score", "threshold", "model", "generated", "times")]
    shown = training[["clip_id", "source", "file", "start_s", "caption", "copies", "answer", *about]].round({"start_s": 3})
    return shown.astype(object).where(shown.notna(), None).to_dict("records")


def clips_of_models(rows: Iterable[Mapping[str, Any]], verdict: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Number of generated clips of every model, how many have a score by kind, and its thresholds by kind.

    Args:
        rows: see sample_rows.
        verdict: verdict of the audit.
    """
    found: dict[str, dict[str, Any]] = {}
    for name, about in verdict["models"].items():
        limits = {kind: about[kind]["definition"]["threshold"] for kind in KINDS}
        found[name] = {"clips": 0, "scored": dict.fromkeys(KINDS, 0), "limits": limits}
    for row in rows:
        own = found[row["model"]]
        own["clips"] += 1
        for kind in KINDS:
            own["scored"][kind] += row[kind] is not None
    return found


def render_page(parts: Mapping[str, Any], template: str = "report.html.j2") -> str:
    """A page. Everything that comes from prompts, captions and file names is escaped by the template."""
    loader = jinja2.FileSystemLoader(PAGE)
    environment = jinja2.Environment(
        loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.filters["percent"] = percent
    environment.filters["script"] = lambda name: jinja2.utils.markupsafe.Markup((PAGE / name).read_text(encoding="utf-8"))
    return environment.get_template(template).render(parts) + "\n"
