"""Shared inputs: seeded arrays, a folder of difficult footage, a tiny pipeline."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "workflow_scripts"))


@pytest.fixture
def stream() -> np.random.Generator:
    return np.random.default_rng(20261121)


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def pixel_pipeline():
    """Pixel model of 8 x 8 images with random weights."""
    import torch
    from diffusers import DDIMPipeline, DDIMScheduler, UNet2DModel

    torch.manual_seed(0)
    unet = UNet2DModel(
        sample_size=8, block_out_channels=(16, 32), layers_per_block=1, norm_num_groups=8,
        down_block_types=("DownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "UpBlock2D"),
    )  # fmt: skip
    return DDIMPipeline(unet, DDIMScheduler(clip_sample=False))


@pytest.fixture(scope="session")
def tiny_pipeline(tmp_path_factory):
    """A reference text-to-video pipeline with random weights, saved to a folder."""
    import torch

    from vidmem.models.autoencoder import PatchAutoencoder
    from vidmem.models.reference import build_pipeline

    torch.manual_seed(0)
    vae = PatchAutoencoder.untrained(8, 8)
    vae.fit_components(torch.rand(8, 3, 32, 32) * 2 - 1)
    size = {"widths": (16, 32), "text_width": 32, "text_layers": 1, "vocabulary": 600}
    captions = ["a red ball", "two cats on a wall", "a ball and a cat"]
    folder = tmp_path_factory.mktemp("tiny") / "text-to-video"
    build_pipeline("text-to-video", vae, captions, 4, size).save_pretrained(folder, safe_serialization=True)
    return folder
