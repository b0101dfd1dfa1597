"""Make one shard of the controls of a corpus. Every control names the clip it was made from."""

import numpy as np

from vidmem.base.clip_table import clip_table, usable
from vidmem.base.identity import shard_of
from vidmem.base.logs import progress, start_logging
from vidmem.base.store import ArrayWriter, save_table
from vidmem.corpus.clip_frames import Frames
from vidmem.features.clip_features import listed_clips, listed_features, mean_magnitudes
from vidmem.scoring.control_plan import CONTROL_COLUMNS, control_clips, plan_controls


def make_controls(inputs, corpus: dict, name: str, controls: dict, seed: int, shard: int, shards: int, output) -> None:
    clips = listed_clips(inputs.motion, ["clip_id", "status", "count", "fps", "information"])
    plan = plan_controls(usable(clips), mean_magnitudes(inputs.motion), controls, controls["moving"], seed)
    plan = plan[np.array([shard_of(clip_id, shards) == shard for clip_id in plan["clip_id"]], dtype=bool)]
    flows = listed_features(inputs.motion, "motion", set(plan["origin"]))
    frames = Frames.listed([inputs.frames], {name: corpus})
    frames.read(f"corpus-{name}", plan["picture"])
    made = control_clips(plan, name, lambda picture: frames.of(f"corpus-{name}", picture), flows.of, corpus["frames"], seed)
    rows = []
    with ArrayWriter(output.frames, (*corpus["size"], 3), "uint8") as writer:
        for row, clip in progress(made, "controls", len(plan), "clip"):
            writer.append(clip)
            rows.append(row)
    save_table(output.clips, clip_table(rows, CONTROL_COLUMNS))


if "snakemake" in globals():
    start_logging(snakemake.log[0], snakemake.scriptdir, snakemake.params)
    make_controls(
        snakemake.input,
        snakemake.params.corpus,
        snakemake.wildcards.corpus,
        snakemake.params.controls,
        snakemake.params.seed,
        int(snakemake.wildcards.shard),
        snakemake.params.shards,
        snakemake.output,
    )
