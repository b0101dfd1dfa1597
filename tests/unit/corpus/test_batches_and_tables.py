"""Footage inside binary batches and Parquet files."""

import json
import pickle

import numpy as np
import pandas as pd
import pytest

from footage import write_video
from packed_footage import pixels, png, read, source_of
from vidmem.corpus.listing import list_source
from vidmem.corpus.reading import read_item
from vidmem.errors import VidmemError


def cifar(folder, batches=("data_batch_1", "test_batch")):
    folder.mkdir(exist_ok=True)
    for place, name in enumerate(batches):
        stream = np.random.default_rng(place)
        records = stream.integers(0, 256, (3, 3073), np.uint8)
        records[:, 0] = [0, 9, 3]
        (folder / f"{name}.bin").write_bytes(records.tobytes())
    names = "airplane automobile bird cat deer dog frog horse ship truck"
    (folder / "batches.meta.txt").write_text("\n".join(names.split()) + "\n\n")
    return folder


def test_cifar10_is_read_from_its_binary_batches(tmp_path):
    folder = cifar(tmp_path / "c")
    items = list_source(source_of("cifar10", folder))
    there = [item for item in items if item.path.count("#")]
    assert [(item.split, item.caption) for item in there] == [
        (split, caption) for split in ("member", "heldout") for caption in ("airplane", "truck", "cat")
    ]
    planes = np.random.default_rng(0).integers(0, 256, (3, 3073), np.uint8)[1, 1:].reshape(3, 32, 32)
    record = read_item(there[1], 1, (32, 32), 1.0, "crop")
    assert np.array_equal(record.frames[0], np.moveaxis(planes, 0, -1))
    absent = [read(item).status for item in items if item not in there]
    assert absent == ["missing"] * 4  # batches 2 to 5


def test_a_batch_that_ends_too_early_gives_its_whole_records(tmp_path):
    folder = cifar(tmp_path / "c", ["data_batch_1"])
    content = (folder / "data_batch_1.bin").read_bytes()
    (folder / "data_batch_1.bin").write_bytes(content[:-1])
    items = list_source(source_of("cifar10", folder))
    assert [read(item).status for item in items][:3] == ["ok", "ok", "undecodable"]


class Bomb:
    def __reduce__(self):
        return print, ("opened",)


def test_pickles_of_cifar10_are_refused_unopened(tmp_path, capsys):
    (tmp_path / "data_batch_1").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(VidmemError, match="pickles"):
        list_source(source_of("cifar10", tmp_path))
    assert capsys.readouterr().out == ""


def hub_file(path, rows, names=("cat", "dog")):
    import pyarrow as arrow
    import pyarrow.parquet

    table = arrow.table(
        {"img": [{"bytes": content, "path": None} for content, _ in rows], "label": [label for _, label in rows]}
    )
    features = {"info": {"features": {"img": {"_type": "Image"}, "label": {"names": list(names), "_type": "ClassLabel"}}}}
    path.parent.mkdir(parents=True, exist_ok=True)
    arrow.parquet.write_table(
        table.replace_schema_metadata({"huggingface": json.dumps(features)}), path, row_group_size=2
    )  # fmt: skip


def test_parquet_files_of_the_hub_are_read_by_row(tmp_path):
    hub_file(tmp_path / "plain_text/train-00000-of-00001.parquet", [(png(number), number % 2) for number in range(5)])
    hub_file(tmp_path / "plain_text/test-00000-of-00001.parquet", [(png(9), 1), (None, 0)])
    items = list_source(source_of("parquet", tmp_path))
    assert [(item.split, item.caption) for item in items] == [
        ("heldout", "dog"), ("heldout", "cat"), *[("member", "cat"), ("member", "dog")] * 2, ("member", "cat"),
    ]  # fmt: skip
    records = [read(item) for item in items]
    assert [record.status for record in records] == ["ok", "missing", *["ok"] * 5]
    for number, record in enumerate(records[2:]):
        assert np.array_equal(record.frames[0], pixels(number))
    backwards = [read(item).frames for item in reversed(items[2:])]
    assert all(np.array_equal(again[0], pixels(4 - place)) for place, again in enumerate(backwards))


@pytest.mark.parametrize(
    ("name", "path", "split"),
    [
        ("default/train/0000.parquet", ".", "member"), ("default/test/0000.parquet", ".", "heldout"),
        ("default/partial-train/0000.parquet", ".", "member"), ("c/validation/0000.parquet", ".", "heldout"),
        ("test/train-00000-of-00001.parquet", ".", "member"), ("test/0000.parquet", "test", "heldout"),
        ("test/0000.parquet", "test/0000.parquet", "heldout"), ("train/old/0000.parquet", ".", "member"),
        ("train/test/0000.parquet", ".", "heldout"), ("trains/0000.parquet", ".", "image"), ("0000.parquet", ".", "image"),
    ],
)  # fmt: skip
def test_splits_of_parquet_files_are_told_by_their_folders_too(tmp_path, name, path, split):
    """The hub converts data sets to <config>/<split>/0000.parquet."""
    hub_file(tmp_path / "d" / name, [(png(1), 0)])
    (item,) = list_source(source_of("parquet", tmp_path / "d" / path) | {"split": "image"})
    assert item.split == split


def test_parquet_files_hold_bytes_videos_and_captions(tmp_path):
    content = write_video(tmp_path / "v.mp4", frames=8).read_bytes()
    pd.DataFrame({"video": [content], "caption": ["moving"], "score": [1.0]}).to_parquet(tmp_path / "a.parquet")
    (item,) = list_source(source_of("parquet", tmp_path / "a.parquet"))
    assert (item.caption, item.split, len(read(item).frames)) == ("moving", "member", 4)
    pd.DataFrame({"image": [png(1)]}).to_parquet(tmp_path / "b.parquet")
    (item,) = list_source(source_of("parquet", tmp_path / "b.parquet"))
    assert (item.caption, read(item).status) == ("", "ok")
    pd.DataFrame({"label": [1]}).to_parquet(tmp_path / "c.parquet")
    with pytest.raises(VidmemError, match="a column of image"):
        list_source(source_of("parquet", tmp_path / "c.parquet"))
    (tmp_path / "d.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(VidmemError, match="whole Parquet"):
        list_source(source_of("parquet", tmp_path / "d.parquet"))
