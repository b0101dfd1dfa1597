"""Names of members in tars: a number with a dot is one name; what is read of a sample and what is not is told."""

import io
import tarfile

import numpy as np
import pytest

from footage import write_video
from packed_footage import pixels, png, read, source_of
from vidmem.corpus.layouts import is_still
from vidmem.corpus.listing import list_source


def items_of(path, members):
    with tarfile.open(path, "w") as archive:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return list_source(source_of("webdataset", path))


@pytest.fixture
def video(tmp_path):
    return write_video(tmp_path / "v.mp4", frames=8).read_bytes()


def test_a_number_with_a_dot_is_one_name(tmp_path, video):
    members = [("clip_0.5.mp4", video), ("clip_0.5.txt", b"slow"), ("clip_0.7.mp4", video), ("clip_0.7.txt", b"fast"),
               ("d/v1.2.3.png", png(1)), ("2024.01.02.png", png(2))]  # fmt: skip
    items = items_of(tmp_path / "t.tar", members)
    assert [item.caption for item in items] == ["slow", "fast", "", ""]
    assert [(read(item).status, read(item).reason) for item in items] == [("ok", "")] * 4
    assert len({item.clip_id for item in items}) == 4


def test_a_caption_beside_numbered_pictures_is_the_caption_of_each(tmp_path):
    members = [("0001.0.png", png(1)), ("0001.1.png", png(2)), ("0001.txt", b"both"), ("0001.1.txt", b"its own")]
    items = items_of(tmp_path / "t.tar", members)
    assert [(item.caption, read(item).status) for item in items] == [("both", "ok"), ("its own", "ok")]


def test_ids_of_ordinary_names_stay(tmp_path, video):
    items = items_of(tmp_path / "00000.tar", [("000000007.png", png(1)), ("a/b c.mp4", video), ("x.5.png", png(2))])
    assert [item.clip_id for item in items[:2]] == ["s-000000007-b7163bf3", "s-b-c-47d8a4a8-42d8f466"]


@pytest.mark.parametrize(
    ("members", "number", "others"),
    [
        ({"a.image.png": 1}, 1, 0),
        ({"a.left.png": 1, "a.right.png": 2}, 1, 1),
        ({"a.left.png": 1, "a.png": 2, "a.right.webp": 3}, 2, 2),  # a plain ending comes before several
        ({"a.png": 1, "a.jpg": 2}, 1, 1),
        ({"a.5.png": 1, "a.txt": 0}, 1, 0),  # the dot after the letter ends the name
    ],
)
def test_footage_of_a_sample_that_is_not_read_is_told(tmp_path, members, number, others):
    (item,) = items_of(tmp_path / "t.tar", [(name, png(content) if content else b"words") for name, content in members.items()])
    record = read(item)
    assert record.status == "ok"
    assert np.array_equal(record.frames[0], pixels(number))
    assert record.reason == (f"{others} further pictures or videos of its sample are not read" if others else "")


def test_a_picture_beside_a_video_is_told_and_the_kinds_are_told_apart(tmp_path, video):
    first, second, third = items_of(
        tmp_path / "t.tar", [("a.mp4", video), ("a.jpg", png(1)), ("b.left.mp4", video), ("c.thumb.png", png(2))]
    )
    assert [is_still(item) for item in (first, second, third)] == [False, False, True]
    assert read(first).frames.shape == (4, 16, 16, 3)
    assert read(first).reason == "1 further pictures or videos of its sample are not read"
    assert (read(second).frames.shape, read(second).reason) == ((4, 16, 16, 3), "")


def test_a_tar_that_ends_within_such_a_member_leaves_it_out(tmp_path):
    items_of(tmp_path / "t.tar", [("a.left.png", png(1)), ("b.left.png", png(2))])
    content = (tmp_path / "t.tar").read_bytes()
    (tmp_path / "t.tar").write_bytes(content[: content.index(b"b.left.png") + 600])
    assert [read(item).status for item in list_source(source_of("webdataset", tmp_path / "t.tar"))] == ["ok", "undecodable"]
