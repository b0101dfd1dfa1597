"""Detection: cases, scores, detectors and the rows of a model."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from guidance_cases import INTERVAL, guidance_table, probe_rows, some_prompts
from vidmem.detection.detectors import Detector, load_detector, save_detectors
from vidmem.detection.evaluation import (
    COLUMNS,
    Calls,
    as_table,
    best_f1,
    combined_scores,
    metric_case,
    model_rows,
    not_defined_row,
    one_step_scores,
    planted_cases,
    prompt_magnitudes,
    sample_numbers,
    why_not_defined,
)
from vidmem.errors import VidmemError
from vidmem.generation.detector_records import DETECTORS


def test_magnitudes_are_means_of_means(stream):
    rows = [
        (f"p-{prompt}-s{sample}", f"p-{prompt}", step, frame, quantity, float(stream.uniform(1, 2)))
        for prompt in range(3) for sample in range(12) for step in range(3) for quantity in ("content", "motion", "latent")
        for frame in range(4 - (quantity == "motion"))
    ]  # fmt: skip
    table = guidance_table(rows)
    samples = sample_numbers(table["clip_id"])
    assert samples["p-1-s11"] == 11
    found = prompt_magnitudes(table, samples, 2, 11)
    chosen = [(r[1], r[4], r[5]) for r in rows if r[2] < 2 and not r[0].endswith("-s11")]
    for prompt in range(3):
        by_hand = {q: np.mean([v for p, k, v in chosen if p == f"p-{prompt}" and k == q]) for q in ("content", "motion")}
        assert found.loc[f"p-{prompt}", "content"] == pytest.approx(by_hand["content"])
        assert found.loc[f"p-{prompt}", "motion"] == pytest.approx(by_hand["motion"])
    assert found["conditional"].isna().all()  # not recorded, so not zero
    shuffled = prompt_magnitudes(table.sample(frac=1, random_state=0), samples, 2, 11)
    pd.testing.assert_frame_equal(found, shuffled)


def test_planted_cases_keep_kinds_and_counts_apart():
    cases = {(case.data, case.copies): case.labels for case in planted_cases(some_prompts(), 16)}
    assert set(cases) == {("video", "16+"), ("video", "1"), ("image", "16+")}
    assert cases["video", "16+"].sum() == 6
    assert (~cases["video", "16+"]).sum() == 121
    assert "p-one-0" not in cases["video", "16+"].index
    assert "p-still-0" not in cases["video", "16+"].index
    assert set(cases["video", "1"][cases["video", "1"]].index) == {"p-one-0", "p-one-1"}


def test_metric_case_leaves_out_what_could_not_be_scored():
    verdicts = pd.DataFrame({"prompt_id": list("abcd"), "n_ok": [1, 1, 0, 1], "defined": [True, True, True, False],
                             "memorised": [True, False, False, False]})  # fmt: skip
    assert metric_case(verdicts).labels.to_dict() == {"a": True, "b": False}


def test_rows_say_how_many_negatives_a_rate_needs():
    prompts = some_prompts()
    audited = prompts[prompts["split"] != "negative"]
    probes, guidance = probe_rows(prompts), probe_rows(audited, 2, 12)
    cases = list(planted_cases(prompts, 16))
    table = as_table(model_rows("m", probes, guidance, prompts, cases, Calls(25), INTERVAL, 0))
    assert list(table.columns) == COLUMNS
    assert set(table["detector"]) == set(DETECTORS)
    assert set(table["steps"]) == {"1", "first 10", "all"}
    assert set(table["generations"]) == {"1", "2"}
    rows = table.set_index(["detector", "steps", "generations", "data", "copies"]).sort_index()
    first = rows.loc[("content", "1", "1", "video", "16+")]
    assert first["n_negative"] == 121
    assert first["tpr_at_1_fpr"] == 1.0
    assert first["tpr_low"] < 0.7  # six of six prove little
    assert first["auc"] == 1.0
    assert rows.loc[("content", "1", "2", "video", "16+")]["n_negative"] == 1  # two generations: what was generated
    later = rows.loc[("content", "all", "1", "video", "16+")]
    assert later["n_negative"] == 1  # the held-out one: negative prompts were not generated
    assert np.isnan(later["tpr_at_1_fpr"])
    assert later["reason"] == "1 % FPR needs 100 negatives, there are 1"
    assert rows.loc[("latent_norm", "1", "1", "video", "16+")]["auc"] < 0.9


def test_shards_and_order_change_no_row():
    prompts = some_prompts()
    probes = probe_rows(prompts, 2)
    cases, empty = list(planted_cases(prompts, 16)), guidance_table([])
    first = as_table(model_rows("m", probes, empty, prompts, cases, Calls(25), INTERVAL, 0))
    mixed = probes.sample(frac=1, random_state=1)
    second = as_table(model_rows("m", mixed, empty, prompts, cases, Calls(25), INTERVAL, 0))
    pd.testing.assert_frame_equal(first, second)


def test_the_combined_detector_never_sees_the_target_it_judges():
    """Labels drawn by chance, one a target, every target many times: in the fold it could learn them, out of fold not."""
    stream = np.random.default_rng(3)
    targets = np.repeat([f"t{n}" for n in range(40)], 5)
    labels = np.repeat(stream.random(40) < 0.5, 5)
    place = np.repeat(stream.uniform(1, 100, (40, 2)), 5, axis=0)
    index = [f"p{n}" for n in range(200)]
    values = pd.DataFrame(place, columns=["content", "motion"], index=index)
    scores = combined_scores(values, pd.Series(labels, index), pd.Series(targets, index), 0)
    from vidmem.features.statistics import auc

    assert auc(scores[labels].to_numpy(), scores[~labels].to_numpy()) < 0.7
    assert scores.notna().all()
    clear = combined_scores(
        values.assign(content=np.where(labels, 90, 10)), pd.Series(labels, index), pd.Series(targets, index), 0
    )
    assert auc(clear[labels].to_numpy(), clear[~labels].to_numpy()) > 0.99


def test_too_few_targets_have_no_combined_detector():
    index = ["a", "b", "c"]
    values = pd.DataFrame({"content": [1.0, 2, 3], "motion": [1.0, 2, 3]}, index=index)
    assert combined_scores(values, pd.Series([True, False, False], index), pd.Series(["x", "y", "z"], index), 0).isna().all()


def test_best_f1_against_every_threshold(stream):
    positive, negative = stream.integers(3, 9, 12).astype(float), stream.integers(0, 6, 20).astype(float)
    by_hand = []
    for threshold in np.unique(np.r_[positive, negative]):
        hits, alarms = (positive >= threshold).sum(), (negative >= threshold).sum()
        by_hand.append(2 * hits / (hits + alarms + len(positive)))
    assert best_f1(positive, negative) == pytest.approx(max(by_hand))


def test_undefined_models_have_a_row_and_no_number():
    table = as_table([not_defined_row("m", "no prompt")])
    assert table.loc[0, "status"] == "not_defined"
    assert np.isnan(table.loc[0, "auc"])
    nothing = as_table(
        model_rows(
            "m",
            guidance_table([]),
            guidance_table([]),
            some_prompts(),
            list(planted_cases(some_prompts(), 16)),
            Calls(25),
            INTERVAL,
            0,
        )
    )
    magnitudes = nothing[nothing["detector"] != "prompt_length"]
    assert set(magnitudes["status"]) == {"not_defined"}
    assert magnitudes["auc"].isna().all()


def test_one_step_scores_are_of_the_audited_prompts():
    rows = [
        ("p-0-s0", "p-0", 0, 0, "one_step", 2.0),
        ("p-0-s1", "p-0", 0, 0, "one_step", 4.0),
        ("n-1-s0", "n-1", 0, 0, "one_step", 9.0),
    ]
    found = one_step_scores(guidance_table(rows), some_prompts())
    assert found[["prompt_id", "value"]].to_numpy().tolist() == [["p-0", 3.0], ["n-1", 9.0]]


def test_detectors_are_saved_with_their_negatives(tmp_path, stream):
    path = tmp_path / "m.json"
    save_detectors(path, [Detector("m", "content", stream.uniform(0, 1, 150), 0.9)])
    back = load_detector(path)
    assert len(back.negatives) == 150
    assert (back.negatives >= back.threshold(0.02)).sum() == 3
    with pytest.raises(VidmemError, match="at least 1000 for a rate of 0.001"):
        back.threshold(0.001)
    with pytest.raises(VidmemError, match="one of"):
        load_detector(path, "motion")
    path.write_text("[1]")
    with pytest.raises(VidmemError, match="detectors of format"):
        load_detector(path)


def test_a_list_of_memorised_prompts_is_no_list_of_negatives():
    """Prompts of a file without a clip of the corpus: nothing is known of them, whatever their copies column says."""
    prompts = some_prompts()
    listed = pd.DataFrame({"prompt_id": ["q1", "q2"], "prompt": "a", "target": "", "split": "", "copies": 0})
    for case in planted_cases(pd.concat([prompts, listed]), 16):
        assert not {"q1", "q2"} & set(case.labels.index)


def test_reasons_name_the_cause():
    prompts = some_prompts()
    still = probe_rows(prompts).query("quantity != 'motion'")
    rows = as_table(
        model_rows("m", still, guidance_table([]), prompts, list(planted_cases(prompts, 16)), Calls(25), INTERVAL, 0)
    )
    reasons = rows[(rows["steps"] == "1") & (rows["copies"] == "16+")].groupby("detector")["reason"].first()
    assert reasons["motion"] == "a sample of one frame has no motion"
    assert reasons["content"] == ""


def test_detection_of_a_model_that_starts_from_a_frame_is_not_defined():
    settings = {"kind": "diffusers", "unconditional": 0, "first_frame": "target"}
    assert why_not_defined(settings) == "a model that starts from a frame: there are no negative prompts with one"
    assert "no guidance pass was seen" in why_not_defined(settings | {"first_frame": None})
