"""An audit whose only models are clips generated elsewhere: to every table and figure, and it says what it left out."""

import io
import json
import re
import shlex
import subprocess
import tarfile
import zipfile

import av
import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

from footage import picture
from workflow_helpers import SMOKE, SNAKEMAKE


def make_clips(folder, corpus) -> None:
    """A folder with samples of two prompts, and a list of the same clips and two more; one clip is a training clip."""
    from vidmem.corpus.listing import list_corpus
    from vidmem.corpus.reading import read_clips
    from vidmem.exhibits.playable_clips import save_mp4

    source = {**corpus["sources"][0], "split": "member", "fit": "crop"}
    read = read_clips(corpus | {"max_damaged": 0.25}, "tiny", list_corpus([source]))
    copied = next(frames for row, frames in read if row["status"] == "ok")
    noise = np.random.default_rng(0).integers(0, 255, (6, 8, 8, 3), np.uint8).repeat(16, 1).repeat(16, 2)
    (folder / "made").mkdir()
    save_mp4(folder / "made/a copy-0.mp4", copied, 12.5, height=128, loops=1)
    save_mp4(folder / "made/a copy-1.mp4", noise, 12.5, height=128, loops=1)
    (folder / "made/broken-0.mp4").write_bytes(b"")
    lines = [
        "made/a copy-0.mp4,a copy,7,v1",
        "made/a copy-1.mp4,a copy,8,v1",
        "made/never.mp4,=cmd|hostile,,v1",
        ",refused,,v1",
    ]
    (folder / "clips.csv").write_text("\n".join(["path,prompt,seed,version", *lines]) + "\n")


def add_sources(folder, corpus) -> None:
    """Training data laid out as published: a list with videos that are here, gone or others, and a tar of images."""
    from footage import write_video

    lines = ["videoid,contentUrl,duration,page_dir,name", "1,http://a/1.mp4,PT00H00M02S,p,a square goes right"]
    lines += ["2,http://a/2.mp4,PT00H00M02S,p,never fetched", "3,http://a/3.mp4,PT00H01M00S,p,another video"]
    (folder / "webvid/p").mkdir(parents=True)
    (folder / "webvid/list.csv").write_text("\n".join(lines) + "\n")
    for number in (1, 3):
        write_video(folder / f"webvid/p/{number}.mp4", frames=20 + number)
    with tarfile.open(folder / "00000.tar", "w") as archive:
        for name, shade in (("a.png", 0), ("b.png", 9)):
            content = io.BytesIO()
            Image.fromarray(picture(shade)).save(content, "png")
            member = tarfile.TarInfo(name)
            member.size = content.tell()
            archive.addfile(member, io.BytesIO(content.getvalue()))
    corpus["sources"] += [
        {"name": "webvid", "kind": "webvid", "path": "webvid/list.csv", "fps": 10},
        {"name": "laion", "kind": "webdataset", "path": "00000.tar", "split": "image"},
    ]


@pytest.fixture(scope="module")
def audit(project):
    folder = project()
    config = yaml.safe_load((folder / "tests/config/smoke.yaml").read_text())
    make_clips(folder, config["corpora"]["tiny"])
    add_sources(folder, config["corpora"]["tiny"])
    shape = {"kind": "files", "corpus": "tiny", "frames": 6, "fps": 12.5, "size": [32, 32], "fit": "crop"}
    models = {"closed": shape | {"path": "made", "captions": "filename"}, "listed": shape | {"path": "clips.csv"}}
    for unused in ("train", "mitigations"):
        del config[unused]
    (folder / "tests/config/smoke.yaml").write_text(yaml.safe_dump(config | {"models": models}))
    return folder, snakemake(folder, "--cores", "2")


def snakemake(folder, *arguments: str) -> str:
    command = [*SNAKEMAKE, *arguments, *SMOKE]
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert result.returncode == 0, (result.stdout + result.stderr)[-6000:]
    return result.stdout + result.stderr


def table(audit, name):
    return pd.read_csv(audit[0] / f"results/smoke/tables/{name}.csv", keep_default_na=False, na_values=["", "n/a"])


@pytest.mark.slow
def test_it_runs_to_every_table_and_figure(audit, run):
    root = audit[0] / "results/smoke"
    assert len(list((root / "figures").glob("*.png"))) == len(list((root / "figures").glob("*.svg"))) == 8
    assert len(list((root / "clips").glob("*.mp4"))) == 8
    assert {path.stem for path in (root / "tables").glob("*.csv")} >= {
        "table1_metric_validation",
        "table2_memorization",
        "not_done",
    }
    assert "Nothing to be done" in run(audit[0], "-n", "--cores", "2", *SMOKE).text
    assert "not_done.csv" in audit[1]


@pytest.mark.slow
def test_what_is_gone_or_another_is_counted(audit):
    rows = table(audit, "corpus_status")
    found = rows.groupby(["source", "status"])["clips"].sum()
    assert found["webvid"].to_dict() == {"gone": 1, "mismatch": 1, "ok": 1}
    assert found["laion"].to_dict() == {"ok": 2}
    assert (rows.loc[rows["status"] == "mismatch", "reason"] == "its seconds are not what the list says").all()


@pytest.mark.slow
def test_what_failed_stays_in_the_denominator(audit):
    rows = table(audit, "table2_memorization")
    rows = rows[rows["kind"] == "all"].set_index("model")
    assert rows.loc["closed", ["n_prompts", "n_ok", "n_failed"]].to_list() == [2, 1, 1]  # the copy's prompt, the broken one
    assert rows.loc["listed", ["n_prompts", "n_ok", "n_failed"]].to_list() == [3, 1, 2]
    assert rows.loc["closed", "content_share"] == 0.5
    assert rows.loc["listed", "content_share"] == pytest.approx(1 / 3, abs=1e-5)
    clips = pd.read_parquet(audit[0] / "results/smoke/data/generated-listed/0.clips.parquet").set_index("clip_id")
    assert sorted(clips["status"]) == ["failed", "missing", "ok", "ok"]
    assert sorted(clips["seed"]) == [-1, -1, 7, 8]
    assert {json.loads(text)["version"] for text in clips["provenance"]} == {"v1"}


@pytest.mark.slow
def test_the_file_of_a_clip_is_told_everywhere(audit):
    root = audit[0] / "results/smoke"
    models = json.loads((root / "verdict.json").read_text())["models"]
    for model, file in (("closed", "a copy-0.mp4"), ("listed", "made/a copy-0.mp4")):
        best = models[model]["content"]["worst"][0]
        assert best["generated_file"] == file
        index = pd.read_csv(root / f"clips/{model}.csv")
        assert index.loc[0, ["clip", "file"]].to_list() == [f"{model}-1.mp4", file]
        assert index.loc[0, "generated"] == best["generated"]
        with av.open(str(root / f"clips/{model}-1.mp4")) as container:
            assert container.metadata["title"] == file
        for name in ("fig1_gallery_text", "fig5_gallery_model"):
            assert f"file: {file}<" in (root / f"figures/{name}.svg").read_text()
    (printed,) = re.findall(r"^  report   snakemake (.*)$", audit[1], re.M)
    snakemake(audit[0], *shlex.split(printed)[:-2], "--report", "report.zip")
    with zipfile.ZipFile(audit[0] / "report.zip") as archive:
        (page,) = (archive.read(name).decode() for name in archive.namelist() if name.endswith("report.html"))
    assert "training clip left, generated clip right: made/a copy-0.mp4" in page


@pytest.mark.slow
def test_it_says_what_it_left_out(audit):
    root = audit[0] / "results/smoke"
    verdict = json.loads((root / "verdict.json").read_text())
    found = {(entry["model"], entry["what"]) for entry in verdict["not_done"]}
    what = ("content detection", "motion detection", "inversion", "mitigation")
    assert found == {(model, kind) for model in ("closed", "listed") for kind in what}
    assert {entry["status"] for entry in verdict["not_done"]} == {"not_defined"}
    assert all(entry["reason"].startswith("generated elsewhere: ") for entry in verdict["not_done"])
    assert len(table(audit, "not_done")) == 8
    for name in ("table3_content_detection", "table4_motion_detection"):
        rows = table(audit, name)
        assert list(rows["model"]) == ["closed", "listed"]
        assert set(rows["status"]) == {"not_defined"}
        assert rows["auc"].isna().all()
        assert rows["reason"].str.startswith("generated elsewhere").all()
    made = {path.stem for path in (root / "figures").iterdir()}
    assert {"fig1_gallery_text", "fig5_gallery_model"} <= made
    # A figure would only say that there is no model of its kind.
    assert not made & {"fig4_gallery_unconditional", "fig7_detection_roc", "fig8_magnitude_steps"}


def test_data_sets_of_the_hub_are_fetched_before_they_are_read(project, run):
    folder = project()
    config = yaml.safe_load((folder / "tests/config/smoke.yaml").read_text())
    pin = {"repository": "some/thing", "revision": "a" * 40}
    config["corpora"]["tiny"]["sources"].append({"name": "hub", "kind": "parquet", "path": "data", **pin})
    (folder / "changed.yaml").write_text(yaml.safe_dump(config))
    wanted = "results/smoke/data/corpus-tiny/0.frames.npy"
    text = run(folder, "-n", "--cores", "1", "--configfile", "changed.yaml", "--", wanted).text
    assert set(re.findall(r"^(\w+) +\d+$", text, re.M)) == {"fetch_corpus", "read_corpus", "total"}
