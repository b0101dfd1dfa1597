"""The ground truth of the default audit is clean: planted groups and held-out scenes are no near-duplicates."""

import numpy as np
import pandas as pd
import pytest
import yaml

from vidmem.content import gsscd
from vidmem.corpus import list_source, read_item
from vidmem.descriptors import PRESETS, describe_frames, load_encoder
from workflow_helpers import ROOT

NEAR = 0.5


@pytest.fixture(scope="module")
def corpus(weights):
    config = yaml.safe_load((ROOT / "config.yaml").read_text())["corpora"]["default"]
    encode, preset = load_encoder(PRESETS["sscd-288"], weights / "sscd_int8", 2), PRESETS["sscd-288"]
    rows = []
    for source in config["sources"]:
        for item in list_source({"split": "member", **source}):
            record = read_item(
                item,
                config["frames"],
                tuple(config["size"]),
                source["fps"] if "fps" in source else 8,
                source.get("fit", "crop"),
            )
            assert record.status == "ok", (item.clip_id, record.reason)
            vectors = np.concatenate(list(describe_frames(record.frames, encode, preset)))
            rows.append((item.clip_id, item.split, item.copies, record.information, vectors))
    return pd.DataFrame(rows, columns=["clip_id", "split", "copies", "information", "vectors"])


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
