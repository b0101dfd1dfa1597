"""Score all pairs with a known answer: edits, twins, camera moves, unrelated clips."""

from pathlib import Path

from vidmem.base.logs import start_logging
from vidmem.base.store import save_table
from vidmem.features.clip_features import listed_clips, listed_features
from vidmem.features.motion_rule import MotionRule
from vidmem.scoring.validation import pair_scores, sample_clips


def validate_metrics(inputs, metric: str, rule: MotionRule, moving: float, seed: int, destination: Path) -> None:
    sampled = sample_clips(listed_clips(inputs.corpus_content, ["clip_id", "status"]), seed)
    controls = listed_features(inputs.controls_content, "content")
    chosen = {*sampled, *controls.clips["origin"], *controls.clips["picture"]}
    descriptors = listed_features(inputs.corpus_content, "content", chosen), controls
    flows = listed_features(inputs.corpus_motion, "motion", chosen), listed_features(inputs.controls_motion, "motion")
    save_table(destination, pair_scores(sampled, descriptors, flows, metric, rule, moving, seed))


if "snakemake" in globals():
    start_logging(snakemake.log[0], snakemake.scriptdir, snakemake.params)
    params, rule = snakemake.params, MotionRule.of(snakemake.params.motion)
    validate_metrics(snakemake.input, params.metric, rule, params.moving, params.seed, Path(snakemake.output[0]))
