"""Guidance is recorded from every kind of pass; a probe costs one step."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from first_steps import REQUESTS, first_steps
from flow_transformers import tiny_ltx, tiny_wan
from vidmem.generation.adapter import PipelineAdapter, stopped
from vidmem.generation.guidance import GuidancePass, GuidanceRecorder, StopGeneration, guidance_magnitudes, one_step_change
from vidmem.models.noising import path_of


class Denoiser(torch.nn.Module):
    """A network whose prediction is its latents times what it is told."""

    def forward(self, sample, timestep=0.0, told=1.0):
        return (sample * told,)


def call_twice(denoiser, latents, second, told=(3.0, 1.0)):
    with GuidanceRecorder(denoiser, len(latents)) as recorder:
        denoiser(latents, told=told[0])
        denoiser(second, told=told[1])
        return recorder


def test_two_calls_on_the_same_latents_are_a_guidance_pass():
    latents = torch.randn(2, 4, 3, 2, 2)
    steps = call_twice(Denoiser(), latents, latents.clone()).steps
    assert len(steps) == 1
    expected = (2 * latents).transpose(1, 2).flatten(2).norm(dim=2)
    assert torch.allclose(steps[0]["content"], expected, rtol=1e-5)
    assert torch.allclose(steps[0]["conditional"], 1.5 * expected, rtol=1e-5)  # the first call of the two


def test_a_sampler_of_second_order_is_not_taken_for_guidance():
    latents = torch.randn(2, 4, 2, 2)
    assert call_twice(Denoiser(), latents, latents + 0.1).steps == []
    assert call_twice(Denoiser(), latents, latents[:, :2]).steps == []


def test_two_passes_in_two_calls_each():
    denoiser, first, second = Denoiser(), torch.randn(1, 4, 2, 2), torch.randn(1, 4, 2, 2)
    with GuidanceRecorder(denoiser, 1) as recorder:
        for latents in (first, first, second, second):
            denoiser(latents, told=2.0)
    assert len(recorder.steps) == 2
    assert recorder.calls == 4


@pytest.mark.parametrize("build", [tiny_wan, tiny_ltx])
def test_transformers_with_flow_in_one_call_and_in_two(build):
    """Wan asks in two calls, LTX in one with packed tokens; both branches at the first step are computed by hand."""
    pipeline, more = build()
    told, silent = torch.randn(2, 5, 32, generator=torch.Generator().manual_seed(1)), torch.zeros(2, 5, 32)
    settings = {"num_frames": 9, "height": 32, "width": 32, "num_inference_steps": 2, "output_type": "latent"}
    seen = []
    handle = pipeline.transformer.register_forward_hook(lambda m, a, k, out: seen.append((k, out[0])), with_kwargs=True)
    with GuidanceRecorder(pipeline.transformer, 2) as recorder, torch.inference_mode():
        pipeline(prompt_embeds=told, negative_prompt_embeds=silent, guidance_scale=3.0, **settings, **more)
    handle.remove()
    assert len(recorder.steps) == 2
    predictions = torch.cat([prediction for _, prediction in seen[: 4 // len(seen[0][1])]])
    first, second = predictions.chunk(2)
    frames = recorder.steps[0]["content"].shape[1]
    assert frames > 1  # packed tokens have their frames back
    difference = (first - second).float()
    by_frame = difference.transpose(1, 2) if difference.ndim == 5 else difference.reshape(2, frames, -1)
    assert torch.allclose(recorder.steps[0]["content"], by_frame.flatten(2).norm(dim=2), rtol=1e-4)
    assert recorder.steps[0]["motion"].shape == (2, frames - 1)


def test_the_first_step_is_that_of_the_generation_and_costs_one_call(adapter):
    generated = {sample.request: sample.guidance[0] for batch in adapter.generate(REQUESTS) for sample in batch}
    calls = []
    handle = adapter.denoiser.register_forward_hook(lambda *given: calls.append(1))
    found = first_steps(adapter)
    handle.remove()
    assert list(found) == REQUESTS
    assert len(calls) == 2  # two batches
    for request, quantities in found.items():
        assert quantities["content"] == pytest.approx(generated[request]["content"], rel=1e-5)
        assert quantities["motion"] == pytest.approx(generated[request]["motion"], rel=1e-4)


def test_asking_twice_gives_the_guidance_that_a_distilled_model_does_not(adapter, tiny_pipeline):
    from dataclasses import replace

    guided = first_steps(adapter)
    distilled = PipelineAdapter(replace(adapter.spec, guidance=1.0), 0)
    assert all(found == {} for _, found in first_steps(distilled).items())
    for request, found in first_steps(distilled, extra_pass=True).items():
        assert found["content"] == pytest.approx(guided[request]["content"], rel=1e-4)
        assert found["conditional"] == pytest.approx(guided[request]["conditional"], rel=1e-4)


def test_a_hook_that_stops_leaves_the_pipeline_as_it_was(adapter):
    before = [sample.frames for batch in adapter.generate(REQUESTS) for sample in batch]
    first_steps(adapter)
    assert not adapter.denoiser._forward_hooks
    after = [sample.frames for batch in adapter.generate(REQUESTS) for sample in batch]
    assert all(np.array_equal(first, second) for first, second in zip(before, after))
    with pytest.raises(ZeroDivisionError):  # only our own signal is caught
        stopped(lambda: 1 / 0, (), {})


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "sample"])
def test_one_step_change_is_that_of_the_clean_sample(kind):
    from diffusers import DDIMScheduler

    scheduler = DDIMScheduler(prediction_type=kind)
    scheduler.set_timesteps(4)
    time, noise = scheduler.timesteps[1], torch.randn(2, 3, 5)
    branches = GuidancePass(noise, torch.randn(2, 3, 5), torch.randn(2, 3, 5), time)
    found = one_step_change(path_of(scheduler), 2.0)(branches)["one_step"]
    guided = branches.unconditional + 2.0 * (branches.conditional - branches.unconditional)
    scheduler.config.clip_sample = False
    clean = scheduler.step(guided, time, noise).pred_original_sample
    assert torch.allclose(found, (clean - noise).square().mean(2), rtol=1e-3)


def test_a_step_may_end_a_call():
    def stop(number, quantities):
        raise StopGeneration

    denoiser = Denoiser()
    with pytest.raises(StopGeneration), GuidanceRecorder(denoiser, 1, guidance_magnitudes, stop):
        denoiser(torch.zeros(2, 1, 2, 2))
    with pytest.raises(StopGeneration), GuidanceRecorder(denoiser, 3, patience=2):
        denoiser(torch.zeros(1, 1, 2, 2))
        denoiser(torch.zeros(1, 1, 2, 2))


def test_recorders_of_two_threads_do_not_see_each_other():
    from threading import Barrier, Thread

    denoiser, meet, seen = Denoiser(), Barrier(2), {}

    def call(told):
        with GuidanceRecorder(denoiser, 1) as recorder:
            meet.wait()
            denoiser(torch.ones(2, 1, 2, 2), told=torch.tensor([0.0, told]).reshape(2, 1, 1, 1))
            meet.wait()
            seen[told] = [step["content"].item() for step in recorder.steps]

    threads = [Thread(target=call, args=(told,)) for told in (1.0, 3.0)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == {1.0: [pytest.approx(2.0)], 3.0: [pytest.approx(6.0)]}
