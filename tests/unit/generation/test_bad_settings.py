"""Settings that a model cannot serve are refused; outputs that are no frames are errors or failed samples."""

from __future__ import annotations

import logging
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from checkpoints import SHAPES, save_checked
from refusals import IMAGE, REQUESTS, VIDEO, refused
from sampling import generate, samples_of
from vidmem.generation.adapter import GenerationSpec, PipelineAdapter, Request
from vidmem.generation.output import as_frames
from vidmem.models import loading
from vidmem.models.loading import load_pipeline, pipeline_class


@pytest.fixture
def spec_of(saved):
    def build(name=IMAGE, **changes):
        frames, size = SHAPES[name]
        spec = GenerationSpec(name, str(saved(name)), steps=2, guidance=3.0, frames=frames, size=size, batch=3)
        return replace(spec, **changes)

    return build


def test_a_call_that_takes_no_seed_is_refused(spec_of, monkeypatch):
    call = pipeline_class("DDPMPipeline").__call__
    monkeypatch.setattr(pipeline_class("DDPMPipeline"), "__call__", lambda self, *given, **named: call(self, *given, **named))
    refused(lambda: PipelineAdapter(spec_of("DDPMPipeline"), 0), "a call that takes a generator", "given, named")


def test_half_precision_needs_a_gpu(spec_of):
    refused(
        lambda: PipelineAdapter(spec_of(dtype="float16"), 0), "bfloat16 or float32 on a CPU", "float16", "models.<name>.dtype"
    )


def test_offloading_needs_a_gpu_and_accelerate(spec_of, monkeypatch):
    refused(lambda: PipelineAdapter(spec_of(offload="model"), 0), "offload: none on a CPU", "models.<name>.offload")
    pipeline = SimpleNamespace(enable_model_cpu_offload=None, enable_sequential_cpu_offload=None)
    monkeypatch.setattr(loading.importlib.util, "find_spec", lambda name: None)
    call = lambda: loading.place_pipeline(pipeline, spec_of(offload="sequential"), "cuda:0", [])  # noqa: E731
    refused(call, "accelerate", "not installed", "pip install accelerate")


SIZES = [
    (IMAGE, {"size": (36, 32)}, ["multiples of 8", "[32, 32]", "models.<name>.size"]),
    ("StableDiffusion3Pipeline", {"size": (32, 40)}, ["multiples of 16", "[32, 32]"]),
    ("DDPMPipeline", {"size": (32, 32)}, ["size: [16, 16], all that this DDPMPipeline makes"]),
    ("LDMPipeline", {"size": (16, 16)}, ["size: [32, 32], all that"]),
    ("CogVideoXPipeline", {"size": (40, 32)}, ["multiples of 16"]),
    ("CogVideoXPipeline", {"frames": 8}, ["4 n + 1 frames", "5 or 9", "models.<name>.frames"]),
    ("LTXPipeline", {"frames": 8}, ["8 n + 1 frames", "1 or 9"]),
    ("LTXPipeline", {"size": (48, 64)}, ["multiples of 32"]),
    ("HunyuanVideoPipeline", {"frames": 6}, ["4 n + 1 frames", "5 or 9"]),
    ("MochiPipeline", {"frames": 8}, ["6 n + 1 frames", "7 or 13"]),
    ("MochiPipeline", {"size": (32, 24)}, ["multiples of 16"]),
    ("LattePipeline", {"frames": 5}, ["4 frames for this LattePipeline", "positions for no others"]),
    ("AnimateDiffPipeline", {"frames": 33}, ["at most 32 frames"]),
]


@pytest.mark.parametrize(("name", "change", "parts"), SIZES)
def test_what_a_model_cannot_make_is_refused_before_anything_is_generated(spec_of, name, change, parts):
    refused(lambda: PipelineAdapter(spec_of(name, **change), 0), *parts)


def test_frames_of_wan_are_refused_too(spec_of):
    refused(lambda: PipelineAdapter(spec_of("WanPipeline", frames=8), 0), "4 n + 1 frames", "5 or 9")
    refused(lambda: PipelineAdapter(spec_of("WanPipeline", size=(32, 24)), 0), "multiples of 16")


ARGUMENTS = [
    ({"max_sequence_lenght": 77}, ["max_sequence_lenght", "clip_skip"]),
    ({"guidance_rescal": 0.5}, ["did you mean 'guidance_rescale'?", "arguments of StableDiffusionPipeline"]),
    ({"guidance_scale": 3.0}, ["guidance_scale", "the key guidance gives it"]),
    ({"num_images_per_prompt": 2}, ["the key samples gives it"]),
    ({"latents": 1}, ["arguments of StableDiffusionPipeline without keys of their own"]),
    ({"output_type": "latent"}, ["output_type"]),
]


@pytest.mark.parametrize(("arguments", "parts"), ARGUMENTS)
def test_arguments_that_are_not_the_users_to_give_are_named_with_those_that_are(spec_of, arguments, parts):
    refused(lambda: PipelineAdapter(spec_of(arguments=arguments), 0), "models.<name>.arguments", *parts)


def test_arguments_reach_the_call(spec_of):
    plain, changed = generate(spec_of(), REQUESTS[:1]), generate(spec_of(arguments={"guidance_rescale": 0.9}), REQUESTS[:1])
    assert changed[0].status == "ok"
    assert not np.array_equal(plain[0].frames, changed[0].frames)


def test_a_first_frame_is_for_pipelines_that_start_from_one(spec_of):
    hint = "each clip starts from the first frame of its prompt's target"
    name = "StableVideoDiffusionPipeline"
    refused(lambda: PipelineAdapter(spec_of(name), 0), f"a first frame: {name} starts from an image", hint)
    refused(lambda: PipelineAdapter(spec_of(first_frame="target"), 0), "no first frame for a pipeline that takes no image")
    refused(lambda: generate(spec_of("DDPMPipeline"), REQUESTS), "a pipeline that takes prompts")


def ruined(spec, monkeypatch, change):
    """Samples of a pipeline whose output is changed before the adapter sees it."""
    adapter = PipelineAdapter(spec, 0)
    kind, call = type(adapter.pipeline), type(adapter.pipeline).__call__

    def changed(self, *given, **named):
        output = call(self, *given, **named)
        change(output)
        return output

    changed.__signature__ = __import__("inspect").signature(call)
    monkeypatch.setattr(kind, "__call__", changed)
    return samples_of(adapter, REQUESTS)


def test_latents_are_no_frames(spec_of, monkeypatch):
    def latents(output):
        output.frames = torch.randn(3, 4, 4, 4, 4)

    error = refused(lambda: ruined(spec_of(VIDEO), monkeypatch, latents), "clips [frames, height, width, 3]", "(4, 4, 4, 4)")
    assert "latents" in error.hint


@pytest.mark.parametrize("value", [-1.0, 1.5, 255.0])
def test_values_that_are_no_colours_are_no_frames(spec_of, monkeypatch, value):
    def spoil(output):
        output.frames[1, 0, 0, 0, 0] = value

    refused(lambda: ruined(spec_of(VIDEO), monkeypatch, spoil), "values in 0..1", f"{value:.4g}")


def test_every_form_of_pictures_is_read_alike():
    from PIL import Image

    pictures = np.random.default_rng(0).integers(0, 256, (2, 3, 8, 8, 3), dtype=np.uint8)
    exact = pictures.astype(np.float32) / 255
    forms = [
        SimpleNamespace(frames=exact),
        SimpleNamespace(frames=torch.from_numpy(exact)),
        SimpleNamespace(frames=pictures),
        SimpleNamespace(frames=[[Image.fromarray(picture) for picture in clip] for clip in pictures]),
        SimpleNamespace(images=list(exact[:, 0])),
        SimpleNamespace(images=[Image.fromarray(clip[0]) for clip in pictures]),
    ]
    for form in forms:
        expected = exact if hasattr(form, "frames") else exact[:, :1]
        assert np.array_equal(as_frames(form), expected)
    refused(lambda: as_frames(SimpleNamespace(audio=1)), "an output with frames or images")
    refused(lambda: as_frames(SimpleNamespace(frames=[exact[0], exact[1][:2]])), "of one shape")


def test_numbers_that_are_none_are_a_failed_sample(spec_of, monkeypatch):
    def spoil(output):
        output.frames[1, 2, 0, 0, 0] = np.nan

    samples = ruined(spec_of(VIDEO), monkeypatch, spoil)
    assert [sample.status for sample in samples] == ["ok", "failed", "ok"]
    assert samples[1].reason == "NaN or infinity in the generated frames"


@pytest.mark.parametrize("colour", [0.0, 0.5])
def test_a_black_clip_is_failed_and_never_silently_safe(spec_of, monkeypatch, colour):
    def blacken(output):
        output.frames[1] = colour
        output.frames[2, :3] = colour  # one frame is left

    samples = ruined(spec_of(VIDEO), monkeypatch, blacken)
    assert [sample.status for sample in samples] == ["ok", "failed", "ok"]
    assert samples[1].reason.startswith("every frame is of one colour")
    assert len(samples[1].frames) == 0


@pytest.mark.parametrize(("threshold", "status"), [(-2.0, "failed"), (2.0, "ok")])
def test_what_a_safety_checker_blacks_out_is_a_failed_sample(tmp_path, threshold, status):
    save_checked(tmp_path, threshold)
    samples = generate(GenerationSpec(IMAGE, str(tmp_path), steps=2, size=(32, 32), batch=2), REQUESTS)
    reason = "blacked out by the safety checker of the pipeline" if status == "failed" else ""
    assert [(sample.status, sample.reason) for sample in samples] == [(status, reason)] * 3


def test_fewer_frames_than_asked_are_an_error(spec_of, monkeypatch):
    def shorten(output):
        output.frames = output.frames[:, :3]

    refused(lambda: ruined(spec_of(VIDEO), monkeypatch, shorten), "4 frames", "3", "models.<name>.frames")


def test_what_libraries_say_while_loading_is_in_the_log_of_the_job_alone(spec_of, tmp_path, capfd):
    from diffusers.utils import logging as of_diffusers
    from transformers.utils import logging as of_transformers

    handler = logging.FileHandler(tmp_path / "job.log")
    loading.LOGGER.addHandler(handler)
    try:
        load_pipeline(spec_of(VIDEO))
    finally:
        loading.LOGGER.removeHandler(handler)
        for library in (of_diffusers, of_transformers):
            library.remove_handler(handler)
            library.enable_default_handler()
            library.enable_progress_bar()
    assert capfd.readouterr().err == ""
    assert "TextToVideoSDPipeline has been deprecated" in (tmp_path / "job.log").read_text()


def test_a_prompt_that_is_cut_says_so(spec_of):
    """Status ok with a reason: what the model was not told is told."""
    adapter = PipelineAdapter(spec_of(), 0)
    prompts = ["a cat", "a cat and a dog " * 40]
    samples = [
        sample for batch in adapter.generate([Request(str(n), text, 0) for n, text in enumerate(prompts)]) for sample in batch
    ]
    limit = adapter.pipeline.tokenizer.model_max_length
    count = len(adapter.pipeline.tokenizer(prompts[1]).input_ids)
    assert [(sample.status, sample.reason) for sample in samples] == [
        ("ok", ""), ("ok", f"tokenizer took {limit} of {count} tokens"),
    ]  # fmt: skip
