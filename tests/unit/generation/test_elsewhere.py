"""Clips generated elsewhere: lists of any format and folders, samples of prompts, what their makers say, what is wrong."""

import json

import pandas as pd
import pytest
from PIL import Image

from footage import picture, write_video
from vidmem.corpus.reading import read_item
from vidmem.errors import VidmemError
from vidmem.generation.elsewhere import digest_made, list_made, stray_files


def made(path, captions="sidecar"):
    return list_made("closed", {"path": str(path), "captions": captions})


def status(one):
    return read_item(one.item, 2, (16, 16), 10.0, "crop").status


ROWS = [
    {"path": "a.mp4", "prompt": "a taxi", "seed": 7, "model": "closed-1", "version": "2026-01"},
    {"path": "b.mp4", "prompt": "a taxi", "seed": None, "model": "closed-1", "version": "2026-02"},
    {"path": "c.png", "prompt": "=cmd|hostile", "seed": 9, "model": "closed-1", "version": None},
    {"path": None, "prompt": "refused", "seed": None, "model": None, "version": None},
]


def write_list(path, rows=ROWS):
    table = pd.DataFrame(rows)
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps({k: v for k, v in row.items() if v is not None}) + "\n" for row in rows))
    elif path.suffix == ".parquet":
        table.to_parquet(path)
    else:
        table.astype({"seed": "Int64"}).to_csv(path, index=False, sep="\t" if path.suffix == ".tsv" else ",")
    return path


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_lists_of_any_format_say_the_same(tmp_path, suffix):
    write_video(tmp_path / "a.mp4")
    (tmp_path / "b.mp4").write_bytes(b"")
    Image.fromarray(picture(0)).save(tmp_path / "c.png")
    clips = made(write_list(tmp_path / f"list{suffix}"))
    assert [one.item.caption for one in clips] == [row["prompt"] for row in ROWS]
    assert [one.seed for one in clips] == [7, -1, 9, -1]
    assert clips[0].noted == {"model": "closed-1", "version": "2026-01"}
    assert clips[3].noted == {}
    assert [status(one) for one in clips] == ["ok", "undecodable", "ok", "failed"]
    assert [one.item.clip_id.rpartition("-")[2] for one in clips] == ["s0", "s1", "s0", "s0"]
    assert clips[0].prompt_id == clips[1].prompt_id != clips[2].prompt_id
    assert all(one.item.clip_id.replace("-", "").isalnum() for one in clips)
    assert len({one.item.clip_id for one in clips}) == 4


def test_why_a_prompt_was_refused_is_its_reason(tmp_path):
    (tmp_path / "l.csv").write_text("path,prompt,reason\n,a taxi,content filter\nx.mp4,a bus,\n")
    refused, absent = (read_item(one.item, 1, (16, 16), 1.0, "crop") for one in made(tmp_path / "l.csv"))
    assert (refused.status, refused.reason) == ("failed", "content filter")
    assert (absent.status, absent.reason) == ("missing", "no such file")


def test_refusals_that_name_nothing_are_prompts_of_their_own(tmp_path):
    """Three clips that were not made count three times, not once."""
    (tmp_path / "l.csv").write_text("path,prompt,target,reason\n,,,timed out\n,,,timed out\n,,t,no credit\n,a taxi,,filter\n")
    clips = made(tmp_path / "l.csv")
    assert len({one.prompt_id for one in clips}) == 4
    reasons = [read_item(one.item, 1, (16, 16), 1.0, "crop").reason for one in clips]
    assert reasons == ["timed out", "timed out", "no credit", "filter"]
    assert all(one.item.clip_id == f"{one.prompt_id}-s0" and one.prompt_id.isascii() for one in clips)
    assert [one.prompt_id for one in made(tmp_path / "l.csv")] == [one.prompt_id for one in clips]


def test_folders_have_their_prompts_as_a_corpus_has(tmp_path):
    for name in ("a red ball-0.mp4", "a red ball-3.mp4", "a_red_ball-4.mp4", "sub/a cat.mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        write_video(tmp_path / name)
    (tmp_path / "a red ball-0.txt").write_text("a red ball, rolling\n")
    (tmp_path / "a red ball-3.txt").write_text("a red ball, rolling\n")
    named = {
        one.item.clip_id.rpartition("-")[2]: one.prompt_id
        for one in made(tmp_path, "filename")
        if one.item.caption == "a red ball"
    }
    assert set(named) == {"s0", "s3", "s4"}
    assert len(set(named.values())) == 1
    beside = [(one.item.caption, status(one)) for one in made(tmp_path)]
    assert beside == [("a red ball, rolling", "ok"), ("a red ball, rolling", "ok"), ("", "ok"), ("", "ok")]
    assert len({one.prompt_id for one in made(tmp_path)}) == 3
    without = made(tmp_path, "none")
    assert len({one.prompt_id for one in without}) == 4
    assert stray_files("closed", {"path": str(tmp_path), "captions": "none"}) == ["a red ball-0.txt", "a red ball-3.txt"]
    assert stray_files("closed", {"path": str(tmp_path), "captions": "sidecar"}) == []  # they are captions there


@pytest.mark.parametrize("captions", ["sidecar", "filename", "none"])
def test_stray_files_of_a_folder_are_no_prompts_and_named(tmp_path, captions):
    """A clip that nothing can read is one: only names decide."""
    write_video(tmp_path / "a cat.mp4")
    (tmp_path / "broken.mp4").write_bytes(b"")
    alone = [one.item for one in made(tmp_path, captions)]
    strays = [".DS_Store", "._a cat.mp4", ".cache/b.mp4", "Thumbs.db", "deep/notes.txt", "list.csv"]
    for name in strays:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    assert [one.item for one in made(tmp_path, captions)] == alone
    assert sorted(map(status, made(tmp_path, captions))) == ["ok", "undecodable"]
    assert sorted(stray_files("closed", {"path": str(tmp_path), "captions": captions})) == strays
    for name in ("a cat.mp4", "broken.mp4"):
        (tmp_path / name).unlink()
    with pytest.raises(
        VidmemError, match=r"at least one clip\nGot none, but 6 other files such as .*\n.*\nHint: clips end in .*\.mp4"
    ):
        made(tmp_path, captions)


def test_the_job_that_reads_a_folder_names_its_stray_files(tmp_path, caplog):
    from types import SimpleNamespace

    from read_generated import read_generated
    from vidmem.base.clip_table import clip_table
    from vidmem.base.shards import save_shards
    from vidmem.base.store import load_table, save_table

    (tmp_path / "made").mkdir()
    for name in (".DS_Store", "notes.txt"):
        (tmp_path / "made" / name).write_bytes(b"x")
    write_video(tmp_path / "made/a cat.mp4")
    save_table(tmp_path / "0.clips.parquet", clip_table([]))
    save_shards(tmp_path / "clips.json", {"clips": [str(tmp_path / "0.clips.parquet")]})
    output = SimpleNamespace(**{name: tmp_path / f"out.{name}" for name in ("frames", "clips", "guidance")})
    spec = {"kind": "files", "path": str(tmp_path / "made"), "captions": "none", "frames": 2, "size": [16, 16], "fps": 10.0,
            "fit": "crop", "max_damaged": 0.25}  # fmt: skip
    read_generated(str(tmp_path / "clips.json"), "closed", spec, 0, 1, output)
    assert list(load_table(output.clips)["status"]) == ["ok"]
    assert "2 files are no clips. They are left out and not counted: .DS_Store, notes.txt" in caplog.text
    (tmp_path / "l.csv").write_text("path,target\nmade/a cat.mp4,cat-1\n")
    with pytest.raises(VidmemError, match=r"Hint: clip ids are in .*/\*\.clips\.parquet; leave the column empty where unknown"):
        read_generated(str(tmp_path / "clips.json"), "closed", spec | {"path": str(tmp_path / "l.csv")}, 0, 1, output)


def test_names_do_not_depend_on_the_order_of_a_list(tmp_path):
    rows = [row for row in ROWS if row["prompt"] != "a taxi"] + [{**ROWS[0], "sample": 4}, {**ROWS[1], "sample": 2}]
    names = [{one.item.clip_id for one in made(write_list(tmp_path / "l.jsonl", order))} for order in (rows, rows[::-1])]
    assert names[0] == names[1]


def test_numbers_of_samples_are_filled_in(tmp_path):
    (tmp_path / "l.csv").write_text("path,prompt,sample\na.mp4,p,1\nb.mp4,p,\nc.mp4,p,\nd.mp4,p,\n")
    assert [one.item.clip_id[-2:] for one in made(tmp_path / "l.csv")] == ["s1", "s0", "s2", "s3"]


@pytest.mark.parametrize(
    ("text", "messages"),
    [
        ("path,colour\na,b\n", ["path and some of prompt, target", "colour"]),
        ("prompt\na\n", ["columns path"]),
        ("path\n", ["at least one clip"]),
        ("path,prompt,sample\na,p,0\nb,p,0\n", ["sample 0 again", "line 3", "line 2"]),
        ("path,seed\na,random\n", ["a whole number in seed", "'random'", "line 2"]),
        ("path,seed\na,-1\n", ["a whole number in seed"]),
        ("path,sample\na,1.5\n", ["a whole number in sample"]),
        ("path,prompt\na,b,c\n", ["quote commas"]),
    ],
)
def test_bad_lists_are_named(tmp_path, text, messages):
    (tmp_path / "l.csv").write_text(text)
    with pytest.raises(VidmemError) as caught:
        made(tmp_path / "l.csv")
    assert all(message in str(caught.value) for message in messages), str(caught.value)


def test_an_empty_folder_and_no_folder_are_named(tmp_path):
    (tmp_path / "e").mkdir()
    with pytest.raises(VidmemError, match="at least one clip"):
        made(tmp_path / "e")
    with pytest.raises(VidmemError, match="a list in"):
        made(tmp_path / "absent")


def test_a_digest_follows_files_prompts_and_what_is_noted(tmp_path):
    model = {"path": str(tmp_path / "l.csv"), "captions": "sidecar"}
    (tmp_path / "l.csv").write_text("path,prompt,version\na.mp4,p,1\n")
    digests = [digest_made("m", model)]
    write_video(tmp_path / "a.mp4")
    digests.append(digest_made("m", model))
    for text in ("path,prompt,version\na.mp4,q,1\n", "path,prompt,version\na.mp4,q,2\n"):
        (tmp_path / "l.csv").write_text(text)
        digests.append(digest_made("m", model))
    assert len(set(digests)) == 4
    assert digest_made("m", model) == digests[-1]
