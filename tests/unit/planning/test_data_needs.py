"""Preflight of training data and lists: here, in part, damaged or missing."""

import shutil

import numpy as np
import pytest

from vidmem.planning import data_needs
from vidmem.planning.page import lacking


@pytest.mark.parametrize(
    ("text", "told", "remedy"),
    [
        ("caption\na ball\n", "columns path and some of", "the first line names the columns"),
        ("path,Caption\na.mp4,a ball\n", "columns path", "rename 'Caption' to 'caption' in the first line"),
        ("path;caption\na.mp4;a ball\n", "columns path", "separate the cells by commas, in every line"),
        ("path,caption\na.mp4,caf\xe9\n", "text in UTF-8", "save the list as UTF-8"),
        ("path,split\na.mp4,train\n", "member, heldout or image in column split expected, 'train' at clips.csv, line 2",
         "what the model was trained on is member, other clips are heldout"),
        ("path,copies\na.mp4,2\nb.mp4,many\n", "a whole number >= 0 in column copies expected, 'many' at clips.csv, line 3",
         "correct clips.csv, line 3"),
        ("path,caption\n", "at least one clip or image expected, the list has no lines",
         "list what the model was trained on, or leave the source out"),
        ("", "an empty file", "the first line names the columns"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("obtain", [{}, {"clips.csv": "make it"}])
def test_a_list_that_is_there_is_to_be_corrected(audit, tmp_path, text, told, remedy, obtain):
    """And not to be put where it is, nor made once more."""
    (tmp_path / "clips.csv").write_bytes(text.encode("latin-1"))
    (found,) = audit("Training data", obtain=obtain)
    assert (found.state, told in found.found, found.remedy) == ("missing", True, remedy), found


@pytest.mark.parametrize(
    ("kind", "path", "text"),
    [
        ("webvid", "w.csv", "videoid,name\n"),
        ("openvid", "o.csv", "video,caption\n"),
        ("gameplay", "g.csv", "path\n"),
        ("images", "none", ""),
    ],
)
def test_nothing_to_read_is_told_whatever_the_kind(audit, tmp_path, kind, path, text):
    (tmp_path / "none").mkdir()
    (tmp_path / path).write_text(text) if text else None
    source = {"name": "clips", "kind": kind, "path": path}
    (found,) = audit("Training data", corpora={"own": {"frames": 6, "sources": [source]}})
    why = "the list has no lines" if text else "the folder has no files"
    assert (found.state, found.found) == ("missing", f"at least one clip or image expected, {why} at {path} (source clips)")


def test_training_data_is_looked_for_file_by_file(audit, tmp_path):
    (found,) = audit("Training data")
    assert (found.state, found.found) == ("missing", "2 listed; 0 of 2 looked for are here")
    (tmp_path / "a.mp4").write_bytes(b"x")
    (found,) = audit("Training data")
    assert (found.state, found.found) == ("here", "2 listed; 1 of 2 looked for are here")
    (tmp_path / "clips.csv").unlink()
    (found,) = audit("Training data", obtain={"clips.csv": "make it"})
    assert (found.state, found.remedy) == ("missing", "make it")


@pytest.fixture
def partial_corpus(audit, tmp_path, monkeypatch):
    """A list of 3,000 rows, of which 2,000 are read at first; look(names) makes these files and looks."""
    monkeypatch.setattr(data_needs, "LISTED_FILES", 2000)
    rows = "".join(f"{number}.mp4,a clip\n" for number in range(3000))
    (tmp_path / "openvid.csv").write_text(f"video,caption\n{rows}")
    corpus = {"frames": 6, "sources": [{"name": "ov", "kind": "openvid", "path": "openvid.csv", "root": "videos"}]}

    def look(names, **source):
        shutil.rmtree(tmp_path / "videos", ignore_errors=True)
        for name in names:
            (tmp_path / "videos" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "videos" / name).write_bytes(b"x")
        (found,) = audit("Training data", corpora={"own": corpus | {"sources": [corpus["sources"][0] | source]}})
        return found

    return look


@pytest.mark.parametrize("folder", ["", "video/"])
def test_a_part_of_a_corpus_is_here_wherever_in_the_list_it_is(partial_corpus, folder):
    assert partial_corpus(f"{folder}{number}.mp4" for number in range(2200, 2300)).state == "here"
    assert partial_corpus([f"{folder}2999.mp4"]).found.endswith(f"videos/{folder}2999.mp4 is, and is listed")
    assert partial_corpus([f"{folder}2999.mkv"]).found.endswith(f"videos/{folder}2999.mkv is, and is listed")
    assert partial_corpus([f"{folder}2999.jpg"]).state == "unknown"  # no video
    for seed in range(4):
        numbers = np.random.default_rng(seed).choice(3000, 9, replace=False)
        assert partial_corpus(f"{folder}{number}.mp4" for number in numbers).state == "here"


def test_a_corpus_is_missing_only_where_no_footage_is(partial_corpus, tmp_path):
    assert partial_corpus([]).state == "missing"  # no such folder
    assert partial_corpus(["OpenVid_part0.zip", "readme.txt"]).state == "missing"
    found = partial_corpus(["another/one.mp4"])
    assert (found.state, found.remedy) == ("unknown", "")
    assert "0 of 200 looked for are here; videos has others, such as videos/another/one.mp4" in found.found
    (tmp_path / "link").mkdir()
    (tmp_path / "link/2500.mp4").write_bytes(b"x")
    (tmp_path / "videos/video").symlink_to(tmp_path / "link")
    (tmp_path / "link/loop").symlink_to(tmp_path / "link")
    (tmp_path / "videos").rename(tmp_path / "linked")
    assert partial_corpus([], root="linked").found.endswith("linked/video/2500.mp4 is, and is listed")


def test_a_damaged_end_of_a_list_is_told_where_it_is_looked_through(partial_corpus, tmp_path):
    with open(tmp_path / "openvid.csv", "a") as file:
        file.write("a,b,c,d\n")
    found = partial_corpus(["other.mp4"])
    assert (found.state, "openvid.csv, line 3002" in found.found) == ("missing", True)


def test_a_plain_list_has_no_folder_and_each_file_is_looked_for(audit, tmp_path, monkeypatch):
    rows = "".join(f"{number}.mp4\n" for number in range(900))
    (tmp_path / "clips.csv").write_text(f"path\n{rows}")
    assert audit("Training data")[0].state == "missing"
    (tmp_path / "457.mp4").write_bytes(b"x")
    assert audit("Training data")[0].found == "900 listed; 0 of 180 looked for are here; 457.mp4 is, and is listed"
    (tmp_path / "457.mp4").rename(tmp_path / "899.mp4")
    monkeypatch.setattr(data_needs, "LISTED_FILES", 800)
    (found,) = audit("Training data")
    assert (found.state, found.found.endswith("nor is any of the first 800")) == ("unknown", True)


def test_what_cannot_be_read_at_all_is_missing(audit, tmp_path):
    (tmp_path / "laion.csv").write_text("URL,TEXT\nhttp://a,a\nhttp://b,b\n")
    source = {"name": "urls", "kind": "laion", "path": "laion.csv"}
    (found,) = audit("Training data", corpora={"own": {"frames": 1, "sources": [source]}})
    assert (found.state, found.found) == (
        "missing",
        "2 listed; none to be read: no key: where its image would lie is not known",
    )


def test_files_that_may_be_found_by_their_hash_are_unknown_and_not_missing(audit, tmp_path):
    def look(column, recover="mirror"):
        (tmp_path / "clips.csv").write_text(f"path,{column}\na.mp4,{'0' * 64}\nb.mp4,{'1' * 64}\n")
        source = {"name": "clips", "kind": "list", "path": "clips.csv", "recover": recover}
        (found,) = audit("Training data", corpora={"own": {"frames": 6, "sources": [source]}})
        return found

    (tmp_path / "mirror").mkdir()
    assert [look("sha256", "gone").state, look("sha256").state] == ["missing", "missing"]
    (tmp_path / "mirror/x").write_bytes(b"x")
    found = look("sha256")
    assert (found.state, found.remedy) == ("unknown", "")
    assert found.found == "2 listed; 0 of 2 looked for are here; others are looked for by hash in mirror"
    assert not lacking([found])
    assert look("caption").state == "missing"  # nothing to know them by
    (tmp_path / "a.mp4").write_bytes(b"x")
    assert (look("sha256").state, look("sha256").found.count("by hash in mirror")) == ("here", 1)


def test_lists_are_there_readable_or_missing(audit, tmp_path):
    changes = {"net": {"prompts": {"file": "p.csv"}}, "detection": {"negatives": {"file": "n.txt"}}}
    prompts, negatives = audit("Lists", **changes)
    assert (prompts.state, negatives.state) == ("missing", "missing")
    assert "models.net.prompts.file" in prompts.name
    (tmp_path / "p.csv").write_text("prompt\na ball\na cat\n")
    (tmp_path / "n.txt").write_bytes(b"\xff\xfe")
    prompts, negatives = audit("Lists", **changes)
    assert (prompts.state, prompts.found) == ("here", "2 prompts")
    assert (negatives.state, "UTF-8" in negatives.found) == ("missing", True)
