"""Write the report page of the audit: one HTML file with the answer, playing pairs, all prompts, all clips, and figures."""

import json
from pathlib import Path

import pandas as pd
import yaml

from vidmem.base.logs import progress, start_logging
from vidmem.base.store import load_table, save_text
from vidmem.corpus.clip_frames import Frames
from vidmem.exhibits.best_matches import Pair
from vidmem.exhibits.report_page import chosen_pairs, data_address, playing_pair, render_page, sample_rows


def write_report(inputs, pictures: dict, models: dict, corpora: dict, config: dict, destination: str) -> None:
    """`models` says of each model its label and corpus, in the order of the files; `pictures` names figures."""
    frames = Frames.listed(inputs.frames, corpora)
    metrics = {kind: config[kind]["metric"] for kind in ("content", "motion")}
    clips = [frames.clips[frames.clips["set"] == f"generated-{name}"] for name in models]
    rows = sample_rows(list(models), clips, [load_table(path) for path in inputs.scores], metrics)
    training = pd.read_csv(inputs.rows, keep_default_na=False, na_values={"content_score": "", "motion_score": ""})
    pairs = chosen_pairs(rows, training, config["report"]["pairs"])
    for corpus in corpora:
        frames.read(f"corpus-{corpus}", {key.training for key in pairs if models[key.model]["corpus"] == corpus})
    videos = {}
    for key, match in progress(pairs.items(), "pairs", len(pairs), "pair"):
        shown = Pair(*key, match["score"], *match["frames"][::-1], "", "", 0, 0.0, "", match["view"])
        length = config["motion"]["k"] + 1 if match["kind"] == "motion" else 1
        videos["/".join(key)] = playing_pair(shown, frames, models[key.model]["corpus"], length)
    page = render_page({
        "verdict": json.loads(Path(inputs.verdict).read_text(encoding="utf-8")),
        "models": models, "rows": rows, "videos": videos, "limits": {kind: config[kind]["threshold"] for kind in metrics},
        "training": json.loads(training.to_json(orient="records")),
        "status": pd.read_csv(inputs.status, keep_default_na=False).to_dict("records"),
        "calibration": pd.read_csv(inputs.calibration, keep_default_na=False).to_dict("records"),
        "scored": {name: {kind: [sum(row[kind] is not None for row in rows if row["model"] == name),
                                 sum(row["model"] == name for row in rows)] for kind in metrics} for name in models},
        "metrics": metrics, "configuration": yaml.safe_dump(config, sort_keys=False, allow_unicode=True),
        "pictures": {what: data_address("image/png", Path(path).read_bytes()) for what, path in pictures.items()},
    })  # fmt: skip
    save_text(destination, page)


if "snakemake" in globals():
    start_logging(snakemake.log[0], snakemake.scriptdir, snakemake.params)
    inputs, params = snakemake.input, snakemake.params
    pictures = {name.removeprefix("picture_"): path for name, path in inputs.items() if name.startswith("picture_")}
    write_report(inputs, pictures, params.models, params.corpora, params.config, snakemake.output[0])
