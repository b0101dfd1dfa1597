"""A path that no file can have, or that may not be followed, is one row with its reason; it never ends the run."""

import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from footage import write_video
from packed_footage import png, read, source_of
from permissions import ordinary_user
from vidmem.corpus.decode import PICTURE_FORMATS
from vidmem.corpus.item import file_state
from vidmem.corpus.listing import digest_shards, list_source
from vidmem.errors import VidmemError

LONG = "n" * 300
TOO_LONG = "no such file: its name is too long"
DENIED = "the file may not be read: permission denied"


def write_list(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize(
    ("kind", "row", "status", "reason"),
    [
        ("webvid", {"videoid": LONG, "name": "a"}, "missing", TOO_LONG),
        ("webvid", {"videoid": LONG, "name": "a", "contentUrl": "http://a"}, "gone", f"{TOO_LONG}, only its address"),
        ("webvid", {"videoid": "a", "name": "a", "page_dir": "file.txt"}, "missing", "no such file"),
        ("openvid", {"video": f"{LONG}.mp4", "caption": "a"}, "missing", TOO_LONG),
        (
            "kinetics",
            {"label": LONG, "youtube_id": "x", "time_start": 1, "time_end": 2},
            "gone",
            f"{TOO_LONG}, only its address",
        ),
        ("laion", {"URL": "http://a", "key": LONG, "TEXT": "a"}, "gone", f"{TOO_LONG}, only its address"),
    ],
)  # fmt: skip
def test_rows_of_published_lists(tmp_path, kind, row, status, reason):
    (tmp_path / "file.txt").write_text("a")
    source = source_of(kind, write_list(tmp_path / "l.jsonl", [row]))
    (item,) = list_source(source)
    assert (read(item).status, read(item).reason) == (status, reason)
    assert file_state(item) == ""
    assert len(digest_shards([source], 2)) == 2


def test_rows_of_an_own_list(tmp_path):
    (tmp_path / "folder.mp4").mkdir()
    rows = ["path,url", f"{LONG}.mp4,", f"{'deep/' * 1000}a.mp4,http://a", "folder.mp4,", "l.csv/a.mp4,", "stack.npy#0,"]
    (tmp_path / "l.csv").write_text("\n".join(rows) + "\n")
    source = source_of("list", tmp_path / "l.csv")
    records = [read(item) for item in list_source(source)]
    assert [(record.status, record.reason) for record in records] == [
        ("missing", TOO_LONG), ("gone", f"{TOO_LONG}, only its address"),
        ("missing", "no such file: a folder or a device has its name"), ("missing", "no such file"),
        ("missing", "no such file"),
    ]  # fmt: skip
    assert len(digest_shards([source], 2)) == 2


def test_files_below_a_closed_folder_are_skipped(open_folder):
    (open_folder / "shut").mkdir()
    for name in ("shut/a.png", "b.png", "shut/t.tar", "shut/s.npy"):
        (open_folder / name).write_bytes(png(1))
    (open_folder / "l.csv").write_text("path,url\nshut/a.png,http://a\nb.png,\nshut/s.npy#0,\n")
    (open_folder / "w.csv").write_text("videoid,name,page_dir\n1,a,shut\n")
    (open_folder / "shut").chmod(0)
    with ordinary_user():
        records = [read(item) for item in list_source(source_of("list", open_folder / "l.csv"))]
        (other,) = list_source(source_of("webvid", open_folder / "w.csv"))
        found = read(other)
        digest_shards([source_of("list", open_folder / "l.csv")], 2)
        with pytest.raises(VidmemError, match=DENIED):
            list_source(source_of("webdataset", open_folder / "shut/t.tar"))
        with pytest.raises(VidmemError, match=DENIED):
            list_source(source_of("cifar10", open_folder / "shut"))
    assert [(record.status, record.reason) for record in records] == [("skipped", DENIED), ("ok", ""), ("skipped", DENIED)]
    assert (found.status, found.reason) == ("skipped", DENIED)  # the first of two places; the second has no file


def test_the_telling_fault_of_several_places_is_the_reason(open_folder):
    """Kinetics looks at many places: the one that may not be read says more than those that are not there."""
    (open_folder / "l.csv").write_text("label,youtube_id,time_start,time_end\na run,x,1,11\n")
    (open_folder / "a_run").mkdir()
    write_video(open_folder / "a_run/x_000001_000011.mp4")
    (open_folder / "a_run/x_000001_000011.mp4").chmod(0)
    (item,) = list_source(source_of("kinetics", open_folder / "l.csv"))
    with ordinary_user():
        assert (read(item).status, read(item).reason) == ("skipped", DENIED)
    (open_folder / "a_run/x_000001_000011.mp4").chmod(0o644)
    assert read(item).status == "ok"


def test_containers_that_become_unreadable_are_rows(open_folder):
    pd.DataFrame({"image": [png(1)]}).to_parquet(open_folder / "a.parquet")
    batch = open_folder / "data_batch_1.bin"
    batch.write_bytes(bytes(3073))
    (packed,), pictures = (
        list_source(source_of("parquet", open_folder / "a.parquet")),
        list_source(source_of("cifar10", open_folder)),
    )
    for path in (open_folder / "a.parquet", batch):
        path.chmod(0)
    with ordinary_user():
        assert [(read(item).status, read(item).reason) for item in (packed, pictures[0])] == [("skipped", DENIED)] * 2
    batch.chmod(0o644)
    (open_folder / "test_batch.bin").write_bytes(bytes(3073))
    (open_folder / "test_batch.bin").chmod(0)
    with ordinary_user():
        items = list_source(source_of("cifar10", open_folder))
    assert (items[-1].status, items[-1].problem) == ("skipped", f"{DENIED}: its images are not counted")
    assert (items[1].status, items[1].problem) == ("missing", "no such batch: its images are not counted")


def test_a_closed_parquet_file_beside_a_tar_stops_the_run(open_folder):
    import tarfile

    with tarfile.open(open_folder / "0.tar", "w") as archive:
        archive.add(__file__, "a.txt")
    (open_folder / "0.parquet").write_bytes(b"x")
    (open_folder / "0.parquet").chmod(0)
    with ordinary_user(), pytest.raises(VidmemError, match=DENIED):
        list_source(source_of("webdataset", open_folder))


EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\n0 0 8 8 rectfill\nshowpage\n%%EOF\n"


def test_a_file_that_another_program_would_render_is_undecodable(tmp_path, monkeypatch):
    from PIL import EpsImagePlugin

    called = []
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *settings, **_: called.append(settings))
    (tmp_path / "a.png").write_bytes(EPS)
    (item,) = list_source(source_of("images", tmp_path, captions="none"))
    assert (read(item).status, read(item).reason) == ("undecodable", "image: none of the formats that are read")
    assert called == []


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "WEBP", "TIFF", "GIF", "JPEG2000", "PPM", "AVIF"])
def test_pictures_of_every_format_are_read_whatever_their_names(tmp_path, kind):
    if kind == "AVIF" and kind not in PICTURE_FORMATS:
        pytest.skip("this Pillow has no AVIF")
    Image.fromarray(np.full((16, 16, 3), 128, np.uint8)).save(tmp_path / "a", kind)
    (tmp_path / "a").rename(tmp_path / "a.png")
    (item,) = list_source(source_of("images", tmp_path, captions="none"))
    record = read(item)
    assert record.status == "ok"
    assert abs(int(record.frames.mean()) - 128) <= 2


def test_a_picture_of_several_views_is_read(tmp_path):
    first, second = (Image.fromarray(np.full((16, 16, 3), shade, np.uint8)) for shade in (128, 10))
    first.save(tmp_path / "a.mpo", "MPO", save_all=True, append_images=[second])
    (tmp_path / "a.mpo").rename(tmp_path / "a.jpg")
    (item,) = list_source(source_of("images", tmp_path, captions="none"))
    assert (read(item).status, read(item).reason) == ("ok", "first of 2 frames: read as a still")
