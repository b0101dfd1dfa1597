"""The table and the figures of a calibration say what its scores say."""

import numpy as np
import pandas as pd
import pytest

from scored_corpus import VARIANTS, scored, small_corpus
from vidmem.exhibits.calibration_figures import calibration_figure, normalisation_figure
from vidmem.exhibits.calibration_table import calibration_table, state_share
from vidmem.exhibits.figures import save_figure
from vidmem.features import statistics
from vidmem.features.metrics import METRICS
from vidmem.features.statistics import IntervalRule
from vidmem.scoring.calibration import negatives_of


def test_without_held_out_clips_nothing_is_normalised(tmp_path):
    clips, controls = small_corpus()
    scores = scored(tmp_path, [clip for clip in clips if clip["split"] != "heldout"], controls)
    assert len(negatives_of(scores, "gsscd")) == 15
    assert len(negatives_of(scores, "gsscd", "normalised")) == 0
    pairs = pd.DataFrame(columns=["metric", "variant", "filter", "control", "first", "second", "cluster", "value"])
    table = tabulated(scores, pairs)
    normalised = table[table["normalisation"] == "normalised"]
    assert (normalised["n_negative"] == 0).all()
    assert set(normalised["fpr_statement"]) == {"not measured"}


def tabulated(scores, pairs, rate=0.25):
    stated, interval = dict.fromkeys(METRICS, 0.5), IntervalRule(draws=100)
    return calibration_table(scores, pairs, "small", stated, rate, VARIANTS, interval, 0)


@pytest.fixture(scope="module")
def pairs():
    stream = np.random.default_rng(2)
    rows = [("gsscd", "preset", "none", "unrelated", f"a{i}", f"b{j}", f"a{i}", stream.uniform(0, 0.6))
            for i in range(10) for j in range(10)]  # fmt: skip
    rows += [("gsscd", "preset", "none", "blur", f"c{i}", f"a{i}", f"a{i}", stream.uniform(0.4, 1)) for i in range(9)]
    return pd.DataFrame(rows, columns=["metric", "variant", "filter", "control", "first", "second", "cluster", "value"])


def test_the_table_counts_what_a_loop_counts(small_scores, pairs):
    scores = small_scores[2]
    table = tabulated(scores, pairs)
    content = table[(table["metric"] == "gsscd") & (table["normalisation"] == "raw")]
    values = {kind: scores[(scores["metric"] == "gsscd") & (scores["normalisation"] == "raw") & (scores["kind"] == kind)]
              for kind in ("held-out", "leave-one-out", "positive")}  # fmt: skip
    measured = {kind: part["value"].tolist() for kind, part in values.items()}
    measured |= {"together": measured["held-out"] + measured["leave-one-out"]}
    measured["pairs"] = pairs[pairs["control"] == "unrelated"]["value"].tolist()
    for row in content[content["negatives"].isin(measured)].itertuples():
        if np.isnan(row.threshold):
            assert row.n_negative < row.needs
            continue
        fired = sum(value >= row.threshold for value in measured[row.negatives])
        assert (row.n_negative, row.n_fired) == (len(measured[row.negatives]), fired)
        assert row.fpr == fired / row.n_negative
        if row.chosen_on == row.negatives:
            assert row.fpr <= row.rate
    together = content[(content["negatives"] == "together") & (content["chosen_on"] == "configuration")].iloc[0]
    assert together["recall"] == np.mean([value >= 0.5 for value in measured["positive"]])


def test_a_source_is_measured_by_a_threshold_that_did_not_see_it(small_scores, pairs):
    scores = small_scores[2]
    content = scores[(scores["metric"] == "gsscd") & (scores["normalisation"] == "raw") & (scores["kind"] != "positive")]
    table = tabulated(scores, pairs)
    row = table[(table["metric"] == "gsscd") & (table["chosen_on"] == "without film") & (table["rate"] == 0.25)].iloc[0]
    film = content["source"] == "film"
    assert row["threshold"] == statistics.threshold_at(content[~film]["value"].to_numpy(), 0.25)
    assert row["n_fired"] == (content[film]["value"] >= row["threshold"]).sum()
    assert row["n_negative"] == film.sum()


def test_statements_of_shares():
    assert state_share(0, 18, 0.0, 0.1759) == "0 of 18: at most 17.6 %"
    assert state_share(2, 18, 0.031, 0.328) == "2 of 18: 11.1 % (3.1 to 32.8 %)"
    assert state_share(0, 0, np.nan, np.nan) == "not measured"


def test_the_figures_show_one_or_no_supported_threshold(small_scores, tmp_path):
    names, interval = {"gsscd": "GSSCD", "ofs_k": "OFS-2"}, IntervalRule()
    scores = small_scores[2].assign(corpus="small")
    in_force = {("small", "gsscd"): 0.5, ("small", "ofs_k"): np.nan}
    for rate in (0.25, 0.01):
        figure = calibration_figure(scores, names, in_force, rate, interval)
        lines = [line.get_label() for line in figure.axes[0].get_lines()]
        assert ("threshold of that rate" in lines) == (rate == 0.25)
        assert "no threshold supported" in figure.axes[1].get_xlabel()
        other = normalisation_figure(scores, names, rate)
        assert len(other.axes) == 4
    save_figure(figure, tmp_path / "curve.png")
    assert (tmp_path / "curve.png").stat().st_size > 1000
