"""Scans of references: the same in any shards, resumed where they were, mixed presets refused."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest

from search_corpus import save_corpus
from vidmem.base.store import save_array, save_table
from vidmem.errors import VidmemError
from vidmem.features import clip_features
from vidmem.features.clip_features import load_features
from vidmem.features.content import gsscd
from vidmem.features.metrics import metric_of
from vidmem.search.matches import SPARE, content_matches, nearest_clips
from vidmem.search.references import (
    Candidates,
    OpenReferences,
    ReferenceShards,
    ScanState,
    merge_candidates,
    no_candidates,
    scan,
)


def slow_matches(queries, names, clips, top):
    rows = []
    for name in names:
        scores = sorted((-gsscd(queries.of(name), vectors.astype(np.float16)).score, other) for other, vectors in clips.items())
        rows += [(name, other, -score) for score, other in scores[:top]]
    return rows


@pytest.mark.parametrize("shards", [1, 3, 8])
@pytest.mark.parametrize("block", [1, 16384])
def test_matches_do_not_depend_on_shards(near_clips, tmp_path, shards, block):
    clips, queries = near_clips
    references = ReferenceShards(*save_corpus(tmp_path, clips, shards))
    names = sorted(queries.spans)
    found = nearest_clips(queries, names, references, 4, block)
    table = content_matches(metric_of("gsscd"), queries, names, references, found, 4, "exact", "p")
    members = {name: vectors for name, vectors in clips.items() if name != list(clips)[-1]}
    wanted = slow_matches(queries, names, members, 4)
    assert list(table[["query", "reference"]].itertuples(index=False, name=None)) == [row[:2] for row in wanted]
    assert table["score"].tolist() == [row[2] for row in wanted]  # the very same numbers
    assert {"c03", "c07"} <= set(table["reference"])


def test_merging_does_not_depend_on_the_order_of_shards(stream):
    parts = [Candidates(np.sort(np.round(stream.random((3, 4)), 1).astype(np.float32))[:, ::-1],
                        np.array([[f"{n}{q}{k}" for k in range(4)] for q in range(3)])) for n in range(3)]  # fmt: skip
    wanted = None
    for order in itertools.permutations(parts):
        found = no_candidates(3, 5)
        for part in order:
            found = merge_candidates(found, part)
        wanted = wanted or found
        assert np.array_equal(found.names, wanted.names)
        assert np.array_equal(found.scores, wanted.scores)


def test_a_killed_scan_goes_on_where_it_was(near_clips, tmp_path):
    clips, queries = near_clips
    references, names = ReferenceShards(*save_corpus(tmp_path, clips, 5)), sorted(queries.spans)
    whole = nearest_clips(queries, names, references, 3, 64)
    looked, state = [], tmp_path / "state"

    def look(number):
        if number == 3 and 3 not in looked:
            looked.append(3)
            raise KeyboardInterrupt
        looked.append(number)
        one = OpenReferences(references.shard(number), references.names(number))
        return [nearest_clips(queries, names, one, 3, 64)]

    empty = [no_candidates(len(names), 3 + SPARE)]
    with pytest.raises(KeyboardInterrupt):
        scan(references, empty, look, ScanState(state, "key", 0))
    found = scan(references, empty, look, ScanState(state, "key", 0))[0]
    assert looked == [0, 1, 2, 3, 3, 4]
    assert np.array_equal(found.names, whole.names)
    assert np.array_equal(found.scores, whole.scores)
    assert ScanState(state, "another key").load(empty)[0] == 0
    assert ScanState(state, "key").load(empty)[0] == 5
    ScanState(state, "key").drop()
    assert ScanState(state, "key").load(empty)[0] == 0


def test_a_damaged_state_costs_no_more_than_time(tmp_path, caplog):
    state, empty = ScanState(tmp_path / "state", "key", 0), [no_candidates(1, 2)]
    state.save(3, empty)
    content = (tmp_path / "state").read_bytes()
    for damaged in (content[:-9], b"", content[:40] + b"?" + content[41:]):
        (tmp_path / "state").write_bytes(damaged)
        assert state.load(empty) == (0, empty)
    assert caplog.text.count("The scan starts anew") == 3


def test_a_scan_of_several_kinds_keeps_them_apart(tmp_path):
    first, second = (
        Candidates(np.float32([[1, value], [0.5, -np.inf]]), np.array([["a", "b"], [str(value), ""]])) for value in (0.2, 0.3)
    )
    state = ScanState(tmp_path / "state", "key", 0)
    state.save(2, [first, second])
    following, found = state.load([no_candidates(2, 2)] * 2)
    assert following == 2
    for old, new in zip((first, second), found):
        assert np.array_equal(old.scores, new.scores)
        assert old.names.tolist() == new.names.tolist()


def test_a_changed_reference_is_another_stamp(near_clips, tmp_path):
    references = ReferenceShards(*save_corpus(tmp_path, near_clips[0], 2))
    before = references.stamp()
    save_array(references.files[1][1], np.zeros((1, 12), np.float16))
    assert references.stamp() != before


def test_mixed_presets_are_refused_across_shards(near_clips, tmp_path):
    references = ReferenceShards(*save_corpus(tmp_path, near_clips[0], 2))
    other = pd.read_parquet(references.files[1][2]).assign(computed_by="preset 2")
    save_table(references.files[1][2], other)
    references.shard(0)
    with pytest.raises(VidmemError, match="one preset"):
        references.shard(1)
    with pytest.raises(VidmemError, match="preset 1"):
        references.check_preset(load_features(*[[path] for path in references.files[1]]))


def test_a_shard_without_clips_hides_no_mixed_presets(near_clips, tmp_path):
    references = ReferenceShards(*save_corpus(tmp_path, near_clips[0], 3))
    for number, name in ((1, None), (2, "preset 2")):
        rows = pd.read_parquet(references.files[number][2])
        save_table(references.files[number][2], rows.assign(computed_by=name) if name else rows[:0])
    save_array(references.files[1][1], np.zeros((0, 12), np.float16))
    references.shard(0)
    assert references.names(1) == []
    with pytest.raises(VidmemError, match="one preset"):
        references.shard(2)


def test_arrays_are_checked_once_by_a_job(near_clips, tmp_path, monkeypatch):
    checked, load = [], clip_features.load_array
    noting = lambda path, verify: checked.append(verify) or load(path, verify=verify)  # noqa: E731
    monkeypatch.setattr(clip_features, "load_array", noting)
    references = ReferenceShards(*save_corpus(tmp_path, near_clips[0], 3))
    for number in (0, 1, 2, 0, 1, 2):
        references.shard(number)
    assert checked == [True] * 3 + [False] * 3
