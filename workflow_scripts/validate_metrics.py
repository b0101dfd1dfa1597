"""Score all pairs with a known answer: edits, twins, camera moves, unrelated clips."""

from pathlib import Path

from vidmem.base.logs import start_logging
from vidmem.base.store import save_table
from vidmem.features.clip_features import listed_clips, listed_features
from vidmem.features.motion_comparison import MotionComparison
from vidmem.scoring.validation import pair_scores, sample_clips


def validate_metrics(inputs, motion: dict, moving: float, seed: int, destination: Path) -> None:
    sampled = sample_clips(listed_clips(inputs.corpus_content, ["clip_id", "status"]), seed)
    controls = listed_features(inputs.controls_content, "content")
    chosen = {*sampled, *controls.clips["origin"], *controls.clips["picture"]}
    descriptors = listed_features(inputs.corpus_content, "content", chosen), controls
    flows = listed_features(inputs.corpus_motion, "motion", chosen), listed_features(inputs.controls_motion, "motion")
    comparison = MotionComparison.of(motion, inputs.background)
    save_table(destination, pair_scores(sampled, descriptors, flows, comparison, moving, seed))


if "snakemake" in globals():
    start_logging(snakemake.log[0], snakemake.scriptdir, snakemake.params)
    params = snakemake.params
    validate_metrics(snakemake.input, params.motion, params.moving, params.seed, Path(snakemake.output[0]))
