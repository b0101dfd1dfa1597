"""Scores of clips whose true match is not in the corpus, and of copies that are, and the thresholds they support."""

from pathlib import Path

from vidmem.calibration import Footage, calibration_scores, choose_thresholds
from vidmem.features import check_same_preset, listed_features
from vidmem.logs import LOGGER, start_logging
from vidmem.store import save_json, save_table


def calibrate(inputs, calibration: dict, search: dict, motion: dict, seed: int, scores: Path, thresholds: Path) -> None:
    corpus, controls = (
        Footage(
            listed_features(inputs[f"{name}_content"], "content"),
            listed_features(inputs[f"{name}_motion"], "motion"),
        )
        for name in ("corpus", "controls")
    )
    check_same_preset(corpus.descriptors, controls.descriptors)
    check_same_preset(corpus.flows, controls.flows)
    table = calibration_scores(corpus, controls, calibration, search, motion, seed)
    chosen = choose_thresholds(table, calibration["false_positive_rate"])
    for metric, choice in chosen.items():
        LOGGER.info("%s: %s negatives of %s, threshold %s", metric, choice["n_negative"], choice["needs"], choice["threshold"])
    save_table(scores, table)
    save_json(thresholds, chosen)


if "snakemake" in globals():
    start_logging(snakemake.log[0], snakemake.scriptdir, snakemake.params)
    named = {name: snakemake.params[name] for name in ("calibration", "search", "motion", "seed")}
    calibrate(snakemake.input, **named, scores=Path(snakemake.output.scores), thresholds=Path(snakemake.output.thresholds))
