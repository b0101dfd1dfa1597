"""Figures as a reader sees them: words that do not overprint, letters that are drawn, points that say what they rest on."""

import re
import warnings
from itertools import combinations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from matplotlib.text import Text

from vidmem.exhibits import fonts
from vidmem.exhibits.best_matches import best_pairs
from vidmem.exhibits.detection_figures import detection_roc, magnitude_steps
from vidmem.exhibits.figures import (
    STYLE,
    copies_figure,
    gallery,
    image_panel,
    motion_panel,
    plain_text,
    save_figure,
    score_distributions,
)
from vidmem.exhibits.inversion_figures import inversion_training_steps
from vidmem.exhibits.score_groups import generated_scores
from vidmem.generation.detector_records import DETECTORS

LONG = "a very long caption of a clip that shows many things one after the other, and does not end where a line ends " * 3


FRAMES = np.zeros((6, 24, 32, 3), np.uint8)


def row(**about):
    return {"training": FRAMES, "generated": FRAMES, "training_frame": 1, "generated_frame": 2, "image": FRAMES[0],
            "frame": FRAMES[1], "score": 0.7, "threshold": 0.5, "copies": 3, "metric": "GSSCD", "label": "A model", "view": "",
            "caption": LONG, "prompt": "", "file": "", **about}  # fmt: skip


def boxes(figure):
    """Boxes of all words that are seen, in pixels, and the box of the figure."""
    figure.canvas.draw()
    seen = [text for text in figure.findobj(Text) if re.search("[A-Za-z]", text.get_text())]  # no ticks
    return [text.get_window_extent() for text in seen], figure.bbox


def assert_nothing_overprints(figure):
    found, page = boxes(figure)
    assert len(found) > 1
    for one, other in combinations(found, 2):
        assert not one.shrunk(0.98, 0.9).overlaps(other.shrunk(0.98, 0.9)), (one, other)
    for one in found:
        assert one.y0 >= page.y0 - 1
        assert one.y1 <= page.y1 + 1
    pictures = [axis.get_window_extent() for axis in figure.axes if axis.images]
    assert not [
        1
        for words in found
        for picture in pictures
        if words.width > words.height and picture.shrunk(0.98, 0.98).overlaps(words)
    ]
    plt.close(figure)


FOUR_LINES = [
    row(prompt="another prompt " * 9, file="folder/" + "x" * 200 + ".mp4"),
    row(),
    row(prompt="b"),
    row(file="a.mp4"),
] * 2
TILES = [(FRAMES[0], FRAMES[1], FRAMES[2])] * 3


def moving(rows):
    return motion_panel([one | {"training": TILES, "generated": TILES} for one in rows], 3)


WIDE = [row(caption=letters * 200, prompt="W" * 90) for letters in ("猫", "W", "m ", "Ä")] * 2
FLAT = [row(training=np.zeros((6, 18, 32, 3), np.uint8), generated=np.zeros((6, 18, 32, 3), np.uint8))] * 2


@pytest.mark.parametrize("draw", [lambda rows: gallery(rows, "Extracted by prompts"), image_panel, moving])
def test_words_of_four_lines_have_their_place(draw):
    assert_nothing_overprints(draw(FOUR_LINES))
    assert_nothing_overprints(draw([row()]))
    assert_nothing_overprints(draw(WIDE))
    assert_nothing_overprints(draw(FLAT))


def test_a_letter_that_no_font_has_is_named_and_never_a_box(tmp_path, monkeypatch):
    monkeypatch.setattr(fonts, "installed_families", lambda: ("DejaVu Sans",))
    monkeypatch.setitem(STYLE, "font.family", ["DejaVu Sans"])
    assert fonts.drawable("a 猫 b") == "a [U+732B] b"
    assert fonts.drawable("x\U0001f9acy") == "x[BISON]y"
    assert fonts.drawable("Zürich, Ελλάδα, Москва") == "Zürich, Ελλάδα, Москва"
    assert plain_text("猫" * 3, 40, 1) == "[U+732B][U+732B][U+732B]"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        save_figure(gallery([row(caption="猫 🦬 \u200d \U000f0000", label="模型")], "x"), tmp_path / "a.png")


def test_a_font_with_the_letters_draws_them():
    if len(fonts.installed_families()) == 1:
        pytest.skip("no font beside DejaVu Sans is installed")
    beside = next(iter(fonts.known_letters(fonts.installed_families()) - fonts.known_letters(("DejaVu Sans",))))
    assert fonts.drawable(chr(beside)) == chr(beside)


def test_labels_of_every_script_reach_no_figure_as_boxes(tmp_path, monkeypatch):
    monkeypatch.setattr(fonts, "installed_families", lambda: ("DejaVu Sans",))
    monkeypatch.setitem(STYLE, "font.family", ["DejaVu Sans"])
    clips = pd.DataFrame({"clip_id": ["a"], "split": ["member"]})
    scores = pd.DataFrame({"clip_id": ["a"], "metric": ["GSSCD"], "value": [0.5]})
    groups = generated_scores(scores, clips, "नमस्ते 🦬")
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "Glyph")
        save_figure(score_distributions(groups, {"GSSCD": [0.5]}), tmp_path / "a.png")


def test_points_of_one_observation_stand_alone():
    table = pd.DataFrame({"model": "m", "data": "video", "copies": [0, 1, 4, 16], "n": [8, 1, 5, 5],
                          "content_share": [0.0, 1.0, 0.4, 0.6], "low": 0.0, "high": 1.0, "mean_own_gsscd": 0.5})  # fmt: skip
    figure = copies_figure(table)
    line, alone = (
        figure.axes[0].lines[0],
        [one for one in figure.axes[0].lines if to_hex(one.get_markerfacecolor()) == "#ffffff"],
    )
    assert list(line.get_xdata()) == [0, 2, 3]
    assert [list(one.get_xdata()) for one in alone] == [[1]]
    assert figure.axes[0].get_xlabel() == "copies in training (hollow: n = 1)"
    plt.close(figure)


def test_panels_of_what_is_not_defined_say_so():
    table = pd.DataFrame({"metric": "GSSCD", "group": "real", "value": [0.1, 0.2]})
    figure = score_distributions(table, {"GSSCD": [0.5], "OFS-3": [0.5]})
    assert not figure.axes[1].axison
    assert [text.get_text() for text in figure.axes[1].texts] == ["OFS-3: no clip has such a score"]
    plt.close(figure)
    steps = pd.DataFrame({"factor": "training_steps", "level": [10, 20], "replicated_share": 0.0, "share_low": 0.0,
                          "share_high": 0.5, "score": np.nan, "n_replicated": 0, "n_images": 3, "auc": 0.5, "auc_low": 0.2,
                          "auc_high": 0.8})  # fmt: skip
    figure = inversion_training_steps(steps)
    assert [axis.axison for axis in figure.axes] == [True, False, True]
    plt.close(figure)


def test_a_case_of_one_class_keeps_its_place():
    names = [record for record in DETECTORS]
    scores = {name: pd.Series([0.1, 0.9], index=["a", "b"]) for name in names}
    panels = [{"title": title, "labels": pd.Series(labels, index=["a", "b"]), "scores": scores}
              for title, labels in (("one", [True, True]), ("two", [False, True]))]  # fmt: skip
    figure = detection_roc(panels)
    assert [axis.axison for axis in figure.axes] == [False, True]
    assert figure.axes[0].texts[0].get_text() == "one: no prompts of both classes"
    plt.close(figure)


def test_magnitudes_of_one_class_are_drawn_alone():
    table = pd.DataFrame({"model": "m", "quantity": "content", "step": [0, 1], "memorised": False, "value": [1.0, 2.0]})
    figure = magnitude_steps(table)
    assert [text.get_text() for text in figure.axes[1].texts] == ["no motion magnitude was recorded"]
    plt.close(figure)


class Clips:
    """Stands for the frames of an audit: only the clip table is read."""

    clips = pd.DataFrame({
        "set": ["corpus-c"] * 3 + ["generated-m"] * 3, "clip_id": ["film", "photograph", "old", "a", "b", "c"],
        "split": ["member"] * 6, "count": [8, 1, 1, 8, 8, 8], "caption": "", "copies": 1, "provenance": "{}",
    })  # fmt: skip


@pytest.mark.parametrize(("still", "found"), [(True, ["photograph"]), (False, ["film"]), (None, ["film", "photograph"])])
def test_a_still_image_is_one_whatever_its_split(still, found):
    scores = pd.DataFrame({"metric": "gsscd", "clip_id": ["a", "b"], "match": ["film", "photograph"], "value": [0.9, 0.8],
                           "query_frame": 0, "reference_frame": 0, "threshold": 0.5, "view": ""})  # fmt: skip
    assert [pair.training for pair in best_pairs("m", scores, Clips, "c", "gsscd", 5, still)] == found
