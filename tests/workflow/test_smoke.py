"""A whole audit, tiny: every rule, the tables with their columns, the second run, the report."""

import json
import re
import shlex
import shutil
import zipfile

import numpy as np
import pandas as pd
import pytest

from workflow_helpers import ROOT, SMOKE, changed, exhibits

COLUMNS = {
    "table1_metric_validation": [
        "metric", "variant", "control", "n_positive", "n_negative", "auc", "auc_low", "auc_high", "threshold", "precision",
        "recall",
    ],
    "table2_memorization": [
        "model", "corpus", "kind", "n_prompts", "n_ok", "n_failed", "content_share", "content_low", "content_high",
        "motion_share", "motion_low", "motion_high", "motion_share_unfiltered", "mean_top_gsscd", "mean_top_ofs",
    ],
    "calibration": [
        "metric", "preset", "normalisation", "negatives", "chosen_on", "rate", "needs", "threshold", "n_negative", "fpr",
        "fpr_low", "fpr_high", "fpr_statement", "n_positive", "recall", "auc", "auc_low", "auc_high",
    ],
    "copies": ["model", "copies", "n", "content_share", "low", "high", "mean_own_gsscd"],
    "mitigation": [
        "name", "model", "objective", "n_prompts", "n_reached", "content_share_before", "content_share_after",
        "motion_share_before", "motion_share_after", "prompt_similarity", "clip_similarity",
    ],
    "prompts": [
        "corpus", "rank", "combined", "prompt_id", "prompt", "source", "target", "cluster", "label", "label_source", "status",
        "copies", "n_identical_captions", "n_near_captions", "n_near_duplicate_clips", "white_box",
    ],
}  # fmt: skip
FIGURES = ["fig1_gallery_text", "fig2_motion_panel", "fig3_image_panel", "fig4_gallery_unconditional", "fig5_gallery_model",
           "fig6_score_distributions", "fig9_copies", "fig10_calibration", "fig11_score_normalisation"]  # fmt: skip


def test_it_ends_by_saying_where_the_results_are(smoke):
    _, result = smoke
    for place in ("tables/", "figures/", "clips/", "verdict.json", "report.zip"):
        assert f"results/smoke/{place}" in result.text


@pytest.mark.parametrize("name", COLUMNS)
def test_tables_have_their_columns(smoke, name):
    table = pd.read_csv(smoke[0] / f"results/smoke/tables/{name}.csv")
    assert set(COLUMNS[name]) <= set(table.columns)
    assert len(table)
    for suffix in (".md", ".tex"):
        assert (smoke[0] / f"results/smoke/tables/{name}{suffix}").stat().st_size > 100


@pytest.mark.parametrize("name", FIGURES)
def test_figures_are_pictures(smoke, name):
    import cv2

    picture = cv2.imread(str(smoke[0] / f"results/smoke/figures/{name}.png"))
    assert picture is not None
    assert picture.std() > 5
    assert (smoke[0] / f"results/smoke/figures/{name}.svg").read_text().rstrip().endswith("</svg>")


def test_every_column_is_documented(smoke):
    documented = (ROOT / "docs/data-formats.md").read_text()
    for path in (smoke[0] / "results/smoke/tables").glob("*.csv"):
        for column in pd.read_csv(path).columns:
            assert f"`{column}`" in documented, (path.name, column)


def test_nothing_listed_is_lost(smoke):
    """The missing file and the two-player game have a row, a reason and a place in the denominator."""
    status = pd.read_csv(smoke[0] / "results/smoke/tables/corpus_status.csv")
    assert status.groupby("status")["clips"].sum().to_dict() == {"ok": 7, "missing": 1, "skipped": 1}
    assert set(status[status["status"] != "ok"]["reason"].str[:12]) == {"no such file", "combat needs"}
    rows = pd.read_csv(smoke[0] / "results/smoke/tables/table2_memorization.csv")
    everyone = rows[(rows["model"] == "tiny-text") & (rows["kind"] == "all")].iloc[0]
    assert everyone["n_prompts"] == everyone["n_ok"] + everyone["n_failed"] == 9


def test_curated_prompts_count_every_clip(smoke):
    folder = smoke[0] / "results/smoke/prompts"
    table = pd.read_parquet(folder / "curated-tiny.parquet")
    lost = table[table["cluster_reason"] != ""]
    assert set(lost["cluster_reason"].str.split(":").str[0]) <= {"missing", "skipped", "not a training clip"}
    assert table.loc[table["cluster_reason"] == "", "n_near_duplicate_clips"].notna().all()
    assert (folder / "curated-tiny.md").read_text().count("curated-tiny.parquet") >= 2


def test_guidance_is_recorded_for_every_step_and_frame(smoke):
    table = pd.read_parquet(smoke[0] / "results/smoke/data/generated-tiny-text/0.guidance.parquet")
    clips = pd.read_parquet(smoke[0] / "results/smoke/data/generated-tiny-text/0.clips.parquet")
    made = clips[clips["status"] == "ok"]
    assert len(table) == len(made) * 2 * (5 * 6 + 5 + 1)  # steps x (five of 6 frames, motion of 5, one entropy)
    assert (table["value"] > 0).all()
    unprompted = pd.read_parquet(smoke[0] / "results/smoke/data/generated-tiny-unconditional/0.guidance.parquet")
    assert len(unprompted) == 0


def test_detection_has_a_row_for_every_model_and_no_zero_for_none(smoke):
    for name in ("table3_content_detection", "table4_motion_detection"):
        table = pd.read_csv(smoke[0] / f"results/smoke/tables/{name}.csv", keep_default_na=False, na_values=["n/a", ""])
        unprompted = table[table["model"] == "tiny-unconditional"].iloc[0]
        assert unprompted["status"] == "not_defined"
        assert "unconditional" in unprompted["reason"]
        assert np.isnan(unprompted["auc"])
        prompted = table[table["model"] == "tiny-text"]
        assert set(prompted["truth"]) == {"planted", "metric"}
        assert prompted["tpr_at_1_fpr"].isna().all()  # six negatives
    probes = pd.read_parquet(smoke[0] / "results/smoke/data/generated-tiny-text/0.probe.parquet")
    assert probes["prompt_id"].str.startswith("n-").groupby(probes["prompt_id"]).first().sum() == 6
    first = pd.read_parquet(smoke[0] / "results/smoke/data/generated-tiny-text/0.guidance.parquet").query("step == 0")
    both = first.merge(probes, on=["clip_id", "frame", "quantity"])
    assert len(both) == (first["quantity"] != "bright_ending").sum() > 0  # whose mask is of the last step
    assert np.allclose(both["value_x"], both["value_y"], rtol=1e-3)  # the probe is the first step of the generation


def test_provenance_is_in_the_rows(smoke):
    data = smoke[0] / "results/smoke/data/generated-tiny-text"
    provenance = json.loads(pd.read_parquet(data / "0.clips.parquet").iloc[-1]["provenance"])
    assert {"model_files", "steps", "guidance", "run_seed", "device", "pipeline"} <= set(provenance)
    rows = pd.read_parquet(data / "0.descriptors.parquet")
    assert set(rows["computed_by"].str.split().str[0]) == {"sscd-distilled-160"}
    scores = pd.read_parquet(smoke[0] / "results/smoke/scores/generated-tiny-text.parquet")
    assert set(scores[scores["metric"] == "gsscd"]["search"]) == {"exact"}


def test_verdict_fits_its_schema_and_the_table(smoke):
    from vidmem.exhibits.verdict import check_verdict

    verdict = json.loads((smoke[0] / "results/smoke/verdict.json").read_text())
    check_verdict(verdict, ROOT / "rules/schemas/verdict.schema.yaml")
    table = pd.read_csv(smoke[0] / "results/smoke/tables/table2_memorization.csv").set_index(["model", "kind"])
    for model, found in verdict["models"].items():
        assert found["content"]["share"] == pytest.approx(table.loc[(model, "all"), "content_share"], abs=1e-5)
        assert len(found["content"]["worst"]) > 0
        floor = table.loc[("real held-out clips", "heldout")]
        for kind in ("content", "motion"):
            assert found[kind]["held_out"]["n"] == floor["n_prompts"]
            assert found[kind]["held_out"]["share"] == pytest.approx(floor[f"{kind}_share"], abs=1e-5)


def test_second_run_has_nothing_to_do(smoke, run):
    assert "Nothing to be done" in run(smoke[0], "--cores", "2", *SMOKE).text


def test_a_threshold_reruns_seconds_of_work(smoke, run):
    heavy = {"generate_clips", "describe_frames", "compute_flow", "read_corpus", "make_controls", "search_content"}
    heavy |= {"search_motion", "train_index", "fill_index", "merge_index", "validate_metrics", "calibrate"}
    for key, value in (("content/threshold", 0.9), ("motion/threshold", 0.9), ("motion/samples", "every")):
        jobs = set(re.findall(r"^(\w+) +\d+$", run(smoke[0], "-n", "--cores", "2", *changed(smoke[0], key, value)).text, re.M))
        assert "score_clips" in jobs
        assert not jobs & heavy, key


def test_videos_beside_the_page_are_files(finished, run):
    root = finished / "results/smoke"
    whole = (root / "report.html").read_text()
    text = run(finished, "--cores", "2", *changed(finished, "report/videos", "beside")).text
    assert set(re.findall(r"^(\w+) +\d+$", text, re.M)) - {"all", "total"} == {"write_verdict", "write_report"}
    page, files = (root / "report.html").read_text(), sorted(path.name for path in (root / "report").glob("[a-z]*"))
    assert "data:video" in whole
    assert "data:video" not in page
    assert len(page) < len(whole) / 2
    assert {"pair-1.mp4", "scores.png"} <= set(files)
    assert all(f"report/{name}" in page for name in files)


def test_a_larger_batch_generates_nothing_again(smoke, run):
    text = run(smoke[0], "-n", "--cores", "2", *changed(smoke[0], "models/tiny-text/batch", 3)).text
    assert "generate_clips" not in text


def test_the_report_of_the_closing_message_is_one_archive(smoke, run):
    (printed,) = re.findall(r"^  report   snakemake (.*)$", smoke[1].text, re.M)
    run(smoke[0], *shlex.split(printed))
    with zipfile.ZipFile(smoke[0] / "results/smoke/report.zip") as archive:
        names = archive.namelist()
        (page,) = (archive.read(name).decode() for name in names if name.endswith("report.html"))
    assert "results/smoke/tables/table2_memorization.csv" in page
    assert "results/default" not in page
    assert sum(name.endswith(".mp4") for name in names) == 8


@pytest.mark.parametrize(
    ("path", "value", "messages"),
    [
        ("motion/kk", 3, ["config key motion", "did you mean 'k'"]),
        ("content/threshold", 2, ["content.threshold", "<= 1", "2"]),
    ],
)
def test_a_wrong_configuration_stops_before_any_job(smoke, run, path, value, messages):
    result = run(smoke[0], "--cores", "2", *changed(smoke[0], path, value), check=False)
    assert result.returncode != 0
    assert all(message in result.text for message in messages)
    assert "Building DAG" not in result.text


def test_lint_is_clean(run):
    assert "Congratulations" in run(ROOT, "--lint", check=False).text


def test_index_says_what_it_is(smoke):
    from vidmem.base.store import load_array
    from vidmem.search.faiss_index import open_index, shards_and_rows

    root = smoke[0] / "results/smoke"
    for kind, array in (("content", "descriptors"), ("motion", "flows")):
        about = json.loads((root / f"index/tiny/{kind}.json").read_text())
        index = open_index(root / f"index/tiny/{kind}.faiss")
        assert (about["factory"], about["exact"]) == ("Flat", kind == "content")  # motion is on a coarser grid
        assert index.ntotal == about["count"] > 0
        rows = load_array(root / f"data/corpus-tiny/0.{array}.npy")
        _, found = shards_and_rows(index.search(rows[:1].reshape(1, -1).astype("float32")[:, : index.d], 1)[1])
        assert 0 <= found[0, 0] < len(rows)
    assert sorted(path.name for path in (root / "index/tiny").iterdir()) == sorted(
        f"{kind}.{part}" for kind in ("content", "motion") for part in ("faiss", "lists", "json")
    )  # no part is left, and no certificate where nothing is searched in it


@pytest.mark.slow
def test_an_index_that_finds_too_little_stops_the_run(smoke, run, tmp_path):
    folder = tmp_path / "project"
    shutil.copytree(smoke[0], folder, symlinks=True)
    poor = {"method": "index", "index": "IVF4,PQ1x1", "parameters": "nprobe=1", "candidates": 1}
    result = run(folder, "--cores", "2", *changed(folder, "search", poor), check=False)
    assert result.returncode != 0
    assert "at least 0.95 (search.certificate.recall)" in result.text
    assert "Got recall at" in result.text
    assert not list((folder / "results/smoke/index/tiny").glob("*.certificate.json"))
    jobs = re.findall(r"^rule (search_\w+):", result.text, re.M)
    assert jobs == []  # nothing is searched in it


@pytest.mark.slow
def test_index_and_exact_search_agree(smoke, run, tmp_path):
    folder = tmp_path / "project"
    shutil.copytree(smoke[0], folder, symlinks=True)
    run(folder, "--cores", "2", *changed(folder, "search/method", "index"))
    for kind in ("content", "motion"):
        certificate = json.loads((folder / f"results/smoke/index/tiny/{kind}.certificate.json").read_text())
        assert certificate["at_1"]["share"] == 1
        assert certificate["at_1"]["n"] > 0
    scores = pd.read_parquet(folder / "results/smoke/scores/generated-tiny-text.parquet")
    assert scores["search"].str.startswith("index Flat: recall at 1 1 of").any()
    for name, table in exhibits(smoke[0], "smoke").items():
        if name.endswith(("copies.csv", "table2_memorization.csv")):
            assert table == exhibits(folder, "smoke")[name], name


@pytest.mark.slow
def test_another_metric_of_content_is_another_verdict(smoke, run, tmp_path):
    """The verdict follows the metric, searched exactly; nothing is generated again, and GSSCD stays in its columns."""
    from vidmem.features.clip_features import load_features
    from vidmem.features.content import vsscd

    folder = tmp_path / "project"
    shutil.copytree(smoke[0], folder, symlinks=True)
    asked = ("--cores", "2", *changed(folder, "content/metric", "vsscd"))
    jobs = set(re.findall(r"^(\w+) +\d+$", run(folder, "-n", *asked).text, re.M))
    assert "search_content" in jobs
    assert not jobs & {"generate_clips", "describe_frames", "compute_flow", "search_motion"}
    run(folder, *asked)
    features = [
        load_features(*[[folder / f"results/smoke/data/{name}/0.{kind}"] for kind in KINDS])
        for name in ("generated-tiny-text", "corpus-tiny")
    ]
    references = features[1].clips.query("status == 'ok' and split in ('member', 'image')")["clip_id"]
    worst = json.loads((folder / "results/smoke/verdict.json").read_text())["models"]["tiny-text"]["content"]["worst"]
    for match in worst:
        query = features[0].of(match["generated"])
        best = max(vsscd(query, features[1].of(reference)) for reference in references)
        assert match["score"] == pytest.approx(best, abs=1e-5)
    old, new = (pd.read_csv(place / "results/smoke/tables/table2_memorization.csv") for place in (smoke[0], folder))
    assert old["mean_top_gsscd"].equals(new["mean_top_gsscd"])
    assert exhibits(smoke[0], "smoke").keys() == exhibits(folder, "smoke").keys()


KINDS = ("clips.parquet", "descriptors.npy", "descriptors.parquet")
