"""Content of the motion panel: the frame pairs of the best window of a match, and their flow."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..corpus.clip_frames import Frames
from ..corpus.frames import fit_frames
from ..features.clip_features import ClipFeatures
from ..features.flow import colour_flow
from .best_matches import Pair, words_of

SIDE = 64
"""Height and width of a tile, pixels. One size lets models and corpora of different sizes stand side by side."""


def motion_row(
    pair: Pair, frames: Frames, flows: Mapping[str, ClipFeatures], about: Mapping[str, str], metric: str, k: int
) -> dict:
    """Row of the motion panel for a match: the k frame pairs of both windows, their flow, and texts.

    Args:
        frames: frames of both sets of clips.
        flows: set of clips -> its flow.
        about: corpus and label of the model.
        metric: name of the metric in the figure.
        k: number of frame pairs of a window.
    """
    sides = {
        "training": (f"corpus-{about['corpus']}", pair.training, pair.training_frame),
        "generated": (f"generated-{pair.model}", pair.generated, pair.generated_frame),
    }
    windows = {
        side: motion_window(frames.of(name, clip_id), flows[name].of(clip_id), first, k)
        for side, (name, clip_id, first) in sides.items()
    }
    return {"metric": metric, **windows, **words_of(pair, about["label"])}


def motion_window(frames: np.ndarray, flows: np.ndarray, first: int, k: int) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Frame, next frame and picture of the flow, each uint8 [SIDE, SIDE, 3], for each of the k pairs of a window.

    Args:
        frames: uint8 [T, H, W, 3]; flows: float [T - 1, 2, h, w].
        first: index of the first frame pair of the window.
        k: number of frame pairs of the window.
    """
    pictures = fit_frames(frames, (SIDE, SIDE), "stretch")
    colours = [fit_frames(colour_flow(field)[None], (SIDE, SIDE), "stretch")[0] for field in flows[first : first + k]]
    return [(pictures[first + place], pictures[first + place + 1], colour) for place, colour in enumerate(colours)]
