"""Make one shard of the controls of a corpus; every control names the clip it was made from."""

import numpy as np

from vidmem.clip_frames import Frames
from vidmem.clip_table import clip_row, clip_table
from vidmem.control_plan import plan_controls, render_control
from vidmem.corpus import frame_information
from vidmem.features import listed_clips, listed_features, mean_magnitudes, usable
from vidmem.logs import progress, start_logging
from vidmem.store import ArrayWriter, save_table, shard_of


def make_controls(inputs, corpus: dict, name: str, controls: dict, seed: int, shard: int, shards: int, output) -> None:
    clips = listed_clips(inputs.motion, ["clip_id", "status", "count", "fps", "information"])
    plan = plan_controls(usable(clips), mean_magnitudes(inputs.motion), controls, controls["moving"], seed)
    plan = plan[np.array([shard_of(clip_id, shards) == shard for clip_id in plan["clip_id"]], dtype=bool)]
    flows = listed_features(inputs.motion, "motion", set(plan["origin"]))
    frames = Frames.listed([inputs.frames], {name: corpus})
    frames.read(f"corpus-{name}", plan["picture"])
    rows = []
    with ArrayWriter(output.frames, (*corpus["size"], 3), "uint8") as writer:
        for row in progress(list(plan.itertuples()), "controls", unit="clip"):
            clip = render_control(row, frames.of(f"corpus-{name}", row.picture), flows.of, corpus["frames"], seed)
            rows.append(
                clip_row(
                    {"origin": row.origin, "picture": row.picture},
                    clip_id=row.clip_id,
                    set=f"controls-{name}",
                    source="controls",
                    split="control",
                    first=writer.append(clip),
                    count=len(clip),
                    fps=row.fps,
                    information=frame_information(clip),
                    control=row.control,
                    variant=row.variant,
                    origin=row.origin,
                    picture=row.picture,
                )
            )
    save_table(output.clips, clip_table(rows, ("control", "variant", "origin", "picture")))


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
