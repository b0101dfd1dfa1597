"""Scores of clips whose true match is not in the corpus, and of copies that are, and the thresholds they support."""

from pathlib import Path

from vidmem.calibration import Footage, References, calibration_scores, choose_thresholds
from vidmem.features import listed_clips, listed_features
from vidmem.logs import LOGGER, start_logging
from vidmem.references import ReferenceShards
from vidmem.store import save_json, save_table


def calibrate(inputs, calibration: dict, search: dict, motion: dict, seed: int, scores: Path, thresholds: Path) -> None:
    kinds = ("content", "motion")
    clips = listed_clips(inputs.corpus_content, ["clip_id", "set", "source", "split", "status"])
    corpus = References(*(ReferenceShards.listed(inputs[f"corpus_{kind}"], kind) for kind in kinds))
    controls = Footage(*(listed_features(inputs[f"controls_{kind}"], kind) for kind in kinds))
    for references, own in zip(corpus, controls, strict=True):
        references.check_preset(own)
    table = calibration_scores(clips, corpus, controls, calibration, search, motion, seed)
    chosen = choose_thresholds(table, calibration["false_positive_rate"])
    for metric, choice in chosen.items():
        LOGGER.info("%s: %s negatives of %s, threshold %s", metric, choice["n_negative"], choice["needs"], choice["threshold"])
    save_table(scores, table)
    save_json(thresholds, chosen)


if "snakemake" in globals():
    start_logging(snakemake.log[0], snakemake.scriptdir, snakemake.params)
    named = {name: snakemake.params[name] for name in ("calibration", "search", "motion", "seed")}
    calibrate(snakemake.input, **named, scores=Path(snakemake.output.scores), thresholds=Path(snakemake.output.thresholds))
