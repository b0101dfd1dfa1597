"""The plan of an audit of WebVid's size, 10.7 million clips of 16 frames, on 1, 8 and 64 GPUs: the tables of docs/scale.md.

    python benchmarks/plan.py [--clips 10700000] [--frames 16] [--queries 10000]

Rates of a processor core are measured (workflow_scripts/vidmem/planning/rates.yaml; the search: docs/results/scale/scale.csv).
GPU rates are assumed: the data sheet of an H100 says what it can do at most, and the share that is reached is a guess.
"""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path

import pandas as pd

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "workflow_scripts"))

from vidmem.features.descriptors import DIMENSION
from vidmem.planning.estimate import duration, index_bytes, size_of
from vidmem.planning.rates import find_rate, load_rates
from vidmem.planning.scaling import DeviceRates, plan_scan
from vidmem.planning.workload import Span

PEAK, BANDWIDTH, DISK, SHARE = 989.4e12 / 2, 3.35e12, 7e9, 0.5
"""H100 SXM, data sheet: multiply-adds a second in fp16 (dense; 989.4 TFLOP/s), bytes a second of its memory. Bytes a second of
an NVMe disk of PCIe 4. The share of the first two that is reached: a guess."""
GPU = DeviceRates(PEAK * SHARE, BANDWIDTH * SHARE, DISK, f"assumed: {SHARE:.0%} of the data sheet")


def measured_core() -> DeviceRates:
    """A core in the largest exact search of docs/results/scale/scale.csv; choosing and reading are in its seconds."""
    table = pd.read_csv(ROOT / "docs/results/scale/scale.csv").query("method == 'exact'")
    last = table.loc[table["descriptors"].idxmax()]
    rate = last["descriptors"] * last["queries"] * DIMENSION / last["cpu_seconds"]
    return DeviceRates(rate, math.inf, math.inf, f"measured: {last['descriptors']:,.0f} descriptors")


def rows(lines: list[tuple]) -> None:
    for line in lines:
        print("| " + " | ".join(str(cell) for cell in line) + " |")


def seconds(value: float) -> str:
    return duration(Span.of(value))


def scans(references: dict[str, tuple[int, int, int]]) -> None:
    """Table of the exact scans; references: name -> (vectors, queries, width)."""
    core = measured_core()
    rows([("exact scan of", "multiply-adds", "fp16", "one core", "1 GPU", "8 GPUs", "64 GPUs"), ("---",) * 7])
    for name, (count, queries, width) in references.items():
        alone = plan_scan(core, count, queries, width, 1)
        times = [seconds(plan_scan(GPU, count, queries, width, devices).seconds) for devices in (1, 8, 64)]
        products, stored = f"{count * queries * width:.2g}", size_of(Span.of(alone.stored_bytes))
        rows([(name, products, stored, seconds(alone.seconds), *times)])
    print(f"\ncore: {core.products:.2g} multiply-adds a second ({core.basis})")
    print(f"GPU: {GPU.products:.2g} multiply-adds and {GPU.scores:.2g} bytes of products a second ({GPU.basis})")
    print(f"disk: {GPU.loading:.2g} bytes a second (assumed)\n")


def features(clips: int, frames: int) -> None:
    """Table of what is computed once for every clip, in core-hours at measured rates."""
    rates, pairs = load_rates("cpu"), clips * (frames - 1)
    rows([("once for the corpus", "number", "a core takes", "core-hours"), ("---",) * 4])
    for name, rule, variant, count in (("reading clips", "read_corpus", "", clips),
                                       ("descriptors (sscd-288, int8)", "describe_frames", "sscd-288", clips * frames),
                                       ("flow (DIS)", "compute_flow", "dis", pairs)):  # fmt: skip
        rate = find_rate(rates, rule, variant)
        rows([(name, f"{count:,}", f"{rate.seconds * 1000:.3g} ms", f"{count * rate.seconds / 3600:,.0f}")])
    print()


def storage(clips: int, frames: int) -> None:
    total, pairs = clips * frames, clips * (frames - 1)
    kinds = {
        "frames, 288 x 288": total * 288 * 288 * 3,
        "descriptors, float16": total * DIMENSION * 2,
        "flows, 64 x 64": pairs * 2 * 64 * 64 * 2,
        "flows, 16 x 16": pairs * 2 * 16 * 16 * 2,
        "index, Flat": total * index_bytes("Flat", DIMENSION).high,
        "index, IVF16384,PQ128x4": total * index_bytes("IVF16384,PQ128x4", DIMENSION).high,
    }
    rows([("stored", "bytes"), ("---",) * 2, *((name, size_of(Span.of(size))) for name, size in kinds.items())])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=10_700_000)
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--queries", type=int, default=10_000, help="generated clips")
    options = parser.parse_args()
    known, asked = options.clips * options.frames, options.queries * options.frames
    pairs, asked_pairs = options.clips * (options.frames - 1), options.queries * (options.frames - 1)
    scans({
        "content, 512 numbers a frame": (known, asked, DIMENSION),
        "motion, 64 x 64: 8192 numbers a pair": (pairs, asked_pairs, 2 * 64 * 64),
        "motion, 16 x 16: 512 numbers a pair": (pairs, asked_pairs, 2 * 16 * 16),
        "near-duplicates of the corpus in itself": (known, known, DIMENSION),
    })  # fmt: skip
    features(options.clips, options.frames)
    storage(options.clips, options.frames)
