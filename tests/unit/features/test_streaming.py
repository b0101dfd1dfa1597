"""Corpora whose frames are not stored: little in memory, the same features, and frames that are read again to be shown."""

import numpy as np
import pytest

from vidmem.base.shards import load_shards, save_shards
from vidmem.base.store import load_array, load_table
from vidmem.corpus.listing import list_corpus
from vidmem.corpus.reading import read_clips
from vidmem.features import writers

FLOW = {"estimator": "dis", "side": 128, "grid": 16}


@pytest.fixture
def fake_encoder(monkeypatch):
    """Descriptors without a network: means of the frame's quarters. Returns the sizes of the batches it was given."""
    sizes = []

    def encode(images: np.ndarray) -> np.ndarray:
        sizes.append(len(images))
        return images.reshape(len(images), 512, -1).mean(axis=2) + 1

    monkeypatch.setattr(writers, "load_encoder", lambda *_: encode)
    return sizes


def files(folder, batch: int):
    (folder / "weights").write_bytes(b"weights")
    describe = writers.DescriptorFiles(folder / "d.npy", folder / "d.parquet", folder / "weights", "sscd-160", batch)
    return describe, writers.FlowFiles(folder / "f.npy", folder / "p.npy", folder / "f.parquet", None, FLOW)


def run(films: dict, folder, batch: int) -> tuple[bytes, ...]:
    describe, flows = files(folder, batch)
    with describe, flows:
        for row, pictures in read_clips(films, "films", list_corpus(films["sources"])):
            if row["status"] == "ok":
                describe.append(row["clip_id"], pictures)
                flows.append(row["clip_id"], pictures)
    return tuple((folder / name).read_bytes() for name in ("d.npy", "d.parquet", "f.npy", "p.npy", "f.parquet"))


def test_features_do_not_depend_on_the_batch(films, tmp_path, fake_encoder):
    found = [run(films, tmp_path, batch) for batch in (1, 4, 7, 1000)]
    assert all(other == found[0] for other in found)
    table = load_table(tmp_path / "d.parquet")
    assert len(table) == len(load_array(tmp_path / "d.npy")) == 6 + 4 * 7
    assert list(table["frame"][:7]) == [0, 1, 2, 3, 4, 5, 0]


def test_batches_are_full_but_the_last(films, tmp_path, fake_encoder):
    run(films, tmp_path, 4)
    assert fake_encoder == [4] * 8 + [2]


def test_no_more_frames_wait_than_a_batch_and_a_clip(tmp_path, fake_encoder):
    """A shard of many clips: a counting reader keeps track of how many of its frames are still alive."""
    import weakref

    alive: list[weakref.ref] = []

    def reader(clips: int, frames: int):
        for number in range(clips):
            pictures = np.full((frames, 16, 16, 3), number, np.uint8)
            alive.append(weakref.ref(pictures))
            yield f"clip-{number}", pictures

    describe, flows = files(tmp_path, 8)
    most = 0
    with describe, flows:
        for clip_id, pictures in reader(20, 3):
            describe.append(clip_id, pictures)
            flows.append(clip_id, pictures)
            most = max(most, sum(3 for clip in alive if clip() is not None))
    assert 0 < most <= 8 + 3 + 3
    assert len(load_table(tmp_path / "d.parquet")) == 60


def test_nothing_is_left_of_files_that_failed(tmp_path, fake_encoder):
    describe, _ = files(tmp_path, 4)
    with pytest.raises(ZeroDivisionError), describe:
        describe.append("clip", np.zeros((9, 8, 8, 3), np.uint8) + 7)
        raise ZeroDivisionError
    assert not [path for path in tmp_path.iterdir() if "d." in path.name]


def test_a_list_of_shards_changes_when_a_shard_does(tmp_path):
    """Snakemake compares small inputs by content: names alone would hide a shard that was computed again."""
    import os

    files = [tmp_path / f"{shard}.npy" for shard in range(3)]
    for file in files:
        file.write_bytes(b"same length")
    save_shards(tmp_path / "list.json", {"arrays": [str(file) for file in files], "frames": []})
    first = (tmp_path / "list.json").read_bytes()
    assert load_shards(tmp_path / "list.json") == {"arrays": [str(file) for file in files], "frames": []}
    files[1].write_bytes(b"same_length")
    os.utime(files[1], ns=(1, 1))
    save_shards(tmp_path / "list.json", {"arrays": [str(file) for file in files], "frames": []})
    assert (tmp_path / "list.json").read_bytes() != first
    with pytest.raises(FileNotFoundError):
        save_shards(tmp_path / "list.json", {"arrays": [str(tmp_path / "gone.npy")]})
