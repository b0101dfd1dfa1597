"""Images an hour of the inversion engine against a plain loop written from the published procedure, in one run.

    python benchmarks/inversion_ratios.py [--preset ddpm|sd1] [--images 4] [--checks 2] [--slots 1 4]

The set is the usual one: no image replicates, so that every check is made and failed. The loop takes one image at a time and
samples all noises at every check, for sd1 at every guidance scale; the network has random weights, and the descriptor is a
stand-in that costs next to nothing, which favours the loop. Both stop after the same number of checks: cost is linear in it.
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

from diffusers import DDIMPipeline, DDIMScheduler, StableDiffusionPipeline, UNet2DModel

from vidmem.inversion.adapters import InvertibleModel
from vidmem.inversion.engine import InversionPlan, Inverter, Target
from vidmem.inversion.presets import PRESETS
from vidmem.inversion.schedule import WeightRule
from vidmem.models.families.autoencoder import PatchAutoencoder
from vidmem.models.families.reference import build_pipeline


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


class PlainWeight:
    """Weight of the divergence for one image, step by step as published."""

    def __init__(self, rule: WeightRule):
        self.rule, self.value, self.previous, self.window = rule, 1.0, math.inf, []

    def due(self, step: int, watched: float) -> bool:
        """Move the weight after a step; True where the published procedure samples."""
        self.window = [*self.window, watched][-self.rule.window :]
        if (step + 1) % self.rule.check_every:
            self.value += self.rule.delta
            return False
        now = float(np.mean(self.window))
        stalled = self.previous - now < self.rule.stall
        self.value = self.value / 2 if stalled else self.value + self.rule.delta
        self.previous = now
        return True


def plain_loop(pipeline, targets: list[Target], plan: InversionPlan) -> None:
    """The published procedure: one image, its own batch of noises, every noise sampled at every check."""
    unet, sampler = pipeline.unet, DDIMScheduler.from_config(pipeline.scheduler.config, timestep_spacing="trailing")
    alphas = sampler.alphas_cumprod
    for target in targets:
        clean = torch.from_numpy(target.frames).permute(0, 3, 1, 2) / 127.5 - 1
        mean, log_variance = (torch.zeros_like(clean).requires_grad_() for _ in range(2))
        adam = torch.optim.Adam([mean, log_variance], lr=plan.rate)
        weight = PlainWeight(plan.weights)
        for step in range(plan.steps):
            start = mean + (log_variance / 2).exp() * torch.randn(plan.batch, *clean.shape[1:])
            times = torch.randint(len(alphas), (plan.batch,))
            noisy, alpha = sampler.add_noise(clean.expand_as(start), start, times), alphas[times][:, None, None, None]
            error = (((noisy - (1 - alpha).sqrt() * unet(noisy, times).sample) / alpha.sqrt() - clean) ** 2).mean()
            loss = error + weight.value * 0.5 * (mean**2 + log_variance.exp() - log_variance - 1).mean()
            adam.zero_grad()
            loss.backward()
            adam.step()
            if not weight.due(step, error.item()):
                continue
            with torch.no_grad():
                latents = mean + (log_variance / 2).exp() * torch.randn(plan.acceptance.samples, *clean.shape[1:])
                sampler.set_timesteps(plan.sampler_steps)
                for time_ in sampler.timesteps:
                    latents = sampler.step(unet(latents, time_).sample, time_, latents).prev_sample
                pictures = ((latents.clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()
            if (describe(pictures) @ describe(target.frames).T).min() >= plan.acceptance.threshold:
                break


def text_pipeline() -> StableDiffusionPipeline:
    """Random latent model with text, of the size of the reference models."""
    torch.manual_seed(0)
    vae = PatchAutoencoder.untrained(4, 48)
    vae.fit_components(torch.rand(64, 3, 32, 32) * 2 - 1)
    size = {"widths": (48, 64), "text_width": 64, "text_layers": 1, "vocabulary": 700}
    return build_pipeline("text-to-image", vae, ["a red ball", "two cats on a wall"], 8, size)


def guided_loop(pipeline, targets: list[Target], plan: InversionPlan) -> None:
    """The published procedure with a soft prompt: every noise is sampled at every guidance scale at every check."""
    model, sampler = InvertibleModel(pipeline), DDIMScheduler.from_config(pipeline.scheduler.config)
    unet, silence = pipeline.unet, model.embed([""])["encoder_hidden_states"]
    for target in targets:
        clean = model.encode(target.frames)[None]
        mean, log_variance = (torch.zeros_like(clean).requires_grad_() for _ in range(2))
        words = torch.zeros(1, model.places, model.vocabulary, requires_grad=True)
        adam, weight = torch.optim.Adam([mean, log_variance, words], lr=plan.rate), PlainWeight(plan.weights)
        for step in range(plan.steps):
            start = mean + (log_variance / 2).exp() * torch.randn(plan.batch, *clean.shape[1:])
            times = torch.randint(sampler.config.num_train_timesteps, (plan.batch,))
            noisy = sampler.add_noise(clean.expand_as(start), start, times)
            soft = torch.nn.functional.gumbel_softmax(words.expand(plan.batch, -1, -1), tau=2.0)
            told = model.embed_soft(soft)["encoder_hidden_states"]
            error = ((unet(noisy, times, told).sample - clean) ** 2).mean()
            loss = error + weight.value * 0.5 * (mean**2 + log_variance.exp() - log_variance - 1).mean()
            adam.zero_grad()
            loss.backward()
            adam.step()
            if not weight.due(step, loss.item()):
                continue
            if any(
                _passes(model, sampler, target, plan, mean, log_variance, words, silence, s) for s in plan.acceptance.scales
            ):
                break


@torch.no_grad()
def _passes(model, sampler, target, plan, mean, log_variance, words, silence, scale: float) -> bool:
    count = plan.acceptance.samples
    soft = torch.nn.functional.gumbel_softmax(words, tau=2.0)
    told = model.embed_soft(soft)["encoder_hidden_states"].expand(count, -1, -1)
    latents = mean + (log_variance / 2).exp() * torch.randn(count, *mean.shape[1:])
    sampler.set_timesteps(plan.sampler_steps)
    for time_ in sampler.timesteps:
        quiet, spoken = model.network(
            torch.cat([latents] * 2), time_, torch.cat([silence.expand(count, -1, -1), told])
        ).sample.chunk(2)
        latents = sampler.step(quiet + scale * (spoken - quiet), time_, latents).prev_sample
    pictures = model.decode(latents)[:, 0]
    return bool((describe(pictures) @ describe(target.frames).T).min() >= plan.acceptance.threshold)


def main(preset: str, images: int, checks: int, slots: list[int], widths: tuple[int, ...]) -> None:
    plan, stream = PRESETS[preset], np.random.default_rng(0)
    guided = plan.mode != "none"
    plan = replace(plan, steps=checks * plan.weights.check_every, sample_batch=64)
    pipeline, loop = (text_pipeline(), guided_loop) if guided else (pixel_pipeline(widths), plain_loop)
    targets = [Target(f"i{n}", stream.integers(0, 256, (1, 32, 32, 3), dtype=np.uint8)) for n in range(images)]
    passes, scales = plan.weights.check_every * plan.batch, plan.acceptance.scales
    # The published loop makes both passes at every scale; a scale of 1 needs one.
    whole = plan.acceptance.samples * (2 * len(scales) if guided else 1) * plan.sampler_steps
    least = sum(1 if scale == 1 else 2 for scale in scales) * plan.sampler_steps
    plain = {}
    # A gradient of the input costs as much as the forward pass, that of the weights once more.
    for name, frozen, cost in (("weight gradients, too", False, 3), ("weights frozen", True, 2)):
        pipeline.unet.requires_grad_(not frozen)
        if guided:
            pipeline.text_encoder.requires_grad_(not frozen)
        began = time.perf_counter()
        loop(pipeline, targets, plan)
        plain[name] = time.perf_counter() - began
        bound = (cost * passes + whole) / (2 * passes + least)
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
    parser.add_argument("--preset", default="ddpm", choices=["ddpm", "small", "sd1", "sd2"])
    parser.add_argument("--images", type=int, default=4)
    parser.add_argument("--checks", type=int, default=2)
    parser.add_argument("--slots", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--widths", type=int, nargs="+", default=[16, 48, 48])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    main(given.preset, given.images, given.checks, given.slots, tuple(given.widths))
