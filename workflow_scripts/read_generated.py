"""Read clips that were generated elsewhere, from a list or a folder. Clips that cannot be read get a row, too."""

from pathlib import Path

import pandas as pd

from vidmem.base.clip_table import GUIDANCE_COLUMNS, clip_table
from vidmem.base.identity import shard_of
from vidmem.base.logs import LOGGER, progress, start_logging
from vidmem.base.store import ArrayWriter, save_table
from vidmem.features.clip_features import listed_clips
from vidmem.generation.elsewhere import list_made, stray_files
from vidmem.generation.made_clips import read_made, with_targets


def read_generated(corpus: str, model: str, spec: dict, shard: int, shards: int, output) -> None:
    made = with_targets(list_made(model, spec), listed_clips(corpus).set_index("clip_id"), Path(corpus).parent)
    if stray := stray_files(model, spec):
        names = ", ".join(stray[:100]) + f" and {len(stray) - 100} more" * (len(stray) > 100)
        LOGGER.warning("%d files are no clips. They are left out and not counted: %s", len(stray), names)
    work, rows = [one for one in made if shard_of(one[0].prompt_id, shards) == shard], []
    with ArrayWriter(output.frames, (*spec["size"], 3), "uint8") as writer:
        for row, frames in progress(read_made(model, spec, work), f"read {model}", len(work), "clip"):
            writer.append(frames)
            rows.append(row)
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
