"""Read one shard of a corpus: frames of one size, and a row for every listed item, whatever became of it."""

import json
from pathlib import Path

import pandas as pd
from vidmem.corpus import list_source, read_item
from vidmem.logs import progress, start_logging
from vidmem.store import ArrayWriter, save_table, shard_of


def read_corpus(corpus: dict, name: str, shard: int, shards: int, frames: Path, clips: Path) -> None:
    work = [
        (source, item)
        for source in corpus["sources"]
        for item in list_source(source)
        if shard_of(item.clip_id, shards) == shard
    ]
    rows = []
    with ArrayWriter(frames, (*corpus["size"], 3), "uint8") as writer:
        for source, item in progress(work, f"read {name} {shard}", unit="clip"):
            record = read_item(
                item, corpus["frames"], tuple(corpus["size"]), source["fps"], source["fit"], corpus["min_information"]
            )
            rows.append(
                {
                    "clip_id": item.clip_id,
                    "set": f"corpus-{name}",
                    "source": item.source,
                    "caption": item.caption,
                    "prompt_id": "",
                    "split": item.split,
                    "copies": item.copies,
                    "seed": -1,
                    "first": writer.append(record.frames),
                    "count": len(record.frames),
                    "fps": float(record.fps),
                    "information": record.information,
                    "status": record.status,
                    "reason": record.reason,
                    "provenance": json.dumps({"kind": item.kind, "start_s": item.start_s, "crop": item.crop}),
                }
            )
    save_table(clips, pd.DataFrame(rows, columns=COLUMNS))


COLUMNS = [
    "clip_id", "set", "source", "caption", "prompt_id", "split", "copies", "seed",
    "first", "count", "fps", "information", "status", "reason", "provenance",
]  # fmt: skip

if "snakemake" in globals():
    start_logging(snakemake.log[0], snakemake.scriptdir)
    read_corpus(
        snakemake.params.corpus,
        snakemake.wildcards.corpus,
        int(snakemake.wildcards.shard),
        snakemake.config["shards"],
        Path(snakemake.output.frames),
        Path(snakemake.output.clips),
    )
