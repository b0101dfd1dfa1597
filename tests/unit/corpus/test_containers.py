"""Footage inside larger files: read where it lies, never unpacked; hostile names and damaged files are rows or errors."""

import hashlib
import io
import json
import tarfile

import numpy as np
import pandas as pd
import pytest

from footage import write_video
from packed_footage import pixels, png, read, source_of
from vidmem.corpus.listing import digest_shards, list_corpus, list_source
from vidmem.errors import VidmemError


def write_tar(path, members):
    """A tar of (name, content) pairs; a content in a tuple is the kind of a member without any."""
    with tarfile.open(path, "w") as archive:
        for name, content in members:
            member = tarfile.TarInfo(name)
            if isinstance(content, bytes):
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
            else:
                member.type, member.linkname = content[0], "/etc/passwd"
                archive.addfile(member)
    return path


def sample(key, number, caption="a caption"):
    about = {"caption": caption, "url": f"http://a/{number}.png", "key": key, "status": "success"}
    return [(f"{key}.png", png(number)), (f"{key}.txt", caption.encode()), (f"{key}.json", json.dumps(about).encode())]


def test_samples_of_tars_are_read_where_they_lie(tmp_path):
    write_tar(tmp_path / "00001.tar", sample("000010000", 2, "third 🎉"))
    write_tar(tmp_path / "00000.tar", [*sample("000000000", 0, "first"), *sample("000000001", 1, "second")])
    before = sorted(tmp_path.iterdir())
    items = list_source(source_of("webdataset", tmp_path))
    assert [item.caption for item in items] == ["first", "second", "third 🎉"]
    assert [item.url for item in items] == [f"http://a/{number}.png" for number in range(3)]
    for number, item in enumerate(items):
        assert np.array_equal(read(item).frames[0], pixels(number))
    assert sorted(tmp_path.iterdir()) == before
    parts = [item for shard in range(5) for _, item in list_corpus([source_of("webdataset", tmp_path)], shard, 5)]
    assert sorted(item.clip_id for item in parts) == sorted(item.clip_id for item in items)
    alone = list_source(source_of("webdataset", tmp_path / "00001.tar"))
    assert [item.clip_id for item in alone] == [items[2].clip_id]


def test_videos_in_tars_are_the_frames_of_the_file(tmp_path):
    video = write_video(tmp_path / "v.mp4", frames=8)
    write_tar(tmp_path / "v.tar", [("a/b.mp4", video.read_bytes()), ("a/b.txt", b"moving")])
    (item,) = list_source(source_of("webdataset", tmp_path / "v.tar"))
    (tmp_path / "l.csv").write_text("path\nv.mp4\n")
    (plain,) = list_source(source_of("list", tmp_path / "l.csv"))
    assert np.array_equal(read(item).frames, read(plain).frames)
    assert read(item).frames.shape == (4, 16, 16, 3)


def test_members_need_no_caption_and_captions_no_utf8(tmp_path):
    half = json.dumps({"text": "\ud800 half"}).encode()
    members = [("a.png", png(0)), ("b.png", png(1)), ("b.txt", b"caf\xe9"), ("c.txt", b"alone"), ("d.png", png(2))]
    members += [("d.json", b"{not json"), ("e.json", half), ("e.png", png(3))]
    items = list_source(source_of("webdataset", write_tar(tmp_path / "t.tar", members)))
    assert [item.caption for item in items] == ["", "café", "alone", "", ""]
    assert [read(item).status for item in items] == ["ok", "ok", "skipped", "ok", "ok"]
    assert [read(item).reason for item in items] == [
        "", "its caption was read as Windows-1252", "a sample without picture or video",
        "its .json is not used: it holds no JSON object", "no caption: it has the character U+D800",
    ]  # fmt: skip


HOSTILE = ["../../escape.png", "/etc/passwd.png", "a\nb.png", "CON.png", "x" * 300 + ".png", "\u202egnp.png"]


def test_hostile_names_of_members_are_only_names(tmp_path):
    write_tar(tmp_path / "t.tar", [(name, png(number)) for number, name in enumerate(HOSTILE)])
    with open(tmp_path / "t.tar", "rb") as file:
        raw = file.read().replace(b"CON.png", b"C\xe9N.png")
    (tmp_path / "t.tar").write_bytes(fixed(raw, b"C\xe9N.png"))
    items = list_source(source_of("webdataset", tmp_path / "t.tar"))
    assert [np.array_equal(read(item).frames[0], pixels(number)) for number, item in enumerate(items)] == [True] * 6
    assert all(item.clip_id.replace("-", "").isalnum() and item.clip_id.isascii() for item in items)
    assert len({item.clip_id for item in items}) == 6
    assert [path.name for path in tmp_path.iterdir()] == ["t.tar"]


def fixed(raw, name):
    """The tar with the checksum of one header made right."""
    start = raw.index(name)
    header = bytearray(raw[start : start + 512])
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return raw[:start] + bytes(header) + raw[start + 512 :]


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_are_not_followed(tmp_path, kind):
    items = list_source(source_of("webdataset", write_tar(tmp_path / "t.tar", [("a.png", (kind,)), ("b.png", png(0))])))
    assert [read(item).status for item in items] == ["skipped", "ok"]


def test_samples_may_lie_interleaved(tmp_path):
    """As of a folder packed type by type; members of each sample in the same order give the same items but for their places."""
    packed = [sample(key, number, f"caption {key}") for number, key in enumerate(("a", "d/b", "c"))]
    together = write_tar(tmp_path / "0.tar", [part for parts in packed for part in parts])
    expected = [(item.clip_id, item.caption, item.url) for item in list_source(source_of("webdataset", together))]
    (tmp_path / "i").mkdir()
    apart = write_tar(tmp_path / "i/0.tar", [part for parts in zip(*packed) for part in parts])
    items = list_source(source_of("webdataset", apart))
    assert [(item.clip_id, item.caption, item.url) for item in items] == expected
    assert [np.array_equal(read(item).frames[0], pixels(number)) for number, item in enumerate(items)] == [True] * 3
    texts_first = write_tar(tmp_path / "i/0.tar", [part for parts in zip(*(part[::-1] for part in packed)) for part in parts])
    content = texts_first.read_bytes()
    last = int(list_source(source_of("webdataset", texts_first))[2].path.rpartition("#")[2].partition("+")[0])
    texts_first.write_bytes(content[: last + 10])  # within the last picture, whose caption is whole
    assert [read(item).status for item in list_source(source_of("webdataset", texts_first))] == ["ok", "ok", "undecodable"]


def test_samples_that_repeat_are_rows_of_their_own(tmp_path):
    write_tar(tmp_path / "t.tar", [*sample("a", 0), *sample("b", 1), *sample("a", 2), ("a.png", png(3))])
    items = [item for _, item in list_corpus([source_of("webdataset", tmp_path / "t.tar")])]
    assert [read(item).status for item in items] == ["ok", "ok", "skipped", "skipped"]


def test_a_truncated_tar_gives_what_is_whole_and_a_row_for_the_rest(tmp_path):
    whole = write_tar(tmp_path / "whole.tar", [*sample("a", 0), *sample("b", 1), *sample("c", 2)]).read_bytes()
    places = [item.path.rpartition("#")[2] for item in list_source(source_of("webdataset", tmp_path / "whole.tar"))]
    start, size = (int(part) for part in places[1].partition(".")[0].split("+"))
    folder = tmp_path / "cut"
    folder.mkdir()
    for cut, usable in ((start + 10, 1), (start - 512, 1), (start - 300, 1), (start + size, 1), (len(whole) - 10240, 3)):
        (folder / "t.tar").write_bytes(whole[:cut])
        records = [read(item) for item in list_source(source_of("webdataset", folder))]
        assert sum(record.status == "ok" for record in records) >= usable
        assert records[-1].status == "undecodable"
        assert "damaged or ends too early" in records[-1].reason
    (folder / "t.tar").write_bytes(whole[: start - 512] + b"rubbish!" * 64 + whole[start:])
    assert [read(item).status for item in list_source(source_of("webdataset", folder))] == ["ok", "undecodable"]


def test_tars_that_shrink_after_they_were_listed_are_rows(tmp_path):
    path = write_tar(tmp_path / "t.tar", sample("a", 0))
    (item,) = list_source(source_of("webdataset", path))
    path.write_bytes(path.read_bytes()[:600])
    assert read(item).status == "undecodable"
    path.unlink()
    assert read(item).status == "missing"


def test_downloads_that_failed_are_gone(tmp_path):
    """img2dataset lists beside a tar what it could not get: the denominator counts it."""
    write_tar(tmp_path / "00000.tar", sample("000000000", 0))
    rows = [["000000000", "success", None], ["000000001", "failed_to_download", "HTTP Error 404: Not Found"],
            ["000000002", "failed_to_resize", "bad\nimage"]]  # fmt: skip
    table = pd.DataFrame(rows, columns=["key", "status", "error_message"]).assign(caption="c", url="http://a")
    table.to_parquet(tmp_path / "00000.parquet")
    records = [read(item) for item in list_source(source_of("webdataset", tmp_path))]
    assert [(record.status, record.reason) for record in records] == [
        ("ok", ""), ("gone", "failed to download: HTTP Error 404: Not Found"), ("gone", "failed to resize: bad image"),
    ]  # fmt: skip
    content = (tmp_path / "00000.tar").read_bytes()
    write_tar(tmp_path / "00000.tar", sample("000000007", 3))  # another tar than listed
    assert [read(item).status for item in list_source(source_of("webdataset", tmp_path))] == ["ok", "missing", "gone", "gone"]
    (tmp_path / "00000.tar").write_bytes(content[:700])
    records = [read(item) for item in list_source(source_of("webdataset", tmp_path))]
    assert [record.status for record in records] == ["undecodable", "gone", "gone"]  # no rest: every sample is known
    table.drop(columns="status").to_parquet(tmp_path / "00000.parquet")
    with pytest.raises(VidmemError, match="columns key and status"):
        list_source(source_of("webdataset", tmp_path))


AS_IT_CAME = {"status": "success", "width": None, "original_width": None}
ENCODED = AS_IT_CAME | {"width": 256, "original_width": 640}
NOTICED = "its sha256 was not checked: the list has that of the download"


def hashed(key, number, about, of=None):
    """A sample whose .json says the hash of one picture, and that has another one."""
    about = about | {"sha256": hashlib.sha256(png(number if of is None else of)).hexdigest().upper()}
    return [(f"{key}.png", png(number)), (f"{key}.json", json.dumps(about).encode())]


def test_members_of_tars_are_compared_with_the_hash_beside_them(tmp_path):
    members = [*hashed("a", 0, AS_IT_CAME), *hashed("b", 1, AS_IT_CAME, of=9), *hashed("c", 2, ENCODED, of=9),
               *hashed("d", 3, {}, of=9), *hashed("e", 4, AS_IT_CAME | {"sha256": 7})]  # fmt: skip
    items = list_source(source_of("webdataset", write_tar(tmp_path / "t.tar", members)))
    records = [read(item) for item in items]
    assert [record.status for record in records] == ["ok", "mismatch", "ok", "ok", "ok"]
    reasons = ["", "its sha256 is not what the list says", NOTICED, NOTICED, ""]
    assert [record.reason for record in records] == reasons
    assert np.array_equal(records[0].frames[0], pixels(0))
    half = [("a.png", png(0)), ("a.json", b'{"status": "success", "sha256": "\\ud800"}')]
    source = source_of("webdataset", write_tar(tmp_path / "t.tar", half))
    assert read(list_source(source)[0]).status == "mismatch"
    assert len(digest_shards([source], 2)) == 2  # such text can be hashed and stored


@pytest.mark.parametrize(("about", "of"), [(AS_IT_CAME, 9), (ENCODED, 9)])
def test_members_of_tars_are_recovered_by_their_hash(tmp_path, about, of):
    """As in lists of LAION: where the member is there and encoded again, it counts; a changed one is looked for."""
    (tmp_path / "mirror").mkdir()
    (tmp_path / "mirror/kept.png").write_bytes(png(of))
    write_tar(tmp_path / "t.tar", hashed("a", 1, about, of=of))
    (item,) = list_source(source_of("webdataset", tmp_path / "t.tar", recover=str(tmp_path / "mirror")))
    record = read(item)
    changed = about is AS_IT_CAME
    assert record.status == ("recovered" if changed else "ok")
    assert np.array_equal(record.frames[0], pixels(of if changed else 1))
    assert ("found by its sha256 in the folder mirror" in record.reason) == changed


def beside(path, rows):
    """The Parquet file of img2dataset: key, status, number of the picture whose hash is noted."""
    table = pd.DataFrame(rows, columns=["key", "status", "number"]).assign(caption="c", url="http://a", error_message=None)
    table["sha256"] = [None if number is None else hashlib.sha256(png(int(number))).hexdigest() for _, _, number in rows]
    table.assign(width=None, original_width=None).drop(columns="number").to_parquet(path)


def test_hashes_of_the_parquet_file_beside_a_tar_count_too(tmp_path):
    write_tar(tmp_path / "0.tar", [("x/a.png", png(0)), ("x/b.png", png(1)), *hashed("c", 2, AS_IT_CAME)])
    beside(tmp_path / "0.parquet", [["a", "success", 0], ["b", "success", 9], ["c", "success", 9], ["d", "success", 8],
                                    ["e", "success", 7], ["f", "failed_to_download", None]])  # fmt: skip
    items = list_source(source_of("webdataset", tmp_path))
    statuses = ["ok", "mismatch", "ok", "missing", "missing", "gone"]  # the third has a hash of its own
    assert [read(item).status for item in items] == statuses
    (tmp_path / "mirror").mkdir()
    for number in (8, 9):
        (tmp_path / f"mirror/{number}").write_bytes(png(number))
        (tmp_path / f"mirror/{number}").rename(tmp_path / f"mirror/{number}.png")
    source = source_of("webdataset", tmp_path, recover=str(tmp_path / "mirror"))
    records = [read(item) for item in list_source(source)]
    assert [record.status for record in records] == ["ok", "recovered", "ok", "recovered", "missing", "gone"]
    assert records[3].reason == "listed beside the tar, not in it; found by its sha256 in the folder mirror"
    assert np.array_equal(records[3].frames[0], pixels(8))


def test_what_a_damaged_tar_has_lost_is_recovered_and_a_repeated_line_is_not(tmp_path):
    content = write_tar(tmp_path / "0.tar", [("a.png", png(0)), ("b.png", png(1))]).read_bytes()
    (tmp_path / "0.tar").write_bytes(content[:700])
    beside(tmp_path / "0.parquet", [["a", "success", 0], ["b", "success", 1], ["b", "success", 1]])
    (tmp_path / "mirror").mkdir()
    (tmp_path / "mirror/b.png").write_bytes(png(1))
    source = source_of("webdataset", tmp_path, recover=str(tmp_path / "mirror"))
    records = [read(item) for _, item in list_corpus([source])]
    assert [record.status for record in records] == ["undecodable", "recovered", "skipped"]
    assert np.array_equal(records[1].frames[0], pixels(1))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.tar", b"", "an empty file"),
        ("t.tar", bytes(10240), "at least one sample"),
        ("t.tar.gz", b"\x1f\x8b", r"unpack a \.tar\.gz"),
        ("other.txt", b"", r"files that end in \.tar"),
    ],
)
def test_what_is_no_tar_is_named(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(VidmemError, match=message):
        list_source(source_of("webdataset", tmp_path if name == "other.txt" else tmp_path / name))


def test_rubbish_under_the_name_of_a_tar_is_a_row(tmp_path):
    (tmp_path / "t.tar").write_bytes(np.random.default_rng(0).bytes(5000))
    (item,) = list_source(source_of("webdataset", tmp_path / "t.tar"))
    assert read(item).status == "undecodable"


def test_another_archive_changes_the_digest_of_its_shards(tmp_path):
    write_tar(tmp_path / "0.tar", [part for number in range(6) for part in sample(f"a{number}", number)])
    write_tar(tmp_path / "1.tar", sample("b", 9))
    source = source_of("webdataset", tmp_path)
    before = digest_shards([source], 16)
    (tmp_path / "1.tar").unlink()
    write_tar(tmp_path / "1.tar", sample("b", 9, "another caption"))
    after = digest_shards([source], 16)
    assert sum(one != other for one, other in zip(before, after)) == 1


def test_stills_and_videos_are_told_before_they_are_read(tmp_path):
    from vidmem.corpus.item import make_item
    from vidmem.corpus.layouts import is_still

    def still(kind: str, path: str, part: str = "") -> bool:
        return is_still(make_item({"name": "s", "kind": kind, "split": "member"}, "a", path, part=part))

    stills = [("webdataset", "a.tar", "0+1.png"), ("cifar10", "a.bin", "3"), ("parquet", "a.parquet", "3:img")]
    videos = [("webdataset", "a.tar", "0+1.mp4"), ("parquet", "a.parquet", "3:video"), ("list", "a.mp4")]
    assert all(still(*case) for case in [*stills, ("list", "a.npy#3"), ("folder", "a.PNG")])
    assert not any(still(*case) for case in [*videos, ("folder", "a.tar#0+1")])


def test_reasons_are_the_same_in_every_process(tmp_path):
    """Of bytes that are no picture or video the libraries print an address in memory."""
    write_tar(tmp_path / "t.tar", [("a.png", b"no picture"), ("b.mp4", b"no video"), ("c.png", b"")])
    records = [read(item) for item in list_source(source_of("webdataset", tmp_path / "t.tar"))]
    assert [record.status for record in records] == ["undecodable"] * 3
    assert all(record.reason and "0x" not in record.reason for record in records)
