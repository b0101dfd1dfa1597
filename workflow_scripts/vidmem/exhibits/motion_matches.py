"""Content of the motion panel: the frame pairs of the best window of a match, and their flow."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..corpus.clip_frames import Frames
from ..corpus.frames import fit_frames
from ..features.background import without_background
from ..features.clip_features import ClipFeatures
from ..features.flow import colour_flow
from ..features.motion import CROPPED, VIEWS
from ..features.motion_rule import MotionRule
from .best_matches import Pair, words_of

SIDE = 64
"""Height and width of a tile, pixels. One size lets models and corpora of different sizes stand side by side."""


def shrink_frames(frames: np.ndarray) -> np.ndarray:
    """Frames as part of a larger picture, as shrink_flows moves their flow: uint8 [T, H, W, 3]."""
    height, width = frames.shape[1:3]
    places = [np.clip((np.arange(side) - (side - 1) / 2) / CROPPED + (side - 1) / 2, 0, side - 1) for side in (height, width)]
    rows, columns = (np.rint(own).astype(int) for own in places)
    return frames[:, rows[:, None], columns]


PICTURES = {"mirrored": lambda frames: frames[:, :, ::-1], "cropped": shrink_frames}
"""View of a clip -> its frames as they are shown beside the flow of that view."""
Tiles = tuple[np.ndarray, ...]
"""Pictures, uint8 [SIDE, SIDE, 3]: frame, next frame, flow, and the flow without its background if the metric removes it."""


def motion_row(
    pair: Pair, frames: Frames, flows: Mapping[str, ClipFeatures], about: Mapping[str, str], metric: str, rule: MotionRule
) -> dict:
    """Row of the motion panel for a match: the frame pairs of both windows, their flow, and texts.

    Args:
        frames: frames of both sets of clips.
        flows: set of clips -> its flow.
        about: corpus and label of the model.
        metric: name of the metric in the figure.
        rule: says how the flows are compared.
    """
    training, generated = f"corpus-{about['corpus']}", f"generated-{pair.model}"
    clip, moving = frames.of(generated, pair.generated), flows[generated].of(pair.generated)
    if pair.view:
        moving = VIEWS[pair.view](moving)
    if pair.view:
        clip = PICTURES[pair.view](clip)
    own = frames.of(training, pair.training), flows[training].of(pair.training)
    return {
        "metric": metric, "view": pair.view,
        "training": motion_window(*own, pair.training_frame, rule),
        "generated": motion_window(clip, moving, pair.generated_frame, rule),
        **words_of(pair, about["label"]),
    }  # fmt: skip


def motion_window(frames: np.ndarray, flows: np.ndarray, first: int, rule: MotionRule) -> list[Tiles]:
    """Tiles of every frame pair of a window.

    Args:
        frames: uint8 [T, H, W, 3]; flows: float [T - 1, 2, h, w].
        first: index of the first frame pair of the window.
        rule: says how many frame pairs a window has, and how they are compared.
    """
    pictures = fit_frames(frames, (SIDE, SIDE), "stretch")
    fields = [np.asarray(flows[first : first + rule.k], np.float32)]
    if rule.weights is not None:
        fields.append(without_background(fields[0], rule.weights))
    colours = zip(*([fit_frames(colour_flow(one)[None], (SIDE, SIDE), "stretch")[0] for one in kind] for kind in fields))
    return [(pictures[first + place], pictures[first + place + 1], *tiles) for place, tiles in enumerate(colours)]
