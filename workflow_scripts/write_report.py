"""Write the report page of the audit: one HTML file with the answer, playing pairs, all prompts, all clips, and figures."""

import json
from functools import partial
from pathlib import Path

import pandas as pd
import yaml

from vidmem.base.logs import progress, start_logging
from vidmem.base.store import load_table, save_text, write_atomic
from vidmem.corpus.clip_frames import Frames
from vidmem.exhibits import report_page
from vidmem.exhibits.findings import findings


def beside(folder: str, name: str, content: bytes) -> str:
    """Address of a file that is written beside the page."""
    write_atomic(Path(folder, name), lambda file: file.write(content))
    return f"{Path(folder).name}/{name}"


def write_report(inputs, models: dict, corpora: dict, config: dict, page: str, folder: str) -> None:
    """`models` says of each model its label and corpus, in the order of the files. Without a folder, all is in the page."""
    address = partial(beside, folder) if folder else report_page.data_address
    frames = Frames.listed(inputs.frames, corpora)
    metrics = {kind: config[kind]["metric"] for kind in ("content", "motion")}
    clips = [frames.clips[frames.clips["set"] == f"generated-{name}"] for name in models]
    rows = report_page.sample_rows(list(models), clips, [load_table(path) for path in inputs.scores], metrics)
    training = pd.read_csv(inputs.rows, keep_default_na=False, na_values={"content_score": "", "motion_score": ""})
    pairs = report_page.chosen_pairs(rows, training, config["report"]["pairs"])
    for corpus in corpora:
        frames.read(f"corpus-{corpus}", {match.training for match in pairs if models[match.model]["corpus"] == corpus})
    videos = {}
    for match, kind in progress(pairs.items(), "pairs", len(pairs), "pair"):
        video = report_page.playing_pair(
            match, frames, models[match.model]["corpus"], config["motion"]["k"] + 1 if kind == "motion" else 1
        )
        videos[f"{match.model}/{match.generated}/{match.training}"] = address(f"pair-{len(videos) + 1}.mp4", video)
    verdict = json.loads(Path(inputs.verdict).read_text(encoding="utf-8"))
    tables = {name.removeprefix("table_"): pd.read_csv(path) for name, path in inputs.items() if name.startswith("table_")}
    pictures = {name.removeprefix("picture_"): path for name, path in inputs.items() if name.startswith("picture_")}
    inversions = config["inversions"].items()
    inverted = {name: f"{about.get('label', name)} ({about['pipeline']}, {about['path']})" for name, about in inversions}
    text = report_page.render_page({
        "verdict": verdict, "models": models, "rows": rows, "videos": videos, "beside": bool(folder),
        "counts": report_page.clips_of_models(rows, verdict), "training": report_page.clip_records(training),
        "findings": findings(tables, training, models, metrics, inverted), "corpora": config["corpora"],
        "status": pd.read_csv(inputs.status, keep_default_na=False).to_dict("records"),
        "level": config["interval"]["level"], "configuration": yaml.safe_dump(config, sort_keys=False, allow_unicode=True),
        "pictures": {what: address(f"{what}.png", Path(path).read_bytes()) for what, path in pictures.items()},
    })  # fmt: skip
    save_text(page, text)


if "snakemake" in globals():
    start_logging(snakemake.log[0], snakemake.scriptdir, snakemake.params)
    inputs, params, output = snakemake.input, snakemake.params, snakemake.output
    folder = output[1] if len(output) > 1 else ""
    write_report(inputs, params.models, params.corpora, params.config, output[0], folder)
