"""Tables 1 to 4 as a paper prints them: every number is a number of the CSV, and nothing is left out without a word."""

import numpy as np
import pandas as pd
import pytest

from vidmem.exhibits.compact_tables import ROWS, detection_exhibit, first_rows, memorization_exhibit, validation_exhibit
from vidmem.exhibits.table_files import save_exhibit, to_latex, to_markdown
from vidmem.generation.detector_records import DETECTORS

SECTIONS = {"content": {"metric": "gsscd", "threshold": 0.5}, "motion": {"metric": "wofs_k", "threshold": 0.4}}


def control(metric, name, expected, recall, fpr, auc=0.9, variant="sscd-288", filtered="none", positive=10, negative=200):
    return {"metric": metric, "variant": variant, "filter": filtered, "control": name, "expected": expected,
            "n_positive": positive, "n_negative": negative, "auc": auc, "auc_low": auc - 0.1, "auc_high": auc + 0.05,
            "threshold": 0.5, "recall": recall, "false_positive_rate": fpr, "corpus": "films"}  # fmt: skip


def test_a_metric_is_one_row_in_the_variant_of_the_audit():
    strict = {"variant": "field max", "filtered": "static+affine"}
    table = pd.DataFrame([
        control("gsscd", "crop", "fires", 1.0, 0.01, 1.0), control("gsscd", "reencode", "fires", 0.5, 0.01, 0.8, positive=30),
        control("gsscd", "camera", "silent", 0.6, 0.1, negative=40), control("gsscd", "reverse", "either", 0.0, 0.01, 0.1),
        control("ofs_k", "mirror", "fires", 0.25, 0.02, 0.7, **strict),
        control("ofs_k", "mirror", "fires", 0.9, 0.5, 0.6, "field max", "none"),
        control("ofs_k", "mirror", "fires", 0.9, 0.5, 0.6, "pixel max", "static+affine"),
    ])  # fmt: skip
    exhibit = validation_exhibit(table, {"ofs_k": "field max"}, 0.95)
    content, motion = exhibit.table.to_dict("records")
    assert content["Copies found"] == "62.5 %"  # (10 x 1 + 30 x 0.5) / 40
    assert (content["Metric"], motion["Metric"]) == ("GSSCD", "OFS-k")
    assert (content["Hardest copy"], content["AUC there"]) == ("reencode", "0.800 (0.700 to 0.850)")
    assert (content["Unrelated that match"], content["Look-alikes that match"]) == ("1.0 %", "4 of 40")
    assert (motion["Copies found"], motion["AUC there"][:5], motion["Look-alikes that match"]) == ("25.0 %", "0.700", "n/a")
    assert "gsscd 0.5, ofs_k 0.5" in exhibit.note


def shares(model, kind, n, content, motion):
    return {"model": model, "corpus": "films", "kind": kind, "n_prompts": n, "content_share": content,
            "content_low": content - 0.05, "content_high": content + 0.05, "motion_share": motion, "motion_low": 0.0,
            "motion_high": 0.2, "mean_top_gsscd": 0.4, "mean_top_ofs": np.nan}  # fmt: skip


def test_a_model_is_one_row_with_its_held_out_prompts_beside_it():
    table = pd.DataFrame([shares("a", "all", 10, 0.4, 0.1), shares("a", "heldout", 4, 0.25, 0.0),
                          shares("a", "member", 6, 0.5, 0.1),
                          shares("real held-out clips", "heldout", 8, 0.125, 0.0)])  # fmt: skip
    exhibit = memorization_exhibit(table, SECTIONS, 0.9)
    own, real = exhibit.table.to_dict("records")
    assert (own["n"], own["Content replayed"], own["Content, held-out prompts"]) == (
        10, "40.0 % (35.0 to 45.0)", "25.0 % (20.0 to 30.0), n = 4")  # fmt: skip
    assert (own["Mean best GSSCD"], own["Mean best OFS-k"]) == ("0.400", "n/a")
    assert (real["Model"], real["n"], real["Content, held-out prompts"]) == ("real held-out clips", 8, "n/a")
    assert "content gsscd 0.5, motion wofs_k 0.4. Parentheses: 90 % intervals" in exhibit.note


def found(detector, truth, data, copies, auc, model="a", steps="1", generations="1", status="ok", reason=""):
    return {"model": model, "detector": detector, "steps": steps, "generations": generations, "truth": truth, "data": data,
            "copies": copies, "n_positive": 5, "n_negative": 50, "auc": auc, "auc_low": auc - 0.1, "auc_high": auc + 0.01,
            "tpr_at_1_fpr": 0.2, "tpr_low": 0.1, "tpr_high": 0.4, "overhead_percent": 5.0, "status": status,
            "reason": reason}  # fmt: skip


def test_a_detector_is_one_row_at_the_first_step_of_one_generation():
    table = pd.DataFrame([
        found("content", "planted", "video", "16+", 0.95), found("content", "planted", "video", "1", 0.55),
        found("content", "metric", "any", "any", 0.7), found("content", "planted", "video", "16+", 0.1, steps="all"),
        found("content", "planted", "video", "16+", 0.1, generations="2"),
        found("ending", "planted", "video", "16+", np.nan, status="not_defined", reason="its mask comes last"),
        found("all", "", "", "", np.nan, model="b", steps="", generations="", status="not_defined", reason="no prompt"),
    ])  # fmt: skip
    exhibit = detection_exhibit(table, "content", 0.95)
    content, ending = exhibit.table.to_dict("records")
    assert (content["Detector"], ending["Detector"]) == (DETECTORS["content"].label, "ending")
    assert content["AUC, video planted 16+"] == "0.950 (0.850 to 0.960)"
    assert (content["AUC, replayed"], content["TPR at 1 % FPR"]) == ("0.700 (0.600 to 0.710)", "20.0 % (10.0 to 40.0)")
    assert content["Extra cost"] == "5.0 %"
    assert (ending["AUC, video planted 16+"], ending["AUC, replayed"]) == ("n/a", "n/a")
    assert "Video planted 16+: 5 against 50 prompts; Replayed: 5 against 50 prompts" in exhibit.note
    assert "b: no prompt. ending: its mask comes last." in exhibit.note


def test_many_rows_are_cut_for_every_model_alike_and_the_note_says_so():
    table = pd.DataFrame([found(f"d{n}", "planted", "video", "16+", 0.5, model=model) for model in "abc" for n in range(9)])
    exhibit = detection_exhibit(table, "motion", 0.95)
    assert exhibit.table["Model"].value_counts().to_dict() == {"a": 6, "b": 6, "c": 6}
    assert "9 more detectors are in the CSV: of each model the first 6 are shown." in exhibit.note
    many = pd.DataFrame([found("d", "planted", "video", "16+", 0.5, model=f"m{n:02d}") for n in range(30)])
    assert len(detection_exhibit(many, "motion", 0.95).table) == ROWS


@pytest.mark.parametrize("rows", [0, 20, 23])
def test_other_tables_show_their_first_rows_and_how_many_more_there_are(tmp_path, rows):
    table = pd.DataFrame({"clip_id": [f"c{n}" for n in range(rows)], "score": np.linspace(0, 1, rows)})
    save_exhibit(tmp_path / "long.csv", table)
    assert len(pd.read_csv(tmp_path / "long.csv")) == rows
    lines = (tmp_path / "long.md").read_text().splitlines()
    assert len([line for line in lines if line.startswith("| c")]) == min(rows, ROWS) + (0 if "clip" not in lines[0] else 1)
    assert ("3 more rows: long.csv." in lines) == (rows == 23)
    assert ("3 more rows" in (tmp_path / "long.tex").read_text()) == (rows == 23)
    assert first_rows(table, "long").table.equals(table.head(ROWS))


def test_hostile_names_do_not_leave_their_cells():
    table = pd.DataFrame([shares("a|b_<i>{x}\\end{table}", "all", 10, 0.4, 0.1)])
    exhibit = memorization_exhibit(table, SECTIONS, 0.95)
    assert "a\\|b_&lt;i>" in to_markdown(exhibit.table, exhibit.caption, exhibit.note)
    latex = to_latex(exhibit.table, exhibit.caption, exhibit.note, "table2")
    assert latex.count(r"\end{table}") == 1
    assert latex.count(r"\begin{tabular}") == latex.count(r"\end{tabular}") == 1
    assert r"\caption{Memorization across models: share of prompts that replay training clips.}" in latex
    assert r"40.0 \% (35.0 to 45.0)" in latex
