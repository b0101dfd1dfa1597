"""Published pipeline classes on small random checkpoints: samples, noise, guidance, number formats."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np
import pytest
import torch

from checkpoints import SHAPES
from published_pipelines import CLASSES, GREY_LEVELS, STEPS, UNPROMPTED, apart, requests_for
from sampling import generate
from vidmem.base.devices import FLOAT32_ALONE
from vidmem.errors import VidmemError
from vidmem.generation.adapter import PipelineAdapter, Request
from vidmem.generation.limits import why_alone

GUIDANCE = {  # how often the denoiser is called at a step, samples in a call for each one asked for, axis of the frames
    "TextToVideoSDPipeline": (1, 2, 2),
    "StableDiffusionPipeline": (1, 2, None),
    "StableDiffusionXLPipeline": (1, 2, None),
    "StableDiffusion3Pipeline": (1, 2, None),
    "DDPMPipeline": (1, 1, None),
    "LDMPipeline": (1, 1, None),
    "AnimateDiffPipeline": (1, 2, 2),
    "StableVideoDiffusionPipeline": (1, 2, 1),
    "CogVideoXPipeline": (1, 2, 1),
    "LTXPipeline": (1, 2, "tokens"),
    "WanPipeline": (2, 1, 2),
    "LattePipeline": (1, 2, 2),
    "HunyuanVideoPipeline": (1, 1, 2),
    "MochiPipeline": (1, 2, 2),
}
UNGUIDED = (*UNPROMPTED, "HunyuanVideoPipeline")  # the last is told its scale: distilled


@pytest.mark.parametrize("name", CLASSES)
def test_a_sample_is_what_was_asked_for_and_does_not_depend_on_its_batch(spec_of, name):
    spec, requests = spec_of(name), requests_for(name)
    adapter = PipelineAdapter(spec, 0)
    together = generate(spec, requests, adapter)
    adapter.batch = min(adapter.batch, 2)
    mixed = generate(spec, requests[::-1], adapter)[::-1]
    adapter.batch = 1
    alone = generate(spec, requests, adapter)
    for one, *others in zip(together, alone, mixed):
        assert (one.status, one.reason) == ("ok", "")
        assert one.frames.shape == (spec.frames - spec.drop_frames, *spec.size, 3)
        assert one.frames.std() > 1
        for other in others:
            assert one.request == other.request
            assert apart(one, other) <= GREY_LEVELS
            for step, again in zip(one.guidance, other.guidance, strict=True):
                assert all(values == pytest.approx(again[key], rel=2e-3, abs=1e-5) for key, values in step.items())
    assert min(apart(one, other) for one, other in zip(together, together[1:])) > 10 * GREY_LEVELS


@pytest.mark.parametrize("name", CLASSES)
def test_noise_follows_the_prompt_and_the_sample_number_and_the_text_is_heard(spec_of, name):
    adapter, request = PipelineAdapter(spec_of(name), 0), requests_for(name, 1)[0]
    more = [request, replace(request, sample=1), replace(request, prompt_id="other")]
    first, again, seed = generate(None, more, adapter), generate(None, [request], adapter), None
    assert apart(first[0], again[0]) <= GREY_LEVELS
    assert min(apart(first[0], other) for other in first[1:]) > 10 * GREY_LEVELS
    adapter.seed = 1
    seed = generate(None, [request], adapter)
    assert apart(first[0], seed[0]) > 10 * GREY_LEVELS
    if adapter.prompted:
        seen = [adapter.first_call([replace(request, prompt=text)]) for text in ("a red ball", "a wall")]
        assert torch.equal(*[call.latents for call in seen])
        assert not torch.equal(*[call.prediction for call in seen])


def by_hand(calls, name, samples):
    """Content magnitudes of the first step from the raw predictions: float [samples, frames]."""
    _, branches, axis = GUIDANCE[name]
    given, made = calls[0]
    if branches == 2:
        without, conditional = made.chunk(2)
    else:
        without, conditional = calls[1][1], made
    channels = 1 if axis == 2 or axis is None else 2
    if name == "LattePipeline":  # the other half of its channels is a variance
        without, conditional = (part.narrow(channels, 0, given.shape[channels]) for part in (without, conditional))
    guidance = (conditional - without).double()
    if axis == "tokens":  # frame by frame, the tokens of each together
        guidance = guidance.reshape(samples, SHAPES[name][0] // 8 + 1, -1)
    else:
        guidance = guidance.unsqueeze(1) if axis is None else guidance.movedim(axis, 1)
    return guidance.reshape(*guidance.shape[:2], -1).square().sum(2).sqrt().numpy()


@pytest.mark.parametrize("name", CLASSES)
def test_guidance_is_recorded_from_whichever_form_of_it_a_pipeline_has(spec_of, name, caplog):
    adapter, calls = PipelineAdapter(spec_of(name), 0), []
    adapter.batch, requests = (
        (1 if name == "LattePipeline" else 2),
        requests_for(name, 2)[: 1 if name == "LattePipeline" else 2],
    )

    def keep(module, given, named, output):
        latents = next((named[key] for key in ("hidden_states", "sample") if key in named), given[0] if given else None)
        calls.append((latents.clone(), (output[0] if isinstance(output, tuple) else output.sample).clone()))

    handle = adapter.denoiser.register_forward_hook(keep, with_kwargs=True)
    with caplog.at_level(logging.WARNING, "vidmem"):
        samples = generate(None, requests, adapter)
    handle.remove()
    each, branches, _ = GUIDANCE[name]
    steps = STEPS + (name == "StableDiffusionPipeline")  # its scheduler, PNDM, takes the first step twice
    assert [len(made) for _, made in calls] == [branches * len(requests)] * (each * steps)
    assert [len(sample.guidance) for sample in samples] == [0 if name in UNGUIDED else steps] * len(requests)
    assert ("no guidance recorded" in caplog.text) == (name == "HunyuanVideoPipeline")
    if name in UNGUIDED:
        return
    recorded = np.stack([sample.guidance[0]["content"] for sample in samples])
    assert recorded.min() > 0
    assert recorded == pytest.approx(by_hand(calls, name, len(requests)), rel=1e-3)


def test_an_embedded_scale_is_told_and_is_no_guidance(spec_of, caplog):
    """A distilled model has one pass a step: nothing is recorded, the log says why, and it is not a zero."""
    with caplog.at_level(logging.WARNING, "vidmem"):
        (sample,) = generate(spec_of("HunyuanVideoPipeline"), requests_for("HunyuanVideoPipeline", 1))
    assert (sample.status, sample.guidance) == ("ok", [])
    assert "the scale is an input of its network: there is one pass per step, so guidance is not defined" in caplog.text
    asked = {"arguments": {"true_cfg_scale": 4.0}, "negative_prompt": "blurred"}
    (guided,) = generate(spec_of("HunyuanVideoPipeline", **asked), requests_for("HunyuanVideoPipeline", 1))
    assert len(guided.guidance) == STEPS  # guided in two calls, as its users may ask
    assert guided.guidance[0]["content"].min() > 0


def test_the_scale_of_every_frame_steers_and_the_guidance_is_recorded_without_it(spec_of):
    """Stable Video Diffusion: the scale grows from the first frame (an argument) to the last (the key guidance)."""
    name = "StableVideoDiffusionPipeline"
    one, two = (generate(spec_of(name, guidance=scale), requests_for(name, 1))[0] for scale in (2.0, 6.0))
    assert one.guidance[0]["content"] == pytest.approx(two.guidance[0]["content"], rel=1e-4)
    assert len(one.guidance[0]["content"]) == 4  # of all frames, the given one too
    assert apart(one, two) > GREY_LEVELS
    flat = generate(spec_of(name, guidance=2.0, arguments={"min_guidance_scale": 2.0}), requests_for(name, 1))[0]
    assert apart(one, flat) > 0
    (off,) = generate(spec_of(name, guidance=1.0), requests_for(name, 1))
    assert (off.status, off.guidance) == ("ok", [])


@pytest.mark.parametrize("name", CLASSES)
def test_bfloat16_runs_on_a_cpu_or_is_refused_before_anything_is_loaded(spec_of, name):
    spec = spec_of(name, dtype="bfloat16")
    if name in FLOAT32_ALONE:
        with pytest.raises(VidmemError, match=f"float32, all that {name} computes in"):
            PipelineAdapter(spec, 0)
        return
    adapter, requests = PipelineAdapter(spec, 0), requests_for(name, 2)
    kept = {"WanPipeline": {torch.float32}}.get(name, set())  # its modulation stays in float32, as published
    assert {value.dtype for value in adapter.denoiser.parameters()} == {torch.bfloat16} | kept
    together, exact = generate(None, requests, adapter), generate(spec_of(name), requests)
    adapter.batch = 1
    for one, alone, other in zip(together, generate(None, requests, adapter), exact):
        assert one.status == "ok"
        assert one.guidance == [] or one.guidance[0]["content"].dtype == np.float32
        difference = np.abs(one.frames.astype(float) - other.frames).mean()
        assert difference < 25  # eight bits of a number, through two steps and a decoder
        assert np.abs(one.frames.astype(float) - alone.frames).mean() < 5


def test_a_prompt_of_latte_is_sent_alone_because_its_sample_would_depend_on_its_batch(spec_of):
    adapter, requests = PipelineAdapter(spec_of("LattePipeline"), 0), requests_for("LattePipeline", 2)
    assert adapter.batch == 1
    alone = generate(None, requests, adapter)
    adapter.batch = 2
    together = generate(None, requests, adapter)
    assert max(apart(one, other) for one, other in zip(alone, together)) > 5 * GREY_LEVELS


def test_chunks_that_would_reach_into_the_next_clip_are_decoded_one_clip_at_a_time(spec_of):
    name = "StableVideoDiffusionPipeline"
    adapter, requests = PipelineAdapter(spec_of(name, arguments={"decode_chunk_size": 3}), 0), requests_for(name, 2)
    assert adapter.batch == 1
    alone = generate(None, requests, adapter)
    adapter.batch = 2
    assert max(apart(one, other) for one, other in zip(alone, generate(None, requests, adapter))) > GREY_LEVELS
    fitting = spec_of(name, arguments={"decode_chunk_size": 2})
    assert why_alone(adapter.pipeline, fitting) == ""
    assert PipelineAdapter(fitting, 0).batch == 3


def test_the_first_frame_that_was_given_is_the_one_that_is_dropped(spec_of, monkeypatch):
    name = "StableVideoDiffusionPipeline"
    requests = requests_for(name, 1)
    (whole,) = generate(spec_of(name, drop_frames=0), requests)
    (kept,) = generate(spec_of(name), requests)
    assert whole.frames.shape[0] == 4
    assert np.array_equal(whole.frames[1:], kept.frames)
    other = replace(requests[0], first_frame=255 - requests[0].first_frame)
    assert apart(kept, generate(spec_of(name), [other])[0]) > GREY_LEVELS
    with pytest.raises(VidmemError, match=r"a first frame of every request"):
        generate(spec_of(name), [Request("p", "x", 0)])
