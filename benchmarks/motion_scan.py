"""Time, bytes and memory of the exact search by motion: ofs_k from flows, and wofs_k from the pooled fields stored beside them.

    python benchmarks/motion_scan.py [--clips 2000 8000] [--queries 128] [--rounds 3]

References are clips of eight frames whose flows are smooth noise, in shards of 1,000 clips, as the audit stores them. Every
scan is a process of its own on one thread, and files were read once before. It samples its anonymous memory (RssAnon).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow_scripts"))

from vidmem.base.clip_table import clip_row, clip_table
from vidmem.base.identity import shard_of
from vidmem.base.store import ArrayWriter, save_table
from vidmem.features.background import NUMBERS, fit_background, pooled_fields, save_background
from vidmem.features.flow_measures import flow_features
from vidmem.features.motion_comparison import MotionComparison
from vidmem.search.matches import block_of, nearest_motion
from vidmem.search.references import ReferenceShards

PAIRS, GRID, SHARD = 7, 64, 1000
MOTION = {"metric": "wofs_k", "k": 3, "cosine": "field", "pairing": "max", "filter": {}, "views": ["mirrored", "cropped"]}
FILES = {"motion": "flows", "pooled": "pooled"}


def write_corpus(folder: Path, clips: int) -> int:
    """Write the shards of a corpus and its background. Returns the number of shards."""
    shards, stream = -(-clips // SHARD), np.random.default_rng(0)
    names = [f"c{number:07d}" for number in range(clips)]
    noise = [stream.normal(size=(PAIRS, 2, 8, 8)).repeat(8, axis=2).repeat(8, axis=3).astype(np.float16) for _ in range(200)]
    measured = [pd.DataFrame(vars(flow_features(flows))) for flows in noise]
    for shard in range(shards):
        own = [name for name in names if shard_of(name, shards) == shard]
        chosen = [int(name[1:]) % len(noise) for name in own]
        with ArrayWriter(folder / f"{shard}.flows.npy", (2, GRID, GRID), "float16") as flows:
            with ArrayWriter(folder / f"{shard}.pooled.npy", (NUMBERS,), "float16") as pooled:
                for place in chosen:
                    flows.append(noise[place])
                    pooled.append(pooled_fields(noise[place]))
        rows = pd.concat([measured[place].assign(clip_id=name, pair=range(PAIRS)) for place, name in zip(chosen, own)])
        save_table(folder / f"{shard}.rows.parquet", rows.assign(computed_by="noise"))
        about = {"set": "corpus-x", "source": "x", "split": "member", "count": PAIRS + 1, "fps": 8.0}
        save_table(
            folder / f"{shard}.clips.parquet", clip_table([clip_row({}, clip_id=name, first=0, **about) for name in own])
        )
    save_background(folder / "background.parquet", fit_background("corpus-x", "noise", zip(names, noise)))
    return shards


def scan(folder: Path, shards: int, kind: str, queries: int) -> dict:
    """Best references of some clips by one metric: seconds, bytes of the arrays, and peak of anonymous memory in MiB."""
    files = [[folder / f"{shard}.{name}" for shard in range(shards)]
             for name in ("clips.parquet", f"{FILES[kind]}.npy", "rows.parquet")]  # fmt: skip
    references, asked = (
        ReferenceShards(*files),
        ReferenceShards(files[0], [folder / f"{n}.flows.npy" for n in range(shards)], files[2]),
    )
    comparison = MotionComparison.of(MOTION, folder / "background.parquet")
    rule = next(rule for metric in comparison.metrics if (rule := comparison.rule_of(metric)).features == kind)
    block = block_of(asked.shard(0), asked.names(0)[:queries], rule, query=True)
    for number in range(shards):
        references.shard(number)
    started, processor = time.perf_counter(), time.process_time()
    nearest_motion(block, references, rule, [rule.filter.sides], 5)
    taken = time.perf_counter() - started, time.process_time() - processor
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    peak = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("RssAnon"))
    return {
        "wall_s": taken[0],
        "processor_s": taken[1],
        "bytes": sum(path.stat().st_size for path in files[1]),
        "mib": peak / 1024,
    }


def main(sizes: list[int], queries: int, rounds: int) -> None:
    for clips in sizes:
        with tempfile.TemporaryDirectory() as folder:
            shards = write_corpus(Path(folder), clips)
            for kind in FILES:
                command = [sys.executable, __file__, "--scan", folder, str(shards), kind, str(queries)]
                runs = [json.loads(subprocess.run(command, check=True, capture_output=True).stdout) for _ in range(rounds)]
                table = pd.DataFrame(runs).median()
                times = f"{table['wall_s']:.2f} s, {table['processor_s']:.2f} s of a core"
                size = f"{table['bytes'] / 1e6:.0f} MB, {table['mib']:.0f} MiB"
                print(f"{clips} clips, {queries} queries, {kind}: {times}, {size}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--clips", type=int, nargs="+", default=[2000, 8000])
    parser.add_argument("--queries", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scan", nargs=4, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.scan:
        print(json.dumps(scan(Path(given.scan[0]), int(given.scan[1]), given.scan[2], int(given.scan[3]))))
    else:
        main(given.clips, given.queries, given.rounds)
