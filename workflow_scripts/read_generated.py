"""Read clips generated elsewhere: those of a list or a folder, whatever became of them."""

from pathlib import Path

import pandas as pd

from vidmem.clip_table import GUIDANCE_COLUMNS, clip_row, clip_table
from vidmem.corpus import read_item
from vidmem.elsewhere import Made, list_made, stray_files
from vidmem.errors import VidmemError
from vidmem.features import listed_clips
from vidmem.logs import LOGGER, progress, start_logging
from vidmem.store import ArrayWriter, save_table, shard_of


def known_target(made: Made, corpus: pd.DataFrame, folder: Path) -> tuple[str, int]:
    if not made.target:
        return "", 0
    if made.target not in corpus.index:
        hint = f"clip ids are in {folder}/*.clips.parquet; leave the column empty where unknown"
        raise VidmemError("a clip id of the corpus in target, or nothing", made.target, made.where, hint)
    return corpus.loc[made.target, "split"], int(corpus.loc[made.target, "copies"])


def read_generated(corpus: str, model: str, spec: dict, shard: int, shards: int, output) -> None:
    rows, known = [], listed_clips(corpus).set_index("clip_id")
    listed = [(made, *known_target(made, known, Path(corpus).parent)) for made in list_made(model, spec)]
    if stray := stray_files(model, spec):
        names = ", ".join(stray[:100]) + f" and {len(stray) - 100} more" * (len(stray) > 100)
        LOGGER.warning("%d files are no clips, left out and counted nowhere: %s", len(stray), names)
    chosen = [row for row in listed if shard_of(row[0].prompt_id, shards) == shard]
    with ArrayWriter(output.frames, (*spec["size"], 3), "uint8") as writer:
        for made, split, copies in progress(chosen, f"read {model}", unit="clip"):
            record = read_item(made.item, spec["frames"], tuple(spec["size"]), spec["fps"], spec["fit"])
            about = {"set": f"generated-{model}", "source": model, "caption": made.item.caption, "prompt_id": made.prompt_id}
            about |= {"target": made.target, "split": split, "copies": copies, "seed": made.seed}
            first = writer.append(record.frames)
            row = {"clip_id": made.item.clip_id, "first": first, **about, **record.fields()}
            rows.append(clip_row({"kind": "files", **made.noted}, **row))
    save_table(output.clips, clip_table(rows))
    save_table(output.guidance, pd.DataFrame(columns=GUIDANCE_COLUMNS).astype({"value": "float32"}))


if "snakemake" in globals():
    start_logging(snakemake.log[0], snakemake.scriptdir, snakemake.params)
    read_generated(
        snakemake.input.corpus,
        snakemake.wildcards.model,
        snakemake.params.model,
        int(snakemake.wildcards.shard),
        snakemake.params.shards,
        snakemake.output,
    )
