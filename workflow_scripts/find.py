"""Look up one file of the user in the corpora of a finished audit and among what its models generated."""

import tempfile
from pathlib import Path

import pandas as pd

from vidmem.base.logs import progress, start_logging
from vidmem.base.store import hash_file, save_csv, save_text
from vidmem.corpus.clip_frames import Frames
from vidmem.corpus.whole_file import file_items, read_file
from vidmem.exhibits.found_clips import answer_lines, found_page, found_rows, shown_rows
from vidmem.features.clip_features import ClipFeatures, open_features
from vidmem.features.metrics import metric_of
from vidmem.features.motion_comparison import MotionComparison
from vidmem.features.writers import DescriptorFiles, FlowFiles, write_clips
from vidmem.scoring.thresholds import thresholds_of
from vidmem.search.file_search import FileSearch, SearchedSet, open_references
from vidmem.search.references import ReferenceShards
from vidmem.search.through_index import CertifiedIndex

FILES = {
    "content": ("clips.parquet", "descriptors.npy", "descriptors.parquet"),
    "motion": ("clips.parquet", "flows.npy", "flows.parquet"),
}
"""Kind -> files of the clip table, the array and its rows."""


def describe_file(path: Path, corpus: dict, inputs, params, threads: int) -> tuple[pd.DataFrame, dict[str, ClipFeatures]]:
    """Clip table of the windows of the file, as the corpus reads it, and their features by kind."""
    items, flow_weights = file_items(path, corpus), Path(inputs.flow_weights[0]) if inputs.flow_weights else None
    with tempfile.TemporaryDirectory() as folder:
        files = {name: Path(folder, name) for names in (*FILES.values(), ["pooled.npy"]) for name in names}
        about = Path(inputs.weights), params.descriptors["preset"], params.descriptors["batch"], threads
        described = DescriptorFiles(files["descriptors.npy"], files["descriptors.parquet"], *about)
        flows = FlowFiles(files["flows.npy"], files["pooled.npy"], files["flows.parquet"], flow_weights, params.flow)
        read = progress(read_file(path, corpus, items), f"read {path.name}", len(items), "window")
        windows = write_clips(read, described, flows, files["clips.parquet"])
        return windows, {kind: open_features(*(files[name] for name in names)) for kind, names in FILES.items()}


def searched_set(about: dict, search: dict, kinds: dict[str, str], threads: int) -> SearchedSet:
    """A set in which the file is looked up: all of a corpus through its lists or an index, or some clips of a set."""
    if about["splits"] is not None:
        return SearchedSet(about["role"], about["where"], about["set"], open_references(about["lists"], kinds, about["splits"]))
    references = {kind: ReferenceShards.listed(about["lists"][own], kind) for own, kind in kinds.items()}
    indexes = {kind: CertifiedIndex.open(*files, search, threads) for kind, files in about["indexes"].items()}
    return SearchedSet(about["role"], about["where"], about["set"], references, indexes)


def find_in_corpus(name: str, path: Path, about: dict, inputs, params, threads: int, clips: pd.DataFrame) -> tuple:
    """Windows of the file as a corpus reads them, and the rows of its best matches in every set of the corpus."""
    comparison = MotionComparison.of(params.motion, about["background"])
    lookup = FileSearch(metric_of(params.content["metric"]), comparison, params.search)
    windows, queries = describe_file(path, about["corpus"], inputs, params, threads)
    limits = thresholds_of(inputs.thresholds, name, (params.content["metric"], params.motion["metric"]))
    by_kind = dict(zip(lookup.kinds, limits.values()))
    rows = []
    for one in about["sets"]:
        searched = searched_set(one, params.search, lookup.kinds, threads)
        own = clips[clips["set"] == searched.name]
        rows.append(found_rows(lookup.matches(queries, searched), windows, own, searched.role, searched.where, by_kind))
    return windows, pd.concat(rows, ignore_index=True)


def find(inputs, params, threads: int, root: Path) -> None:
    path = Path(params.clip)
    for old in (root / "find.csv", root / "find.txt"):  # a failure must not leave the answer about another file
        old.unlink(missing_ok=True)
    frames = Frames.listed(inputs.frames, {name: about["corpus"] for name, about in params.searched.items()})
    found, lines, shown = [], [], []
    for name, about in params.searched.items():
        windows, rows = find_in_corpus(name, path, about, inputs, params, threads, frames.clips)
        lines += answer_lines(path.name, windows, rows)
        shown += shown_rows(rows, path, about["corpus"], frames)
        found.append(rows)
    table = pd.concat(found, ignore_index=True)
    page = root / "find" / f"{hash_file(path)[:12]}.html"
    save_text(page, found_page(path.name, root.name, lines, table, shown))
    save_csv(root / "find.csv", table)
    save_text(root / "find.txt", "\n".join([*lines, f"The page: {page}"]) + "\n")


if "snakemake" in globals():
    start_logging(snakemake.log[0], snakemake.scriptdir, snakemake.params)
    find(snakemake.input, snakemake.params, snakemake.threads, Path(snakemake.params.root))
