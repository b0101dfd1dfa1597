"""Every pair compared by a metric's own function finds what the fast searches find."""

import numpy as np
import pandas as pd
import pytest

from vidmem.base.clip_table import clip_row, clip_table
from vidmem.errors import VidmemError
from vidmem.features.clip_features import ClipFeatures
from vidmem.features.metrics import Metric, metric_of
from vidmem.search.content_search import exact_matches
from vidmem.search.references import OpenReferences


def features_of(clips):
    lengths = np.cumsum([0, *map(len, clips.values())])
    spans = {name: (0, int(first), int(last)) for name, first, last in zip(clips, lengths, lengths[1:])}
    table = clip_table([clip_row({}, clip_id=name) for name in clips])
    return ClipFeatures(table, spans, [np.concatenate(list(clips.values()))], pd.DataFrame(), "preset")


def footage(stream, prefix, count):
    clips = {f"{prefix}{n}": stream.normal(size=(int(stream.integers(1, 5)), 8)).astype(np.float32) for n in range(count)}
    return features_of({name: clip / np.linalg.norm(clip, axis=1, keepdims=True) for name, clip in clips.items()})


@pytest.mark.parametrize("name", ["gsscd", "vsscd"])
def test_every_pair_finds_what_the_search_of_the_metric_finds(stream, name):
    queries, members = footage(stream, "q", 6), footage(stream, "m", 15)
    references, metric = OpenReferences(members, list(members.spans)), metric_of(name)
    plain = Metric("plain", "content", metric.pair, "pairs", "PLAIN", metric.shown)
    found = [exact_matches(one, queries, sorted(queries.spans), references, 4, 7, "preset") for one in (metric, plain)]
    assert found[1]["metric"].eq("plain").all()
    pd.testing.assert_frame_equal(found[0], found[1].assign(metric=name))
    best = found[1][found[1]["rank"] == 1].set_index("query")
    for query in queries.spans:
        scores = {other: metric.pair(queries.of(query), members.of(other)).score for other in members.spans}
        assert best.loc[query, ["reference", "score"]].tolist() == [max(scores, key=scores.get), max(scores.values())]


def test_a_search_that_does_not_exist_is_named(stream):
    members = footage(stream, "m", 2)
    lost = Metric("lost", "content", metric_of("gsscd").pair, "windows", "LOST")
    with pytest.raises(VidmemError, match="(?s)frames, aligned, pairs.*windows.*metric lost"):
        exact_matches(lost, members, ["m0"], OpenReferences(members, ["m1"]), 1, 7, "")
