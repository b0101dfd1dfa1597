"""Guidance of models of every shape: layouts of video, channels of one side alone, several denoisers, and probes that fail."""

from __future__ import annotations

import logging
from dataclasses import replace
from importlib import import_module
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from diffusers import DDIMScheduler, HeunDiscreteScheduler

from vidmem.generation.adapter import GenerationSpec, PipelineAdapter, Request, find_denoiser, find_denoisers
from vidmem.generation.guidance import GuidanceRecorder, first_step_reducer, guidance_magnitudes, one_step_change
from vidmem.generation.latent_axes import known_latent_axes, latent_axes_of
from vidmem.models.families.records import FAMILIES
from vidmem.models.noising import path_of


class Fake(torch.nn.Module):
    """A denoiser that answers with so many channels: a third of its latents for the first half of a batch, else a half."""

    def __init__(self, channels=None, axis=1, **config):
        super().__init__()
        self.channels, self.axis, self.config = channels, axis, SimpleNamespace(**config)

    def forward(self, hidden_states, timestep=999):
        given = hidden_states.shape[self.axis]
        kept = hidden_states.narrow(self.axis, 0, min(self.channels, given))
        more = [torch.full_like(kept.narrow(self.axis, 0, 1), 1e4)] * (self.channels - given)  # nothing may look at these
        share = torch.where(torch.arange(len(kept)) < len(kept) // 2, 1 / 3, 1 / 2).reshape(-1, *[1] * (kept.ndim - 1))
        return (torch.cat([kept * share, *more], dim=self.axis),)


def named(name):
    return type(name, (Fake,), {})


def recorded(module, latents, reduce):
    with GuidanceRecorder(module, len(latents) // 2, reduce) as recorder:
        module(latents, timestep=999)
    return recorder.steps


def doubled(*shape):
    one = torch.randn(2, *shape, generator=torch.Generator().manual_seed(0))
    return torch.cat([one, one])


LEARNED = [  # class, axis of the channels, shape of a sample, channels out
    ("PixArtTransformer2DModel", 1, (4, 6, 5), 8),
    ("LatteTransformer3DModel", 1, (4, 3, 6, 5), 8),
    ("LatteTransformer3DModel", 1, (4, 4, 6, 5), 8),  # as many frames as channels
]
CONDITIONED = [
    ("UNetSpatioTemporalConditionModel", 2, (3, 8, 6, 5), 4),
    ("HunyuanVideo15Transformer3DModel", 1, (9, 3, 6, 5), 4),
    ("Kandinsky5Transformer3DModel", 4, (3, 6, 5, 9), 4),
    ("FluxTransformer2DModel", 2, (30, 12), 4),
]


@pytest.mark.parametrize(("name", "axis", "shape", "made"), LEARNED + CONDITIONED)
def test_channels_of_one_side_alone_are_left_out(name, axis, shape, made):
    latents, scheduler = doubled(*shape), DDIMScheduler()
    step = recorded(named(name)(made, axis), latents, first_step_reducer(scheduler, 2.0))[0]
    kept = latents[:2].movedim(axis, 1)[:, : min(made, shape[axis - 1])]
    frames = kept.movedim(2, 1).flatten(2) if kept.ndim == 5 else kept.flatten(1)[:, None]
    assert torch.allclose(step["latent"], frames.norm(dim=2), rtol=1e-4)
    assert torch.allclose(step["content"], frames.norm(dim=2) / 6, rtol=1e-4)
    alpha = float(scheduler.alphas_cumprod[999])
    clean = (frames - (1 - alpha) ** 0.5 * frames * 2 / 3) / alpha**0.5  # 1/3 + 2 * (1/2 - 1/3)
    assert torch.allclose(step["one_step"], (clean - frames).square().mean(2), rtol=1e-3)


def test_no_one_step_score_where_shapes_differ(caplog):
    with caplog.at_level(logging.WARNING, "vidmem"):
        step = recorded(named("UNet3DConditionModel")(7), doubled(4, 3, 5, 5), one_step_change(path_of(DDIMScheduler()), 2.0))[
            0
        ]
    assert set(step) == {"content", "motion", "conditional", "unconditional", "latent"}
    assert "no one-step score: latents [frames, values] (3, 100), prediction (3, 175)" in caplog.text


def test_pixart_with_its_learned_variance():
    from diffusers import AutoencoderKL, PixArtAlphaPipeline, PixArtTransformer2DModel

    torch.manual_seed(0)
    transformer = PixArtTransformer2DModel(
        sample_size=8, num_layers=1, patch_size=2, attention_head_dim=8, num_attention_heads=3, caption_channels=32,
        in_channels=4, cross_attention_dim=24, out_channels=8, num_embeds_ada_norm=1000, use_additional_conditions=False,
        norm_type="ada_norm_single", norm_elementwise_affine=False,
    )  # fmt: skip
    torch.nn.init.normal_(transformer.proj_out.weight)
    scheduler = DDIMScheduler()
    pipeline = PixArtAlphaPipeline(None, None, AutoencoderKL(), transformer, scheduler)
    seen, told, mask = [], torch.randn(2, 5, 32), torch.ones(2, 5, dtype=torch.int64)
    handle = transformer.register_forward_hook(lambda m, a, k, out: seen.append((a, k, out[0])), with_kwargs=True)
    with GuidanceRecorder(transformer, 2, first_step_reducer(scheduler, 3.0)) as recorder, torch.inference_mode():
        pipeline(
            prompt_embeds=told, prompt_attention_mask=mask, negative_prompt=None, negative_prompt_embeds=torch.zeros(2, 5, 32),
            negative_prompt_attention_mask=mask, guidance_scale=3.0, num_inference_steps=2, output_type="latent",
            use_resolution_binning=False, height=8, width=8,
        )  # fmt: skip
    handle.remove()
    prediction, latents = seen[0][2], seen[0][0][0][:2]
    assert prediction.shape == (4, 8, 8, 8)
    first, second = prediction[:, :4].chunk(2)
    assert torch.allclose(recorder.steps[0]["content"][:, 0], (second - first).flatten(1).norm(dim=1), rtol=1e-4)
    scheduler.config.clip_sample = False
    guided = first + 3.0 * (second - first)
    clean = scheduler.step(guided, scheduler.timesteps[0], latents).pred_original_sample
    assert torch.allclose(recorder.steps[0]["one_step"][:, 0], (clean - latents).square().flatten(1).mean(1), rtol=1e-3)


def test_layouts_are_of_classes_that_diffusers_has_or_we():
    import diffusers

    names = [name for names in known_latent_axes().values() for name in names]
    assert len(names) == len(set(names))
    places = {name: import_module(family.module) for family in FAMILIES.values() for name in family.latent_axes}
    assert [name for name in names if not hasattr(places.get(name, diffusers), name)] == []


@pytest.mark.parametrize(("layout", "names"), known_latent_axes().items())
def test_a_known_class_needs_no_channels(layout, names):
    latents = torch.zeros(2, 4, 4, 4, 4)
    for name in names:
        assert latent_axes_of(named(name)(), latents, latents) == layout
        assert latent_axes_of(type("Ours", (named(name),), {})(), latents, latents) == layout  # a class made from it, too


def test_an_unknown_class_is_told_by_its_channels_or_not_at_all():
    own = Fake(in_channels=4, out_channels=8)
    told = [
        ((4, 3, 5, 5), (8, 3, 5, 5)),
        ((3, 4, 5, 5), (3, 8, 5, 5)),
        ((3, 5, 5, 4), (3, 5, 5, 8)),
        ((4, 4, 5, 5), (8, 4, 5, 5)),
    ]
    found = [latent_axes_of(own, torch.zeros(1, *given), torch.zeros(1, *made)) for given, made in told]
    assert found == ["bcthw", "btchw", "bthwc", "bcthw"]
    both, nothing = torch.zeros(1, 4, 4, 5, 5), torch.zeros(1, 6, 7, 5, 5)
    assert latent_axes_of(Fake(in_channels=4, out_channels=4), both, both) is None
    assert latent_axes_of(Fake(in_channels=4, out_channels=None), both[:, :, :3], both[:, :, :3]) == "bcthw"
    assert latent_axes_of(Fake(in_channels=4, out_channels=4), nothing, nothing) is None
    assert latent_axes_of(Fake(), both, both) is None
    assert latent_axes_of(own, both, both[0]) is None
    assert latent_axes_of(torch.nn.Identity(), both, both) == "bcthw"  # no configuration: a network of the caller's own


def test_nothing_is_recorded_of_an_unknown_layout_and_the_log_says_so_once(caplog):
    module = named("NobodyKnowsThis")(4)
    with caplog.at_level(logging.WARNING, "vidmem"):
        for _ in range(2):
            assert recorded(module, doubled(4, 4, 5, 5), first_step_reducer(DDIMScheduler(), 2.0)) == []
    assert caplog.text.count("NobodyKnowsThis") == 1


REQUESTS = [Request(f"p{number}", text, number % 2) for number, text in enumerate(["a red ball", "two cats", "a wall"])]


@pytest.fixture
def adapter_of(tiny_pipeline):
    def build(**changes):
        spec = GenerationSpec(
            "TextToVideoSDPipeline", str(tiny_pipeline), steps=3, guidance=1.0, frames=3, size=(32, 32), batch=2
        )
        return PipelineAdapter(replace(spec, **changes), 0)

    return build


def stacked(times):
    """A denoiser's hook that makes every call one of so many branches, as perturbed attention guidance does."""

    def repeat(module, given, named, output):
        return (torch.cat([output[0]] * times),) if isinstance(output, tuple) else type(output)(torch.cat([output[0]] * times))

    return repeat


def test_calls_of_more_branches_than_one_give_no_guidance_rather_than_zeros(adapter_of, caplog):
    adapter = adapter_of()
    handle = adapter.denoiser.register_forward_hook(stacked(3), with_kwargs=True)
    with caplog.at_level(logging.WARNING, "vidmem"):
        found = adapter._two_calls(REQUESTS[:2], guidance_magnitudes)
    handle.remove()
    assert found == {}
    assert "calls for 2 prompts hold [2, 6] samples" in caplog.text


def first_steps(adapter, reduce):
    probed = [sample for batch in adapter.probe(REQUESTS, reduce, True) for sample in batch]
    return {sample.request: sample.guidance[0] for sample in probed}


def test_the_one_step_score_of_an_asked_for_pass_is_that_of_the_prediction_alone(adapter_of):
    adapter = adapter_of()
    path = path_of(adapter.pipeline.scheduler)
    found, other = (first_steps(adapter, one_step_change(path, scale)) for scale in (1.0, 7.5))
    call = adapter.first_call(REQUESTS[:1])
    clean = path.denoised(call.latents, call.prediction, path.own_time(call.given[1], 1, call.latents.device))
    expected = (clean - call.latents).square().mean((1, 3, 4))[0].numpy()
    for request in REQUESTS:
        assert np.array_equal(found[request]["one_step"], other[request]["one_step"])
    assert found[REQUESTS[0]]["one_step"] == pytest.approx(expected, rel=1e-4)
    guided = adapter_of(guidance=3.0)  # a pass that guides goes by its scale
    low, high = (first_steps(guided, one_step_change(path, scale)) for scale in (1.0, 7.5))
    assert not np.allclose(low[REQUESTS[0]]["one_step"], high[REQUESTS[0]]["one_step"], rtol=1e-3)


def test_magnitudes_are_float32_whatever_the_model_computes_in():
    for dtype in (torch.float16, torch.bfloat16, torch.float64):
        step = recorded(
            named("UNet3DConditionModel")(4), doubled(4, 3, 5, 5).to(dtype), first_step_reducer(DDIMScheduler(), 2.0)
        )
        assert {values.dtype for values in step[0].values()} == {torch.float32}


def test_both_denoisers_of_a_pipeline_are_recorded():
    """Wan 2.2 hands over from one transformer to the other in the middle of the steps."""
    from diffusers import AutoencoderKLWan, FlowMatchEulerDiscreteScheduler, WanPipeline, WanTransformer3DModel

    torch.manual_seed(0)
    vae = AutoencoderKLWan(
        base_dim=3, z_dim=16, dim_mult=[1, 1, 1, 1], num_res_blocks=1, temperal_downsample=[False, True, True]
    )
    high, low = (
        WanTransformer3DModel(
            patch_size=(1, 2, 2), num_attention_heads=2, attention_head_dim=12, in_channels=16, out_channels=16, text_dim=32,
            freq_dim=32, ffn_dim=32, num_layers=1, rope_max_seq_len=32,
        )
        for _ in range(2)
    )  # fmt: skip
    scheduler = FlowMatchEulerDiscreteScheduler()
    pipeline = WanPipeline(None, None, vae, scheduler, transformer=high, transformer_2=low, boundary_ratio=0.6)
    pipeline.set_progress_bar_config(disable=True)
    assert find_denoisers(pipeline) == [high, low]
    assert find_denoiser(pipeline) is high
    told, settings = torch.randn(2, 5, 32), {"num_frames": 9, "height": 32, "width": 32, "num_inference_steps": 4}
    one, both, late = GuidanceRecorder(high, 2), GuidanceRecorder([high, low], 2), GuidanceRecorder(low, 2)
    with one, both, late, torch.inference_mode():
        pipeline(prompt_embeds=told, negative_prompt_embeds=torch.zeros_like(told), output_type="latent", **settings)
    assert (len(one.steps), len(late.steps), len(both.steps)) == (2, 2, 4)
    for step, expected in zip(both.steps, [*one.steps, *late.steps], strict=True):
        assert all(torch.equal(values, expected[name]) for name, values in step.items())
    assert not high._forward_hooks
    assert not low._forward_hooks


def test_a_denoiser_of_packed_sequences_is_left_alone():
    class Packed(torch.nn.Module):
        def forward(self, tokens):
            return ([tokens, tokens],)

    with GuidanceRecorder(Packed(), 1) as recorder:
        recorder.denoiser(tokens=torch.zeros(3))
    assert (recorder.calls, recorder.steps) == (1, [])


def test_steps_that_are_not_recorded_are_told_once(adapter_of, caplog):
    adapter = adapter_of(guidance=3.0)
    with caplog.at_level(logging.WARNING, "vidmem"):
        list(adapter.generate(REQUESTS))
        assert "guidance recorded" not in caplog.text
        adapter.pipeline.scheduler = HeunDiscreteScheduler.from_config(adapter.pipeline.scheduler.config)  # of second order
        assert [len(sample.guidance) for batch in adapter.generate(REQUESTS) for sample in batch] == [5, 5, 5]
    assert caplog.text.count("guidance recorded 5 times in 3 steps") == 1


def failing(adapter, monkeypatch, error, when):
    """Make encoding the prompts fail where `when` says so of them."""
    encode = adapter.pipeline.encode_prompt

    def picky(prompt, *given, **more):
        if when(prompt):
            raise error
        return encode(prompt, *given, **more)

    monkeypatch.setattr(adapter.pipeline, "encode_prompt", picky)


@pytest.mark.parametrize("setting", [{"guidance": 3.0}, {"guidance": 1.0}])
def test_a_prompt_that_fails_is_told_and_the_others_are_probed(adapter_of, monkeypatch, setting):
    adapter = adapter_of(**setting)
    whole = first_steps(adapter, guidance_magnitudes)
    failing(adapter, monkeypatch, ValueError("no cats"), lambda prompts: "two cats" in prompts)
    samples = [sample for batch in adapter.probe(REQUESTS, extra_pass=True) for sample in batch]
    assert [(sample.request, sample.status, sample.reason) for sample in samples] == [
        (REQUESTS[0], "ok", ""), (REQUESTS[1], "failed", "ValueError: no cats"), (REQUESTS[2], "ok", "")
    ]  # fmt: skip
    assert samples[1].guidance == []
    for sample in (samples[0], samples[2]):
        assert sample.guidance[0]["content"] == pytest.approx(whole[sample.request]["content"], rel=1e-4)
    assert not adapter.denoiser._forward_hooks
    assert [sample.request for batch in adapter.probe(REQUESTS) for sample in batch] == REQUESTS  # none is lost


def test_a_probe_that_runs_out_of_memory_halves_the_batch(adapter_of, monkeypatch):
    adapter = adapter_of(guidance=3.0, batch=3)
    whole = first_steps(adapter, guidance_magnitudes)
    failing(adapter, monkeypatch, torch.OutOfMemoryError("no more"), lambda prompts: len(prompts) > 1)
    batches = list(adapter.probe(REQUESTS))
    assert [len(batch) for batch in batches] == [1, 1, 1]
    assert adapter.batch == 1
    for (sample,) in batches:
        assert sample.status == "ok"
        assert sample.guidance[0]["content"] == pytest.approx(whole[sample.request]["content"], rel=1e-4)
    failing(adapter, monkeypatch, MemoryError(), lambda prompts: True)
    samples = [sample for batch in adapter.probe(REQUESTS) for sample in batch]
    assert {(sample.status, sample.reason) for sample in samples} == {("failed", "out of memory at one sample a call")}


def test_guidance_that_is_no_number_is_a_failure(adapter_of):
    def spoil(branches):
        found = guidance_magnitudes(branches)
        found["content"][1, 0] = float("nan")
        return found

    samples = next(adapter_of(guidance=3.0).probe(REQUESTS[:2], spoil))
    assert [sample.status for sample in samples] == ["ok", "failed"]
    assert "NaN" in samples[1].reason


def test_the_log_of_a_shard_names_the_prompts_without_a_probe(adapter_of, tmp_path, monkeypatch, caplog):
    """They have no rows, and the tables count them among the prompts without guidance."""
    import probe_guidance
    from vidmem.base.store import load_table, save_table

    adapter = adapter_of(guidance=3.0)
    failing(adapter, monkeypatch, ValueError("no cats"), lambda prompts: "two cats" in prompts)
    monkeypatch.setattr("vidmem.generation.adapter.adapter_of", lambda *given: adapter)
    table = pd.DataFrame([(f"p{number}", text, "ok") for number, text in enumerate(["a red ball", "two cats", "a wall"])])
    for name, part in (("planted", table[:2]), ("negatives", table[2:])):
        save_table(tmp_path / f"{name}.parquet", part.set_axis(["prompt_id", "prompt", "status"], axis=1))
    paths = [str(tmp_path / f"{name}.parquet") for name in ("planted", "negatives")]
    params = SimpleNamespace(shards=1, seed=0, extra_pass=False, baselines=[], spec={"samples": 2, "guidance": 3.0})
    with caplog.at_level(logging.ERROR, "vidmem"):
        probe_guidance.probe_guidance(paths, params, 2, 0, "cpu", 1, tmp_path / "probes.parquet")
    assert set(load_table(tmp_path / "probes.parquet")["clip_id"]) == {"p0-s0", "p2-s0"}
    assert "no guidance of p1-s0, prompt 'two cats': ValueError: no cats" in caplog.text
