"""Every listed file is ok, gone, another one, or recovered by its hash; denominators count them all."""

import hashlib
import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from footage import picture
from hub import COMMIT, fill_cache
from vidmem.base.clip_table import query_clips, usable
from vidmem.corpus.availability import locate_item
from vidmem.corpus.item import Place
from vidmem.corpus.listing import digest_shards, list_corpus, list_source
from vidmem.corpus.own_layouts import resolve_path
from vidmem.corpus.reading import read_clips, read_item
from vidmem.errors import ClipError, VidmemError
from vidmem.exhibits.tables import real_rows
from vidmem.features.statistics import IntervalRule
from vidmem.scoring.scores import VerdictRule


def still(path, step=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture(step, 32, 32)).save(path)
    return path


def digest(path, algorithm="sha256"):
    return hashlib.new(algorithm, path.read_bytes()).hexdigest()


@pytest.fixture
def corpus(tmp_path):
    """A list of one file of every fate, and the folder it is recovered from."""
    for place, name in enumerate(("here", "changed", "moved", "lost")):
        still(tmp_path / f"{name}.png", place)
    rows = [
        [f"{name}.png", name, digest(tmp_path / f"{name}.png"), "http://a"] for name in ("here", "changed", "moved", "lost")
    ]
    rows.append(["never.png", "never", "", ""])
    pd.DataFrame(rows, columns=["path", "caption", "sha256", "url"]).to_csv(tmp_path / "l.csv", index=False)
    still(tmp_path / "changed.png", 9)
    (tmp_path / "mirror").mkdir()
    (tmp_path / "moved.png").rename(tmp_path / "mirror/of another name.jpeg")
    (tmp_path / "lost.png").unlink()
    source = {"name": "s", "kind": "list", "path": str(tmp_path / "l.csv"), "split": "member", "fps": 1.0, "fit": "crop"}
    return {
        "frames": 1,
        "size": [16, 16],
        "min_information": 0.0,
        "max_damaged": 0.25,
        "sources": [{**source, "recover": str(tmp_path / "mirror")}],
    }


def rows_of(corpus):
    return pd.DataFrame([row for row, _ in read_clips(corpus, "c", list_corpus(corpus["sources"]))]).set_index("caption")


def test_every_fate_has_its_status(corpus):
    rows = rows_of(corpus)
    assert rows["status"].to_dict() == {
        "here": "ok", "changed": "mismatch", "moved": "recovered", "lost": "gone", "never": "missing",
    }  # fmt: skip
    assert rows["count"].to_dict() == {"here": 1, "changed": 0, "moved": 1, "lost": 0, "never": 0}
    assert rows.loc["here", "reason"] == ""
    assert (rows["reason"][1:] != "").all()
    assert not rows["reason"].str.contains("png|/").any()  # a table counts by reason: no file names
    assert "of another name.jpeg" in rows.loc["moved", "provenance"]


def test_a_recovered_clip_has_the_pixels_that_were_listed(corpus, tmp_path):
    rows = rows_of(corpus)
    (tmp_path / "mirror/of another name.jpeg").rename(tmp_path / "moved.png")
    assert rows_of(corpus).loc["moved", ["status", "pixels"]].to_list() == ["ok", rows.loc["moved", "pixels"]]


def test_a_changed_file_is_recovered_too(corpus, tmp_path):
    from vidmem.corpus.availability import hashes_in

    still(tmp_path / "mirror/c.png", 1)
    hashes_in.cache_clear()
    row = rows_of(corpus).loc["changed"]
    assert row["status"] == "recovered"
    assert row["reason"].startswith("its sha256 is not what the list says; found by its sha256 in the folder mirror")


def test_a_new_file_to_recover_from_reads_the_shards_again(corpus, tmp_path):
    before = digest_shards(corpus["sources"], 3)
    still(tmp_path / "mirror/new.png", 5)
    assert not set(before) & set(digest_shards(corpus["sources"], 3))


def test_usable_decides_and_denominators_count_all(corpus):
    rows = rows_of(corpus).reset_index().assign(split="heldout")
    assert list(usable(rows)["caption"]) == ["here", "moved"]
    assert len(query_clips(rows)) == 2
    scores = pd.DataFrame({"metric": ["gsscd"], "clip_id": ["x"], "value": [0.9], "verdict": [True], "natural": [""]})
    (row,) = real_rows("c", rows, scores, VerdictRule("gsscd"), VerdictRule("ofs_k"), IntervalRule())
    assert (row["n_prompts"], row["n_ok"], row["n_failed"]) == (5, 2, 3)
    assert row["content_share"] == pytest.approx(1 / 5)


@pytest.mark.parametrize(
    ("column", "value", "status"),
    [
        ("md5", "right", "ok"), ("md5", "0" * 32, "mismatch"), ("sha256", "RIGHT", "ok"), ("bytes", "right", "ok"),
        ("bytes", "7", "mismatch"), ("bytes", "many", "ok"), ("seconds", "3", "ok"),
    ],
)  # fmt: skip
def test_what_a_list_says_is_checked(tmp_path, column, value, status):
    file = still(tmp_path / "a.png")
    right = str(file.stat().st_size) if column == "bytes" else digest(file, "md5" if column == "md5" else "sha256")
    value = {"right": right, "RIGHT": right.upper()}.get(value, value)
    (tmp_path / "l.csv").write_text(f"path,{column}\na.png,{value}\n")
    (item,) = list_source({"name": "s", "kind": "list", "path": str(tmp_path / "l.csv"), "split": "member"})
    record = read_item(item, 1, (16, 16), 1.0, "crop")
    assert record.status == status
    assert ("not checked" in record.reason) == ((column, value) in {("bytes", "many"), ("seconds", "3")})


def test_without_a_hash_nothing_is_recovered(tmp_path):
    still(tmp_path / "mirror/a.png")
    (tmp_path / "l.csv").write_text("path,url\na.png,http://a\n")
    source = {
        "name": "s",
        "kind": "list",
        "path": str(tmp_path / "l.csv"),
        "split": "member",
        "recover": str(tmp_path / "mirror"),
    }
    assert read_item(list_source(source)[0], 1, (16, 16), 1.0, "crop").status == "gone"


def test_recovered_is_no_failure():
    with pytest.raises(VidmemError, match="failing status"):
        ClipError("recovered", "it was found")
    assert np.all([ClipError(status, "why").status == status for status in ("gone", "mismatch")])


def test_a_repository_is_listed_by_its_pin_and_read_only_when_fetched(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    source = {
        "name": "hub", "kind": "parquet", "path": "data", "split": "member", "repository": "someone/something-never-fetched",
        "revision": "a" * 40, "fetch": [], "root": None,
    }  # fmt: skip
    with pytest.raises(VidmemError, match="fetch stage"):
        list_source(source)
    pins = digest_shards([source], 2), digest_shards([source | {"revision": "b" * 40}], 2)
    assert not set(pins[0]) & set(pins[1])
    pd.DataFrame({"image": [still(tmp_path / "a.png").read_bytes()]}).to_parquet(tmp_path / "train-0.parquet")
    content = (tmp_path / "train-0.parquet").read_bytes()
    fill_cache(tmp_path / "hub", monkeypatch, {"data/train-0.parquet": content}, {"data/train-0.parquet": len(content)})
    source["repository"] = "some/thing"
    pins = [digest_shards([source], 2)]
    (item,) = list_source(source)
    assert read_item(item, 1, (16, 16), 1.0, "crop").status == "ok"
    assert digest_shards([source], 2) == pins[0]  # what is pinned is the same before and after it was fetched


def test_patterns_of_a_repository(tmp_path):
    from vidmem.corpus.hub_datasets import wanted_files

    for path, patterns in {
        "data": ["data/*"], ".": ["*"], "a/l.csv": ["a/l.csv"], "a/00000.tar": ["a/00000.tar", "a/00000.parquet"],
        "lists/trainlist02.txt": ["lists/trainlist02.txt", "lists/testlist02.txt"],
    }.items():  # fmt: skip
        assert wanted_files({"path": path, "fetch": ["*.txt"]}) == [*patterns, "*.txt"]
    assert resolve_path("a", tmp_path) == tmp_path / "a"


HUB = {"name": "hub", "repository": "some/thing", "revision": COMMIT, "path": "data", "fetch": [], "root": None}
PARTS = {f"data/train-0000{number}-of-00005.parquet": b"part %d" % number for number in range(5)}


def test_what_is_fetched_is_recorded(tmp_path, monkeypatch):
    from fetch_corpus import fetch_corpus
    from vidmem.corpus import hub_datasets

    asked = []
    files = {"data/a.csv": b"path\n", "README.md": b"not wanted"}
    folder = fill_cache(tmp_path / "hub", monkeypatch, files, {name: len(content) for name, content in files.items()})
    monkeypatch.setattr(hub_datasets, "_snapshot", lambda source, **settings: asked.append(settings) or folder)
    source = {"name": "hub", "repository": "some/thing", "revision": COMMIT, "path": "data/a.csv", "fetch": []}
    fetch_corpus(source, tmp_path / "record.json")
    assert json.loads((tmp_path / "record.json").read_text()) == {**source, "files": {"data/a.csv": 5}}
    assert asked == [{}]  # the network may be used here, and nowhere else


SIZES = {name: len(content) for name, content in PARTS.items()}
UNWHOLE = {
    "one of five": (dict([*PARTS.items()][:1]), SIZES, "1 of them; not data/train-00001-of-00005.parquet"),
    "cut off": (PARTS | {"data/train-00004-of-00005.parquet": b"par"}, SIZES, "4 of them; not data/train-00004"),
    "without a list": (PARTS, None, "a snapshot without that list: it may be incomplete"),
    "nothing wanted": ({"README.md": b"words"}, {"README.md": 5}, "none in the repository"),
}


@pytest.mark.parametrize("case", UNWHOLE)
def test_a_part_of_a_data_set_is_not_the_whole(tmp_path, monkeypatch, case):
    """Neither for the fetch stage without a network nor for the jobs that read it."""
    from fetch_corpus import fetch_corpus
    from vidmem.corpus.hub_datasets import located

    files, listed, message = UNWHOLE[case]
    fill_cache(tmp_path / "hub", monkeypatch, files, listed)
    with pytest.raises(VidmemError, match=message) as caught:
        located(HUB)
    again = "--force -- results/<run>/corpora/<corpus>.hub.json"  # a record may have outlived the files
    assert (again in caught.value.hint) == (case != "nothing wanted")
    with pytest.raises(VidmemError):
        fetch_corpus(HUB, tmp_path / "record.json")
    assert not (tmp_path / "record.json").exists()


def test_a_whole_data_set_is_found_without_a_network(tmp_path, monkeypatch):
    from vidmem.corpus.hub_datasets import fetch_source, located

    folder = fill_cache(tmp_path / "hub", monkeypatch, PARTS, SIZES | {"README.md": 99})
    assert fetch_source(HUB) == (folder, SIZES)
    assert located(HUB)["path"] == str(folder / "data")


def test_a_wrong_file_at_one_place_hides_no_right_one(tmp_path):
    """WebVid may lie in its folders or flat: the digest of the shard follows both places."""
    (tmp_path / "p").mkdir()
    still(tmp_path / "wrong.png", 1).rename(tmp_path / "p/1.mp4")
    row = {"videoid": 1, "name": "a", "page_dir": "p", "sha256": digest(still(tmp_path / "right.png", 2))}
    pd.DataFrame([row]).to_csv(tmp_path / "l.csv", index=False)
    source = {"name": "s", "kind": "webvid", "path": str(tmp_path / "l.csv"), "split": "member", "root": str(tmp_path)}
    (item,) = list_source(source)
    with pytest.raises(ClipError, match="its sha256 is not what the list says"):
        locate_item(item)
    before = digest_shards([source], 1)
    (tmp_path / "right.png").rename(tmp_path / "1.mp4")
    assert locate_item(item) == (Place(str(tmp_path / "1.mp4")), "", "")
    assert digest_shards([source], 1) != before


def test_what_cannot_be_fetched_says_what_to_do(monkeypatch):
    from huggingface_hub.errors import GatedRepoError, LocalEntryNotFoundError

    from vidmem.corpus import hub_datasets

    source = {"name": "hub", "repository": "some/thing", "revision": "a" * 40, "path": "data", "fetch": []}
    for error, message in (
        (GatedRepoError.__new__(GatedRepoError), "accept its terms"),
        (LocalEntryNotFoundError("no"), "offline"),
    ):
        monkeypatch.setattr(hub_datasets, "_snapshot", raising(error))
        with pytest.raises(VidmemError, match=message):
            hub_datasets.fetch_source(source)


def raising(error):
    def call(*_, **__):
        raise error

    return call
