"""The default audit: what it must show, read from its tables. Run 'snakemake --cores all' first (.ci/run does)."""

import html
import json

import pandas as pd
import pytest

from vidmem.exhibits.answers import percent
from workflow_helpers import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("default_audit")]
TABLES = ROOT / "results/default/tables"


def table(name):
    return pd.read_csv(TABLES / f"{name}.csv")


def test_second_run_has_nothing_to_do(run):
    assert "Nothing to be done" in run(ROOT, "--cores", "all").text


def test_edits_and_content_twins_are_told_from_unrelated_clips():
    rows = table("table1_metric_validation")
    rows = rows[(rows["metric"] == "gsscd") & (rows["expected"] == "fires")]
    assert len(rows) >= 8
    assert rows["auc"].min() >= 0.99


def test_motion_twins_are_told_from_unrelated_clips():
    rows = table("table1_metric_validation")
    rows = rows[(rows["metric"] == "ofs_k") & (rows["control"] == "motion-twin") & (rows["filter"] == "none")]
    assert rows[rows["variant"].str.contains("max")]["auc"].min() >= 0.99


@pytest.mark.parametrize("metric", ["ofs_k", "wofs_k"])
def test_the_filter_removes_camera_moves_and_keeps_true_motion_copies(metric):
    rows = table("filter_ablation")
    rows = rows[(rows["filter"] == "static+affine+entropy") & (rows["metric"] == metric)].set_index("pairs")
    assert rows.loc["camera moves", "removed"] >= 0.95
    assert rows.loc["camera moves", "fires"] <= 0.02
    assert rows.loc["motion copies", "removed"] <= 0.05
    assert rows.loc[["nothing moves", "walkers apart", "unrelated"], "fires"].max() <= 0.01


def test_walkers_and_mirrored_copies_are_found_by_their_motion():
    rows = table("table1_metric_validation")
    rows = rows[(rows["metric"] == "wofs_k") & (rows["filter"] == "static+affine+entropy")]
    rows = rows[rows["variant"] == "whitened max"].set_index("control")
    assert rows.loc[["walker", "mirror", "brightness"], "recall"].min() >= 0.95
    assert rows.loc["crop", "recall"] >= 0.85
    assert rows.loc["motion-twin", "recall"] >= 0.9


def test_few_clips_without_a_match_fire_by_their_motion():
    """Held-out clips and clips left out one at a time, each against all training clips."""
    rows = table("calibration")
    rows = rows[(rows["negatives"] == "together") & (rows["chosen_on"] == "configuration") & (rows["normalisation"] == "raw")]
    rows = rows.set_index("metric")
    assert rows.loc["wofs_k", "n_negative"] >= 60
    assert rows.loc["wofs_k", "n_fired"] <= 1 < rows.loc["ofs_k", "n_fired"]
    assert rows.loc["wofs_k", "recall"] >= 0.8


def test_memorization_rises_with_copies():
    rows = table("copies")
    video = rows[rows["data"] == "video"].sort_values("copies")
    assert list(video["copies"]) == [0, 1, 4, 16, 64]
    assert video["mean_own_gsscd"].iloc[1:].is_monotonic_increasing
    assert video["content_share"].iloc[0] == 0.0


def test_clips_planted_often_are_replayed():
    rows = table("copies")
    video = rows[rows["data"] == "video"].set_index("copies")
    often = video.loc[[16, 64]]
    assert (often["content_share"] * often["n"]).sum() / often["n"].sum() >= 0.8
    assert video.loc[64, "content_share"] > video.loc[16, "content_share"] > video.loc[4, "content_share"]
    assert video.loc[4, "content_share"] > video.loc[1, "content_share"]


def test_images_planted_often_come_back_in_generated_clips():
    rows = table("copies")
    image = rows[rows["data"] == "image"].set_index("copies")
    assert image.loc[64, "content_share"] > image.loc[1, "content_share"]
    assert (
        table("table2_memorization").set_index(["model", "kind"]).loc[("reference-text", "image"), "content_share_images"] > 0.2
    )


def test_real_held_out_clips_are_not_flagged():
    rows = table("table2_memorization")
    real = rows[rows["model"] == "real held-out clips"].iloc[0]
    assert real["content_share"] == 0.0


def test_inversion_falls_with_copies_and_with_training():
    rows = table("invmm_factors").set_index(["factor", "model"])
    for model in ("pixels", "text", "clips"):
        copies = rows.loc[("copies", model)].set_index("level")
        assert copies.loc["all", "rank_correlation"] < 0
        assert copies.loc["64", "replicated_share"] > 0
        assert copies.loc["0", "replicated_share"] == 0
    steps = rows.loc["training_steps"].set_index("level")
    assert steps.loc["all", "rank_correlation"] < 0


def test_models_that_are_inverted_generate_what_they_saw():
    rows = table("invmm_chance").set_index(["model", "probe"])["share"]
    assert rows[("pixels", "plain sample resembles a training image")] >= 0.5
    assert rows[("pixels", "plain sample resembles a held-out image")] <= 0.01


def detection(name, **chosen):
    rows = table(name)
    rows = rows[rows["generations"] == 1]
    for column, value in ({"model": "reference-text", "steps": "1"} | chosen).items():
        rows = rows[rows[column] == value]
    return rows.set_index("detector")


def test_the_first_step_tells_planted_prompts():
    rows = detection("table3_content_detection", truth="planted", data="video", copies="16+")
    assert rows.loc["content", "auc"] >= 0.9
    assert rows.loc["content", "n_negative"] >= 200
    assert rows.loc["latent_norm", "auc_low"] <= 0.5 <= rows.loc["latent_norm", "auc_high"]


def test_motion_magnitude_adds_to_content_where_motion_is_memorised():
    rows = detection("table4_motion_detection", truth="metric")
    assert rows.loc["motion", "auc"] > rows.loc["content", "auc"]
    assert rows.loc["combined", "gain_low"] > 0


def test_content_thresholds_are_calibrated_on_maxima():
    rows = table("calibration")
    chosen = rows[(rows["metric"] == "gsscd") & (rows["negatives"] == "together") & (rows["chosen_on"] == "configuration")]
    assert (chosen["n_negative"] >= 80).all()
    assert chosen[chosen["normalisation"] == "raw"]["fpr_high"].iloc[0] <= 0.05


def test_the_answer_is_that_of_the_tables():
    verdict, shares = json.loads((ROOT / "results/default/verdict.json").read_text()), table("table2_memorization")
    shares = shares[shares["kind"] == "all"].set_index("model")
    assert [model["content"]["answer"] for model in verdict["models"].values()] == ["replays", "replays"]
    compared, *texts = verdict["summary"]
    assert compared.startswith("By content, Reference unconditional video is worse than Reference text-to-video by")
    assert "percentage points (95 % interval " in compared
    assert compared.endswith("of a prompt: Reference text-to-video 2, Reference unconditional video 1.")
    for (name, model), text in zip(verdict["models"].items(), texts, strict=True):
        row = shares.loc[name]
        assert f"{percent(row['content_share'])} of {row['n_prompts']} {'prompts' if model['prompted'] else 'clips'}" in text
        for kind in ("content", "motion"):
            assert percent(row[f"{kind}_share"]) in text
            assert f" replay {kind}, at up to {model[kind]['worst'][0]['score']:.2f}: " in text
            assert len(model["replayed"][kind]) == round(row[f"{kind}_share"] * row["n_prompts"])
        assert len(model["prompts"]) == row["n_prompts"]
    page = (ROOT / "results/default/report.html").read_text()
    assert html.escape(compared) in page
    assert len(page) < 20e6


def test_every_training_clip_has_a_row_and_planted_clips_are_found():
    clips = table("clips")
    assert set(clips["split"]) == {"member", "image"}
    assert len(clips) == clips["clip_id"].nunique() == 78
    assert clips[(clips["copies"] == 64) & (clips["split"] == "member")]["content_verdict"].mean() >= 0.8
