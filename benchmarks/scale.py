"""Time and memory of a search against the size of the corpus, on synthetic descriptors with the spectrum of real ones.

    python benchmarks/scale.py [--sizes 10000 30000 100000 300000 1000000 2000000] [--methods exact]

Every size is searched by a process of its own, which reads its shards as mapped files and samples its own anonymous memory
(RssAnon: mapped files do not count). All sizes are beginnings of one corpus and get the same queries: copies, near-duplicates
and strangers in turn. Two million descriptors take 2 GB in --folder and some three minutes to make, once.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

ROOT = Path(__file__).resolve().parents[1]
LIBRARY = ROOT / "workflow_scripts/vidmem"
sys.path.insert(0, str(LIBRARY.parent))

from vidmem.base.clip_table import clip_row, clip_table
from vidmem.base.code_digest import digest_modules
from vidmem.base.store import hash_file, load_array, save_csv, save_table
from vidmem.features.clip_features import ClipFeatures
from vidmem.planning.scaling import fit_exponent
from vidmem.planning.synthetic import FILE as SPECTRUM
from vidmem.planning.synthetic import KINDS, SyntheticCorpus, load_spectrum, make_queries, write_shards
from vidmem.search.exact import TopK, search_exact, stream_blocks
from vidmem.search.faiss_index import (
    add_vectors,
    merge_indexes,
    open_for_search,
    open_index,
    rescored,
    sample_ids,
    save_index,
    search_index,
    shards_and_rows,
    train_index,
    vector_ids,
)
from vidmem.search.matches import nearest_clips
from vidmem.search.references import ReferenceShards

FRAMES, SHARD_ROWS, K, BLOCK = 8, 10_000, 5, 16_384
TRAINING, CANDIDATES = 100_000, 400
Searcher = Callable[[np.ndarray, int], TopK]
"""Queries [Q, d] and k to the answer; rows count through the shards in their order."""


def exact_searcher(shards: Sequence[Path]) -> Searcher:
    """Exact streaming scan of mapped shards."""
    arrays = [load_array(path, verify=False) for path in shards]
    return lambda queries, k: search_exact(queries, stream_blocks(arrays, BLOCK), k)


def audit_searcher(shards: Sequence[Path]) -> Searcher:
    """The scan of the audit's search job: tables and arrays of one shard at a time, the best clips of every query by GSSCD."""
    references = ReferenceShards(*zip(*(tables_of(shard) for shard in shards)))

    def search(queries: np.ndarray, k: int) -> TopK:
        spans = {f"q{row}": (0, row, row + 1) for row in range(len(queries))}
        asked = ClipFeatures(None, spans, [queries], None, "")
        found = nearest_clips(asked, list(spans), references, k, BLOCK)
        clips = np.where(found.names == "", "-1", found.names).astype(np.int64)
        return TopK(found.scores[:, :k], clips[:, :k] * FRAMES)

    return search


def tables_of(shard: Path) -> tuple[Path, Path, Path]:
    """Clip table, array and row table of a shard; clips are named by their number."""
    clips, rows = shard.with_suffix(".clips.parquet"), shard.with_suffix(".parquet")
    if not rows.exists():
        first, last = (int(part) for part in shard.stem.split("-"))
        names = [f"{row // FRAMES:09d}" for row in range(first, last)]
        members = [clip_row({}, clip_id=name, split="member", count=FRAMES) for name in dict.fromkeys(names)]
        save_table(clips, clip_table(members))
        save_table(rows, pd.DataFrame({"clip_id": names, "frame": np.arange(first, last) % FRAMES, "computed_by": "synthetic"}))
    return clips, shard, rows


def index_searcher(shards: Sequence[Path]) -> Searcher:
    """IVF-PQ of 64 bytes a vector, made as the workflow makes it and kept beside the shards; exact scores of candidates.

    Half of the lists are looked through: copies at a cosine of 0.5 lie far from their originals' lists, and codes of four bits
    are compared so fast that this costs little.
    """
    path, arrays = index_path(shards), [load_array(shard, verify=False) for shard in shards]
    if not path.exists():
        build(shards, arrays, path)
    index = open_for_search(path, f"nprobe={lists_of(len(shards)) // 2}")

    def search(queries: np.ndarray, k: int) -> TopK:
        found = rescored(queries, search_index(index, queries, CANDIDATES), arrays.__getitem__)
        numbers, rows = shards_and_rows(found.rows[:, :k])
        return TopK(found.scores[:, :k], numbers * SHARD_ROWS + rows)

    return search


def build(shards: Sequence[Path], arrays: list[np.ndarray], path: Path) -> None:
    own = [vector_ids(number, np.arange(len(array))) for number, array in enumerate(arrays)]
    numbers, rows = shards_and_rows(sample_ids(zip(own, own), TRAINING))
    sample = np.concatenate([array[rows[numbers == n]].astype(np.float32) for n, array in enumerate(arrays)])
    trained, parts = path.with_suffix(".trained"), []
    save_index(trained, train_index(sample.shape[1], f"IVF{lists_of(len(shards))},PQ128x4", sample))
    for number, array in enumerate(arrays):
        part = open_index(trained)
        add_vectors(part, array.astype(np.float32), vector_ids(number, np.arange(len(array))))
        parts.append(path.with_suffix(f".{number}.part"))
        save_index(parts[-1], part)
    merge_indexes(open_index(trained), parts, path)
    for part in parts:
        part.unlink()


def lists_of(shards: int) -> int:
    """Inverted lists of an index of so many shards."""
    return int(2 ** round(np.log2(2 * (SHARD_ROWS * shards) ** 0.5)))


def index_path(shards: Sequence[Path]) -> Path:
    return shards[0].parent / "index" / f"{SHARD_ROWS * len(shards)}.faiss"


# What a searcher trains, fills and keeps counts as preparation (columns prepare_seconds, prepared_mb), what it answers as the
# search. The index of a size is made once: the repeats open it.
SEARCHERS: dict[str, Callable[[Sequence[Path]], Searcher]] = {
    "exact": exact_searcher, "audit": audit_searcher, "ivf-pq": index_searcher,
}  # fmt: skip


def anonymous_memory() -> int:
    """Anonymous resident memory of this process, bytes: what it allocated, without the files it maps."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    raise SystemExit("this kernel tells no RssAnon in /proc/self/status")


class Peak(threading.Thread):
    """Highest anonymous memory while it runs, sampled two hundred times a second."""

    def __init__(self):
        super().__init__(daemon=True)
        self.highest, self._stop_asked = anonymous_memory(), threading.Event()

    def run(self) -> None:
        while not self._stop_asked.wait(0.005):
            self.highest = max(self.highest, anonymous_memory())

    def finish(self) -> int:
        self._stop_asked.set()
        self.join()
        return max(self.highest, anonymous_memory())


def measure(method: str, folder: Path, size: int, queries: Path, answer: Path) -> dict:
    """Search one size in this process."""
    asked, began_with = np.load(queries), anonymous_memory()
    shards = [folder / name for name in shard_names(size)]
    peak = Peak()
    peak.start()
    began = time.perf_counter()
    searcher = SEARCHERS[method](shards)
    prepared, kept = time.perf_counter() - began, anonymous_memory()
    searcher(asked[:1], K)  # so that no library is loaded while the clock runs
    began, spent = time.perf_counter(), time.process_time()
    found = searcher(asked, K)
    seconds, cpu, highest = time.perf_counter() - began, time.process_time() - spent, peak.finish()
    np.savez(answer, scores=found.scores, rows=found.rows)
    files = [] if method != "ivf-pq" else [index_path(shards), index_path(shards).with_suffix(".lists")]
    stored = sum(path.stat().st_size for path in files or shards)
    megabytes = {"before_mb": began_with, "prepared_mb": kept - began_with, "peak_mb": highest}
    return {
        "seconds": seconds,
        "cpu_seconds": cpu,
        "prepare_seconds": prepared,
        "bytes_a_vector": stored / size,
        **{name: value / 2**20 for name, value in megabytes.items()},
    }


def shard_names(size: int) -> list[str]:
    return [f"{first:010d}-{first + SHARD_ROWS:010d}.npy" for first in range(0, size, SHARD_ROWS)]


def in_child(method: str, folder: Path, size: int, queries: Path, answer: Path) -> dict:
    """The same in a process that has done nothing else."""
    command = [sys.executable, __file__, "--child", method, str(folder), str(size), str(queries), str(answer)]
    result = subprocess.run(command, check=True, capture_output=True, text=True)
    lines = [line for line in result.stdout.splitlines() if line.startswith("{")]  # FAISS prints, too
    return json.loads(lines[-1])


def recall(found: np.ndarray, exact: np.ndarray, kinds: np.ndarray) -> dict:
    """Share of queries whose best score is the exact one, by kind."""
    right = np.isclose(found[:, 0], exact[:, 0], atol=1e-5)
    return {"recall_at_1": right.mean(), **{f"recall_{kind}": right[kinds == kind].mean() for kind in KINDS}}


def found_origins(rows: np.ndarray, asked) -> dict:
    """Share of copies whose original's clip, and of near-duplicates whose clip, is the first answer."""
    own = rows[:, 0] // FRAMES == asked.origins // FRAMES
    return {f"found_{kind}": own[asked.kinds == kind].mean() for kind in KINDS[:2]}


def run(sizes: list[int], methods: list[str], count: int, folder: Path, output: Path, repeats: int) -> None:
    corpus, rows = SyntheticCorpus(load_spectrum(), FRAMES), []
    # Shards of another spectrum or of other code lie elsewhere: those that are there are kept.
    folder = folder / digest_modules(LIBRARY, ["synthetic", "descriptors"])
    folder = folder / hash_file(SPECTRUM)[:12]
    began = time.perf_counter()
    write_shards(corpus, folder, max(sizes), SHARD_ROWS)
    print(f"{max(sizes)} descriptors in {folder}, {time.perf_counter() - began:.0f} s", flush=True)
    asked = make_queries(corpus, min(sizes), count)
    with tempfile.TemporaryDirectory() as scratch:
        queries = Path(scratch) / "queries.npy"
        np.save(queries, asked.vectors)
        for size in sizes:
            exact = None
            for method in methods:
                answer = Path(scratch) / f"{method}-{size}.npz"
                first = in_child(method, folder, size, queries, answer)  # makes what is kept
                runs = [in_child(method, folder, size, queries, answer) for _ in range(repeats)]
                best = sorted(runs, key=lambda one: one["seconds"])[len(runs) // 2]
                best["peak_mb"] = max(one["peak_mb"] for one in runs)
                best["prepare_seconds"] = first["prepare_seconds"]
                scores, found = (np.load(answer)[name] for name in ("scores", "rows"))
                exact = scores if method == "exact" else exact  # by frame; the best clip of one frame is that of the best frame
                known = recall(scores, exact, asked.kinds) if exact is not None else {}
                rows.append({"method": method, "descriptors": size, "queries": count, "repeats": repeats,
                             **best, **known, **found_origins(found, asked)})  # fmt: skip
                print(pd.DataFrame(rows[-1:]).to_string(index=False), flush=True)
    table = pd.DataFrame(rows)
    save_csv(output / "scale.csv", table)
    save_csv(output / "exponents.csv", exponents(table))
    plot(table, output / "fig_scale.png")


def exponents(table):
    """Fitted exponents of time and peak memory by method, over all sizes."""
    rows, quantities = [], ("seconds", "cpu_seconds", "peak_mb")
    for method, group in table.groupby("method", sort=False):
        sizes = group["descriptors"]
        for quantity in quantities:
            power = fit_exponent(sizes, group[quantity]) if len(group) > 1 else float("nan")
            rows.append((method, quantity, sizes.min(), sizes.max(), power))
    return pd.DataFrame(rows, columns=["method", "quantity", "from", "to", "exponent"])


def plot(table, path: Path) -> None:
    """Time and memory against the size of the corpus, both axes logarithmic, with the exponents."""
    import matplotlib.pyplot as plt

    from vidmem.exhibits.figures import PALETTE, STYLE, save_figure

    fitted = exponents(table).set_index(["method", "quantity"])["exponent"]
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(1, 2, figsize=(7.2, 3))
        labels = {"cpu_seconds": "processor seconds for all queries", "peak_mb": "peak anonymous memory, MiB"}
        for axis, (column, label) in zip(axes, labels.items()):
            for (method, group), colour in zip(table.groupby("method", sort=False), PALETTE):
                power = fitted[method, column]
                axis.loglog(group["descriptors"], group[column], "o-", color=colour, label=f"{method}, exponent {power:.2f}")
            axis.set(xlabel="descriptors in the corpus", ylabel=label)
            axis.set_ylim(table[column].min() / 3, table[column].max() * 3)
            axis.legend(loc="upper left")
        figure.tight_layout()
        save_figure(figure, path)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        method, folder, size, queries, answer = sys.argv[2:]
        print(json.dumps(measure(method, Path(folder), int(size), Path(queries), Path(answer))))
        sys.exit()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = [10_000, 30_000, 100_000, 300_000, 1_000_000, 2_000_000]
    parser.add_argument("--sizes", type=int, nargs="+", default=default, help=f"multiples of {SHARD_ROWS}")
    parser.add_argument(
        "--methods", nargs="+", choices=list(SEARCHERS), default=["exact"], help="exact first: recall is against it"
    )
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument(
        "--repeats", type=int, default=3, help="processes a size; the median time and the highest peak are kept"
    )
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / f"vidmem-scale-{os.getuid()}")
    parser.add_argument("--output", type=Path, default=ROOT / "docs/results/scale")
    options = parser.parse_args()
    if any(size % SHARD_ROWS for size in options.sizes):
        parser.error(f"sizes must be multiples of {SHARD_ROWS}")
    run(sorted(options.sizes), options.methods, options.queries, options.folder, options.output, options.repeats)
