"""Files are whole or not there, names are safe, shards follow identity."""

import numpy as np
import pandas as pd
import pytest

from vidmem.errors import VidmemError
from vidmem.features import load_features
from vidmem.seeding import seed_of, torch_stream
from vidmem.store import ArrayWriter, load_array, save_array, save_json, save_table, shard_of, slug, write_atomic


@pytest.mark.parametrize("blocks", [[3, 2], [0], [1] * 7, []])
def test_array_writer_is_np_save(tmp_path, stream, blocks):
    parts = [stream.integers(0, 255, (count, 2, 3), dtype=np.uint8) for count in blocks]
    with ArrayWriter(tmp_path / "a.npy", (2, 3), "uint8") as writer:
        firsts = [writer.append(part) for part in parts]
    whole = np.concatenate(parts) if parts else np.zeros((0, 2, 3), np.uint8)
    assert np.array_equal(np.load(tmp_path / "a.npy"), whole)
    assert firsts == list(np.cumsum([0, *blocks])[: len(blocks)])
    assert load_array(tmp_path / "a.npy").shape == whole.shape


def test_a_failed_write_leaves_nothing(tmp_path):
    def fail(file):
        file.write(b"half")
        raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        write_atomic(tmp_path / "x", fail)
    with pytest.raises(RuntimeError, match="stop"), ArrayWriter(tmp_path / "y.npy", (2,), "float32") as writer:
        writer.append(np.zeros((1, 2)))
        raise RuntimeError("stop")
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_keeps_the_old_file(tmp_path):
    save_json(tmp_path / "a.json", {"old": 1})
    with pytest.raises(ValueError, match="JSON"):
        save_json(tmp_path / "a.json", {"new": float("nan")})
    assert "old" in (tmp_path / "a.json").read_text()


@pytest.mark.parametrize("damage", ["truncate", "pickle"])
def test_damaged_arrays_are_named(tmp_path, damage):
    path = tmp_path / "a.npy"
    if damage == "truncate":
        save_array(path, np.zeros((100, 10)))
        path.write_bytes(path.read_bytes()[:-80])
    else:
        np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(VidmemError, match=r"whole \.npy"):
        load_array(path)


@pytest.mark.parametrize("text", ["../../etc/passwd", "a b", "A", "🎉", "x" * 200, "con\x00trol", "-"])
def test_slugs_are_safe_and_unique(text):
    name = slug(text)
    assert name
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")
    assert len(name) <= 49
    assert name != slug(text + "!")


def test_adding_clips_moves_none():
    names = [f"clip-{number}" for number in range(1000)]
    shards = [shard_of(name, 7) for name in names]
    assert shards == [shard_of(name, 7) for name in names]
    assert np.bincount(shards).min() > 80


def test_seeds_are_what_a_thing_is():
    assert seed_of(0, "p", 1) != seed_of(0, "p1", "")
    assert torch_stream(1, "a").initial_seed() == torch_stream(1, "a").initial_seed() != torch_stream(2, "a").initial_seed()


def shard(folder, name, rows, preset="sscd-288 abc"):
    clips = pd.DataFrame({"clip_id": sorted(set(rows)), "status": "ok"})
    save_table(folder / f"{name}.clips.parquet", clips)
    save_array(folder / f"{name}.npy", np.arange(len(rows), dtype=np.float32)[:, None])
    save_table(folder / f"{name}.parquet", pd.DataFrame({"clip_id": rows, "frame": 0}).assign(computed_by=preset))
    return [folder / f"{name}{suffix}" for suffix in (".clips.parquet", ".npy", ".parquet")]


def test_features_are_found_by_clip_across_shards(tmp_path):
    files = zip(shard(tmp_path, "0", ["b", "b", "a"]), shard(tmp_path, "1", ["c", "c"]))
    features = load_features(*[list(pair) for pair in files])
    assert features.of("b").ravel().tolist() == [0, 1]
    assert features.of("c").ravel().tolist() == [0, 1]
    stacked, counts = features.select(["c", "nobody", "a"])
    assert stacked.ravel().tolist() == [0, 1, 2]
    assert counts.tolist() == [2, 0, 1]


def test_mixed_presets_and_misfit_tables_are_refused(tmp_path):
    first, other = shard(tmp_path, "0", ["a"]), shard(tmp_path, "1", ["b"], "sscd-160 abc")
    with pytest.raises(VidmemError, match="one preset"):
        load_features(*[list(pair) for pair in zip(first, other)])
    save_array(first[1], np.zeros((5, 1)))
    with pytest.raises(VidmemError, match="rows as in its table"):
        load_features(*[[path] for path in first])
