"""Ratios of the searches against the bare matrix product of the same size, measured in one run.

    python benchmarks/search_ratios.py [--clips 2000] [--queries 400] [--repeats 5]

Motion: OFS-3 of all generated x corpus windows, building the vectors included, against the product of the concatenated
windows; and against a loop over pairs (on a sample, scaled). Content: the exact five best clips (of eight frames) of every
clip, as the audit asks, and the exact best frames of every frame, against the product.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow_scripts"))

from vidmem.descriptors import normalise
from vidmem.motion import FlowFeatures, NaturalMotionFilter, ofs_k
from vidmem.motion_search import motion_block, search_motion
from vidmem.search import search_clips, search_exact, stream_blocks

PAIRS, GRID, K = 7, 64, 3


def median_seconds(action, repeats: int) -> float:
    """Median wall time of a call after one to warm up."""
    times = []
    for _ in range(repeats + 1):
        began = time.perf_counter()
        action()
        times.append(time.perf_counter() - began)
    return float(np.median(times[1:]))


def clips(count: int, stream: np.random.Generator) -> np.ndarray:
    """Random flows float16 [count * PAIRS, 2, GRID, GRID]."""
    return stream.standard_normal((count * PAIRS, 2, GRID, GRID), dtype=np.float32).astype(np.float16)


def block(flows: np.ndarray, name: str):
    """Flows of clips of PAIRS frame pairs, none natural."""
    count = len(flows) // PAIRS
    ones = np.ones(len(flows))
    features = FlowFeatures(ones, ones, ones, ones)
    names = [f"{name}{index}" for index in range(count)]
    return motion_block(names, [PAIRS] * count, flows, features, K, "field", NaturalMotionFilter())


def motion(queries: int, references: int, repeats: int) -> None:
    stream = np.random.default_rng(0)
    first, second = clips(queries, stream), clips(references, stream)

    def whole(sides: list) -> None:
        search_motion(block(first, "q"), [block(second, "r")], K, "max", sides, 5)

    windows = [np.random.default_rng(1).standard_normal((n * (PAIRS - K + 1), K * 2 * GRID * GRID), dtype=np.float32)
               for n in (queries, references)]  # fmt: skip
    ours, bare = median_seconds(lambda: whole(["either"]), repeats), median_seconds(lambda: windows[0] @ windows[1].T, repeats)
    both = median_seconds(lambda: whole(["either", None]), repeats)
    sample = 20

    def loop() -> None:
        for index in range(sample):
            ofs_k(first[:PAIRS], second[index * PAIRS : (index + 1) * PAIRS], K, "field")

    pairs = median_seconds(loop, 1) / sample * queries * references
    print(f"motion: {queries} x {references} clips, {ours:.2f} s; bare product {bare:.2f} s; ratio {ours / bare:.2f}")
    print(f"motion: with the filter and without, as the audit does: {both:.2f} s; ratio {both / bare:.2f}")
    print(f"motion: a loop over pairs would take {pairs:.1f} s (from {sample} pairs); ratio {ours / pairs:.4f}")


def content(queries: int, references: int, repeats: int) -> None:
    stream = np.random.default_rng(0)
    first = normalise(stream.standard_normal((queries, 512), dtype=np.float32))
    second = normalise(stream.standard_normal((references, 512), dtype=np.float32))
    ours = median_seconds(lambda: search_exact(first, stream_blocks([second], 16384), 1), repeats)
    bare = median_seconds(lambda: first @ second.T, repeats)
    print(
        f"content: {queries} x {references} descriptors, top-1 {ours:.2f} s; bare product {bare:.2f} s; ratio {ours / bare:.2f}"
    )
    counts, blocks = np.full(queries // 8, 8), [(second, np.full(references // 8, 8))]
    whole = median_seconds(lambda: search_clips(first, counts, blocks, 5), repeats)
    print(f"content: the five best clips of every clip {whole:.2f} s; ratio {whole / bare:.2f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=1000)
    parser.add_argument("--queries", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    motion(options.queries, options.clips, options.repeats)
    content(1000, 100_000, options.repeats)
