"""Devices, training and repetition, each on the smoke audit."""

import io
import json
import os
import shutil
import signal
import subprocess
import time

import pandas as pd
import psutil
import pytest

from workflow_helpers import ROOT, SMOKE, SNAKEMAKE, at_once, changed, exhibits, gpu_jobs

pytestmark = pytest.mark.slow


def holds(process, path):
    try:
        return any(opened.path == str(path) for opened in process.open_files())
    except psutil.NoSuchProcess:
        return False


def test_four_pretended_gpus_give_every_job_its_own_and_the_same_tables(smoke, project, run, tmp_path):
    folder = project()
    environment = {"VIDMEM_PRETEND_GPUS": "4", "VIDMEM_LOCKS": str(tmp_path / "locks")}
    run(folder, "--cores", "4", "--resources", "gpu=4", *changed(folder, "shards", 4), **environment)
    jobs = gpu_jobs(folder)
    assert len({job.gpu for job in jobs}) > 1
    assert {job.gpu for job in jobs} <= {"0", "1", "2", "3"}
    assert at_once(jobs)
    assert [pair for pair in at_once(jobs) if pair[0].gpu == pair[1].gpu] == []
    ours, theirs = (exhibits(place, "smoke") for place in (smoke[0], folder))
    for name in ("tables/table2_memorization.csv", "tables/copies.csv", "tables/table1_metric_validation.csv"):
        first, second = (pd.read_csv(pd.io.common.BytesIO(tables[name])) for tables in (ours, theirs))
        pd.testing.assert_frame_equal(first, second, atol=2e-3)


def test_a_killed_job_leaves_its_device_to_the_next(smoke, tmp_path):
    """One pretended GPU: without it the second try would wait for ever."""
    folder = tmp_path / "project"
    shutil.copytree(smoke[0], folder, symlinks=True)
    target = "results/smoke/data/generated-tiny-unconditional/0.clips.parquet"
    before = (folder / target).read_bytes()
    (folder / target).unlink()
    process = subprocess.Popen(
        [*SNAKEMAKE, "--cores", "2", "--resources", "gpu=1", "--retries", "1", target, *SMOKE],
        cwd=folder, env=os.environ | {"VIDMEM_PRETEND_GPUS": "1", "VIDMEM_LOCKS": str(tmp_path / "locks")},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    lock = tmp_path / "locks/gpu0.lock"
    while not (holders := [job for job in psutil.Process(process.pid).children(recursive=True) if holds(job, lock)]):
        assert process.poll() is None, process.stdout.read()
        time.sleep(0.1)
    os.kill(holders[0].pid, signal.SIGKILL)
    text = process.communicate(timeout=300)[0]
    assert process.returncode == 0, text
    assert "Trying to restart job" in text
    clips = pd.read_parquet(folder / target)
    assert {json.loads(row)["gpu"] for row in clips["provenance"]} == {"0"}
    columns = [name for name in clips.columns if name != "provenance"]  # the first run had no GPU
    pd.testing.assert_frame_equal(clips[columns], pd.read_parquet(io.BytesIO(before))[columns])


def test_training_makes_models_the_audit_can_load(project, run):
    folder = project()
    run(folder, "--cores", "2", "train_reference", *SMOKE)
    for kind in ("text-to-video", "unconditional-video"):
        trained = folder / "results/smoke/trained" / kind
        assert "corpus: sha256" in (trained / "README.md").read_text()
        record = json.loads((trained / "training.json").read_text())
        assert record["clips"] == 3
    text = (folder / "tests/config/smoke.yaml").read_text()
    trained = text.replace("path: reference_models/", "path: results/smoke/trained/")
    (folder / "tests/config/smoke.yaml").write_text(trained)
    run(folder, "--cores", "2", "results/smoke/data/generated-tiny-text/0.clips.parquet", *SMOKE)
    clips = pd.read_parquet(folder / "results/smoke/data/generated-tiny-text/0.clips.parquet")
    assert (clips["status"] == "ok").sum() == 9


def test_clips_generated_elsewhere_are_audited(smoke, project, run):
    """A closed model: only its files. One of them is a copy of a training clip and must be found."""
    from vidmem.corpus.clip_frames import Frames
    from vidmem.exhibits.playable_clips import save_mp4

    folder, data = project(), smoke[0] / "results/smoke/data/corpus-tiny"
    frames = Frames([str(data / "0.clips.parquet")], [str(data / "0.frames.npy")])
    member = frames.clips[(frames.clips["split"] == "member") & (frames.clips["count"] > 1)]["clip_id"].iloc[0]
    save_mp4(folder / "copy.mp4", frames.of("corpus-tiny", member), 12.5, height=128, loops=1)
    (folder / "broken.mp4").write_bytes(b"")
    (folder / "clips.csv").write_text("path,prompt\ncopy.mp4,=cmd|hostile\nbroken.mp4,<b>bold</b>\n")
    text = (folder / "tests/config/smoke.yaml").read_text()
    head, tail = text[: text.index("models:")], text[text.index("descriptors:") :]
    model = "models:\n  closed: {kind: files, corpus: tiny, path: clips.csv, fps: 12.5, fit: crop}\n\n"
    (folder / "tests/config/smoke.yaml").write_text(head + model + tail)
    run(folder, "--cores", "2", *SMOKE)
    row = pd.read_csv(folder / "results/smoke/tables/table2_memorization.csv").iloc[0]
    assert (row["n_prompts"], row["n_ok"], row["n_failed"]) == (2, 1, 1)
    assert row["content_share"] == 0.5
    verdict = json.loads((folder / "results/smoke/verdict.json").read_text())
    assert verdict["models"]["closed"]["content"]["worst"][0]["training"] == member
    assert "Nothing to be done" in run(folder, "-n", "--cores", "2", *SMOKE).text
    save_mp4(folder / "copy.mp4", frames.of("corpus-tiny", member)[::-1], 12.5, height=128, loops=1)
    assert "read_generated" in run(folder, "-n", "--cores", "2", *SMOKE).text  # another file under the same name


INVERSIONS = """
inversions:
  clips-by-caption:
    {corpus: tiny, pipeline: TextToVideoSDPipeline, path: reference_models/text-to-video, preset: small, mode: caption,
     frames: 6, size: [32, 32], images_each: 1, splits: [member, heldout], seeds: 2, slots: 3,
     plan: {steps: 4, check_every: 2, batch: 2, sampler_steps: 2, samples: 2, scales: [1.0, 2.0]}}
  clips:
    {corpus: tiny, pipeline: UnconditionalVideoPipeline, path: reference_models/unconditional-video, preset: small,
     frames: 6, size: [32, 32], images_each: 1, splits: [member],
     plan: {steps: 2, check_every: 2, batch: 2, sampler_steps: 2}}
  early:
    {corpus: tiny, pipeline: DDPMPipeline, path: reference_models/unconditional-image/at-333, preset: small,
     size: [32, 32], images_each: 1, plan: &brief {steps: 2, check_every: 2, batch: 2, sampler_steps: 2},
     study: {factor: training_steps, level: 333}}
  late:
    {corpus: tiny, pipeline: DDPMPipeline, path: reference_models/unconditional-image, preset: small, size: [32, 32],
     images_each: 1, plan: *brief, study: {factor: training_steps, level: 9000}}
  stills:
    {corpus: tiny, pipeline: StableDiffusionPipeline, path: reference_models/text-to-image, preset: small, mode: prompt,
     size: [32, 32], images_each: 1, plan: *brief, study: {factor: conditioning, level: prompt}}
"""


def test_training_clips_are_inverted(project, run):
    folder = project()
    text = (folder / "tests/config/smoke.yaml").read_text()
    (folder / "tests/config/smoke.yaml").write_text(text + INVERSIONS)
    run(folder, "--cores", "2", "inversion", *SMOKE)
    root = folder / "results/smoke"
    tables = {path.stem: pd.read_csv(path) for path in (root / "tables").glob("invmm_*.csv")}
    scores = tables["invmm_scores"]
    assert set(scores["model"]) == {"clips", "clips-by-caption", "early", "late", "stills"}
    assert set(scores["mode"]) == {"caption", "none", "prompt"}
    assert set(scores["status"]) <= {"replicated", "not_replicated"}
    captioned = scores[scores["model"] == "clips-by-caption"]
    assert captioned.groupby("image_id").size().eq(2).all()
    assert (captioned["split"] == "heldout").any()
    assert len(tables["invmm_images"]) == scores.groupby(["model", "image_id"]).ngroups
    assert len(list((root / "inversion").rglob("*.safetensors"))) == 5
    assert not list((folder / "results/smoke/inversion").rglob("*.checkpoint"))
    factors = tables["invmm_factors"]
    assert set(factors["factor"]) == {"copies", "training_steps", "conditioning"}
    assert list(factors[factors["factor"] == "training_steps"]["level"]) == ["333", "9000", "all"]
    assert set(tables["invmm_membership"]["method"]) == {"loss", "secmi", "invmm"}
    assert tables["invmm_chance"].groupby("model").size().eq(5).all()
    assert len(list((root / "figures").glob("fig_invmm_*.png"))) == 6
    documented = (ROOT / "docs/data-formats.md").read_text()
    assert not [name for table in tables.values() for name in table.columns if f"`{name}`" not in documented]
    for key, value in (("slots", 2), ("study", {"factor": "training_steps", "level": 1})):
        jobs = run(folder, "-n", "--cores", "2", "inversion", *changed(folder, f"inversions/clips/{key}", value)).text
        assert "invert_images" not in jobs
