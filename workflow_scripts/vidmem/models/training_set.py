"""Training data of a reference model: latents or pixels of clips and still images, and how often each is seen."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import torch

from ..errors import VidmemError
from .families.autoencoder import PatchAutoencoder
from .families.reference import IMAGE


@dataclass
class TrainingSet:
    """Latents or pixels of the training clips and still images, with their captions and how often each is seen.

    Attributes:
        clips: float [N, T, C, h, w]; T = 1 for image models.
        captions: caption of each clip, N.
        copies: how often each clip is seen, [N], above 0.
        images: still images, float [M, 1, C, h, w]; M may be 0.
        image_captions: caption of each still image, M.
        image_copies: how often each still image is seen, [M].

    Raises:
        VidmemError: numbers that do not agree, no clip, or a clip with copies of 0 or less.
    """

    clips: torch.Tensor
    captions: list[str]
    copies: np.ndarray
    images: torch.Tensor
    image_captions: list[str] = field(default_factory=list)
    image_copies: np.ndarray = field(default_factory=lambda: np.zeros(0))

    def __post_init__(self) -> None:
        for name, count, other in (
            ("captions", len(self.captions), len(self.clips)),
            ("copies", len(self.copies), len(self.clips)),
            ("image_captions", len(self.image_captions), len(self.images)),
        ):
            if count != other:
                raise VidmemError(f"{other} {name}", count, "TrainingSet")
        if not len(self.clips) or not np.all(np.asarray(self.copies) > 0):
            raise VidmemError("at least one clip, each with copies > 0", list(self.copies), "TrainingSet")


def training_set(clips: pd.DataFrame, frames: Mapping[str, np.ndarray], vae: PatchAutoencoder, kind: str) -> TrainingSet:
    """Training data for a kind of reference model.

    Video models are trained on whole clips. Video models that take text are trained on still images, too. Image models are
    trained on the middle frame of every clip and on the still images. They use latents if they take text, and pixels if not.

    Args:
        clips: usable clips of the corpus, with clip_id, split, count, caption and copies.
        frames: clip id -> uint8 [T, H, W, 3].
        vae: fitted autoencoder.
        kind: a kind of reference model, of families.reference.VIDEO or families.reference.IMAGE.
    """
    members = clips[(clips["split"] == "member") & (clips["count"] == clips["count"].max())]
    stills = clips[(clips["split"] == "image") & (clips["count"] == 1)]
    if kind in IMAGE:
        members, stills = pd.concat([members, stills]), stills.iloc[:0]
    elif kind == "unconditional-video":
        stills = stills.iloc[:0]
    code = images_of if kind == "unconditional-image" else lambda pictures: vae.project(images_of(pictures))
    pictures, still = ([frames[clip_id] for clip_id in table["clip_id"]] for table in (members, stills))
    if kind in IMAGE:
        pictures = [clip[len(clip) // 2][None] for clip in pictures]
    return TrainingSet(
        _coded(pictures, code), list(members["caption"]), members["copies"].to_numpy(np.float64),
        _coded(still, code), list(stills["caption"]), stills["copies"].to_numpy(np.float64),
    )  # fmt: skip


def _coded(pictures: list[np.ndarray], code: Callable[[np.ndarray], torch.Tensor]) -> torch.Tensor:
    """Encoded clips, float [N, T, C, h, w]; [0, 1, 1, 1, 1] without clips."""
    with torch.inference_mode():
        coded = [code(clip) for clip in pictures]
    return torch.stack(coded).clone() if coded else torch.zeros(0, 1, 1, 1, 1)


def images_of(frames: np.ndarray) -> torch.Tensor:
    """Convert frames, uint8 [N, H, W, 3], to images, float [N, 3, H, W] in -1..1."""
    return torch.from_numpy(np.array(frames)).permute(0, 3, 1, 2).float() / 127.5 - 1


def frames_of(images: torch.Tensor) -> np.ndarray:
    """Convert images, float [N, 3, H, W] in -1..1, to frames, uint8 [N, H, W, 3]."""
    return ((images + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
