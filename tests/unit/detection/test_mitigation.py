"""Mitigation: embeddings adjusted at the first step, on a tiny pipeline, and the table of what that did."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from vidmem.base.clip_table import clip_row, clip_table
from vidmem.detection.adjustment import (
    ADJUSTMENT_COLUMNS,
    AdjustmentPlan,
    FirstStep,
    adjust_embeddings,
    adjusted_requests,
    adjustment_table,
    mark_undefined,
)
from vidmem.detection.detectors import Detector, save_detectors
from vidmem.detection.mitigation import COLUMNS, Side, harmless_magnitude, mitigation_row, most_copied
from vidmem.errors import VidmemError
from vidmem.features.clip_features import ClipFeatures
from vidmem.features.statistics import IntervalRule
from vidmem.generation.adapter import GenerationSpec, PipelineAdapter, Request
from vidmem.scoring.scores import COLUMNS as SCORES
from vidmem.scoring.scores import VerdictRule

TEXTS = ["a red ball", "two cats on a wall", "a ball and a cat", ""]
REQUESTS = [Request(f"p{number}", text, 0) for number, text in enumerate(TEXTS)]
HARD = AdjustmentPlan("content", 0.0, steps=4, rate=0.1)


@pytest.fixture(scope="module")
def adapter(tiny_pipeline):
    spec = GenerationSpec("TextToVideoSDPipeline", str(tiny_pipeline), steps=2, guidance=3.0, frames=3, size=(32, 32), batch=4)
    return PipelineAdapter(spec, seed=0)


def adjusted(adapter, requests=REQUESTS[:3], plan=HARD, batch=4):
    adapter.batch = batch
    return list(adjust_embeddings(adapter, requests, plan))


@pytest.mark.parametrize("objective", ["content", "motion"])
def test_the_chosen_magnitude_falls_to_the_target(adapter, objective):
    before = [one.before[objective] for one in adjusted(adapter, plan=replace(HARD, steps=1))]
    target = 0.8 * min(before)
    for one in adjusted(adapter, plan=AdjustmentPlan(objective, target, steps=40, rate=0.05)):
        assert one.status == "reached"
        assert one.after[objective] <= target < one.before[objective]
        assert 1 < one.steps <= 40
        assert 0 < one.similarity < 1


def test_the_magnitude_after_is_that_of_the_generation(adapter):
    """What the pipeline records at its first step is what the adjustment promised, before and after."""
    found = adjusted(adapter)
    for requests, side in ((REQUESTS[:3], "before"), (adjusted_requests(found), "after")):
        samples = [sample for batch in adapter.generate(requests) for sample in batch]
        for sample, one in zip(samples, found, strict=True):
            for kind in ("content", "motion"):
                assert sample.guidance[0][kind].mean() == pytest.approx(getattr(one, side)[kind], rel=1e-4)


def test_prompts_at_the_target_stay_as_they_are(adapter):
    found = adjusted(adapter, REQUESTS, AdjustmentPlan("content", 1e6))
    for one, original in zip(found, FirstStep(adapter, REQUESTS).embeddings, strict=True):
        assert (one.status, one.steps, one.before) == ("reached", 0, one.after)
        assert torch.equal(one.embedding, original)
        assert one.similarity == pytest.approx(1)


def test_the_unadjusted_embedding_generates_the_same_clip(adapter):
    """Of the same noise: nothing but the embedding differs between the clip before and the clip after."""
    embedded = adjusted_requests(adjusted(adapter, plan=AdjustmentPlan("content", 1e6)))
    plain, given = ([sample for batch in adapter.generate(ask) for sample in batch] for ask in (REQUESTS[:3], embedded))
    for first, second in zip(plain, given, strict=True):
        assert first.request == second.request
        assert np.array_equal(first.frames, second.frames)


def test_no_result_depends_on_the_batch(adapter):
    middle = sorted(one.before["content"] for one in adjusted(adapter, REQUESTS))[1]
    plan = AdjustmentPlan("content", 0.97 * middle, steps=6, rate=0.05)
    together, alone = adjusted(adapter, REQUESTS, plan), adjusted(adapter, REQUESTS, plan, batch=1)
    mixed = adjusted(adapter, REQUESTS[::-1], plan, batch=3)[::-1]
    assert len({one.steps for one in together}) > 1  # each stops by itself
    for first, *others in zip(together, alone, mixed, strict=True):
        for other in others:
            assert (first.status, first.steps) == (other.status, other.steps)
            assert torch.allclose(first.embedding, other.embedding, atol=1e-3)


def test_the_gradient_is_that_of_a_finite_difference(adapter):
    """One step of Adam from rest goes against the sign of the gradient, the rate in every coordinate."""
    one = adjusted(adapter, REQUESTS[:1], replace(HARD, steps=1, rate=1e-3))[0]
    step = FirstStep(adapter, REQUESTS[:1])
    start, moved = step.embeddings[0], (one.embedding - step.embeddings[0]) / 1e-3
    assert torch.equal(moved[0], torch.zeros_like(moved[0]))  # the start token is kept
    direction = torch.zeros_like(start)
    direction[1:] = torch.randn(start[1:].shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        ends = [step.magnitudes((start + sign * 1e-2 * direction)[None], [0])["content"].item() for sign in (1, -1)]
    leaf = start.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(step.magnitudes(leaf[None], [0])["content"].sum(), [leaf])
    assert (ends[0] - ends[1]) / 2e-2 == pytest.approx((gradient * direction).sum().item(), rel=0.02)
    clear = gradient[1:].abs() > 1e-5
    assert clear.any()
    assert torch.allclose(moved[1:][clear], -gradient[1:][clear].sign(), atol=2e-2)


def test_weights_stay_as_they_are(adapter):
    unet = adapter.pipeline.unet.train()
    flags = {name: index % 2 == 0 for index, (name, _) in enumerate(unet.named_parameters())}
    for name, weight in unet.named_parameters():
        weight.requires_grad_(flags[name])
    before = {name: weight.detach().clone() for name, weight in unet.named_parameters()}
    adjusted(adapter, REQUESTS[:1], replace(HARD, steps=2))
    assert unet.training
    for name, weight in unet.named_parameters():
        assert weight.requires_grad == flags[name]
        assert weight.grad is None
        assert torch.equal(weight, before[name])
    unet.eval().requires_grad_(True)


def test_without_a_guidance_pass_nothing_is_defined(adapter, monkeypatch):
    monkeypatch.setattr(adapter, "spec", replace(adapter.spec, guidance=1.0))
    found = adjusted(adapter, plan=AdjustmentPlan("content", float("nan")))
    assert [one.status for one in found] == ["not_defined"] * 3
    assert adjusted_requests(found) == []
    prompts = pd.DataFrame({"prompt_id": ["p0", "p1", "p2"], "status": "ok", "reason": ""})
    assert mark_undefined(prompts, found)["status"].tolist() == ["not_defined"] * 3
    assert adjustment_table(found, float("nan")).columns.tolist() == ADJUSTMENT_COLUMNS


def test_running_out_of_memory_halves_the_batch(adapter, monkeypatch):
    calls = []
    whole = FirstStep.magnitudes

    def hungry(self, embeddings, places):
        calls.append(len(embeddings))
        if len(embeddings) > 1:
            raise RuntimeError("CUDA out of memory")
        return whole(self, embeddings, places)

    expected = adjusted(adapter)
    monkeypatch.setattr(FirstStep, "magnitudes", hungry)
    found = adjusted(adapter)
    assert calls[0] == 3
    assert adapter.batch == 1
    for one, other in zip(found, expected, strict=True):
        assert torch.allclose(one.embedding, other.embedding, atol=1e-3)


def test_what_cannot_be_adjusted_is_named(adapter, monkeypatch):
    with pytest.raises(VidmemError, match="a target >= 0"):
        adjusted(adapter, plan=AdjustmentPlan("content", float("nan")))
    with pytest.raises(VidmemError, match="an objective of"):
        adjusted(adapter, plan=AdjustmentPlan("colour", 1.0))
    with pytest.raises(VidmemError, match="0 of 1|1 of 2"):
        embedded = adjusted_requests(adjusted(adapter, REQUESTS[:1]))
        list(adapter.generate([*embedded, REQUESTS[1]]))
    monkeypatch.setattr(adapter, "accepted", adapter.accepted - {"prompt_embeds"})
    with pytest.raises(VidmemError, match="takes prompt_embeds"):
        list(adapter.generate(embedded))
    other = type("StableDiffusion3Pipeline", (), {})()
    with pytest.raises(VidmemError, match="StableDiffusion3Pipeline"):
        list(adjust_embeddings(type("Adapter", (), {"pipeline": other, "batch": 1})(), REQUESTS, HARD))


def test_images_of_stable_diffusion_are_adjusted(tmp_path):
    from vidmem.models.families.autoencoder import PatchAutoencoder
    from vidmem.models.families.reference import build_pipeline

    torch.manual_seed(0)
    vae = PatchAutoencoder.untrained(8, 8)
    vae.fit_components(torch.rand(8, 3, 32, 32) * 2 - 1)
    size = {"widths": (16, 32), "text_width": 32, "text_layers": 1, "vocabulary": 600}
    build_pipeline("text-to-image", vae, TEXTS, 4, size).save_pretrained(tmp_path, safe_serialization=True)
    adapter = PipelineAdapter(GenerationSpec("StableDiffusionPipeline", str(tmp_path), steps=2, guidance=3.0, size=(32, 32)), 0)
    found = adjusted(adapter, plan=replace(HARD, rate=0.02))
    samples = [sample for batch in adapter.generate(adjusted_requests(found)) for sample in batch]
    for one, sample in zip(found, samples, strict=True):
        assert one.after["content"] < one.before["content"]
        assert np.isnan(one.after["motion"])  # one frame
        assert sample.status == "ok"
        assert sample.guidance[0]["content"].mean() == pytest.approx(one.after["content"], rel=1e-4)


def prompt_table():
    rows = [
        ("p-b", 16, "member", "ok"),
        ("p-a", 16, "member", "ok"),
        ("p-c", 64, "image", "ok"),
        ("p-d", 64, "member", "skipped"),
        ("p-e", 4, "heldout", "ok"),
        ("p-f", 1, "", "ok"),
    ]
    return pd.DataFrame(rows, columns=["prompt_id", "copies", "split", "status"])


def test_the_most_copied_prompts_are_chosen():
    def chosen(count, splits):
        return most_copied(prompt_table(), count, splits)["prompt_id"].tolist()

    assert chosen(2, ["member"]) == ["p-a", "p-b"]
    assert chosen(9, ["member", "image"]) == ["p-c", "p-a", "p-b", "p-f"]


def test_the_target_is_a_quantile_of_the_negatives(tmp_path):
    save_detectors(tmp_path / "m.json", [Detector("m", "content", np.array([4.0, 1.0, 2.0]), 0.9)])
    assert harmless_magnitude(tmp_path / "m.json", "content", 0.5) == 2
    assert np.isnan(harmless_magnitude(tmp_path / "m.json", "motion", 0.5))
    save_detectors(tmp_path / "none.json", [])
    assert np.isnan(harmless_magnitude(tmp_path / "none.json", "content", 0.5))
    (tmp_path / "old.json").write_text('{"format": 0, "quantities": {}}')
    with pytest.raises(VidmemError, match="detectors of format"):
        harmless_magnitude(tmp_path / "old.json", "content", 0.5)


def side(stream, values, status=("ok", "ok", "ok"), samples=1) -> Side:
    """Three prompts; values: prompt -> metric -> score."""
    clips, scores, arrays, spans = [], [], [], {}
    for number in range(3):
        for sample in range(samples):
            clip_id, reason = f"p{number}-s{sample}", "" if status[number] == "ok" else "why"
            clips.append(clip_row({}, clip_id=clip_id, prompt_id=f"p{number}", status=status[number], reason=reason))
            if status[number] != "ok":
                continue
            for metric, value in values[number].items():
                row = (clip_id, f"p{number}", metric, value, "t", 0, 0, "", 0.5, value >= 0.5, "sscd", "pair", False)
                scores.append(row)
            spans[clip_id] = (0, len(arrays), len(arrays) + 1)
            arrays.append(stream.normal(size=8))
    vectors = np.array(arrays) / np.linalg.norm(arrays, axis=1, keepdims=True)
    table = clip_table(clips)
    features = ClipFeatures(table, spans, [vectors], pd.DataFrame(), "sscd")
    return Side(table, pd.DataFrame(scores, columns=SCORES), features)


def test_the_row_compares_the_same_samples_and_loses_no_prompt(stream):
    def metrics(content, motion, own):
        return {"gsscd": content, "ofs_k": motion, "gsscd_own": own, "ofs_k_own": motion}

    before = side(stream, [metrics(0.9, 0.8, 0.9), metrics(0.8, 0.1, 0.7), metrics(0.6, 0.2, 0.5)], samples=2)
    after = side(stream, [metrics(0.6, 0.1, 0.3), metrics(0.2, np.nan, 0.1), {}], status=("ok", "ok", "failed"))
    adjusted = pd.DataFrame(
        [(f"p{number}-s0", f"p{number}", status, 2.0, steps, 4.0, 2.0, 3.0, 1.0, 0.8)
         for number, (status, steps) in enumerate([("reached", 0), ("reached", 4), ("not_reached", 8)])],
        columns=ADJUSTMENT_COLUMNS,
    )  # fmt: skip
    rules = VerdictRule("gsscd"), VerdictRule("ofs_k"), IntervalRule()
    plan = {"model": "m", "objective": "content"}
    row = mitigation_row("mine", plan, adjusted, before, after, *rules)
    assert list(row) == COLUMNS
    expected = {
        "n_prompts": 3, "n_samples": 3, "n_ok": 2, "n_reached": 2, "steps": 4.0, "target": 2.0,
        "content_magnitude_before": 4.0, "content_magnitude_after": 2.0, "motion_magnitude_after": 1.0,
        "content_share_before": 1.0, "content_share_after": 1 / 3, "motion_share_before": 1 / 3, "motion_share_after": 0.0,
        "own_gsscd_before": 0.8, "own_gsscd_after": 0.2, "n_own_ofs": 1, "own_ofs_before": 0.8, "own_ofs_after": 0.1,
        "prompt_similarity": 0.8,
    }  # fmt: skip
    assert {name: row[name] for name in expected} == pytest.approx(expected)
    similar = [before.descriptors.of(f"p{one}-s0")[0] @ after.descriptors.of(f"p{one}-s0")[0] for one in range(2)]
    assert row["clip_similarity"] == pytest.approx(np.mean(similar))
    nothing = side(stream, [{}] * 3)
    assert np.isnan(mitigation_row("mine", plan, adjusted, before, nothing, *rules)["content_share_after"])
