"""The plan of the controls, which states the clips that each control is made from, and pairs of clips with a known answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from ..base.clip_table import clip_row
from ..base.seeding import random_stream
from ..corpus.frames import frame_information
from .controls import (
    CAMERA_MOVES,
    CONTENT_TWINS,
    EDITS,
    SPEEDS,
    STILLS,
    camera_move,
    change_speed,
    content_twin,
    edit_clip,
    motion_twin,
    still_clip,
    walker,
)

STAGED = ("camera", "walker", "still")
"""Controls that are made of photographs. A pair is two of one kind."""
COLUMNS = ["clip_id", "control", "variant", "origin", "picture", "fps"]
CONTROL_COLUMNS = ("control", "variant", "origin", "picture")
"""Columns that the clip table of the controls has in addition to those of every clip table."""
PICTURE_INFORMATION = 3.5  # bits: flow cannot be estimated on a flat picture, so twins and camera moves need texture


def plan_controls(clips: pd.DataFrame, magnitude: pd.Series, controls: dict, moving: float, seed: int) -> pd.DataFrame:
    """Choose the clips to edit, the twins, the camera moves and the staged scenes.

    Args:
        clips: usable clips of the corpus.
        magnitude: mean flow magnitude by clip id, as a share of the diagonal per frame step.
        controls: section `controls` of the configuration, with the numbers of clips, twins, camera moves and scenes.
        moving: smallest magnitude of a clip that counts as moving.
        seed: seed of the choices.

    Returns:
        Table of COLUMNS. `origin` is the clip whose content (edits, content twins) or motion (motion twins) is kept. `picture`
        is the clip that gives the content.
    """
    films = clips[clips["count"] > 1].sort_values("clip_id")
    movers = films[films["clip_id"].map(magnitude).fillna(0) >= moving]
    textured = clips[clips["information"] >= PICTURE_INFORMATION].sort_values("clip_id")
    stills = textured[textured["count"] == 1]
    rows = []
    for place, clip in enumerate(_choose(movers, controls["clips"], seed, "edit")):
        for control in (EDITS[place % 5], CONTENT_TWINS[place % 2], *([SPEEDS[place // 2 % 2]] if place % 2 else [])):
            rows.append((f"{control}-{clip.clip_id}", control, control, clip.clip_id, clip.clip_id, clip.fps))
    stream = random_stream("controls", seed, "pictures")
    for clip in _choose(movers, controls["twins"], seed, "twin"):
        others = textured[textured["clip_id"] != clip.clip_id]
        if len(others):
            picture = others["clip_id"].iloc[int(stream.integers(len(others)))]
            rows.append((f"motion-twin-{clip.clip_id}", "motion-twin", "warp", clip.clip_id, picture, clip.fps))
    staged = [("camera", move) for move in _in_turn(CAMERA_MOVES, controls["camera"])]
    staged += _walks(controls["scenes"] // 2)
    staged += [("still", kind) for kind in _in_turn(STILLS, controls["scenes"] - controls["scenes"] // 2)]
    seen = Counter[tuple[str, str]]()
    for place, (control, variant) in enumerate(staged if len(stills) else []):
        still = stills["clip_id"].iloc[seen[control, variant] % len(stills)]
        seen[control, variant] += 1
        rows.append((f"{variant}-{place:04d}-{still}", control, variant, still, still, 10.0))
    return pd.DataFrame(rows, columns=COLUMNS).drop_duplicates("clip_id")


def _in_turn(kinds: Sequence[str], count: int) -> list[str]:
    """So many kinds, in turn."""
    return [kinds[place % len(kinds)] for place in range(count)]


def _walks(count: int) -> list[tuple[str, str]]:
    """So many walks, in groups of four: two of one walk over two pictures, and two the other way from the same place."""
    axes = (("right", "left"), ("down", "up"))
    return [("walker", f"{axes[place // 4 % 2][place // 2 % 2]}-{place // 4}") for place in range(count)]


def _choose(clips: pd.DataFrame, count: int, seed: int, purpose: str) -> list:
    """Rows of a seeded sample of at most `count` clips, as named tuples."""
    order = random_stream("controls", seed, purpose).permutation(len(clips))[:count]
    return list(clips.iloc[order].itertuples())


def render_control(row: Any, source: np.ndarray, flows_of: Callable[[str], np.ndarray], frames: int, seed: int) -> np.ndarray:
    """Frames of a planned control, uint8 [T, H, W, 3].

    Args:
        row: row of plan_controls, as a named tuple.
        source: frames of the clip `row.picture`, uint8 [T, H, W, 3].
        flows_of: returns the flows of a clip of the corpus, by its id.
        frames: length of a camera move, in frames.
        seed: seed of the order of shuffled frames.
    """
    if row.control == "camera":
        return camera_move(source[0], row.variant, max(2, frames))
    if row.control == "motion-twin":
        return motion_twin(source[len(source) // 2], flows_of(row.origin))
    if row.control == "walker":
        return walker(source[0], row.variant, max(2, frames))
    if row.control == "still":
        return still_clip(source[0], row.variant, max(2, frames), random_stream("still", seed, row.clip_id))
    if row.control in SPEEDS:
        return motion_twin(source[0], change_speed(flows_of(row.origin), row.control))
    if row.control in CONTENT_TWINS:
        return content_twin(source, row.variant, random_stream("shuffle", seed, row.origin))
    return np.ascontiguousarray(edit_clip(source, row.control))


def control_clips(
    plan: pd.DataFrame,
    corpus: str,
    frames_of: Callable[[str], np.ndarray],
    flows_of: Callable[[str], np.ndarray],
    frames: int,
    seed: int,
) -> Iterator[tuple[dict, np.ndarray]]:
    """Render planned controls, one at a time.

    Args:
        plan: table of plan_controls.
        corpus: name of the corpus.
        frames_of, flows_of: return the frames, uint8 [T, H, W, 3], and the flows of a clip of the corpus, by its id.
        frames: length of a camera move, in frames.
        seed: seed of the order of shuffled frames.

    Yields:
        The row of the control in the clip table, and its frames, uint8 [T, H, W, 3].
    """
    first = 0
    for row in plan.itertuples():
        clip = render_control(row, frames_of(row.picture), flows_of, frames, seed)
        made_of = {name: getattr(row, name) for name in CONTROL_COLUMNS}
        yield (
            clip_row(
                {"origin": row.origin, "picture": row.picture},
                clip_id=row.clip_id,
                set=f"controls-{corpus}",
                source="controls",
                split="control",
                first=first,
                count=len(clip),
                fps=row.fps,
                information=frame_information(clip),
                **made_of,
            ),
            clip,
        )
        first += len(clip)


def unrelated_pairs(clip_ids: list[str], seed: int, limit: int = 4000) -> list[tuple[str, str]]:
    """All pairs of different clips, each once, or a seeded sample of `limit` pairs if there are more."""
    pairs = [(first, second) for i, first in enumerate(clip_ids) for second in clip_ids[i + 1 :]]
    if len(pairs) <= limit:
        return pairs
    chosen = random_stream("unrelated", seed).choice(len(pairs), limit, replace=False)
    return [pairs[place] for place in sorted(chosen)]


def staged_pairs(plan: pd.DataFrame) -> list[tuple[str, str, str]]:
    """Pairs of staged clips of one kind over different photographs, and pairs of walks from one place in two directions.

    Returns:
        Name of the control, and the two clip ids.
    """
    pairs = []
    for control in STAGED:
        for _, group in plan[plan["control"] == control].groupby("variant", sort=True):
            pairs += [(control, a, b) for a, b in combinations(group.sort_values("clip_id").itertuples(), 2)]
    walks = plan[plan["control"] == "walker"].sort_values("clip_id")
    for _, group in walks.groupby(walks["variant"].map(lambda walk: walk.partition("-")[2]), sort=True):
        pairs += [("walkers-apart", a, b) for a, b in combinations(group.itertuples(), 2) if a.variant != b.variant]
    return [(control, a.clip_id, b.clip_id) for control, a, b in pairs if a.origin != b.origin]
