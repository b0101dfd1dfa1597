"""The search by motion of a set of clips: every metric, as the clips are and mirrored, whatever the shards and blocks."""

import numpy as np
import pandas as pd
import pytest

from search_corpus import save_corpus
from vidmem.features.background import fit_background, pooled_fields
from vidmem.features.clip_features import load_features
from vidmem.features.metrics import UNFILTERED, metric_of
from vidmem.features.motion import mirror_flows
from vidmem.features.motion_comparison import MotionComparison
from vidmem.features.motion_rule import MotionRule, ofs_by_rule
from vidmem.features.natural_motion import NaturalMotionFilter
from vidmem.search import motion_search
from vidmem.search.references import ReferenceShards, ScanState

SEARCH = {"top_k": 3, "motion_grid": 16}
OPEN = NaturalMotionFilter(0.0, 1.1, -1.0)  # nothing is natural


def smooth(stream, pairs):
    coarse = stream.normal(size=(pairs, 2, 4, 4))
    return coarse.repeat(4, axis=2).repeat(4, axis=3).astype(np.float16)


@pytest.fixture
def clips(stream):
    """Twelve members of different lengths, one too short, and a held-out clip."""
    return {f"f{n:02d}": smooth(stream, pairs) for n, pairs in enumerate([5, 4, 7, 2, 6, 5, 5, 3, 4, 7, 5, 6, 5])}


def comparison_of(clips, views=("mirrored", "cropped")):
    background = fit_background("corpus-x", "preset 1", clips.items())
    return MotionComparison(MotionRule(3, filter=OPEN, views=views), (metric_of("ofs_k"), metric_of("wofs_k")), background)


def searched(folder, comparison, clips, asked, shards=2, clip_set="generated-m", pooled=None):
    folder.mkdir(exist_ok=True)
    references = ReferenceShards(*save_corpus(folder, clips, shards, "flows"))
    queries = load_features(*[list(part) for part in save_corpus(folder, asked, 1, "queries", clip_set)])
    states = lambda number: ScanState(folder / f"{number}.scan", f"{number}")  # noqa: E731
    theirs = {"motion": references, "pooled": references if pooled is None else pooled}
    return motion_search.search_motion_set(comparison, queries, theirs, SEARCH, states)


@pytest.fixture
def asked(stream, clips):
    noise = {name: 0.05 * stream.normal(size=clips[name].shape) for name in ("f00", "f02", "f08")}
    return {
        "a": (clips["f00"] + noise["f00"]).astype(np.float16),
        "b": mirror_flows(clips["f02"] + noise["f02"]).astype(np.float16),
        "c": smooth(stream, 5),
        "d": smooth(stream, 2),
        "e": (clips["f08"] + noise["f08"]).astype(np.float16),
    }


def test_copies_and_mirrored_copies_are_found_and_the_match_says_which(tmp_path, clips, asked):
    table = searched(tmp_path, comparison_of(clips), clips, asked)
    assert set(table["metric"]) == {"ofs_k", "wofs_k", "ofs_k" + UNFILTERED, "wofs_k" + UNFILTERED}
    for metric in ("ofs_k", "wofs_k"):
        best = table[(table["metric"] == metric) & (table["rank"] == 1)].set_index("query")
        assert best.loc[["a", "b", "e"], "reference"].tolist() == ["f00", "f02", "f08"]
        assert best.loc[["a", "b", "e"], "view"].tolist() == ["", "mirrored", ""]
        assert best.loc[["a", "b", "e"], "score"].min() > 0.9
        assert best.loc["c", "score"] < 0.8
        assert best.loc["d", "natural"] == "short"
    plain = searched(tmp_path / "plain", comparison_of(clips, views=()), clips, asked)
    plain = plain[plain["rank"] == 1].set_index(["metric", "query"])
    assert set(plain["view"]) == {""}
    assert plain.loc[("wofs_k", "b"), "score"] < 0.8


def test_scores_are_those_of_every_pair_and_view(tmp_path, clips, asked):
    comparison = comparison_of(clips)
    table = searched(tmp_path, comparison, clips, asked)
    for metric in comparison.metrics:
        rule = comparison.rule_of(metric)
        for name, flows in asked.items():
            rows = table[(table["metric"] == metric.name) & (table["query"] == name) & table["score"].notna()]
            values = {}
            for other in list(clips)[:-1]:  # the last one is held out
                views = [ofs_by_rule(view, clips[other], rule) for view in rule.seen(flows).values()]
                if views[0].size:
                    values[other] = max(view.max() for view in views)
            best = sorted(values.items(), key=lambda one: -one[1])[:3]
            assert rows["reference"].tolist() == [other for other, _ in best]
            assert rows["score"].tolist() == pytest.approx([value for _, value in best], abs=1e-5)


def test_matches_do_not_depend_on_shards_or_blocks(tmp_path, clips, asked, monkeypatch):
    comparison = comparison_of(clips)
    tables = [searched(tmp_path / str(shards), comparison, clips, asked, shards) for shards in (1, 5)]
    monkeypatch.setattr(motion_search, "QUERY_CLIPS", 2)
    tables.append(searched(tmp_path / "blocks", comparison, clips, asked))
    keys = ["metric", "query", "rank"]
    for table in tables[1:]:
        pd.testing.assert_frame_equal(
            table.sort_values(keys, ignore_index=True), tables[0].sort_values(keys, ignore_index=True)
        )


def test_a_held_out_clip_is_compared_without_its_part_of_the_background(tmp_path, clips):
    comparison = comparison_of(clips)
    table = searched(tmp_path, comparison, clips, clips, clip_set="corpus-x")
    assert set(table["query"]) == {"f12"}  # only held-out clips of a corpus are looked up
    rule = comparison.rule_of(metric_of("wofs_k"), comparison.background.fold_of("f12"))
    rows = table[(table["metric"] == "wofs_k") & (table["rank"] == 1)]
    views = [ofs_by_rule(view, clips[rows["reference"].item()], rule) for view in rule.seen(clips["f12"]).values()]
    assert rows["score"].item() == pytest.approx(max(view.max() for view in views), abs=1e-6)
    assert rows["preset"].item() == f"preset 1 background {comparison.background.name}"
    assert set(table.loc[table["metric"] == "ofs_k", "preset"]) == {"preset 1"}


def test_stored_pooled_fields_are_searched_as_the_flows_they_are_made_of(tmp_path, stream, clips, asked):
    looked = {name: flows.repeat(2, axis=2).repeat(2, axis=3) for name, flows in asked.items()}
    fine = {name: flows.repeat(2, axis=2).repeat(2, axis=3) for name, flows in clips.items()}
    fine = {name: (flows + 0.1 * stream.normal(size=flows.shape)).astype(np.float16) for name, flows in fine.items()}
    fine["f11"] *= np.float16(1e-3)  # nothing of it moves
    comparison = comparison_of(fine)
    by_flows = searched(tmp_path / "a", comparison, fine, looked)
    (tmp_path / "c").mkdir()
    pooled = {name: pooled_fields(flows) for name, flows in fine.items()}
    stored = ReferenceShards(*save_corpus(tmp_path / "c", pooled, 2, "pooled"))
    by_fields = searched(tmp_path / "b", comparison, fine, looked, pooled=stored)
    pd.testing.assert_frame_equal(by_flows, by_fields)
    assert set(by_fields["metric"]) >= {"ofs_k", "wofs_k"}
