"""Layouts of published data sets: every listed item is a row, found where the data set's own tools put it, never outside."""

import csv
import hashlib
import json

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

import small_data
from footage import picture, write_video
from vidmem.corpus.listing import digest_shards, list_corpus, list_source
from vidmem.corpus.reading import read_item
from vidmem.errors import VidmemError


def source_of(kind, path, **keys):
    return {"name": "s", "kind": kind, "path": str(path), "split": "member", "captions": "none", **keys}


def write_csv(path, header, *rows):
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def video(path, **settings):
    path.parent.mkdir(parents=True, exist_ok=True)
    return write_video(path, **settings)


def still(path, shade=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture(shade, 32, 32)).save(path)
    return path


def read(items):
    """Status of every item by its caption."""
    return {item.caption: read_item(item, 2, (16, 16), 10.0, "crop").status for item in items}


WEBVID = ["videoid", "contentUrl", "duration", "page_dir", "name"]
URL = "https://example.org/v.mp4"


def test_webvid_is_found_with_its_folders_and_without(tmp_path):
    video(tmp_path / "videos/000001_000050/11.mp4", frames=20)
    video(tmp_path / "videos/22.mp4", frames=20)
    (tmp_path / "lists").mkdir()
    write_csv(tmp_path / "lists/part0.csv", WEBVID, [11, URL, "PT00H00M02S", "000001_000050", "a taxi, in town"])
    rows = [[22, URL, "PT00H00M02S", "000001_000050", "flat"], [33, URL, "PT00H00M02S", "x", "away"]]
    write_csv(tmp_path / "lists/part1.csv", WEBVID, *rows, [44, "", "", "x", "no address"], [55, URL, "long", "x", "odd"])
    video(tmp_path / "videos/x/55.mp4", frames=20)
    items = list_source(source_of("webvid", tmp_path / "lists", root=str(tmp_path / "videos")))
    assert read(items) == {
        "a taxi, in town": "ok", "flat": "ok", "away": "gone", "no address": "missing", "odd": "ok",
    }  # fmt: skip
    assert len({item.clip_id for item in items}) == 5
    assert "not checked" in read_item(items[-1], 2, (16, 16), 10.0, "crop").reason
    assert read_item(items[0], 2, (16, 16), 10.0, "crop").reason == ""
    alone = list_source(source_of("webvid", tmp_path / "lists/part0.csv", root=str(tmp_path / "videos")))
    assert [item.clip_id for item in alone] == [items[0].clip_id]


@pytest.mark.parametrize(("listed", "status"), [("PT00H00M02S", "ok"), ("PT00H00M03S", "ok"), ("PT00H01M02S", "mismatch")])
def test_another_video_of_that_name_is_a_mismatch(tmp_path, listed, status):
    video(tmp_path / "p/1.mp4", frames=20)
    (item,) = list_source(source_of("webvid", write_csv(tmp_path / "l.csv", WEBVID, [1, URL, listed, "p", "two seconds"])))
    record = read_item(item, 2, (16, 16), 10.0, "crop")
    assert (record.status, len(record.frames)) == (status, 2 if status == "ok" else 0)


def test_openvid_lists_files_with_their_seconds(tmp_path):
    header = "video,caption,aesthetic score,motion score,temporal consistency score,camera motion,frame,fps,seconds".split(",")
    rest = [5.1, 2.0, 0.99, "pan_left", 20, 10]
    rows = [["a_0_0.mp4", "here", *rest, 2.0], ["b_0_0.mp4", "below video", *rest, 2.0], ["c_0_0.mp4", "absent", *rest, 2.0]]
    write_csv(tmp_path / "OpenVidHD.csv", header, *rows, ["d_0_0.mp4", "shorter", *rest, 20.0])
    for name in ("a_0_0.mp4", "video/b_0_0.mp4", "d_0_0.mp4"):
        video(tmp_path / name, frames=20)
    items = list_source(source_of("openvid", tmp_path / "OpenVidHD.csv"))
    assert read(items) == {"here": "ok", "below video": "ok", "absent": "missing", "shorter": "mismatch"}


def ucf(folder):
    train = ["ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi 1", "ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c02.avi 1"]
    test = ["ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi", "HandstandPushups/v_HandStandPushups_g01_c01.avi"]
    for number, line in enumerate([train[0], *test]):
        video(folder / "videos" / line.split()[0], frames=3 + number, codec="mpeg4")
    (folder / "trainlist01.txt").write_text("\r\n".join(train) + "\r\n")
    (folder / "testlist01.txt").write_text("\n".join(test) + "\n")
    return folder


def test_official_lists_of_ucf101_hold_out_whole_scenes(tmp_path):
    folder = ucf(tmp_path)
    items = list_source(source_of("ucf101", folder / "trainlist01.txt", root=str(folder / "videos")))
    assert [(item.split, item.copies, item.scene) for item in items] == [
        ("member", 1, "ApplyEyeMakeup/g08"), ("member", 1, "ApplyEyeMakeup/g08"), ("heldout", 0, "ApplyEyeMakeup/g01"),
        ("heldout", 0, "HandStandPushups/g01"),
    ]  # fmt: skip
    assert [item.caption for item in items[2:]] == ["Apply Eye Makeup", "Hand Stand Pushups"]
    records = [read_item(item, 2, (16, 16), 10.0, "crop") for item in items]
    assert [record.status for record in records] == ["ok", "missing", "ok", "ok"]
    whole = list_source(source_of("ucf101", folder / "videos"))
    assert {item.clip_id for item in whole} == {item.clip_id for item in items} - {items[1].clip_id}
    assert {item.split for item in whole} == {"member"}


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("testlist01.txt", "ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c03.avi\n", "hold out whole groups"),
        ("trainlist01.txt", "ApplyEyeMakeup/holiday.avi 1\n", "line 1"),
        ("testlist01.txt", "\n", "at least one file"),
        ("testlist01.txt", None, "no such file"),
    ],
)
def test_bad_lists_of_ucf101_are_named(tmp_path, name, text, message):
    folder = ucf(tmp_path)
    (folder / name).unlink() if text is None else (folder / name).write_text(text)
    with pytest.raises(VidmemError, match=message):
        list_source(source_of("ucf101", folder / "trainlist01.txt"))


KINETICS = ["label", "youtube_id", "time_start", "time_end", "split", "is_cc"]


def test_kinetics_is_found_in_folders_of_either_spelling(tmp_path):
    spans = {"ab_c-1_x": "train", "-dash": "validate", "flat": "test", "bysplit": "train", "both": "train", "short": "validate",
             "leak": "train", "away": "train"}  # fmt: skip
    rows = [["riding a bike", name, 7 + place, 17 + place, split, 0] for place, (name, split) in enumerate(spans.items())]
    video(tmp_path / "riding a bike/ab_c-1_x_000007_000017.mp4")
    video(tmp_path / "riding_a_bike/-dash_000008_000018.mp4")
    video(tmp_path / "flat_000009_000019.mp4")
    video(tmp_path / "train/bysplit_000010_000020.mp4")
    video(tmp_path / "train/riding a bike/both_000011_000021.mp4")
    video(tmp_path / "val/riding_a_bike/short_000012_000022.mp4")
    video(tmp_path / "test/riding a bike/leak_000013_000023.mp4")
    items = list_source(source_of("kinetics", write_csv(tmp_path / "train.csv", KINETICS, *rows)))
    found = {item.scene: (item.split, read_item(item, 2, (16, 16), 10.0, "crop").status) for item in items}
    assert found == {
        "ab_c-1_x": ("member", "ok"), "-dash": ("heldout", "ok"), "flat": ("heldout", "ok"), "bysplit": ("member", "ok"),
        "both": ("member", "ok"), "short": ("heldout", "ok"), "leak": ("member", "gone"), "away": ("member", "gone"),
    }  # fmt: skip
    assert items[-1].url == "https://www.youtube.com/watch?v=away"


def test_kinetics_without_a_column_of_splits_is_looked_for_in_the_folders_of_its_split(tmp_path):
    path = write_csv(tmp_path / "k.csv", KINETICS[:4], ["a run", "x", 1, 11], ["a run", "y", 1, 11])
    video(tmp_path / "train/a_run/x_000001_000011.mp4")
    video(tmp_path / "val/a run/y_000001_000011.mp4")
    for split, expected in (("member", ["ok", "gone"]), ("heldout", ["gone", "ok"])):
        items = list_source(source_of("kinetics", path, split=split))
        assert [read_item(item, 2, (16, 16), 10.0, "crop").status for item in items] == expected


@pytest.mark.parametrize(
    ("row", "message"),
    [(["a", "b", "soon", 17, "train", 0], "line 2"), (["a", "b", "nan", 17, "train", 0], "line 2"),
     (["a", "b", 7, 17, "private", 0], "'private'")],
)  # fmt: skip
def test_bad_rows_of_kinetics_are_named(tmp_path, row, message):
    with pytest.raises(VidmemError, match=message):
        list_source(source_of("kinetics", write_csv(tmp_path / "k.csv", KINETICS, row)))


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_laion_lists_are_joined_with_the_images_that_are_here(tmp_path, suffix):
    still(tmp_path / "00000/000000001.jpg")
    still(tmp_path / "777.png")
    table = pd.DataFrame(
        [["http://a", "by shard", "000000001", "success", ""], ["http://b", "flat", "777", "", ""],
         ["ftp://c", "not fetched", "000000003", "", ""], ["javascript:alert(1)", "dead", "000000004", "failed_to_download",
          "HTTP Error 404: Not Found"]],
        columns=["url", "caption", "key", "status", "error_message"],
    )  # fmt: skip
    table["similarity"] = 0.3
    path = tmp_path / f"list{suffix}"
    table.to_csv(path, index=False) if suffix == ".csv" else table.to_parquet(path)
    items = list_source(source_of("laion", path))
    assert read(items) == {"by shard": "ok", "flat": "ok", "not fetched": "gone", "dead": "gone"}
    assert read_item(items[3], 1, (16, 16), 1.0, "crop").reason == "failed to download: HTTP Error 404: Not Found"
    assert all(item.clip_id.replace("-", "").isalnum() for item in items)


@pytest.mark.parametrize(
    ("about", "status", "noticed"),
    [
        ({"status": "success"}, "mismatch", False),  # stored as downloaded: another file now
        ({"status": "success", "width": 64, "original_width": 640}, "ok", True),  # img2dataset's default
        ({"status": "success", "original_width": 640}, "ok", True),
        ({"status": None}, "ok", True),  # LAION's own list: of what somebody downloaded once
    ],
)
@pytest.mark.parametrize("what", ["sha256", "md5"])
def test_the_hash_of_a_download_is_that_of_a_file_only_where_nothing_was_encoded(tmp_path, what, about, status, noticed):
    file = still(tmp_path / "00000/000000001.jpg")
    row = {"url": "http://a", "caption": "a", "key": "000000001", "width": None, "original_width": None, **about}
    for content, expected in ((b"another", status), (file.read_bytes(), "ok")):
        value = hashlib.new(what, content).hexdigest()
        pd.DataFrame([row | {what: value}]).to_parquet(tmp_path / "00000.parquet")
        (item,) = list_source(source_of("laion", tmp_path))
        record = read_item(item, 1, (16, 16), 1.0, "crop")
        assert record.status == expected
        assert (f"its {what} was not checked" in record.reason) == noticed
        assert value in dict(item.expect).values()


def test_a_download_is_recovered_by_its_hash(tmp_path):
    file = still(tmp_path / "mirror/as it came.png")
    row = {"url": "http://a", "caption": "a", "key": "1", "status": "success", "width": 64, "original_width": 640,
           "sha256": hashlib.sha256(file.read_bytes()).hexdigest()}  # fmt: skip
    pd.DataFrame([row]).to_parquet(tmp_path / "00000.parquet")
    (item,) = list_source(source_of("laion", tmp_path, recover=str(tmp_path / "mirror")))
    assert read_item(item, 1, (16, 16), 1.0, "crop").status == "recovered"


@pytest.mark.parametrize("name", ["paper-image", "paper-video"])
def test_the_shipped_recipe_of_laion_stores_what_it_downloads(root, name):
    command = yaml.safe_load((root / f"configs/{name}.yaml").read_text())["obtain"]["data/laion/images"]
    assert "--resize_mode no --disable_all_reencoding True" in command
    assert "pip install" not in command  # its old dependencies stay out of the audit's environment


def test_small_images_of_laion_have_the_columns_of_img2dataset(tmp_path):
    small_data.laion(tmp_path)
    items = list_source(source_of("laion", tmp_path / "laion/images", split="image"))
    records = [read_item(item, 1, (16, 16), 1.0, "crop") for item in items]
    assert [record.status for record in records] == ["ok", "ok", "ok", "gone"]
    assert [item.expect[0][0] for item in items[:3]] == ["sha256", "sha256", "downloaded sha256"]


def test_a_list_of_laion_without_keys_is_all_gone(tmp_path):
    header = ["URL", "TEXT", "pwatermark"]
    path = write_csv(tmp_path / "l.csv", header, ["http://a/1.jpg", "one", 0.1], ["http://a/2.jpg", "two", 0.1])
    records = [read_item(item, 1, (16, 16), 1.0, "crop") for item in list_source(source_of("laion", path))]
    assert {(record.status, record.reason[:6]) for record in records} == {("gone", "no key")}


BAD_LISTS = [
    ("webvid", "videoid,title\n1,a\n", ["columns videoid, name", "no name; it has videoid, title"]),
    ("openvid", "caption\na\n", ["no video; it has caption"]),
    ("kinetics", "label,youtube_id\na,b\n", ["no time_start, time_end"]),
    ("laion", "TEXT\na\n", ["URL or url", "it has TEXT"]),
    ("webvid", "", ["it has none"]),
    ("webvid", "videoid,name\n", ["at least one clip", "the list has no lines"]),
    ("webvid", "videoid,name\n1,a,b\n", ["line 2", "quote commas"]),
]


@pytest.mark.parametrize(("kind", "text", "messages"), BAD_LISTS)
def test_bad_lists_say_what_is_there(tmp_path, kind, text, messages):
    (tmp_path / "l.csv").write_text(text)
    with pytest.raises(VidmemError) as caught:
        list_source(source_of(kind, tmp_path / "l.csv"))
    assert all(message in str(caught.value) for message in messages), str(caught.value)


def test_lists_that_are_not_utf8_are_named_and_folders_without_lists(tmp_path):
    (tmp_path / "l.csv").write_bytes(b"videoid,name\n1,caf\xe9\n")
    with pytest.raises(VidmemError, match="save the list as UTF-8"):
        list_source(source_of("webvid", tmp_path / "l.csv"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(VidmemError, match=r"files that end in \.csv"):
        list_source(source_of("webvid", tmp_path / "empty"))
    (tmp_path / "l.pkl").write_bytes(b"cos\nsystem\n")
    with pytest.raises(VidmemError, match="no pickle"):
        list_source(source_of("webvid", tmp_path / "l.pkl"))


HOSTILE = ["../secret", "/etc", "a/../../secret", "..", "a\0b"]


@pytest.mark.parametrize("folder", HOSTILE)
def test_listed_paths_do_not_leave_the_folder(tmp_path, folder):
    root = tmp_path / "root"
    video(tmp_path / "secret/1.mp4")
    video(root / "1.mp4")
    table = pd.DataFrame([[1, folder, "a"]], columns=["videoid", "page_dir", "name"])
    table.to_parquet(tmp_path / "l.parquet")
    (item,) = list_source(source_of("webvid", tmp_path / "l.parquet", root=str(root)))
    record = read_item(item, 2, (16, 16), 10.0, "crop")
    assert (record.status, item.path, item.others) == ("skipped", "", ())
    assert "leads out" in record.reason


@pytest.mark.parametrize("key", ["../../secret", "/etc/passwd"])
@pytest.mark.parametrize("status", ["success", "failed_to_download"])
def test_keys_of_images_do_not_leave_the_folder(tmp_path, key, status):
    (item,) = list_source(
        source_of("laion", write_csv(tmp_path / "l.csv", ["URL", "key", "status"], ["http://a", key, status]))
    )
    assert (item.status, item.path) == ("skipped", "")


def test_names_with_dots_stay_inside(tmp_path):
    video(tmp_path / "a..b/1.mp4")
    (item,) = list_source(source_of("webvid", write_csv(tmp_path / "l.csv", ["videoid", "page_dir", "name"], [1, "a..b", "c"])))
    assert read_item(item, 2, (16, 16), 10.0, "crop").status == "ok"


def test_duplicate_ids_are_counted_once_and_marked(tmp_path):
    video(tmp_path / "1.mp4")
    rows = [[1, "", "a"], [1, "", "crawled again"], [2, "", "b"]]
    source = source_of("webvid", write_csv(tmp_path / "l.csv", ["videoid", "page_dir", "name"], *rows))
    for shards in (1, 3):
        items = [item for shard in range(shards) for _, item in list_corpus([source], shard, shards)]
        assert sorted(bool(item.problem) for item in items) == [False, False, True]


def test_a_download_changes_the_digest_of_its_shard_only(tmp_path):
    rows = [[number, URL, "", "p", f"clip {number}"] for number in range(40)]
    source = source_of("webvid", write_csv(tmp_path / "l.csv", WEBVID, *rows))
    before = digest_shards([source], 8)
    video(tmp_path / "p/7.mp4")
    after = digest_shards([source], 8)
    owner = [shard for shard in range(8) if any(item.caption == "clip 7" for _, item in list_corpus([source], shard, 8))]
    assert [shard for shard in range(8) if before[shard] != after[shard]] == owner
    (tmp_path / "p/7.mp4").rename(tmp_path / "7.mp4")  # the flat variant
    flat = digest_shards([source], 8)
    assert [shard for shard in range(8) if before[shard] != flat[shard]] == owner


def test_ffhq_and_celeba_are_plain_images(tmp_path):
    """Folders of FFHQ (00000/00000.png) and CelebA-HQ (0.jpg ...) need no layout of their own."""
    for name in ("00000/00000.png", "00000/00001.png", "01000/01000.png", "celeba/0.jpg", "celeba/1.jpg"):
        still(tmp_path / name, int(name[-5]))
    (tmp_path / "LICENSE.txt").write_text("CC BY-NC-SA")
    items = list_source(source_of("images", tmp_path, split="image"))
    records = {item.clip_id: read_item(item, 1, (16, 16), 1.0, "crop").status for item in items}
    assert sorted(records.values()) == ["ok"] * 5 + ["skipped"]
    assert len(records) == 6


def test_captions_in_json_lines_may_be_anything(tmp_path):
    captions = ["../../etc/passwd", "<b>", "two\nlines", "🎉", ""]
    (tmp_path / "l.jsonl").write_text(
        "".join(json.dumps({"videoid": place, "name": caption}) + "\n" for place, caption in enumerate(captions))
    )
    items = list_source(source_of("webvid", tmp_path / "l.jsonl"))
    assert [item.caption for item in items] == captions
    assert np.unique([item.clip_id for item in items]).size == len(captions)
