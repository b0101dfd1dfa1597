"""Folders as people have them: links are followed, and what cannot be entered or read is a row or an error, never nothing."""

import hashlib

import pandas as pd
import pytest

from packed_footage import png, read, source_of
from permissions import ordinary_user
from vidmem.corpus.availability import hashes_in
from vidmem.corpus.files import walk_folder
from vidmem.corpus.listing import digest_shards, list_source
from vidmem.errors import VidmemError

SHUT = "the folder may not be entered: permission denied"


def still(path, number=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(png(number))
    return path


def images(path, **keys):
    return source_of("images", path, captions="none", **keys)


def names(items, root):
    return [item.path.removeprefix(f"{root}/") for item in items]


def test_the_order_without_links_is_that_of_the_parts_of_the_paths(tmp_path):
    for name in ("b.png", "a/z.png", "a.png", "a b/1.png", "a/b/c/d.png", "a-b.png", ".hidden/x.png", "A.png", "a/.b.png"):
        still(tmp_path / name)
    expected = sorted(path for path in tmp_path.rglob("*") if not path.is_dir())
    assert [entry.path for entry in walk_folder(tmp_path)] == expected
    assert names(list_source(images(tmp_path)), tmp_path) == [str(path.relative_to(tmp_path)) for path in expected]


def test_links_to_folders_are_followed_and_circles_end(tmp_path):
    """No folder is entered twice: its files have one name each, and the path in the folder itself comes before a link."""
    still(tmp_path / "store/deep/a.png", 1)
    still(tmp_path / "clips/own/b.png", 2)
    (tmp_path / "clips/linked").symlink_to(tmp_path / "store")
    (tmp_path / "clips/again").symlink_to(tmp_path / "store/deep")
    (tmp_path / "clips/first").symlink_to(tmp_path / "clips/own")
    (tmp_path / "store/deep/up").symlink_to(tmp_path / "clips")
    (tmp_path / "store/deep/here").symlink_to(".")
    (tmp_path / "clips/self").symlink_to("self")
    items = list_source(images(tmp_path / "clips"))
    assert names(items, tmp_path / "clips") == ["again/a.png", "own/b.png", "self"]
    records = [read(item) for item in items]
    assert [record.status for record in records] == ["ok", "ok", "missing"]
    assert records[2].reason == "a link that points nowhere"


def test_folders_that_link_to_each_other_add_nothing(tmp_path):
    for number in range(9):
        still(tmp_path / f"{number}/a.png", number)
        for other in range(9):
            (tmp_path / f"{number}/to-{other}").symlink_to(tmp_path / str(other))
    assert names(list_source(images(tmp_path)), tmp_path) == [f"{number}/a.png" for number in range(9)]


def test_links_that_point_nowhere_are_rows(tmp_path):
    still(tmp_path / "a.png")
    (tmp_path / "b.png").symlink_to(tmp_path / "absent.png")
    (tmp_path / "disk").symlink_to("/not/mounted")
    items = list_source(images(tmp_path))
    assert [read(item).status for item in items] == ["ok", "missing", "missing"]
    before = digest_shards([images(tmp_path)], 1)
    still(tmp_path / "absent.png")
    assert digest_shards([images(tmp_path)], 1) != before


def test_a_folder_that_may_not_be_entered_is_a_row_and_comes_in_when_it_may(open_folder):
    still(open_folder / "a.png", 1)
    still(open_folder / "shut/b.png", 2)
    (open_folder / "shut").chmod(0)
    (open_folder / "way").symlink_to(open_folder / "shut/b.png")
    with ordinary_user():
        items = list_source(images(open_folder) | {"captions": "filename"})
        records = [read(item) for item in items]
        before = digest_shards([images(open_folder)], 1)
    assert [(record.status, record.reason) for record in records] == [
        ("ok", ""), ("skipped", SHUT), ("skipped", "it may not be entered: permission denied"),
    ]  # fmt: skip
    assert [item.caption for item in items] == ["a", "", ""]
    (open_folder / "shut").chmod(0o755)
    with ordinary_user():
        assert [read(item).status for item in list_source(images(open_folder))] == [
            "ok",
            "ok",
            "skipped",
        ]  # the way has no ending
        assert digest_shards([images(open_folder)], 1) != before


def test_files_of_a_folder_that_may_be_listed_but_not_traversed_are_rows(open_folder):
    still(open_folder / "half/a.png")
    (open_folder / "half").chmod(0o444)
    with ordinary_user():
        records = [read(item) for item in list_source(images(open_folder))]
        before = digest_shards([images(open_folder)], 1)
    assert [record.status for record in records] == ["skipped"]
    assert "permission denied" in records[0].reason
    (open_folder / "half").chmod(0o755)
    (open_folder / "half/a.png").chmod(0)
    with ordinary_user():
        (record,) = [read(item) for item in list_source(images(open_folder))]
        assert (record.status, record.reason) == ("skipped", "the file may not be read: permission denied")
        assert digest_shards([images(open_folder)], 1) == before  # neither can be read
    (open_folder / "half/a.png").chmod(0o644)
    with ordinary_user():
        assert digest_shards([images(open_folder)], 1) != before


@pytest.mark.parametrize("kind", ["folder", "images", "ucf101", "parquet", "webvid", "webdataset"])
def test_a_source_that_may_not_be_entered_stops_the_run(open_folder, kind):
    (open_folder / "root").mkdir()
    still(open_folder / "root/a.png")
    (open_folder / "root").chmod(0)
    with ordinary_user(), pytest.raises(VidmemError, match=SHUT):
        list_source(source_of(kind, open_folder / "root", captions="none"))


def test_a_source_that_is_no_folder_is_named(tmp_path):
    for path, cause in ((tmp_path / "absent", "no such file"), (still(tmp_path / "a.png"), "not a directory")):
        with pytest.raises(VidmemError, match=f"a folder\nGot the folder may not be entered: {cause}"):
            list_source(images(path))


def test_class_folders_of_ucf101_are_followed_and_named(open_folder):
    for name in ("Archery/v_Archery_g01_c01.avi", "Biking/v_Biking_g01_c01.avi"):
        (open_folder / "store" / name).parent.mkdir(parents=True)
        (open_folder / "store" / name).write_bytes(b"x")
    (open_folder / "classes").mkdir()
    (open_folder / "classes/Archery").symlink_to(open_folder / "store/Archery")
    (open_folder / "classes/Biking").symlink_to(open_folder / "store/Biking")
    assert [item.caption for item in list_source(source_of("ucf101", open_folder / "classes"))] == ["Archery", "Biking"]
    (open_folder / "store/Biking").chmod(0)
    with ordinary_user():
        items = list_source(source_of("ucf101", open_folder / "classes"))
        found = {item.path.rpartition("/")[2]: (item.status, item.problem) for item in items if item.problem}
    assert found == {"Biking": ("skipped", SHUT)}
    assert len(items) == 2
    (open_folder / "store/Archery").chmod(0)
    with ordinary_user(), pytest.raises(VidmemError, match=f"with .avi files\nGot {SHUT}"):
        list_source(source_of("ucf101", open_folder / "classes"))


def test_parquet_files_behind_links_are_rows_and_closed_folders_stop_the_run(open_folder):
    (open_folder / "store/train").mkdir(parents=True)
    pd.DataFrame({"image": [png(1)]}).to_parquet(open_folder / "store/train/0.parquet")
    (open_folder / "data").mkdir()
    (open_folder / "data/linked").symlink_to(open_folder / "store")
    (item,) = list_source(source_of("parquet", open_folder / "data"))
    assert (item.split, read(item).status) == ("member", "ok")
    (open_folder / "store/train").chmod(0)
    with ordinary_user(), pytest.raises(VidmemError, match=f"Got {SHUT}\nWhere: .*/data/linked/train\nHint: make it readable"):
        list_source(source_of("parquet", open_folder / "data"))
    (open_folder / "store/train").chmod(0o755)
    (open_folder / "data/lost").symlink_to("/not/mounted")
    with pytest.raises(VidmemError, match="Got a link that points nowhere"):
        list_source(source_of("parquet", open_folder / "data"))


def test_parts_of_a_list_that_are_lost_stop_the_run(tmp_path):
    for part in "ab":
        (tmp_path / f"{part}.csv").write_text(f"videoid,name\n{part},{part}\n")
    (tmp_path / "README").symlink_to("/absent")  # no part by its name
    (tmp_path / "videos").mkdir()
    assert [item.caption for item in list_source(source_of("webvid", tmp_path))] == ["a", "b"]
    (tmp_path / "c.csv").symlink_to("/absent")
    with pytest.raises(VidmemError, match="Got a link that points nowhere\nWhere: .*c.csv"):
        list_source(source_of("webvid", tmp_path))


@pytest.mark.parametrize("what", ["linked", "shut", "closed file", "dangling", "absent", "whole"])
def test_folders_to_recover_from_are_followed_and_say_what_was_not_read(open_folder, what):
    mirror = open_folder / "mirror"
    still(open_folder / "store/x.png", 3)
    still(mirror / "other.png", 4)
    if what == "linked":
        (mirror / "l").symlink_to(open_folder / "store")
    elif what == "shut":
        still(mirror / "shut/x.png", 3)
        (mirror / "shut").chmod(0)
    elif what == "closed file":
        still(mirror / "x.png", 3).chmod(0)
    elif what == "dangling":
        (mirror / "l").symlink_to("/not/mounted")
    listed = hashlib.sha256(png(3)).hexdigest()
    (open_folder / "l.csv").write_text(f"path,sha256,url\ngone.png,{listed},http://a\n")
    recover = open_folder / ("absent" if what == "absent" else "mirror")
    source = source_of("list", open_folder / "l.csv", recover=str(recover))
    hashes_in.cache_clear()
    with ordinary_user():
        record = read(list_source(source)[0])
        before = digest_shards([source], 1)
    assert record.status == ("recovered" if what == "linked" else "gone")
    assert (f"the folder {recover.name} could not be read whole" in record.reason) == (what not in ("linked", "whole"))
    if what in ("shut", "closed file"):
        (mirror / "shut" if what == "shut" else mirror / "x.png").chmod(0o755)
        with ordinary_user():
            assert digest_shards([source], 1) != before
    hashes_in.cache_clear()
