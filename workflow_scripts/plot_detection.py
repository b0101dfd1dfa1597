"""Figures 7 and 8: ROC curves of first-step detection, and guidance magnitudes along the denoising steps."""

import pandas as pd

from vidmem.base.logs import start_logging
from vidmem.base.named_files import files_by_name
from vidmem.detection.evaluation import detector_scores, metric_case, planted_cases
from vidmem.detection.probed_model import load_model
from vidmem.exhibits.detection_figures import detection_roc, magnitude_steps
from vidmem.exhibits.figures import plain_text, save_figure
from vidmem.scoring.scores import prompt_verdicts


def plot_detection(files: dict, params, output) -> None:
    panels, bands = [], []
    for name in params.guided:
        model, label = load_model(files[name]), plain_text(params.models[name]["label"], 40, 1)
        verdicts = {
            kind: prompt_verdicts(model.clips, model.scores, rule["metric"], rule["samples"])
            for kind, rule in (("content", params.content), ("motion", params.motion))
        }
        planted = planted_cases(model.prompts, params.detection["planted"])
        cases = {f"planted {case.copies}x, {case.data}": case for case in planted if case.copies.endswith("+")}
        cases |= {f"{kind} verdict": metric_case(table) for kind, table in verdicts.items()}
        values = model.first_step()
        for title, case in cases.items():
            scores = detector_scores(values, case, model.prompts, params.seed)
            panels.append({"title": f"{label}\n{title}", "labels": case.labels, "scores": scores})
        for kind, table in verdicts.items():
            bands.append(along_steps(model.guidance, kind, metric_case(table).labels).assign(model=label))
    for path in output.roc:  # without a guided model neither figure is asked for
        save_figure(detection_roc(panels), path)
    for path in output.steps:
        save_figure(magnitude_steps(pd.concat(bands, ignore_index=True)), path)


def along_steps(guidance: pd.DataFrame, kind: str, memorised: pd.Series) -> pd.DataFrame:
    chosen = guidance[(guidance["quantity"] == kind) & guidance["prompt_id"].isin(memorised.index)]
    means = chosen.groupby(["prompt_id", "clip_id", "step"])["value"].mean().reset_index()
    return means.assign(quantity=kind, memorised=means["prompt_id"].map(memorised).astype(bool))


if "snakemake" in globals():
    start_logging(snakemake.log[0], snakemake.scriptdir, snakemake.params)
    files = files_by_name(dict(snakemake.input.items()), snakemake.params.guided)
    plot_detection(files, snakemake.params, snakemake.output)
