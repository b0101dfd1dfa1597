"""Figure 2: the frame pairs and flow fields of the best motion matches."""

from pathlib import Path

import numpy as np

from vidmem.clip_frames import Frames
from vidmem.corpus import fit_frames
from vidmem.exhibit_data import load_pairs
from vidmem.features import listed_features
from vidmem.figures import motion_panel, save_figure
from vidmem.flow import colour_flow
from vidmem.logs import start_logging


def plot_motion_panel(inputs, models: dict, corpora: dict, motion: dict, destination: str) -> None:
    frames = Frames.listed(inputs.frames, corpora)
    pairs_of = load_pairs(models, inputs.scores, frames, "ofs_k", 3)
    shown = {clip_id for pairs in pairs_of.values() for pair in pairs for clip_id in (pair.training, pair.generated)}
    flows = {Path(path).parent.name: listed_features(path, "motion", shown) for path in inputs.flows}

    def window(name: str, clip_id: str, first: int) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        pictures = frames.of(name, clip_id)
        colours = [colour_flow(field) for field in flows[name].of(clip_id)[first : first + motion["k"]]]
        size = (SIDE, SIDE)
        pictures = fit_frames(pictures, size, "stretch")
        places = range(first, first + motion["k"])
        return [
            (pictures[t], pictures[t + 1], fit_frames(colour[None], size, "stretch")[0]) for t, colour in zip(places, colours)
        ]

    rows = []
    for model, pairs in pairs_of.items():
        for pair in pairs:
            training = window(f"corpus-{models[model]['corpus']}", pair.training, pair.training_frame)
            generated = window(f"generated-{model}", pair.generated, pair.generated_frame)
            about = {
                "score": pair.score, "threshold": pair.threshold, "caption": pair.caption, "prompt": pair.prompt,
                "label": models[model]["label"],
            }  # fmt: skip
            rows.append({"training": training, "generated": generated, **about})
    save_figure(motion_panel(rows[:6], motion["k"]), destination)


SIDE = 64  # pixels of a tile: models and corpora of different size stand side by side

if "snakemake" in globals():
    start_logging(snakemake.log[0], snakemake.scriptdir, snakemake.params)
    params = snakemake.params
    plot_motion_panel(snakemake.input, params.models, params.corpora, params.motion, snakemake.output[0])
