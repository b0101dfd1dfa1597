"""The ground truth of the default audit is clean: planted groups and held-out scenes are no near-duplicates."""

import pytest

from vidmem.features.clip_features import load_features
from vidmem.features.content import gsscd
from workflow_helpers import ROOT

pytestmark = pytest.mark.slow
NEAR = 0.5


@pytest.fixture(scope="module")
def corpus(default_audit):
    """The clips as the default audit read and described them, with their descriptors in the column `vectors`."""
    folder = default_audit / "data/corpus-default"
    files = [sorted(folder.glob(f"*.{kind}")) for kind in ("clips.parquet", "descriptors.npy", "descriptors.parquet")]
    features = load_features(*files)
    assert set(features.clips["status"]) == {"ok"}
    return features.clips.assign(vectors=[features.of(clip_id) for clip_id in features.clips["clip_id"]])


def test_no_near_duplicates_between_groups(corpus):
    rows = list(corpus.itertuples())
    close = [
        (first.clip_id, second.clip_id)
        for place, first in enumerate(rows)
        for second in rows[place + 1 :]
        if (first.split, first.copies) != (second.split, second.copies) and gsscd(first.vectors, second.vectors).score >= NEAR
    ]
    assert close == []


def test_a_quarter_of_the_scenes_is_held_out_and_copies_are_planted(corpus):
    films = corpus[corpus["split"] != "image"]
    assert 0.2 < (films["split"] == "heldout").mean() < 0.3
    assert set(films[films["split"] == "member"]["copies"]) == {1, 4, 16, 64}
    assert (films[films["split"] == "heldout"]["copies"] == 0).all()
    assert (corpus["split"] == "image").sum() >= 20


def test_no_clip_is_poor_in_information(corpus):
    assert corpus["information"].min() > 1.0


def test_the_reference_models_are_small():
    files = [path for path in (ROOT / "reference_models").rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 20 * 2**20
