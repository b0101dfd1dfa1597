"""Figures 1, 3, 4 and 5: training clips above, and images beside, what the models made of them."""

from vidmem.clip_frames import Frames
from vidmem.corpus import fit_frames
from vidmem.exhibit_data import Pair, load_pairs
from vidmem.figures import gallery, image_panel, save_figure
from vidmem.logs import start_logging


def plot_galleries(inputs, models: dict, corpora: dict, content: dict, output) -> None:
    frames = Frames.listed(inputs.frames, corpora)
    films = load_pairs(models, inputs.scores, frames, content["metric"], 8, "member")

    def row(pair: Pair) -> dict:
        training = frames.of(f"corpus-{models[pair.model]['corpus']}", pair.training)
        generated = fit_frames(frames.of(f"generated-{pair.model}", pair.generated), training.shape[1:3], "stretch")
        return {
            "training": training,
            "generated": generated,
            "training_frame": pair.training_frame, "generated_frame": pair.generated_frame, "score": pair.score,
            "threshold": pair.threshold, "copies": pair.copies, "metric": content["metric"].upper(),
            "caption": pair.caption, "prompt": pair.prompt, "label": models[pair.model]["label"],
        }  # fmt: skip

    prompted = [pair for model in models if models[model]["prompted"] for pair in films[model]]
    unprompted = [pair for model in models if not models[model]["prompted"] for pair in films[model]]
    first_four = [pair for model in models for pair in films[model][:4]]
    titles = {"text": "Extracted from text-to-video models", "unconditional": "Extracted from unconditional models"}
    save_figure(gallery([row(pair) for pair in prompted[:8]], titles["text"]), output.text)
    save_figure(gallery([row(pair) for pair in unprompted[:8]], titles["unconditional"]), output.unconditional)
    save_figure(gallery([row(pair) for pair in first_four], "Best matches of every model"), output.model)
    stills = [
        pair for pairs in load_pairs(models, inputs.scores, frames, content["metric"], 8, "image").values() for pair in pairs
    ]
    panel = [
        {**shown, "image": shown["training"][0], "frame": shown["generated"][shown["generated_frame"]]}
        for shown in map(row, stills[:8])
    ]
    save_figure(image_panel(panel), output.images)


if "snakemake" in globals():
    start_logging(snakemake.log[0], snakemake.scriptdir, snakemake.params)
    params = snakemake.params
    plot_galleries(snakemake.input, params.models, params.corpora, params.content, snakemake.output)
