"""Figure 6 (score distributions) and figure 9 (memorization against copies)."""

import pandas as pd

from vidmem.features import listed_clips
from vidmem.figures import copies_figure, save_figure, score_distributions
from vidmem.logs import start_logging
from vidmem.store import load_table, load_tables

GROUPS = {"member": "member captions", "image": "image captions", "heldout": "held-out captions", "": "no prompt"}


def plot_scores(inputs, models: dict, content: dict, motion: dict, output) -> None:
    names = {content["metric"]: content["metric"].upper(), "ofs_k": f"OFS-{motion['k']}"}
    parts = []
    for about, path, clips in zip(models.values(), inputs.scores, inputs.clips, strict=True):
        scores, split = by_clip(path), listed_clips(clips).set_index("clip_id")["split"]
        group = about["label"] + ":\n" + scores["clip_id"].map(split).map(GROUPS)
        parts.append(scores.assign(group=group, metric=scores["metric"].map(names)))
    for path in inputs.real:
        scores = by_clip(path)
        parts.append(scores.assign(group="real held-out clips", metric=scores["metric"].map(names)))
    for path in inputs.pairs:
        parts.append(unrelated_pairs(load_table(path), names, content["metric"], motion))
    table = pd.concat(parts, ignore_index=True).dropna(subset=["metric"])[["metric", "group", "value"]]
    every = load_tables([*inputs.scores, *inputs.real])
    in_force = every.dropna(subset=["threshold"]).groupby("metric")["threshold"].unique()
    thresholds = {shown: sorted(in_force.get(metric, [])) for metric, shown in names.items()}
    save_figure(score_distributions(table, thresholds), output.distributions)
    save_figure(copies_figure(pd.read_csv(inputs.copies)), output.copies)


def by_clip(path: str) -> pd.DataFrame:
    """Scores in the order of their clips: sums behind a curve depend on the order, which shards would decide."""
    return load_table(path).sort_values(["clip_id", "metric"], kind="stable", ignore_index=True)


def unrelated_pairs(pairs: pd.DataFrame, names: dict, metric: str, motion: dict) -> pd.DataFrame:
    variant = f"{motion['cosine']} {motion['pairing']}"
    content = (pairs["metric"] == metric) & (pairs["control"] == "unrelated")
    moving = (pairs["metric"] == "ofs_k") & (pairs["control"] == "unrelated-moving") & (pairs["variant"] == variant)
    last = pairs["filter"] == "static+affine+entropy"
    # Of every clip its best pair: a search takes the best of the corpus, too.
    chosen = pairs[content | (moving & last & (pairs["value"] > -1))]
    both = pd.concat([chosen.assign(clip=chosen["first"]), chosen.assign(clip=chosen["second"])])
    best = both.groupby(["metric", "clip"], as_index=False)["value"].max()
    return best.assign(group="unrelated clips, best pair", metric=best["metric"].map(names))


if "snakemake" in globals():
    start_logging(snakemake.log[0], snakemake.scriptdir, snakemake.params)
    params = snakemake.params
    plot_scores(snakemake.input, params.models, params.content, params.motion, snakemake.output)
