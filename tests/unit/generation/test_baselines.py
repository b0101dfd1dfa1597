"""Detectors of others: attention against what the attention kernels were given, the rest against slow references."""

from __future__ import annotations

import logging
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, FlowMatchEulerDiscreteScheduler

from first_steps import first_steps
from flow_transformers import tiny_ltx, tiny_wan
from vidmem.generation.adapter import GenerationSpec, PipelineAdapter, Request, end_tokens, find_denoisers
from vidmem.generation.attention import AttentionReader, CrossAttention
from vidmem.generation.baselines import (
    attention_entropy,
    ending_mask,
    guidance_alignment,
    guidance_curvature,
    late_time,
    masked_norm,
)
from vidmem.generation.guidance import GuidancePass, GuidanceRecorder, guidance_magnitudes
from vidmem.generation.latent_axes import as_given, frames_first
from vidmem.generation.readings import AttentionQuantities, probing
from vidmem.models.noising import DiffusionPath, path_of

REQUESTS = [Request("p0", "a red ball", 0), Request("p1", "two cats on a wall", 0)]


@pytest.fixture
def adapter(tiny_pipeline):
    spec = GenerationSpec("TextToVideoSDPipeline", str(tiny_pipeline), steps=3, guidance=3.0, frames=3, size=(32, 32), batch=2)
    return PipelineAdapter(spec, 0, attention=True)


@pytest.fixture
def kernels(monkeypatch):
    """What every attention kernel is asked, in float64 probabilities [rows, heads, places, tokens]."""
    seen, kernel = [], torch.nn.functional.scaled_dot_product_attention

    def spy(query, key, value, attn_mask=None, **options):
        scale = options.get("scale") or query.shape[-1] ** -0.5
        scores = query.double() @ key.double().transpose(-1, -2) * scale
        if attn_mask is not None:
            scores = scores.masked_fill(~attn_mask, -torch.inf) if attn_mask.dtype == torch.bool else scores + attn_mask
        seen.append(scores.softmax(-1))
        return kernel(query, key, value, attn_mask=attn_mask, **options)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", spy)
    return seen


def kept(reader):
    """The reader, with every attention that it hands out."""
    found, take = [], reader.take
    reader.take = lambda: found.append(take()) or found[-1]
    return found


def test_attention_of_a_video_unet_is_what_its_kernels_were_given(adapter, kernels):
    tokens = adapter.pipeline.tokenizer.model_max_length
    reader = adapter._reader(REQUESTS)
    found = kept(reader)
    recorder = GuidanceRecorder(find_denoisers(adapter.pipeline), 2, attention=reader)
    with recorder, torch.inference_mode():
        adapter.pipeline(**adapter._arguments(REQUESTS) | {"num_inference_steps": 1, "output_type": "latent"})
    text = [one for one in kernels if one.shape[0] == 4 * 3 and one.shape[3] == tokens]  # 2 branches, 2 prompts, 3 frames
    assert len(text) >= 2
    by_layer = torch.stack([one.mean((1, 2)).unflatten(0, (4, 3)).mean(1) for one in text])
    assert torch.allclose(found[0].tokens.double(), by_layer.mean(0), atol=1e-5)
    assert torch.allclose(found[0].tokens.sum(1), torch.ones(4), atol=1e-5)
    most = max(one.shape[2] for one in text)
    ends = end_tokens(adapter.pipeline, [request.prompt for request in REQUESTS], tokens).repeat(2)
    finest = torch.stack([one.mean(1).unflatten(0, (4, 3)) for one in text if one.shape[2] == most]).mean(0)
    expected = torch.stack([finest[row, :, :, end] for row, end in enumerate(ends)])
    assert found[0].ending.shape == (4, 3, most)
    assert torch.allclose(found[0].ending.double(), expected, atol=1e-5)


@pytest.mark.parametrize("build", [tiny_wan, tiny_ltx])
def test_attention_of_transformers_is_what_their_kernels_were_given(build, kernels):
    """Normalised queries and keys (Wan, LTX), a mask of padded tokens (LTX), one call or two; the conditional branch alone."""
    pipeline, more = build()
    told, silent = torch.randn(2, 5, 32, generator=torch.Generator().manual_seed(1)), torch.zeros(2, 5, 32)
    if more:
        more["prompt_attention_mask"] = torch.tensor([[1.0, 1, 1, 0, 0], [1, 1, 1, 1, 1]])
    reader = AttentionReader([pipeline.transformer], lambda tokens: torch.tensor([2, 4]))
    reduce = AttentionQuantities()
    with GuidanceRecorder(pipeline.transformer, 2, reduce, attention=reader) as recorder, torch.inference_mode():
        pipeline(
            prompt_embeds=told, negative_prompt_embeds=silent, guidance_scale=3.0, num_frames=9, height=32, width=32,
            num_inference_steps=1, output_type="latent", **more,
        )  # fmt: skip
    text = [one for one in kernels if one.shape[3] == 5]
    conditional = text[0] if len(text[0]) == 2 else text[0][2:]  # two calls: the conditional first; one: the second half
    mean = conditional.mean((1, 2))
    entropy = -(mean * mean.clamp(min=1e-300).log()).sum(1)
    assert torch.allclose(recorder.steps[0]["attention_entropy"][:, 0].double(), entropy, atol=1e-4)
    if more:
        assert mean[0, 3:].abs().max() < 1e-3
    ending = torch.stack([conditional.mean(1)[0, :, 2], conditional.mean(1)[1, :, 4]]).float()
    reduce.finish(recorder.steps)
    frames = recorder.steps[0]["content"].shape[1]
    mask = reduce.readers["bright_ending"].mask
    assert mask.shape[:2] == (2, frames)
    assert torch.allclose(mask.flatten(1).mean(1), ending.mean(1), rtol=1e-3)
    assert recorder.steps[0]["bright_ending"].shape == (2, frames)


def test_layers_of_prompt_and_latents_together_are_not_cross_attention():
    from diffusers import CogVideoXTransformer3DModel

    transformer = CogVideoXTransformer3DModel(
        num_attention_heads=2, attention_head_dim=16, in_channels=4, out_channels=4, time_embed_dim=8, text_embed_dim=16,
        num_layers=1, sample_width=4, sample_height=4, sample_frames=5, max_text_seq_length=6,
    )  # fmt: skip
    with AttentionReader([transformer]) as reader:
        transformer(torch.randn(2, 2, 4, 4, 4), torch.randn(2, 6, 16), torch.tensor([5, 5]))
        assert reader.take() is None


def test_reading_changes_no_sample(adapter):
    with_attention = next(iter(adapter.generate(REQUESTS)))
    adapter.attention = False
    without = next(iter(adapter.generate(REQUESTS)))
    for one, other in zip(with_attention, without, strict=True):
        assert np.array_equal(one.frames, other.frames)
        assert set(one.guidance[0]) - set(other.guidance[0]) == {"attention_entropy", "bright_ending"}
        for quantity, values in other.guidance[0].items():
            assert np.array_equal(values, one.guidance[0][quantity])


def test_the_end_token_is_that_of_the_prompt_and_not_the_padding(adapter):
    tokenizer = adapter.pipeline.tokenizer
    prompts = ["", "a red ball", "ball " * 200]
    ends = end_tokens(adapter.pipeline, prompts, tokenizer.model_max_length)
    assert ends[0] == 1  # start, end
    assert ends[1] == len(tokenizer("a red ball")["input_ids"]) - 1
    assert ends[2] == tokenizer.model_max_length - 1
    assert end_tokens(SimpleNamespace(), prompts, 8) is None


def test_bright_ending_takes_the_mask_of_the_last_step():
    """By hand: two places of two channels, guidance (3, 4) and (0, 1), masks of two steps."""
    zeros = torch.zeros(1, 1, 4)
    reduce = AttentionQuantities()
    steps = []
    for mask in ([0.9, 0.1], [0.0, 0.5]):
        seen = CrossAttention(torch.tensor([[0.5, 0.5]]), torch.tensor([[mask]]))
        steps.append(reduce(GuidancePass(zeros, zeros, torch.tensor([[[3.0, 4, 0, 1]]]), channels=2, attention=seen)))
    reduce.finish(steps)
    for quantities in steps:
        assert quantities["bright_ending"].item() == pytest.approx(0.5 * 1 / 0.25)
        assert quantities["attention_entropy"].item() == pytest.approx(np.log(2))


def test_a_uniform_mask_is_the_content_magnitude():
    stream = torch.Generator().manual_seed(0)
    guidance = torch.randn(2, 3, 40, generator=stream)
    branches = GuidancePass(guidance, torch.zeros_like(guidance), guidance, channels=4)
    energies = guidance.unflatten(2, (-1, 4)).square().sum(3)
    content = guidance_magnitudes(branches)["content"]
    for level in (0.01, 0.7):
        assert torch.allclose(masked_norm(energies, torch.full((2, 3, 10), level)), content, rtol=1e-5)


def test_coarse_attention_counts_for_all_its_places(caplog):
    ending = torch.arange(1.0, 5).reshape(1, 1, 4)
    branches = GuidancePass(*[torch.zeros(1, 1, 16)] * 3, grid=(4, 4), attention=CrossAttention(torch.ones(1, 2) / 2, ending))
    expected = torch.tensor([[1.0, 1, 2, 2], [1, 1, 2, 2], [3, 3, 4, 4], [3, 3, 4, 4]])
    assert torch.equal(ending_mask(branches)[0, 0].reshape(4, 4), expected)
    frames = GuidancePass(
        *[torch.zeros(1, 2, 4)] * 3, attention=CrossAttention(torch.ones(1, 2) / 2, torch.arange(8.0)[None, None])
    )
    assert torch.equal(ending_mask(frames)[0], torch.arange(8.0).reshape(2, 4))  # frames one after another
    with caplog.at_level(logging.WARNING, "vidmem"):
        assert ending_mask(branches._replace(grid=(2, 8))) is not None
        assert ending_mask(branches._replace(grid=(1, 16))) is None
    assert "no bright ending" in caplog.text


def test_entropy_is_highest_where_attention_is_even():
    even, one = torch.full((1, 8), 1 / 8), torch.eye(8)[:1]
    found = attention_entropy(CrossAttention(torch.cat([even, one])))
    assert found.tolist() == pytest.approx([np.log(8), 0])


class Smooth(torch.nn.Module):
    """A network of one channel with another curvature for each branch: rows of the first half are unconditional."""

    config = SimpleNamespace(in_channels=2, out_channels=2)

    def forward(self, sample, timestep, told=None):
        first = torch.arange(len(sample)).reshape(-1, 1, 1, 1) < len(sample) // 2
        return (torch.where(first, torch.tanh(sample), torch.sin(2 * sample) * sample.mean((1, 2, 3), keepdim=True)),)


def a_pass(reduce, latents):
    with GuidanceRecorder(Smooth(), len(latents), reduce) as recorder:
        recorder.denoiser(torch.cat([latents, latents]).float(), 7)
    assert recorder.calls == 1  # what we ask for is not the pipeline's
    return recorder.steps


def test_curvature_against_forward_differentiation():
    latents = torch.randn(3, 2, 4, 5, generator=torch.Generator().manual_seed(2))

    def guidance(values):
        unconditional, conditional = Smooth()(torch.cat([values, values]), 7)[0].chunk(2)
        return conditional - unconditional

    _, along = torch.func.jvp(guidance, (latents.double(),), (guidance(latents.double()),))
    (step,) = a_pass(lambda branches: {"curvature": guidance_curvature(branches, 1e-3)}, latents)
    assert step["curvature"][:, 0].double().numpy() == pytest.approx(along.flatten(1).norm(dim=1).numpy(), rel=0.02)


def test_alignment_against_a_loop():
    latents = torch.randn(2, 2, 3, 4, generator=torch.Generator().manual_seed(3))
    path = DiffusionPath(torch.linspace(0.99, 0.1, 10), "v_prediction")
    (step,) = a_pass(lambda branches: {"alignment": guidance_alignment(path, branches, 2)}, latents)
    unconditional, conditional = Smooth()(torch.cat([latents, latents]), 2)[0].chunk(2)
    alpha = float(path.alphas[2])
    for sample in range(2):
        cosines = []
        for y in range(3):
            for x in range(4):
                place = (sample, slice(None), y, x)
                first, second = (
                    (1 - alpha) ** 0.5 * latents[place] + alpha**0.5 * one[place] for one in (unconditional, conditional)
                )
                moved = second - first
                cosines.append(float(first @ moved / first.norm() / moved.norm()))
        assert step["alignment"][sample, 0].item() == pytest.approx(np.mean(cosines), abs=1e-4)


def test_a_pass_again_with_nothing_changed_is_the_same_pass(adapter):
    """One call of both branches, and with the latents put back in their own axes."""
    seen = {}

    def reduce(branches):
        seen["first"], seen["again"] = branches, branches.again(branches.latents, branches.time)
        return guidance_magnitudes(branches)

    first_steps(adapter, reduce)
    for name in ("latents", "unconditional", "conditional"):
        assert torch.allclose(getattr(seen["first"], name), getattr(seen["again"], name), atol=1e-6)


def test_a_pass_of_two_calls_again(kernels):
    pipeline, _ = tiny_wan()
    told, silent, seen = torch.randn(2, 5, 32), torch.zeros(2, 5, 32), []

    def reduce(branches):
        seen.append((branches, branches.again(2 * branches.latents, None), branches.again(None, 10 * branches.time)))
        return guidance_magnitudes(branches)

    with GuidanceRecorder(pipeline.transformer, 2, reduce) as recorder, torch.inference_mode():
        pipeline(prompt_embeds=told, negative_prompt_embeds=silent, guidance_scale=3.0, num_frames=9, height=32, width=32,
                 num_inference_steps=2, output_type="latent")  # fmt: skip
    assert (recorder.calls, len(recorder.steps)) == (4, 2)
    for first, moved, late in seen:
        assert torch.allclose(moved.latents, 2 * first.latents, rtol=1e-5)
        assert torch.equal(late.latents, first.latents)
        assert not torch.allclose(moved.conditional, first.conditional, rtol=1e-3)
        assert not torch.allclose(late.conditional, first.conditional, rtol=1e-3)


@pytest.mark.parametrize("layout", ["bcthw", "btchw", "bthwc", "bchw", "bnc"])
def test_axes_there_and_back(layout):
    sizes = {"b": 2, "c": 3, "t": 4, "h": 5, "w": 6, "n": 20}
    values = torch.randn([sizes[axis] for axis in layout])
    by_frame = frames_first(values, None, 4, layout)
    assert torch.equal(as_given(by_frame, tuple(values.shape), layout), values)
    place = by_frame.unflatten(2, (-1, 3))[1, -1, 1]  # last frame, second place: the next one along the width
    last = {"b": 1, "c": slice(None), "t": 3, "h": 0, "w": 1, "n": 16}
    assert torch.equal(place, values[tuple(last[axis] for axis in layout)] if layout != "bchw" else values[1, :, 0, 1])


def test_late_time_in_the_form_a_pipeline_has():
    scheduler = DDIMScheduler(timestep_spacing="trailing")
    scheduler.set_timesteps(10)
    late = scheduler.timesteps[-3]
    assert late_time(scheduler, scheduler.timesteps[0]) == late
    assert torch.equal(late_time(scheduler, scheduler.timesteps[0].expand(3)), late.expand(3))
    flow = FlowMatchEulerDiscreteScheduler(shift=3.0)
    flow.set_timesteps(8)
    assert late_time(flow, flow.timesteps[0] / 1000).item() == pytest.approx(flow.timesteps[-3].item() / 1000)
    assert late_time(flow, 1000 - flow.timesteps[0] + 5) is None  # Mochi counts the other way round
    scheduler.set_timesteps(2)
    assert late_time(scheduler, scheduler.timesteps[0]) == scheduler.timesteps[0]  # fewer steps than that: the first


def test_baselines_of_the_first_step_are_those_asked_for(adapter):
    scheduler = adapter.pipeline.scheduler
    trivial = set(first_steps(adapter)[next(iter(first_steps(adapter)))])
    for names in ([], ["curvature"], ["alignment", "attention_entropy"], ["bright_ending"]):
        found = first_steps(adapter, probing(guidance_magnitudes, scheduler, names))
        for quantities in found.values():
            assert set(quantities) - trivial == set(names) - {"bright_ending"}
            assert all(np.isfinite(values).all() for values in quantities.values())
            assert np.abs(quantities.get("alignment", np.zeros(1))).max() <= 1 + 1e-6


def test_no_alignment_without_a_known_noising(adapter, caplog):
    from diffusers import EDMEulerScheduler

    with caplog.at_level(logging.WARNING, "vidmem"):
        reduce = probing(guidance_magnitudes, EDMEulerScheduler(), ["alignment", "curvature"])
    assert "no alignment" in caplog.text
    assert all("alignment" not in found and "curvature" in found for found in first_steps(adapter, reduce).values())


def test_alignment_of_flow_is_of_its_noise():
    """Rectified flow: the noise is the latents plus the share of the clean sample times the velocity."""
    flow = FlowMatchEulerDiscreteScheduler(shift=1.0)
    latents = torch.randn(2, 2, 3, 4, generator=torch.Generator().manual_seed(4))
    (step,) = a_pass(lambda branches: {"alignment": guidance_alignment(path_of(flow), branches, 250.0)}, latents)
    unconditional, conditional = Smooth()(torch.cat([latents, latents]), 250.0)[0].chunk(2)
    noise = latents + 0.75 * unconditional
    cosine = torch.nn.functional.cosine_similarity(noise, conditional - unconditional, dim=1).mean((1, 2))
    assert torch.allclose(step["alignment"][:, 0], cosine, atol=1e-5)
