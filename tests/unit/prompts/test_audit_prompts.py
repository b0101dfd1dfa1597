"""The prompts of an audit: from a corpus, from a file, ordered by ranks."""

import pandas as pd
import pytest

from vidmem.errors import VidmemError
from vidmem.generation.shard import requests_of
from vidmem.prompts.audit_prompts import prompts_of_corpus, prompts_of_file


def test_prompts_of_a_file_take_targets_of_the_corpus_only(tmp_path):
    clips = pd.DataFrame({"clip_id": ["t", "21"], "split": ["member", "image"], "copies": [4, 1]})
    (tmp_path / "own.csv").write_text("prompt,target\na,t\nb,\n")
    own = prompts_of_file(tmp_path / "own.csv", clips)
    assert own[["target", "split", "copies"]].to_numpy().tolist() == [["t", "member", 4], ["", "", 0]]
    (tmp_path / "own.csv").write_text("prompt,target\na,t\nb,elsewhere\n")
    with pytest.raises(VidmemError, match=r"a clip id of the corpus[\s\S]*elsewhere[\s\S]*line 3"):
        prompts_of_file(tmp_path / "own.csv", clips)
    (tmp_path / "webvid.csv").write_text("videoid,name\n21,a\n22,b\n")
    listed = prompts_of_file(tmp_path / "webvid.csv", clips, limit=5)
    assert listed[["target", "split", "copies"]].to_numpy().tolist() == [["21", "image", 1], ["", "", 0]]
    assert set(listed["status"]) == {"ok"}
    assert set(listed["reason"]) == {""}  # a gone target does not stop its prompt
    assert list(listed.columns) == list(own.columns)


def test_prompts_go_by_a_rank_where_one_is_given(captioned):
    plain = prompts_of_corpus(captioned, ["member", "image"])
    assert list(plain["target"]) == ["c", "a", "b", "d", "f"]
    ranked = prompts_of_corpus(captioned, ["member", "image"], ranks={"a house on a hill": 1, "A cat.": 2, "a dog": 7})
    assert list(ranked["target"]) == ["f", "a", "c", "b", "d"]  # without a rank: as before, at the end
    assert list(prompts_of_corpus(captioned, ["member", "image"], 2, {"a cat": 1, "a dog": 2})["target"]) == ["b", "c"]
    assert sorted(ranked["prompt_id"]) == sorted(plain["prompt_id"])


def test_prompts_are_named_by_what_they_say(tmp_path):
    clips = pd.DataFrame({"clip_id": ["t"], "split": ["member"], "copies": [4]})
    (tmp_path / "p.csv").write_text("prompt,target\na cat,t\na cat,\na cat,t\n \n")
    first = prompts_of_file(tmp_path / "p.csv", clips)
    (tmp_path / "p.csv").write_text("prompt,target\na dog,\na cat,t\na cat,\na cat,t\n")
    second = prompts_of_file(tmp_path / "p.csv", clips)
    assert list(first["prompt_id"])[:3] == list(second["prompt_id"])[1:]
    assert len(set(first["prompt_id"])) == 4
    assert list(first["status"]) == ["ok", "ok", "ok", "skipped"]
    (tmp_path / "p.csv").write_text("prompt\n")
    with pytest.raises(VidmemError, match="at least one prompt"):
        prompts_of_file(tmp_path / "p.csv", clips)


def test_prompts_keep_every_clip():
    import pandas as pd

    clips = pd.DataFrame(
        {"clip_id": list("abcd"), "caption": ["x", "", "x", "y"], "split": ["member"] * 3 + ["heldout"], "copies": [1, 1, 9, 0]}
    )
    table = prompts_of_corpus(clips, ["member", "heldout"])
    assert dict(zip(table["target"], table["status"])) == {"c": "ok", "b": "skipped", "d": "ok"}
    assert dict(zip(table["target"], table["reason"])) == {"c": "", "b": "no caption", "d": ""}
    assert list(prompts_of_corpus(clips, ["member", "heldout"], limit=1)["target"]) == ["c"]
    assert [request.prompt_id for request in requests_of(table, 2)] == ["p-c", "p-c", "p-d", "p-d"]
