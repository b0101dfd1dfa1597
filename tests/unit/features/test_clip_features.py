"""Features of chosen clips are opened by their ids, in any shards."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from search_corpus import flows, save_corpus
from vidmem.base.clip_table import query_clips
from vidmem.base.shards import save_shards
from vidmem.base.store import save_table, shard_of
from vidmem.errors import VidmemError
from vidmem.features.clip_features import load_chosen, load_features, load_queries, mean_magnitudes


def test_chosen_queries_are_mapped_and_keep_their_rows(stream, tmp_path):
    """Of several shards, some clips: flows, measures and blocks are those of the whole set."""
    clips = flows(stream)
    files = save_corpus(tmp_path, clips, 3, "flows")
    whole, names = load_features(*files), sorted(clips)[2:12:3]
    for path in files[0]:
        save_table(path, pd.read_parquet(path).assign(split="heldout"))
    some = load_queries(*files, chosen=set(names))
    assert sorted(some.spans) == names
    assert all(isinstance(array, np.memmap) for array in some.arrays)
    for order in (names, names[::-1]):
        pd.testing.assert_frame_equal(some.table_of(order).reset_index(drop=True), whole.table_of(order).reset_index(drop=True))
        assert np.array_equal(some.select(order)[0], whole.select(order)[0])


@pytest.mark.parametrize("shards", [1, 3])
def test_some_clips_are_opened_by_their_ids(stream, tmp_path, shards):
    """Members or not, known or not; shards without any stay closed, and may even be damaged."""
    clips = flows(stream)
    files = save_corpus(tmp_path, clips, shards, "flows")
    whole, names = load_features(*files), sorted(clips)[1:9:4]
    for number in set(range(shards)) - {shard_of(name, shards) for name in names}:
        Path(files[1][number]).write_bytes(b"")
    some = load_chosen(*files, {*names, "of another corpus"})
    assert sorted(some.spans) == sorted(some.clips["clip_id"]) == names
    assert set(some.rows["clip_id"]) == set(names)
    assert all(isinstance(array, np.memmap) for array in some.arrays)
    for name in names:
        assert np.array_equal(some.of(name), whole.of(name))
    assert load_chosen(*files, set()).select(names)[0].shape == (0, 2, 8, 8)


@pytest.mark.parametrize("shards", [1, 4])
def test_mean_magnitudes_are_those_of_all_rows_at_once(stream, tmp_path, shards):
    files = save_corpus(tmp_path, flows(stream), shards, "flows")
    for path in files[2]:
        save_table(path, (table := pd.read_parquet(path)).assign(magnitude=stream.random(len(table))))
    save_shards(tmp_path / "shards.json", dict(zip(("clips", "flows", "pairs"), [list(map(str, part)) for part in files])))
    rows = load_features(*files).rows
    found = mean_magnitudes(tmp_path / "shards.json")
    assert len(found) == rows["clip_id"].nunique() > 10
    for name, mean in found.items():
        assert mean == pytest.approx(rows.loc[rows["clip_id"] == name, "magnitude"].sum() / (rows["clip_id"] == name).sum())


def test_magnitudes_of_two_estimators_are_refused(stream, tmp_path):
    files = save_corpus(tmp_path, flows(stream), 3, "flows")
    save_table(files[2][1], pd.read_parquet(files[2][1]).assign(computed_by="another"))
    save_shards(tmp_path / "shards.json", dict(zip(("clips", "flows", "pairs"), [list(map(str, part)) for part in files])))
    with pytest.raises(VidmemError, match="one preset"):
        mean_magnitudes(tmp_path / "shards.json")


@pytest.mark.parametrize("shards", [1, 4, 40])
def test_only_clips_that_are_looked_up_are_kept(near_clips, tmp_path, shards):
    """Of a corpus the held-out ones, from whichever shard; shards without any may even be damaged."""
    clips = near_clips[0]
    files = save_corpus(tmp_path, clips, shards)
    held = sorted({*sorted(clips)[3:9:2], list(clips)[-1]})
    for path in files[0]:
        table = pd.read_parquet(path)
        table.loc[table["clip_id"].isin(held), "split"] = "heldout"
        save_table(path, table)
        if not set(held) & set(table["clip_id"]) and path != files[0][0]:
            Path(files[1][files[0].index(path)]).write_bytes(b"")
    queries = load_queries(*files)
    assert sorted(query_clips(queries.clips)) == sorted(queries.spans) == held
    for name in held:
        assert np.array_equal(queries.of(name), clips[name].astype(np.float16))
    assert list(queries.table_of(held)["clip_id"]) == [name for name in held for _ in clips[name]]
    assert queries.provenance == "preset 1"


def test_a_set_without_clips_to_look_up_keeps_its_shapes(near_clips, tmp_path):
    files = save_corpus(tmp_path, near_clips[0], 2)
    for path in files[0]:
        save_table(path, pd.read_parquet(path).assign(split="member"))
    queries = load_queries(*files)
    vectors, counts = queries.select([])
    assert vectors.shape == (0, 12)
    assert len(counts) == len(queries.clips) == len(queries.rows) == 0
    assert queries.provenance == ""


def test_rows_of_a_few_clips_are_those_of_the_whole_table(stream):
    from vidmem.features.clip_features import ClipFeatures

    names = ["a"] * 3 + ["b"] * 2, ["c"] * 4
    rows = pd.DataFrame({"clip_id": [*names[0], *names[1]], "pair": range(9)})
    spans = {"a": (0, 0, 3), "b": (0, 3, 5), "c": (1, 0, 4)}
    features = ClipFeatures(pd.DataFrame(), spans, [np.zeros((5, 2)), np.zeros((4, 2))], rows, "")
    assert list(features.table_of(["c", "missing", "a"])["pair"]) == [5, 6, 7, 8, 0, 1, 2]
    assert len(features.table_of([])) == 0
