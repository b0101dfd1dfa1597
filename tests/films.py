"""Clip tables and frames of all shards of a corpus."""

from vidmem.base.clip_table import clip_table
from vidmem.base.store import save_table
from vidmem.corpus.listing import list_corpus
from vidmem.corpus.reading import read_clips

SHARDS = 5


def read_all(films: dict, folder) -> tuple[list[str], dict]:
    """Clip tables of all shards, and every frame there is."""
    known = {}
    for shard in range(SHARDS):
        rows = []
        for row, pictures in read_clips(films, "films", list_corpus(films["sources"], shard, SHARDS)):
            rows.append(row)
            known[row["clip_id"]] = pictures
        save_table(folder / f"corpus-films/{shard}.clips.parquet", clip_table(rows))
    return [str(folder / f"corpus-films/{shard}.clips.parquet") for shard in range(SHARDS)], known
