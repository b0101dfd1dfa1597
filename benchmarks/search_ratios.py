"""Ratios of the searches against the bare matrix product of the same size, measured in one run.

    python benchmarks/search_ratios.py [--clips 2000] [--queries 400] [--descriptors 100000] [--repeats 5]

Motion: OFS-3 of all generated x corpus windows, building the vectors included, against the product of the concatenated
windows. Content: the exact best frames of every frame, and the exact five
best clips (of eight frames) of every clip, as the audit asks, against the product and against FAISS, taking turns.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow_scripts"))

from vidmem.features.background import GRID, fit_background, pooled_fields
from vidmem.features.descriptors import normalise
from vidmem.features.flow_measures import FlowFeatures
from vidmem.features.motion_rule import MotionRule
from vidmem.search.exact import search_clips, search_exact, stream_blocks
from vidmem.search.exact_motion import MotionBlock, motion_block, search_motion

PAIRS, GRIDS, K = 7, (64, GRID), 3
RULE = MotionRule(K)
BLOCK = 293  # clips of a block of 2,048 frame pairs


def clips(count: int, grid: int, stream: np.random.Generator) -> np.ndarray:
    """Random flows float16 [count * PAIRS, 2, grid, grid]."""
    return stream.standard_normal((count * PAIRS, 2, grid, grid), dtype=np.float32).astype(np.float16)


def block(flows: np.ndarray, name: str, rule: MotionRule = RULE) -> MotionBlock:
    """Flows of clips of PAIRS frame pairs, none natural."""
    count = len(flows) // PAIRS
    ones = np.ones(len(flows))
    features = FlowFeatures(ones, ones, ones, ones, ones)
    names = [f"{name}{index}" for index in range(count)]
    return motion_block(names, [PAIRS] * count, flows, features, rule)


def motion(queries: int, references: int, grid: int, repeats: int) -> None:
    stream = np.random.default_rng(0)
    first, second = clips(queries, grid, stream), clips(references, grid, stream)
    pooled = [pooled_fields(flows) for flows in (first, second)]
    weights = fit_background("clips", "noise", [("clips", pooled[1])]).weights[None]
    whitened = MotionRule(K, "whitened", weights=weights)

    def search(flows: Sequence[np.ndarray], rule: MotionRule, sides: list) -> None:
        """As the audit does: the references come in blocks."""
        parts = (flows[1][at : at + BLOCK * PAIRS] for at in range(0, len(flows[1]), BLOCK * PAIRS))
        search_motion(block(flows[0], "q", rule), (block(part, "r", rule) for part in parts), rule, sides, 5)

    windows = [np.random.default_rng(1).standard_normal((n * (PAIRS - K + 1), K * 2 * grid * grid), dtype=np.float32)
               for n in (queries, references)]  # fmt: skip
    actions = {
        "bare product": lambda: windows[0] @ windows[1].T,
        "with the filter": lambda: search((first, second), RULE, ["either"]),
        "with the filter and without": lambda: search((first, second), RULE, ["either", None]),
    }
    if grid == GRID:
        actions["without the background, stored pooled fields"] = lambda: search(pooled, whitened, ["either"])
    for name, seconds, ratio in in_turns(actions, repeats):
        print(f"motion, {grid} x {grid}, {queries} x {references} clips, {name}: {seconds:.2f} s; ratio {ratio:.2f}")


def in_turns(actions: Mapping[str, Callable], repeats: int) -> list[tuple[str, float, float]]:
    """Each action's name, median wall time in seconds, and median ratio to the first action in the same round."""
    times: dict[str, list[float]] = {name: [] for name in actions}
    for _ in range(repeats + 1):
        for name, action in actions.items():
            began = time.perf_counter()
            action()
            times[name].append(time.perf_counter() - began)
    rounds = {name: np.array(seconds[1:]) for name, seconds in times.items()}  # the first one warms up
    bare = next(iter(rounds.values()))
    return [(name, float(np.median(own)), float(np.median(own / bare))) for name, own in rounds.items()]


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
    for name, seconds, ratio in in_turns(actions, repeats):
        print(f"content: {queries} x {references} descriptors, {name} {seconds:.2f} s; ratio {ratio:.2f}")


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
