"""Ratios of the searches against the bare matrix product of the same size, measured in one run.

    python benchmarks/search_ratios.py [--clips 2000] [--queries 400] [--descriptors 100000] [--repeats 5]

Motion: OFS-3 of all generated x corpus windows, building the vectors included, against the product of the concatenated
windows; and against a loop over pairs (on a sample, scaled). Content: the exact best frames of every frame, and the exact five
best clips (of eight frames) of every clip, as the audit asks, against the product and against FAISS, taking turns.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow_scripts"))

from vidmem.features.descriptors import normalise
from vidmem.features.flow_measures import FlowFeatures
from vidmem.features.motion import ofs_k
from vidmem.features.motion_rule import MotionRule
from vidmem.search.exact import search_clips, search_exact, stream_blocks
from vidmem.search.exact_motion import motion_block, search_motion

PAIRS, GRIDS, K = 7, (64, 16), 3


def median_seconds(action, repeats: int) -> float:
    """Median wall time of a call after one to warm up."""
    times = []
    for _ in range(repeats + 1):
        began = time.perf_counter()
        action()
        times.append(time.perf_counter() - began)
    return float(np.median(times[1:]))


def clips(count: int, grid: int, stream: np.random.Generator) -> np.ndarray:
    """Random flows float16 [count * PAIRS, 2, grid, grid]."""
    return stream.standard_normal((count * PAIRS, 2, grid, grid), dtype=np.float32).astype(np.float16)


def block(flows: np.ndarray, name: str):
    """Flows of clips of PAIRS frame pairs, none natural."""
    count = len(flows) // PAIRS
    ones = np.ones(len(flows))
    features = FlowFeatures(ones, ones, ones, ones, ones)
    names = [f"{name}{index}" for index in range(count)]
    return motion_block(names, [PAIRS] * count, flows, features, MotionRule(K))


def motion(queries: int, references: int, grid: int, repeats: int) -> None:
    stream = np.random.default_rng(0)
    first, second = clips(queries, grid, stream), clips(references, grid, stream)

    def whole(sides: list) -> None:
        search_motion(block(first, "q"), [block(second, "r")], MotionRule(K), sides, 5)

    windows = [np.random.default_rng(1).standard_normal((n * (PAIRS - K + 1), K * 2 * grid * grid), dtype=np.float32)
               for n in (queries, references)]  # fmt: skip
    ours, bare = median_seconds(lambda: whole(["either"]), repeats), median_seconds(lambda: windows[0] @ windows[1].T, repeats)
    both = median_seconds(lambda: whole(["either", None]), repeats)
    sample = 20

    def loop() -> None:
        for index in range(sample):
            ofs_k(first[:PAIRS], second[index * PAIRS : (index + 1) * PAIRS], K, "field")

    pairs = median_seconds(loop, 1) / sample * queries * references
    print(f"motion on a {grid} x {grid} grid: {queries} x {references} clips, {ours:.2f} s; bare product {bare:.2f} s")
    print(f"motion: ratio {ours / bare:.2f}")
    print(f"motion: with the filter and without, as the audit does: {both:.2f} s; ratio {both / bare:.2f}")
    print(f"motion: a loop over pairs would take {pairs:.1f} s (from {sample} pairs); ratio {ours / pairs:.4f}")


def content(queries: int, references: int, repeats: int) -> None:
    """Ours and others, taking turns; each answer is checked to be the same."""
    import faiss
    from faiss.contrib.exhaustive_search import knn_ground_truth

    stream = np.random.default_rng(0)
    first = normalise(stream.standard_normal((queries, 512), dtype=np.float32))
    second = normalise(stream.standard_normal((references, 512), dtype=np.float32))
    stored, flat = second.astype(np.float16), faiss.IndexFlatIP(512)
    flat.add(second)
    counts, blocks = np.full(queries // 8, 8), [(second, np.full(references // 8, 8))]
    buffer = np.empty((queries, references), np.float32)  # as ours: fresh pages cost as much as the products
    actions = {
        "bare product": lambda: np.matmul(first, second.T, out=buffer),
        "top-1": lambda: search_exact(first, stream_blocks([second], 16384), 1),
        "top-1 from float16": lambda: search_exact(first, stream_blocks([stored], 16384), 1),
        "faiss IndexFlatIP": lambda: flat.search(first, 1),
        "faiss exhaustive_search": lambda: exhaustive(knn_ground_truth, first, second),
        "five best clips of every clip": lambda: search_clips(first, counts, blocks, 5),
    }
    assert np.array_equal(actions["top-1"]().rows, actions["faiss IndexFlatIP"]()[1])
    times = {name: [] for name in actions}
    for _ in range(repeats):
        for name, action in actions.items():
            began = time.perf_counter()
            action()
            times[name].append(time.perf_counter() - began)
    bare = np.array(times["bare product"])
    for name, seconds in times.items():
        ratio = np.median(np.array(seconds) / bare)
        print(f"content: {queries} x {references} descriptors, {name} {np.median(seconds):.2f} s; ratio {ratio:.2f}")


def exhaustive(knn_ground_truth, first: np.ndarray, second: np.ndarray):
    """FAISS's streaming search over blocks of 16384."""
    import faiss

    parts = (second[at : at + 16384] for at in range(0, len(second), 16384))
    return knn_ground_truth(first, parts, 1, metric_type=faiss.METRIC_INNER_PRODUCT, ngpu=0)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=1000)
    parser.add_argument("--queries", type=int, default=256)
    parser.add_argument("--descriptors", type=int, default=100_000)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    for grid in GRIDS:
        motion(options.queries, options.clips, grid, options.repeats)
    content(1000, options.descriptors, options.repeats)
