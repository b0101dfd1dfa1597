"""A file is looked up by the metrics of the verdict, in sets whose splits say which clips count."""

import numpy as np
import pytest
from test_motion_search import SEARCH, clips, comparison_of, smooth  # noqa: F401  (a fixture)

from search_corpus import save_corpus
from vidmem.base.shards import save_shards
from vidmem.base.store import save_array
from vidmem.features.background import pooled_fields
from vidmem.features.clip_features import load_features
from vidmem.features.content import gsscd
from vidmem.features.metrics import metric_of
from vidmem.search.file_search import FileSearch, SearchedSet, open_references


def unit(stream, count):
    vectors = stream.normal(size=(count, 512))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float16)


@pytest.fixture
def lists(tmp_path, stream, clips):  # noqa: F811
    """Lists of the descriptors and flows of a corpus in two shards; the last clip is held out."""
    described = {name: unit(stream, len(flows) + 1) for name, flows in clips.items()}
    found = {}
    for kind, arrays, group in (("content", described, "descriptors"), ("motion", clips, "flows")):
        folder = tmp_path / kind
        folder.mkdir()
        tables, features, rows = save_corpus(folder, arrays, 2, group)
        files = {"clips": tables, group: features, "rows" if kind == "content" else "pairs": rows}
        if kind == "motion":
            files["pooled"] = [folder / f"{number}.pooled.npy" for number in range(2)]
            for flows, pooled in zip(features, files["pooled"]):
                save_array(pooled, pooled_fields(np.load(flows)))
        save_shards(folder / f"shards-{kind}.json", files)
        found[kind] = str(folder / f"shards-{kind}.json")
    return described, found


def test_the_best_clip_is_that_of_every_pair_and_splits_are_kept_apart(tmp_path, stream, clips, lists):  # noqa: F811
    described, listed = lists
    lookup = FileSearch(metric_of("gsscd"), comparison_of(clips), SEARCH | {"block": 64})
    assert lookup.kinds == {"content": "content", "motion": "pooled"}
    frames = np.concatenate([unit(stream, 3), described["f03"][:1]])
    (tmp_path / "asked").mkdir()
    content = load_features(*map(list, save_corpus(tmp_path / "asked", {"q": frames}, 1, "asked", "file")))
    flows = {"q": clips["f04"] + (0.01 * stream.normal(size=clips["f04"].shape)).astype(np.float16)}
    motion = load_features(*map(list, save_corpus(tmp_path / "asked", flows, 1, "moved", "file")))

    def best(splits):
        searched = SearchedSet("training", "x", "corpus-x", open_references(listed, lookup.kinds, splits))
        table = lookup.matches({"content": content, "motion": motion}, searched)
        return table[table["rank"] == 1].set_index("kind")

    members, held_out = best(["member"]), best(["heldout"])
    every = {name: gsscd(frames, vectors).score for name, vectors in described.items() if name != max(described)}
    assert members.loc["content", "reference"] == max(every, key=every.get) == "f03"
    assert members.loc["content", "score"] == pytest.approx(max(every.values()), abs=1e-3)
    assert (members.loc["content", "query_frame"], members.loc["content", "reference_frame"]) == (3, 0)
    assert members.loc["motion", "reference"] == "f04"
    assert set(members["metric"]) == {"gsscd", "wofs_k"}
    assert set(held_out["reference"]) == {max(described)}
