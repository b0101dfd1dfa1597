"""Score negatives (no true match in the corpus) and copies (a true match), and write the thresholds they support."""

from pathlib import Path

from vidmem.base.logs import LOGGER, start_logging
from vidmem.base.store import save_json, save_table
from vidmem.features.clip_features import listed_clips, listed_features
from vidmem.features.motion_comparison import MotionComparison
from vidmem.scoring.calibration import Footage, References, calibration_scores, choose_thresholds
from vidmem.search.references import ReferenceShards


def calibrate(inputs, calibration: dict, block: int, motion: dict, seed: int, scores: Path, thresholds: Path) -> None:
    kinds = ("content", "motion")
    clips = listed_clips(inputs.corpus_content, ["clip_id", "set", "source", "split", "status"])
    corpus = References(*(ReferenceShards.listed(inputs[f"corpus_{kind}"], kind) for kind in kinds))
    controls = Footage(*(listed_features(inputs[f"controls_{kind}"], kind) for kind in kinds))
    for references, own in zip(corpus, controls, strict=True):
        references.check_preset(own)
    comparison = MotionComparison.of(motion, inputs.background)
    table = calibration_scores(clips, corpus, controls, calibration, block, comparison, seed)
    chosen = choose_thresholds(table, calibration["false_positive_rate"])
    for metric, choice in chosen.items():
        LOGGER.info("%s: %s negatives of %s, threshold %s", metric, choice["n_negative"], choice["needs"], choice["threshold"])
    save_table(scores, table)
    save_json(thresholds, chosen)


if "snakemake" in globals():
    start_logging(snakemake.log[0], snakemake.scriptdir, snakemake.params)
    params, outputs = snakemake.params, [Path(path) for path in (snakemake.output.scores, snakemake.output.thresholds)]
    calibrate(snakemake.input, params.calibration, params.search["block"], params.motion, params.seed, *outputs)
