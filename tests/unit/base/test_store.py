"""Files are whole or not there, damage and other recipes are found, names are safe, shards follow identity."""

import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from vidmem.base.checksums import recipe_of
from vidmem.base.recipes import PLAN, PLANNED, check_recipes, digest_parameters, job_recipe, outdate, redate
from vidmem.base.seeding import seed_of, torch_stream
from vidmem.base.shards import load_shards, save_shards
from vidmem.base.store import (
    ArrayWriter,
    CheckedArray,
    load_array,
    load_table,
    save_array,
    save_checked,
    save_json,
    save_table,
    shard_of,
    slug,
    write_as,
    write_atomic,
    writing,
)
from vidmem.errors import VidmemError
from vidmem.features.clip_features import load_features


@pytest.mark.parametrize("blocks", [[3, 2], [0], [1] * 7, []])
def test_array_writer_is_np_save(tmp_path, stream, blocks):
    parts = [stream.integers(0, 255, (count, 2, 3), dtype=np.uint8) for count in blocks]
    with ArrayWriter(tmp_path / "a.npy", (2, 3), "uint8") as writer:
        firsts = [writer.append(part) for part in parts]
    whole = np.concatenate(parts) if parts else np.zeros((0, 2, 3), np.uint8)
    np.save(tmp_path / "whole.npy", whole)
    assert (tmp_path / "a.npy").read_bytes().startswith((tmp_path / "whole.npy").read_bytes())
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


TABLE = pd.DataFrame({"clip_id": ["a", "b"], "text": ["vidmem_crc32\x18\x0800000000"] * 2, "value": [0.5, 1.0]})
WRITERS = {
    "a.npy": lambda path: save_array(path, np.arange(30.0).reshape(10, 3)),
    "a.parquet": lambda path: save_table(path, TABLE),
}
READERS = {".npy": load_array, ".parquet": load_table}


@pytest.mark.parametrize("name", WRITERS)
def test_every_flipped_byte_and_every_cut_is_found(tmp_path, name):
    """Header, content and footer alike; the message names the file and the command that makes it again."""
    path = tmp_path / name
    WRITERS[name](path)
    whole = path.read_bytes()
    READERS[path.suffix](path)
    flipped = [whole[:place] + bytes([byte ^ 1]) + whole[place + 1 :] for place, byte in enumerate(whole)]
    for damaged in [*flipped, *(whole[:length] for length in range(len(whole))), whole + b"\0", whole + whole]:
        path.write_bytes(damaged)
        with pytest.raises(VidmemError) as found:
            READERS[path.suffix](path)
        assert f"--force {path}" in found.value.hint


def test_files_without_checksums_are_refused(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros(3))
    np.save(tmp_path / "b.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    TABLE[["value"]].to_parquet(tmp_path / "a.parquet")
    for name in ("a.npy", "b.npy", "a.parquet"):
        with pytest.raises(VidmemError, match="older version"):
            READERS[(tmp_path / name).suffix](tmp_path / name)
    save_checked(tmp_path / "c.npy", lambda file: np.save(file, np.array([{"a": 1}], dtype=object), allow_pickle=True))
    with pytest.raises(VidmemError, match=r"whole \.npy"):
        load_array(tmp_path / "c.npy")


def test_others_read_our_files(tmp_path):
    for name, write in WRITERS.items():
        write(tmp_path / name)
    assert np.array_equal(np.load(tmp_path / "a.npy"), np.arange(30.0).reshape(10, 3))
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "a.parquet"), TABLE)
    pd.testing.assert_frame_equal(load_table(tmp_path / "a.parquet", ["value"]), TABLE[["value"]])


def test_damage_is_found_in_the_block_that_is_read(tmp_path, stream):
    """A stream stops before it hands out a damaged block; blocks of rows need not fall on those of the checksums."""
    path, array = tmp_path / "a.npy", stream.integers(0, 255, (7000, 500), dtype=np.uint8)
    save_array(path, array)
    assert np.array_equal(CheckedArray(path)[:], array)
    content = bytearray(path.read_bytes())
    content[128 + 500 * 5000 + 3] ^= 64
    path.write_bytes(content)
    lazy, read = CheckedArray(path), []
    with pytest.raises(VidmemError, match=r"bytes 2097152 to 3145728"):
        for first in range(0, len(lazy), 999):
            read.append(lazy[first : first + 999])
    assert len(read) == 4
    assert np.array_equal(np.concatenate(read), array[: len(read) * 999])
    assert np.array_equal(lazy[10:20], array[10:20])
    assert lazy[3:3].shape == (0, 500)
    with pytest.raises(VidmemError, match="CRC-32"):
        lazy[4999:5001]
    assert load_array(path, verify=False).shape == array.shape
    with pytest.raises(VidmemError, match="CRC-32"):
        load_array(path)


def test_what_a_killed_writer_left_is_no_hindrance(tmp_path):
    (tmp_path / ".a.npy.tmp").write_bytes(b"left" * 1000)
    save_array(tmp_path / "a.npy", np.zeros(3))
    assert [path.name for path in tmp_path.iterdir()] == ["a.npy"]
    assert load_array(tmp_path / "a.npy").tolist() == [0, 0, 0]


def test_two_writers_of_one_file_are_told(tmp_path):
    with writing(tmp_path / "a") as first:
        first.write(b"first")
        with pytest.raises(VidmemError, match="two runs in one folder"):
            write_atomic(tmp_path / "a", lambda file: file.write(b"second"))
    assert (tmp_path / "a").read_bytes() == b"first"


def test_a_full_disk_is_named(tmp_path, monkeypatch):
    """A device that is always full."""

    def fill(_):
        with open("/dev/full", "wb", buffering=0) as file:
            file.write(b"x")

    monkeypatch.chdir(tmp_path)
    with pytest.raises(VidmemError, match="space") as full:
        write_atomic("a.npy", fill)
    assert full.value.where == "a.npy"
    assert "make room" in full.value.hint


CALL = "snakemake --configfile a.yaml --cores all"


def test_files_state_their_recipe(tmp_path):
    write_as("0123456789abcdef")
    try:
        for name, write in WRITERS.items():
            write(tmp_path / name)
    finally:
        write_as("")
    paths = [str(tmp_path / name) for name in WRITERS]
    assert {recipe_of(path) for path in paths} == {"0123456789abcdef"}
    check_recipes(dict.fromkeys([*paths, str(tmp_path / "none.npy"), __file__], ("rule", "0123456789abcdef")), CALL)
    with pytest.raises(VidmemError, match="a.parquet: recipe 0123456789abcdef, not other") as found:
        check_recipes({paths[0]: ("rule", "0123456789abcdef"), paths[1]: ("rule", "other")}, CALL)
    assert found.value.hint == f"{CALL} --force -- {paths[1]}; then run again"
    many = [tmp_path / f"{number}.npy" for number in range(6)]
    for path in many:
        np.save(path, np.zeros(3))
    with pytest.raises(VidmemError, match="and 1 more") as found:
        check_recipes({str(path): ("read_corpus", "other") for path in many}, CALL)
    assert found.value.hint == f"{CALL} --forcerun read_corpus"


def test_dates_of_the_future_become_the_present_in_their_order(tmp_path):
    for place, name in enumerate(("a", "b", "c")):
        (tmp_path / name).write_bytes(b"")
        moment = 1e9 + (5e7 - 1e3 * place if place else 0)
        os.utime(tmp_path / name, (moment, moment))
    assert [path.name for path in redate([tmp_path], 1e9 + 10)] == ["c", "b"]
    dates = [(tmp_path / name).stat().st_mtime for name in ("a", "c", "b")]
    assert dates == sorted(set(dates))
    assert dates[-1] <= 1e9 + 10
    outdate([str(tmp_path / "a"), str(tmp_path / "none")])
    assert 0 < (tmp_path / "a").stat().st_mtime < 60  # Snakemake takes 0 for no date


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


def test_a_list_of_shards_goes_with_its_folder(tmp_path):
    """Copied or renamed it names the files beside it; those of another run it never names."""
    folder = tmp_path / "one/corpus-x"
    for shard in range(2):
        save_array(folder / f"{shard}.npy", np.arange(shard + 3))
    save_shards(folder / "shards-content.json", {"arrays": [str(folder / f"{shard}.npy") for shard in range(2)]})
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    shutil.rmtree(tmp_path / "one")
    files = load_shards(tmp_path / "two/corpus-x/shards-content.json")["arrays"]
    assert files == [str(tmp_path / f"two/corpus-x/{shard}.npy") for shard in range(2)]
    with pytest.raises(VidmemError, match="files in"):
        save_shards(tmp_path / "shards-content.json", {"arrays": files})


@pytest.mark.parametrize("change", [Path.unlink, lambda path: save_array(path, np.arange(9))])
def test_a_listed_shard_that_is_gone_or_another_is_named(tmp_path, change):
    save_array(tmp_path / "0.npy", np.arange(3))
    save_shards(tmp_path / "shards-content.json", {"arrays": [str(tmp_path / "0.npy")]})
    change(tmp_path / "0.npy")
    with pytest.raises(VidmemError, match=r"0\.npy.*\s*.*--force"):
        load_shards(tmp_path / "shards-content.json")


def test_a_job_on_a_cluster_states_the_recipe_that_the_main_process_planned(tmp_path):
    """Its own process does not know every digest that the main process does: a second run takes its files."""
    log = tmp_path / "logs/read_corpus/tiny.0.log"
    whole, told = {"shards": 2, "listed": "0123456789ab"}, {"shards": 2, "listed": PLANNED}
    assert job_recipe(whole, log) == digest_parameters(whole)
    with pytest.raises(VidmemError, match="no recipes.json above"):
        job_recipe(told, log)
    save_json(tmp_path / "logs" / PLAN, {str(log): digest_parameters(whole)})
    assert job_recipe(told, log) == digest_parameters(whole) == job_recipe(whole, log)
    with pytest.raises(VidmemError, match="Got 1 others"):
        job_recipe(told, tmp_path / "logs/read_corpus/tiny.1.log")
