"""Human labels of clips: scored like every other pair, bad lines named."""

from dataclasses import replace

import pandas as pd
import pytest

from scored_corpus import COMPARISON, load_footage, small_corpus
from vidmem.base.clip_table import clip_row, clip_table
from vidmem.errors import VidmemError
from vidmem.exhibits.tables import VALIDATION_COLUMNS, label_table
from vidmem.features.content import gsscd
from vidmem.features.metrics import METRICS
from vidmem.features.statistics import IntervalRule
from vidmem.scoring.calibration import Footage
from vidmem.scoring.labels import label_scores, name_by_set, read_labels


def test_labelled_clips_of_two_presets_do_not_compare(labelled, tmp_path):
    """Whichever sets they are of: the first has none."""
    found, _ = labelled
    own = found["generated-model"]
    other = replace(own.descriptors, provenance="another 2")
    first = replace(found["corpus-small"].descriptors.only([]), provenance="")
    labels = pd.DataFrame([("b/p-1", "c/p-2", True, "content", 2)], columns=["first", "second", "label", "kind", "line"])
    named = [name_by_set(part, name) for name, part in zip("abc", (first, own.descriptors, other))]
    with pytest.raises(VidmemError, match="one preset"):
        label_scores(labels, named, [], COMPARISON)


def test_rows_of_some_clips_are_found_by_set(labelled):
    own = labelled[0]["generated-model"].flows
    named = name_by_set(own.only(["p-2"]), "generated-model")
    expected = own.table_of(["p-2"]).assign(clip_id="generated-model/p-2").reset_index(drop=True)
    pd.testing.assert_frame_equal(named.table_of(["generated-model/p-2"]).reset_index(drop=True), expected)


def test_clips_that_were_recovered_can_be_labelled(labelled, tmp_path):
    _, tables = labelled
    path = tmp_path / "labels.csv"
    path.write_text("first,second,label\np-1,clip-01,1\n")
    own = tables["generated-model"]
    own.loc[own["clip_id"] == "p-1", "status"] = "recovered"
    assert read_labels(path, tables)["first"].tolist() == ["generated-model/p-1"] * 2


@pytest.fixture
def labelled(tmp_path):
    """Two sets that share one id, with a failed clip."""
    clips, _ = small_corpus()
    sets = {"corpus-small": clips[:6], "generated-model": [clip | {"set": "generated-model"} for clip in clips[1:4]]}
    sets["generated-model"] = [
        clip | {"clip_id": name} for clip, name in zip(sets["generated-model"], ("p-1", "p-2", "clip-00"))
    ]
    found = {name: load_footage(tmp_path, name, part) for name, part in sets.items()}
    tables = {name: part.descriptors.clips for name, part in found.items()}
    failed = clip_table([clip_row({}, clip_id="p-9", set="generated-model", status="failed", reason="no memory")])
    tables["generated-model"] = pd.concat([tables["generated-model"], failed], ignore_index=True)
    return found, tables


def test_human_labels_give_the_table_of_the_metrics(labelled, tmp_path):
    found, tables = labelled
    path = tmp_path / "labels.csv"
    path.write_text(
        "first,second,label,kind\np-1,clip-01,1,\np-2,clip-02,memorised,content\ngenerated-model/clip-00,clip-04,not,\n"
        "p-1,clip-04,0,motion\n"
    )
    labels = read_labels(path, tables)
    assert labels["kind"].value_counts().to_dict() == {"content": 3, "motion": 3}
    features = {part: [name_by_set(getattr(sides, part), name) for name, sides in found.items()] for part in Footage._fields}
    scores = label_scores(labels, features["descriptors"], features["flows"], COMPARISON)
    named = {f"{name}/{row}": name for name, table in tables.items() for row in table["clip_id"]}
    gsscd_rows = scores[scores["metric"] == "gsscd"].set_index(["first", "second"])
    for (first, second), row in gsscd_rows.iterrows():
        mine, theirs = (found[named[clip]].descriptors.of(clip.split("/")[1]) for clip in (first, second))
        assert row["value"] == pytest.approx(gsscd(mine, theirs).score, abs=1e-3)
    table = label_table(scores.assign(corpus="small"), {"small": dict.fromkeys(METRICS, 0.9)}, IntervalRule(draws=100), 0)
    assert list(table.columns) == VALIDATION_COLUMNS
    content = table[table["metric"] == "gsscd"].iloc[0]
    assert (content["n_positive"], content["n_negative"], content["auc"], content["recall"]) == (2, 1, 1.0, 1.0)
    motion = table[(table["metric"] == "ofs_k") & (table["filter"] == "none") & (table["variant"] == "field max")].iloc[0]
    assert (motion["n_positive"], motion["n_negative"], motion["auc"]) == (1, 2, 1.0)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("p-1,clip-01,perhaps,", "a label of 1, 0"),
        ("p-1,clip-01,1,sound", "a kind of content, motion"),
        ("p-1,clip-77,1,", "(?s)a clip of the audit.*clip-77"),
        ("p-1,clip-00,1,", "(?s)a clip of one set.*write corpus-small/clip-00"),
        ("p-9,clip-01,1,", "failed: no memory"),
        ("p-1,p-1,1,", "two clips"),
        ("clip-02,p-2,1,content", "(?s)one label for each pair.*line 2"),
        ("p-1,clip-01,1,content,more", "(?s)4 cells.*more"),
    ],
)
def test_bad_labels_are_named_with_their_line(labelled, tmp_path, row, message):
    path = tmp_path / "labels.csv"
    path.write_text(f"first,second,label,kind\np-2,clip-02,1,\n{row}\n")
    with pytest.raises(VidmemError, match=message) as caught:
        read_labels(path, labelled[1])
    assert "line 3" in str(caught.value)
