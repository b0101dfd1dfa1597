"""Figures 1, 3, 4 and 5: training clips above, and training images beside, the generated clips that match them."""

from vidmem.base.logs import start_logging
from vidmem.corpus.clip_frames import Frames
from vidmem.exhibits.best_matches import load_pairs, match_row
from vidmem.exhibits.figures import gallery, image_panel, save_figure
from vidmem.features.metrics import Metric, metric_of

CLIPS, EACH = 8, 4  # most pairs of a single model, and fewest of each of several


def plot_galleries(inputs, models: dict, corpora: dict, metric: Metric, output) -> None:
    frames = Frames.listed(inputs.frames, corpora)
    films, stills = (load_pairs(models, inputs.scores, frames, metric.name, CLIPS, still) for still in (False, True))
    shown = {model: films[model] or stills[model] for model in models}  # a corpus of images has no clips to show

    def rows_of(pairs: list) -> list[dict]:
        return [match_row(pair, frames, models[pair.model], metric.label) for pair in pairs]

    def best_of(pairs: dict[str, list], chosen: list[str]) -> list:
        return [pair for model in chosen for pair in pairs[model][: max(EACH, CLIPS // len(chosen))]]

    prompted, unprompted = (
        best_of(shown, [model for model in models if bool(models[model]["prompted"]) == asked]) for asked in (True, False)
    )
    images = best_of(stills, [model for model in models if stills[model]])
    for path in output.text:  # a figure of models that the audit does not have is not asked for
        save_figure(gallery(rows_of(prompted), "Extracted by prompts"), path)
    for path in output.unconditional:
        save_figure(gallery(rows_of(unprompted), "Extracted without prompts"), path)
    save_figure(
        gallery(rows_of([pair for model in models for pair in shown[model][:EACH]]), "Best matches of every model"),
        output.model,
    )
    save_figure(image_panel(rows_of(images)), output.images)


if "snakemake" in globals():
    start_logging(snakemake.log[0], snakemake.scriptdir, snakemake.params)
    params = snakemake.params
    plot_galleries(snakemake.input, params.models, params.corpora, metric_of(params.content["metric"]), snakemake.output)
