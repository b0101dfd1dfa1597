"""Which file a clip of a closed model is: told in figures, verdict and playable clips. Other clips have no such text."""

import csv
import json
import re
import xml.etree.ElementTree as ElementTree

import av
import numpy as np
import pandas as pd
import pytest
import yaml
from snakemake.io import apply_wildcards

from hostile_names import NAMES
from vidmem.base.clip_table import clip_row, clip_table
from vidmem.base.store import save_csv, save_json
from vidmem.exhibits.best_matches import best_pairs, words_of
from vidmem.exhibits.clip_index import SHOWN, clip_index, clip_label
from vidmem.exhibits.figures import gallery, image_panel, motion_panel, pair_words, save_figure
from vidmem.exhibits.playable_clips import save_mp4
from vidmem.exhibits.table_files import short_name
from vidmem.exhibits.verdict import _Evidence, _worst
from workflow_helpers import ROOT

HOSTILE = [*NAMES, "</script><script>alert(1)</script>.mp4"]
CLOSED = [json.dumps({"kind": "files", "file": name, "version": "v1"}) for name in HOSTILE]
OWN = json.dumps({"kind": "diffusers", "file": "prompts.csv", "pipeline": "P"})


class Frames:
    """Stand-in for the frames of an audit."""

    def __init__(self, clips):
        self.clips = clips


def matched(provenances):
    """Clip tables and scores of a model whose n-th clip matches the n-th training clip, the first one best."""
    training = [clip_row({}, clip_id=f"t{n}", set="corpus-own", caption="a cat") for n in range(len(provenances))]
    made = [clip_row(json.loads(text), clip_id=f"g{n}", set="generated-net", caption="p") for n, text in enumerate(provenances)]
    scores = pd.DataFrame({"clip_id": [f"g{n}" for n in range(len(made))], "match": [f"t{n}" for n in range(len(made))]})
    scores = scores.assign(metric="gsscd", value=np.linspace(0.9, 0.8, len(made)), threshold=0.5, verdict=True, query_frame=0)
    return clip_table(training), clip_table(made), scores.assign(reference_frame=0, view="", preset="p", search="exact")


def pairs_of(provenances):
    training, made, scores = matched(provenances)
    return best_pairs("net", scores, Frames(pd.concat([training, made])), "own", "gsscd", len(provenances))


def test_a_match_names_the_file_of_its_generated_clip():
    assert [pair.file for pair in pairs_of(CLOSED)] == HOSTILE
    assert [pair.file for pair in pairs_of([OWN, "{}", json.dumps({"kind": "files"})])] == ["", "", ""]
    assert words_of(pairs_of(CLOSED)[0], "Net")["file"] == HOSTILE[0]


def test_a_caption_ends_with_the_file():
    row = {"caption": "a red ball", "prompt": "a cat", "file": "made/a copy-0.mp4"}
    assert pair_words(row, 60) == "asked for: a cat\nfound: a red ball\nfile: made/a copy-0.mp4"
    assert pair_words(row | {"prompt": ""}, 60) == "a red ball\nfile: made/a copy-0.mp4"
    assert pair_words(row | {"file": ""}, 60) == pair_words({"caption": "a red ball", "prompt": "a cat"}, 60)
    long = pair_words(row | {"file": "folder/" * 40 + "clip-0007.mp4"}, 40).splitlines()[-1]
    assert long.startswith("file: folder/")
    assert long.endswith("r/clip-0007.mp4")
    assert len(long) == 40
    for name in HOSTILE:
        lines = pair_words(row | {"file": name}, 40).splitlines()
        assert len(lines) == 3
        assert lines[2].isprintable()
        assert len(lines[2].replace(r"\$", "$")) <= 40


def rows_of(provenances, stream):
    """Rows for the three figures that show matches."""
    clip = stream.integers(0, 255, (4, 16, 16, 3), np.uint8)
    shown = {"training": clip, "generated": clip, "training_frame": 0, "generated_frame": 0, "image": clip[0], "frame": clip[0]}
    return [shown | {"copies": 1, "metric": "GSSCD"} | words_of(pair, "Net") for pair in pairs_of(provenances)]


def test_hostile_files_are_drawn_as_text(tmp_path, stream):
    """No formula, no markup, and room for a third line in every kind of figure."""
    rows = rows_of([CLOSED[0], CLOSED[1], CLOSED[2], CLOSED[4], CLOSED[8]], stream)
    windows = [
        row | {side: [(row["image"], row["image"], row["image"])] for side in ("training", "generated")} | {"view": ""}
        for row in rows
    ]
    for figure, shown in ((gallery(rows, "G"), 5), (image_panel(rows), 5), (motion_panel(windows[:2], 1), 2)):
        save_figure(figure, tmp_path / "figure.png")
        drawn = "".join(ElementTree.parse(tmp_path / "figure.svg").getroot().itertext())
        assert "file: a copy-0.mp4" in drawn
        assert "file: cost $5 and $\\frac{1}" in drawn
        assert drawn.count("file: ") == shown


def test_a_caption_with_a_file_stays_clear_of_the_title(stream):
    (row,) = rows_of(CLOSED[:1], stream)
    for figure in (gallery([row | {"prompt": "another"}], "G"), image_panel([row | {"prompt": "another"}])):
        figure.canvas.draw()
        highest = max(axis._left_title.get_window_extent().y1 for axis in figure.axes if axis.get_title(loc="left"))
        assert figure._suptitle.get_window_extent().y0 > highest - 1


def worst_of(provenances):
    training, made, scores = matched(provenances)
    return _worst("gsscd", _Evidence(pd.Series(), None, scores, made, training.set_index("clip_id"), {}))


def test_a_verdict_names_the_files_of_closed_models_only(tmp_path):
    from jsonschema import Draft202012Validator

    worst = worst_of(CLOSED)
    save_json(tmp_path / "verdict.json", worst)
    assert [match["generated_file"] for match in json.loads((tmp_path / "verdict.json").read_text())] == HOSTILE
    own = worst_of([OWN, "{}", json.dumps({"kind": "files"})])
    assert not any("generated_file" in match for match in own)
    schema = yaml.safe_load((ROOT / "rules/schemas/verdict.schema.yaml").read_text())["$defs"]["kind"]["properties"]["worst"]
    assert not list(Draft202012Validator(schema).iter_errors(worst))
    assert not list(Draft202012Validator(schema).iter_errors(own))


@pytest.mark.parametrize("name", HOSTILE)
def test_a_playable_clip_has_its_file_as_title(tmp_path, stream, name):
    frames = stream.integers(0, 255, (2, 16, 16, 3), np.uint8)
    for title, path in ((name, "titled.mp4"), ("", "empty.mp4")):
        save_mp4(tmp_path / path, frames, 8, height=16, loops=1, title=title)
    save_mp4(tmp_path / "none.mp4", frames, 8, height=16, loops=1)
    with av.open(str(tmp_path / "titled.mp4")) as container:
        assert container.metadata["title"] == short_name(name, 200)
        assert container.metadata["title"].isprintable()
    assert (tmp_path / "empty.mp4").read_bytes() == (tmp_path / "none.mp4").read_bytes()
    assert b"title" not in (tmp_path / "none.mp4").read_bytes()


def test_an_index_says_which_file_a_playable_clip_shows(tmp_path):
    save_csv(tmp_path / "net.csv", clip_index("net", pairs_of(CLOSED)))
    with open(tmp_path / "net.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["file"] for row in rows] == HOSTILE
    assert (rows[1]["clip"], rows[1]["generated"], rows[1]["training"]) == ("net-2.mp4", "g1", "t1")
    assert rows[0]["score"] == "0.9"
    save_csv(tmp_path / "none.csv", clip_index("net", []))
    assert (tmp_path / "none.csv").read_text() == "clip,file,generated,training,score\n"


def test_labels_of_a_report_are_plain(tmp_path):
    """Snakemake fills in wildcards in a label, and writes it into a script of the page as it is."""
    save_csv(tmp_path / "net.csv", clip_index("net", pairs_of(CLOSED)))
    labels = [clip_label(tmp_path / "net.csv", f"net-{rank}.mp4") for rank in range(1, len(HOSTILE) + 1)]
    assert labels[0] == f"{SHOWN}: a copy-0.mp4"
    for label in labels:
        assert apply_wildcards(label, {}) == label
        assert not re.search(r"[<>{}]", label)
        assert label.isprintable()
        assert len(label) <= len(SHOWN) + 82
    assert clip_label(tmp_path / "net.csv", "net-99.mp4") == SHOWN  # a grey clip: there are fewer matches
    assert clip_label(tmp_path / "absent.csv", "net-1.mp4") == SHOWN
