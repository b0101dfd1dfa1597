"""Look up one file of the user in the corpora of a finished audit and among what its models generated."""

from pathlib import Path

import pandas as pd

from vidmem.base.logs import progress, start_logging
from vidmem.base.store import hash_file, save_csv, save_text
from vidmem.corpus.clip_frames import Frames
from vidmem.corpus.whole_file import file_items, read_file
from vidmem.exhibits.found_clips import answer_lines, chance_lines, found_page, found_rows, shown_rows
from vidmem.features.metrics import metric_of
from vidmem.features.motion_comparison import MotionComparison
from vidmem.features.writers import features_of
from vidmem.scoring.thresholds import thresholds_of
from vidmem.search.file_search import FileSearch, searched_set


def find_in_corpus(path: Path, name: str, about: dict, inputs, params, threads: int, clips: pd.DataFrame) -> tuple:
    """Windows of the file as a corpus reads them, and the rows of its best matches in every set of the corpus."""
    items = file_items(path, about["corpus"])
    read = progress(read_file(path, about["corpus"], items), f"read {path.name}", len(items), "window")
    windows, queries = features_of(read, params.descriptors, params.flow, inputs.weights, inputs.flow_weights, threads)
    comparison = MotionComparison.of(params.motion, about["background"])
    lookup = FileSearch(metric_of(params.content["metric"]), comparison, params.search)
    limits = thresholds_of(inputs.thresholds, name, (params.content["metric"], params.motion["metric"]))
    rows = []
    for one in about["sets"]:
        matches = lookup.matches(queries, searched_set(one, lookup, threads))
        own = clips[clips["set"] == one["set"]]
        rows.append(found_rows(matches, windows, own, one["role"], one["where"], dict(zip(lookup.kinds, limits.values()))))
    return windows, pd.concat(rows, ignore_index=True)


def find(inputs, params, threads: int, root: Path) -> None:
    path, found, lines, shown = Path(params.clip), [], [], []
    for old in (root / "find.csv", root / "find.txt"):  # a failure must not leave the answer about another file
        old.unlink(missing_ok=True)
    frames = Frames.listed(inputs.frames, {name: about["corpus"] for name, about in params.searched.items()})
    for name, about in params.searched.items():
        windows, rows = find_in_corpus(path, name, about, inputs, params, threads, frames.clips)
        metrics = {"content": params.content["metric"], "motion": params.motion["metric"]}
        lines += [*answer_lines(path.name, windows, rows), *chance_lines(pd.read_csv(inputs.calibration), name, metrics)]
        shown += shown_rows(rows, path, about["corpus"], frames)
        found.append(rows)
    table, page = pd.concat(found, ignore_index=True), root / "find" / f"{hash_file(path)[:12]}.html"
    save_text(page, found_page(path.name, root.name, lines, table, shown))
    save_csv(root / "find.csv", table)
    save_text(root / "find.txt", "\n".join([*lines, f"The page: {page}"]) + "\n")


if "snakemake" in globals():
    start_logging(snakemake.log[0], snakemake.scriptdir, snakemake.params)
    find(snakemake.input, snakemake.params, snakemake.threads, Path(snakemake.params.root))
