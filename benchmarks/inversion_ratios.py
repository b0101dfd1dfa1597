"""Images an hour of the inversion engine against a plain loop written from the published procedure, in one run.

    python benchmarks/inversion_ratios.py [--preset ddpm] [--images 4] [--checks 2] [--slots 1 4]

The set is the usual one: no image replicates, so that every check is made and failed. The loop takes one image at a time and
samples all noises at every check; the network has random weights, and the descriptor is a stand-in that costs next to nothing,
which favours the loop. Both stop after the same number of checks: their cost is linear in it.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow_scripts"))

from diffusers import DDIMPipeline, DDIMScheduler, UNet2DModel

from vidmem.inversion import InversionPlan, Inverter, InvertibleModel, Target
from vidmem.inversion.presets import PRESETS


def pixel_pipeline(widths: tuple[int, ...]) -> DDIMPipeline:
    """Random pixel model of 32 x 32, of the size of the reference models."""
    torch.manual_seed(0)
    inner = len(widths) - 1
    unet = UNet2DModel(
        sample_size=32,
        block_out_channels=widths,
        layers_per_block=1,
        norm_num_groups=8,
        down_block_types=("DownBlock2D",) * inner + ("AttnDownBlock2D",),
        up_block_types=("AttnUpBlock2D",) + ("UpBlock2D",) * inner,
    )
    return DDIMPipeline(unet, DDIMScheduler(clip_sample=False))


def describe(frames: np.ndarray) -> np.ndarray:
    """Centred pixels, unit norm: unrelated pictures do not pass."""
    flat = frames.reshape(len(frames), -1).astype(np.float32)
    flat -= flat.mean(1, keepdims=True)
    return flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-6)


def plain_loop(pipeline, targets: list[Target], plan: InversionPlan) -> None:
    """The published procedure: one image, its own batch of noises, every noise sampled at every check."""
    unet, sampler = pipeline.unet, DDIMScheduler.from_config(pipeline.scheduler.config, timestep_spacing="trailing")
    alphas = sampler.alphas_cumprod
    for target in targets:
        clean = torch.from_numpy(target.frames).permute(0, 3, 1, 2) / 127.5 - 1
        mean, log_variance = (torch.zeros_like(clean).requires_grad_() for _ in range(2))
        adam = torch.optim.Adam([mean, log_variance], lr=plan.rate)
        weight, previous, window = 1.0, math.inf, []
        for step in range(plan.steps):
            start = mean + (log_variance / 2).exp() * torch.randn(plan.batch, *clean.shape[1:])
            times = torch.randint(len(alphas), (plan.batch,))
            noisy, alpha = sampler.add_noise(clean.expand_as(start), start, times), alphas[times][:, None, None, None]
            error = (((noisy - (1 - alpha).sqrt() * unet(noisy, times).sample) / alpha.sqrt() - clean) ** 2).mean()
            loss = error + weight * 0.5 * (mean**2 + log_variance.exp() - log_variance - 1).mean()
            adam.zero_grad()
            loss.backward()
            adam.step()
            window = [*window, error.item()][-plan.weights.window :]
            if (step + 1) % plan.weights.check_every:
                weight += plan.weights.delta
                continue
            now = float(np.mean(window))
            weight = weight / 2 if previous - now < plan.weights.stall else weight + plan.weights.delta
            previous = now
            with torch.no_grad():
                latents = mean + (log_variance / 2).exp() * torch.randn(plan.acceptance.samples, *clean.shape[1:])
                sampler.set_timesteps(plan.sampler_steps)
                for time_ in sampler.timesteps:
                    latents = sampler.step(unet(latents, time_).sample, time_, latents).prev_sample
                pictures = ((latents.clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()
            if (describe(pictures) @ describe(target.frames).T).min() >= plan.acceptance.threshold:
                break


def main(preset: str, images: int, checks: int, slots: list[int], widths: tuple[int, ...]) -> None:
    plan = replace(PRESETS[preset], mode="none", acceptance=replace(PRESETS[preset].acceptance, scales=(1.0,)))
    plan = replace(plan, steps=checks * plan.weights.check_every)
    pipeline, stream = pixel_pipeline(widths), np.random.default_rng(0)
    targets = [Target(f"i{n}", stream.integers(0, 256, (1, 32, 32, 3), dtype=np.uint8)) for n in range(images)]
    passes = plan.weights.check_every * plan.batch
    plain = {}
    # A gradient of the input costs as much as the forward pass, that of the weights once more.
    for name, frozen, cost in (("weight gradients, too", False, 3), ("weights frozen", True, 2)):
        pipeline.unet.requires_grad_(not frozen)
        began = time.perf_counter()
        plain_loop(pipeline, targets, plan)
        plain[name] = time.perf_counter() - began
        bound = (cost * passes + plan.acceptance.samples * plan.sampler_steps) / (2 * passes + plan.sampler_steps)
        print(f"{preset}: loop, {name}: {plain[name] / images:.1f} s an image; bound of the passes {bound:.2f}")
    for count in slots:
        engine = Inverter(InvertibleModel(pipeline), plan, describe, 0, slots=count)
        began = time.perf_counter()
        results = engine.run(targets)
        seconds = time.perf_counter() - began
        censored = sum(result.status == "not_replicated" for result in results)
        times = ", ".join(f"{spent / seconds:.2f} times ({name})" for name, spent in plain.items())
        print(f"{preset}: engine, {count} slots: {seconds / images:.1f} s an image; {times}; {censored} censored")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--preset", default="ddpm", choices=sorted(PRESETS))
    parser.add_argument("--images", type=int, default=4)
    parser.add_argument("--checks", type=int, default=2)
    parser.add_argument("--slots", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--widths", type=int, nargs="+", default=[16, 48, 48])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    main(given.preset, given.images, given.checks, given.slots, tuple(given.widths))
