"""Generation in batches against one prompt at a time, on the reference text-to-video model, in one run.

python benchmarks/generation_ratios.py [--prompts 16] [--batch 8]
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "workflow_scripts"))

from vidmem.generation.adapter import GenerationSpec, PipelineAdapter, Request


def seconds(spec: GenerationSpec, requests: list[Request]) -> float:
    """Wall time of all requests, without loading."""
    adapter = PipelineAdapter(spec, 0)
    list(adapter.generate(requests[:1]))
    began = time.perf_counter()
    list(adapter.generate(requests))
    return time.perf_counter() - began


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", type=int, default=16)
    parser.add_argument("--batch", type=int, default=8)
    options = parser.parse_args()
    path = str(ROOT / "reference_models/text-to-video")
    spec = GenerationSpec("TextToVideoSDPipeline", path, steps=20, guidance=2.0, frames=8, size=(32, 32), batch=options.batch)
    requests = [Request(f"p{number}", f"gameplay number {number}", 0) for number in range(options.prompts)]
    batched, single = seconds(spec, requests), seconds(replace(spec, batch=1), requests)
    print(f"generation: {options.prompts} prompts, batches of {options.batch} {batched:.1f} s; one at a time {single:.1f} s")
    print(f"generation: ratio {batched / single:.2f}")
