"""Read one shard of a corpus: frames of one size, and a row for every listed item, even if it cannot be read."""

from pathlib import Path

from vidmem.base.clip_table import clip_table
from vidmem.base.logs import progress, start_logging
from vidmem.base.store import ArrayWriter, save_table
from vidmem.corpus.listing import list_corpus
from vidmem.corpus.reading import read_clips


def read_corpus(corpus: dict, name: str, shard: int, shards: int, frames: Path, clips: Path) -> None:
    work, rows = list_corpus(corpus["sources"], shard, shards), []
    with ArrayWriter(frames, (*corpus["size"], 3), "uint8") as writer:
        for row, pictures in progress(read_clips(corpus, name, work), f"read {name} {shard}", len(work), "clip"):
            writer.append(pictures)
            rows.append(row)
    save_table(clips, clip_table(rows))


if "snakemake" in globals():
    start_logging(snakemake.log[0], snakemake.scriptdir, snakemake.params)
    read_corpus(
        snakemake.params.corpus,
        snakemake.wildcards.corpus,
        int(snakemake.wildcards.shard),
        snakemake.params.shards,
        Path(snakemake.output.frames),
        Path(snakemake.output.clips),
    )
