"""Time of watched generations against plain ones, taking turns in one run: guarded, stopped, with cross-attention read.

    python benchmarks/guard_ratios.py [--rounds 10] [--threads 2]

The reference text-to-video model, one prompt a call, 20 steps with guidance.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "workflow_scripts"))

from vidmem.detection.detectors import Detector
from vidmem.detection.guard import Guard
from vidmem.generation.attention import AttentionReader
from vidmem.generation.guidance import GuidanceRecorder
from vidmem.generation.readings import AttentionQuantities
from vidmem.models.loading import GenerationSpec, load_pipeline

CALL = {"num_frames": 8, "height": 32, "width": 32, "num_inference_steps": 20, "guidance_scale": 1.5, "output_type": "np"}


class Reading:
    """A pipeline whose guidance and cross-attention are recorded at every step, as generate_clips does."""

    def __init__(self, pipeline):
        self.pipeline = pipeline

    def __call__(self, **settings):
        reduce, reader = AttentionQuantities(), AttentionReader([self.pipeline.unet], lambda tokens: torch.tensor([5]))
        with GuidanceRecorder(self.pipeline.unet, 1, reduce, attention=reader) as recorder:
            self.pipeline(**settings)
        reduce.finish(recorder.steps)


def timed(call) -> float:
    started = time.perf_counter()
    call(prompt="a stone burrow on a green hill", generator=torch.Generator().manual_seed(0), **CALL)
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    pipeline = load_pipeline(GenerationSpec("TextToVideoSDPipeline", str(ROOT / "reference_models/text-to-video")))
    pipeline.set_progress_bar_config(disable=True)
    never, always = (Detector("reference", "content", np.full(100, level), float("nan")) for level in (1e9, 0.0))
    calls = {"plain": pipeline, "flagging": Guard(pipeline, never), "stopped": Guard(pipeline, always, action="stop")}
    calls["attention read"] = Reading(pipeline)
    for call in calls.values():
        timed(call)
    times = {name: [] for name in calls}
    for _ in range(options.rounds):
        for name, call in calls.items():
            times[name].append(timed(call))
    plain = np.median(times["plain"])
    for name, seconds in times.items():
        ratio = np.median(np.array(seconds) / np.array(times["plain"]))
        print(f"{name}: median {np.median(seconds):.3f} s, {ratio:.4f} of a plain generation in the same round")
    print(f"one step of {CALL['num_inference_steps']} is {plain / CALL['num_inference_steps']:.3f} s of a plain generation")


if __name__ == "__main__":
    main()
