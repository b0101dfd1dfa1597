"""Records of detectors: a toy is registered from here and recorded, judged and drawn like those of the library."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import roc_auc_score

from first_steps import first_steps
from guidance_cases import INTERVAL, guidance_table, probe_rows, some_prompts
from vidmem.detection.evaluation import Calls, as_table, detector_scores, model_rows, planted_cases, prompt_magnitudes
from vidmem.exhibits.detection_figures import detection_roc
from vidmem.generation.adapter import GenerationSpec, PipelineAdapter, Request
from vidmem.generation.attention import CrossAttention
from vidmem.generation.detector_records import DETECTORS, DetectorRecord, asked, baselines, need_attention, of_first_step
from vidmem.generation.guidance import GuidancePass, guidance_magnitudes
from vidmem.generation.readings import AttentionQuantities, probing
from vidmem.planning.registries import registered_names
from vidmem.planning.workload import Span, probe_calls


def read_sharpness(branches):
    """Largest value of the guidance in every frame, float [N, frames]."""
    return (branches.conditional - branches.unconditional).abs().amax(2)


SHARPNESS = DetectorRecord("sharpness", "sharpest value", ("sharpness",), reader=lambda scheduler: read_sharpness)


@pytest.fixture
def register(monkeypatch):
    return lambda record: monkeypatch.setitem(DETECTORS, record.name, record)


@pytest.fixture
def adapter(tiny_pipeline):
    spec = GenerationSpec("TextToVideoSDPipeline", str(tiny_pipeline), steps=2, guidance=3.0, frames=3, size=(32, 32), batch=2)
    return PipelineAdapter(spec, 0)


def rows_of(prompts, probes, extra_pass=False):
    cases = list(planted_cases(prompts, 16))
    table = as_table(model_rows("m", probes, guidance_table([]), prompts, cases, Calls(25, extra_pass), INTERVAL, 0))
    return table[(table["steps"] == "1") & (table["copies"] == "16+") & (table["data"] == "video")].set_index("detector")


def recorded(prompts, quantity, values):
    rows = [(f"{prompt}-s0", prompt, 0, 0, quantity, value) for prompt, value in zip(prompts["prompt_id"], values)]
    return guidance_table(rows)


def test_the_probe_records_what_a_new_reader_reads(adapter, register):
    register(SHARPNESS)
    assert "sharpness" in baselines()
    assert registered_names()["baselines"] == baselines()
    seen = []

    def spy(branches):
        seen.append(branches)
        return guidance_magnitudes(branches)

    found = first_steps(adapter, probing(spy, adapter.pipeline.scheduler, ["sharpness"]))
    guidance = torch.cat([one.conditional - one.unconditional for one in seen])
    for values, expected in zip(found.values(), guidance, strict=True):
        assert values["sharpness"] == pytest.approx(expected.abs().max(1).values.numpy())
    without = first_steps(adapter, probing(guidance_magnitudes, adapter.pipeline.scheduler, ["curvature"]))
    assert all("sharpness" not in values for values in without.values())


def test_a_further_pass_is_made_only_where_it_can_be(register):
    register(replace(SHARPNESS, further_pass=True))
    ones = torch.ones(1, 2, 4)
    reduce = probing(guidance_magnitudes, None, ["sharpness"])
    assert "sharpness" not in reduce(GuidancePass(ones, 0 * ones, ones))
    assert reduce(GuidancePass(ones, 0 * ones, ones, again=lambda *given: None))["sharpness"].tolist() == [[1, 1]]


def test_a_generation_records_what_a_new_reader_of_the_attention_reads(adapter, register):
    class Steps:
        """Number of a step from the end, which is known at the end only."""

        def __init__(self):
            self.seen = 0

        def __call__(self, branches):
            self.seen += branches.attention is not None

        def finish(self):
            return [torch.full((2, 3), float(self.seen - step)) for step in range(self.seen)]

    register(replace(SHARPNESS, attention=True))
    register(DetectorRecord("steps", "steps left", ("steps",), reader=lambda _: Steps(), attention=True, at_end=True))
    adapter.attention = True
    requests = [Request("p0", "a red ball", 0), Request("p1", "two cats on a wall", 0)]
    for sample in next(iter(adapter.generate(requests))):
        assert [step["steps"].tolist() for step in sample.guidance] == [[2, 2, 2], [1, 1, 1]]
        assert all((step["sharpness"] <= step["content"]).all() for step in sample.guidance)
    assert [record.name for record in of_first_step(["steps", "sharpness"])] == ["sharpness"]


def test_what_is_known_of_some_steps_only_is_left_out():
    reduce, zeros = AttentionQuantities(), torch.zeros(1, 1, 4)
    seen = CrossAttention(torch.tensor([[0.5, 0.5]]), torch.full((1, 1, 2), 0.5))
    passes = [GuidancePass(zeros, zeros, zeros + 1, channels=2, attention=attention) for attention in (None, seen)]
    steps = [reduce(branches) for branches in passes]
    reduce.finish(steps)
    assert ["attention_entropy" in step for step in steps] == [False, True]
    assert not any("bright_ending" in step for step in steps)


def test_a_toy_is_judged_by_its_own_score(register):
    """Memorised prompts have the lower score here: their AUC is that of the negated one."""
    register(
        DetectorRecord("toy", "toy", ("conditional", "latent"), lambda seen: seen["conditional"] - seen["latent"], higher=False)
    )
    prompts = some_prompts()
    probes = probe_rows(prompts)
    row, means = rows_of(prompts, probes).loc["toy"], probes.groupby(["prompt_id", "quantity"])["value"].mean().unstack()
    chosen = prompts[
        (prompts["split"] == "member") & (prompts["copies"] >= 16) | prompts["split"].isin(["negative", "heldout"])
    ]
    own = means.loc[chosen["prompt_id"]]
    assert row["auc"] == pytest.approx(roc_auc_score(chosen["copies"] >= 16, own["latent"] - own["conditional"]))
    assert (row["n_positive"], row["n_negative"], row["overhead_percent"]) == (6, 121, 0)


def test_costs_and_reasons_come_from_the_record(register):
    register(replace(SHARPNESS, further_pass=True, lacking="not sharp"))
    register(DetectorRecord("first", "first letter", (), lambda seen: seen["prompt"].str[0].map(ord)))
    prompts = some_prompts()
    rows = rows_of(prompts, probe_rows(prompts), extra_pass=True)
    assert rows.loc["sharpness", ["status", "reason"]].tolist() == ["not_defined", "not sharp"]
    assert rows["overhead_percent"].loc[["content", "sharpness", "anisotropy", "first"]].tolist() == [4, 8, 8, 0]
    assert rows.loc["first", "auc"] == 1  # 'x' against 'no' and 'held'
    detection = {"baselines": ["sharpness"], "extra_pass": False}
    model = {"guidance": 3.0, "unconditional": 0}
    assert probe_calls(model, Span.of(5), Span.of(2), detection) == Span.of(7 * 4)


def test_a_learnt_toy_has_its_gain_over_another_detector(register):
    def both(seen):
        return seen[["content", "latent"]].astype(float)

    register(DetectorRecord("toy", "toy", ("content", "latent"), both, learnt=True, gain_over="latent_norm"))
    prompts = some_prompts(planted=12)
    rows = rows_of(prompts, probe_rows(prompts))
    assert rows.loc["toy", "gain"] == pytest.approx(rows.loc["toy", "auc"] - rows.loc["latent_norm", "auc"])
    assert rows.loc["toy", "gain"] > 0.2
    few = rows_of(some_prompts(planted=1), probe_rows(some_prompts(planted=1)))
    assert few.loc["toy", "reason"] == "fewer than two targets of a class"


def test_the_ratio_has_no_score_where_there_is_no_content():
    prompts = some_prompts(planted=2, harmless=1, stills=0)
    levels = {"content": np.arange(len(prompts)), "motion": np.arange(len(prompts)) ** 2}
    table = pd.concat([recorded(prompts, name, values) for name, values in levels.items()])
    values = prompt_magnitudes(table, pd.Series(0, table["clip_id"].unique()), 1, 1)
    case = next(iter(planted_cases(prompts, 16)))
    found = detector_scores(values, case, prompts, 0)["ratio"]
    expected = pd.Series(np.arange(len(prompts), dtype=float), prompts["prompt_id"]).replace(0, np.nan)
    assert np.array_equal(found, expected[found.index], equal_nan=True)


def test_the_figure_draws_a_toy_that_asks_for_a_curve(register):
    labels = pd.Series([True, True, False, False], list("abcd"))
    scores = pd.Series([4.0, 1.0, 2.0, 0.0], labels.index)
    register(DetectorRecord("toy", "a toy curve", ("content",), curve=3))
    register(DetectorRecord("hidden", "not drawn", ("content",)))
    nothing = dict.fromkeys(DETECTORS, scores * np.nan)
    figure = detection_roc([{"title": "t", "labels": labels, "scores": nothing | {"toy": scores, "hidden": scores}}])
    drawn = {line.get_label(): line for line in figure.axes[0].lines}
    assert "not drawn" not in drawn
    assert np.trapezoid(drawn["a toy curve"].get_ydata(), drawn["a toy curve"].get_xdata()) == roc_auc_score(labels, scores)


@pytest.mark.parametrize("names", [names for count in range(5) for names in combinations(baselines(), count)])
def test_the_attention_is_read_if_a_detector_of_the_audit_reads_it(names):
    """Generations that are done carry this very value: another one would generate them again."""
    assert need_attention(asked(names)) is bool({"attention_entropy", "bright_ending"} & set(names))
    assert need_attention(of_first_step(names)) is ("attention_entropy" in names)


def test_the_rules_can_read_the_records_with_the_standard_library(root):
    code = "import sys; import vidmem.generation.detector_records; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], cwd=root / "workflow_scripts", capture_output=True, text=True, check=True
    )
    packages = {name.partition(".")[0] for name in loaded.stdout.split()}
    assert not packages & {"numpy", "pandas", "torch", "sklearn", "scipy"}
