"""Targets, plans and a network with a known answer for tests of the inversion."""

import numpy as np
import torch
from diffusers import DDIMScheduler

from vidmem.inversion.acceptance import AcceptanceRule
from vidmem.inversion.engine import InversionPlan, Target
from vidmem.inversion.schedule import WeightRule

RULE = WeightRule(check_every=5, delta=1e-2, window=8)
PLAN = InversionPlan(RULE, AcceptanceRule(4), steps=15, batch=3, sampler_steps=3)


def describe(frames):
    """Stand-in for SSCD: centred pixels, unit norm."""
    flat = np.asarray(frames, np.float32).reshape(len(frames), -1)
    flat = flat - flat.mean(1, keepdims=True)
    return flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-6)


def pictures(count, stream, side=8):
    return [Target(f"image {i}", stream.integers(0, 256, (1, side, side, 3), dtype=np.uint8)) for i in range(count)]


class Oracle(torch.nn.Module):
    """Optimal denoiser of a training set of one picture: it always predicts that picture."""

    class config:
        in_channels, sample_size = 3, 8

    def __init__(self, picture):
        super().__init__()
        self.register_parameter("picture", torch.nn.Parameter(torch.from_numpy(picture).permute(2, 0, 1) / 127.5 - 1))

    def forward(self, sample, timestep):
        from diffusers.utils import BaseOutput

        return BaseOutput(sample=self.picture.expand(len(sample), -1, -1, -1))


class OraclePipeline:
    def __init__(self, picture, prediction="sample"):
        self.unet, self.scheduler = Oracle(picture), DDIMScheduler(prediction_type=prediction, rescale_betas_zero_snr=True)
        self.components = {"unet": self.unet, "scheduler": self.scheduler}
