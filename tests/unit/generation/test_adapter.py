"""The adapter on a tiny pipeline: batches, recorded guidance, failures, finished parts."""

import numpy as np
import pytest
import torch
from diffusers import TextToVideoSDPipeline

from vidmem.errors import VidmemError
from vidmem.generation.adapter import GenerationSpec, PipelineAdapter, Request, Sample
from vidmem.generation.guidance import GuidancePass, guidance_magnitudes
from vidmem.generation.latent_axes import frames_first
from vidmem.generation.shard import drop_parts, generate_resumable, guidance_rows
from vidmem.models.fingerprint import model_fingerprint
from vidmem.models.loading import pipeline_class

REQUESTS = [Request(f"p{number}", text, 0) for number, text in enumerate(["a red ball", "two cats", "a wall 🎉", "x" * 500])]


@pytest.fixture
def spec(tiny_pipeline):
    return GenerationSpec("TextToVideoSDPipeline", str(tiny_pipeline), steps=2, guidance=3.0, frames=3, size=(32, 32), batch=4)


def generate(spec, requests=REQUESTS, seed=0, **changes):
    from dataclasses import replace

    adapter = PipelineAdapter(replace(spec, **changes), seed)
    return [sample for batch in adapter.generate(requests) for sample in batch]


def test_generation_does_not_depend_on_the_batch(spec):
    together, alone = generate(spec), generate(spec, batch=1)
    mixed = generate(spec, requests=REQUESTS[::-1], batch=3)[::-1]
    for first, second, third in zip(together, alone, mixed):
        assert first.frames.shape == (3, 32, 32, 3)
        assert np.abs(first.frames.astype(int) - second.frames).max() <= 1  # float order in the batch: one grey level
        assert np.abs(first.frames.astype(int) - third.frames).max() <= 1
    assert not np.array_equal(together[0].frames, generate(spec, seed=1)[0].frames)


def test_samples_of_one_prompt_differ(spec):
    first, second = generate(spec, [Request("p", "a red ball", 0), Request("p", "a red ball", 1)])
    assert not np.array_equal(first.frames, second.frames)


def test_recorded_guidance_is_that_of_two_separate_passes(spec, tiny_pipeline):
    """At the first step both branches can be computed by hand from the known noise."""
    from vidmem.base.seeding import torch_stream

    request = REQUESTS[0]
    recorded = generate(spec, [request])[0].guidance
    assert len(recorded) == 2
    pipeline = TextToVideoSDPipeline.from_pretrained(tiny_pipeline)
    pipeline.scheduler.set_timesteps(2)
    noise = torch.randn((1, 8, 3, 4, 4), generator=torch_stream(0, "p0", 0)) * pipeline.scheduler.init_noise_sigma
    with torch.inference_mode():
        embed = pipeline.encode_prompt(request.prompt, "cpu", 1, True)
        branches = [pipeline.unet(noise, pipeline.scheduler.timesteps[0], text).sample for text in (embed[1], embed[0])]
    unconditional, conditional = [branch[0].movedim(1, 0).flatten(1).numpy() for branch in branches]
    guidance = conditional - unconditional
    assert recorded[0]["content"] == pytest.approx(np.linalg.norm(guidance, axis=1), rel=1e-4)
    assert recorded[0]["motion"] == pytest.approx(np.linalg.norm(np.diff(guidance, axis=0), axis=1), rel=1e-4)
    assert recorded[0]["conditional"] == pytest.approx(np.linalg.norm(conditional, axis=1), rel=1e-4)


def test_without_guidance_nothing_is_recorded_not_zero(spec):
    assert generate(spec, REQUESTS[:1], guidance=1.0)[0].guidance == []


def test_frame_axis_is_found():
    prediction = torch.arange(2 * 5 * 3 * 4).reshape(2, 5, 3, 2, 2).float()
    assert frames_first(prediction, 5).shape == (2, 3, 20)
    assert torch.equal(frames_first(prediction, 5)[0, 1], prediction[0, :, 1].movedim(0, -1).flatten())
    assert frames_first(prediction.transpose(1, 2), 5).shape == (2, 3, 20)
    assert frames_first(torch.zeros(2, 4, 8, 8), 4).shape == (2, 1, 256)
    packed = torch.arange(2 * 6 * 4).reshape(2, 6, 4).float()
    assert torch.equal(frames_first(packed, 4, 3)[0, 1], packed[0, 2:4].flatten())
    assert frames_first(packed, 4).shape == (2, 1, 24)
    assert frames_first(packed, 4, 5).shape == (2, 1, 24)  # tokens that are not so many frames
    assert frames_first(torch.zeros(2, 5, 3, 2, 2), 7) is None


def test_magnitudes_of_one_frame_have_no_motion():
    zeros, ones = torch.zeros(1, 1, 4), torch.ones(1, 1, 4)
    assert guidance_magnitudes(GuidancePass(zeros, zeros, ones))["motion"].shape == (1, 0)


def test_running_out_of_memory_halves_the_batch(spec, monkeypatch):
    adapter, sizes = PipelineAdapter(spec, 0), []
    call = adapter._call

    def limited(part):
        sizes.append(len(part))
        if len(part) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return call(part)

    monkeypatch.setattr(adapter, "_call", limited)
    samples = [sample for batch in adapter.generate(REQUESTS) for sample in batch]
    assert sizes == [4, 2, 1, 1, 1, 1]
    assert [sample.request for sample in samples] == REQUESTS
    assert all(sample.status == "ok" for sample in samples)


def test_memory_that_never_suffices_and_other_failures_become_rows(spec, monkeypatch):
    adapter = PipelineAdapter(spec, 0)
    monkeypatch.setattr(adapter, "_call", lambda part: (_ for _ in ()).throw(MemoryError()))
    assert {sample.reason for batch in adapter.generate(REQUESTS) for sample in batch} == {"out of memory at one sample a call"}
    adapter = PipelineAdapter(spec, 0)
    call = adapter._call

    def picky(part):
        if any(request.prompt_id == "p1" for request in part):
            raise ValueError("no cats")
        return call(part)

    monkeypatch.setattr(adapter, "_call", picky)
    samples = [sample for batch in adapter.generate(REQUESTS) for sample in batch]
    assert [sample.status for sample in samples] == ["ok", "failed", "ok", "ok"]
    assert samples[1].reason == "ValueError: no cats"


def test_not_a_number_is_a_failure(spec, monkeypatch):
    adapter = PipelineAdapter(spec, 0)
    decode = adapter.pipeline.vae.decode

    def broken(latents):
        output = decode(latents)
        output.sample[:3] = float("nan")
        return output

    monkeypatch.setattr(adapter.pipeline.vae, "decode", broken)
    samples = [sample for batch in adapter.generate(REQUESTS[:2]) for sample in batch]
    assert [sample.status for sample in samples] == ["failed", "ok"]
    assert "NaN" in samples[0].reason


def test_finished_parts_are_not_generated_again(spec, tmp_path, monkeypatch):
    adapter = PipelineAdapter(spec, 0)
    adapter.batch = 2
    first = list(generate_resumable(adapter, REQUESTS[:2], tmp_path, "recipe"))
    asked = []
    original = adapter.generate
    monkeypatch.setattr(adapter, "generate", lambda requests: asked.append(requests) or original(requests))
    second = list(generate_resumable(adapter, REQUESTS, tmp_path, "recipe"))
    assert asked == [REQUESTS[2:]]
    assert [sample.request for sample in second] == REQUESTS
    assert np.array_equal(first[0].frames, second[0].frames)
    assert first[0].guidance[0]["content"] == pytest.approx(second[0].guidance[0]["content"])
    list(generate_resumable(adapter, REQUESTS[:1], tmp_path, "another recipe"))
    assert asked[-1] == REQUESTS[:1]


@pytest.mark.parametrize("suffix", [".json", ".npy"])
def test_a_damaged_part_is_generated_again(spec, tmp_path, monkeypatch, caplog, suffix):
    """A digit of the guidance, a byte of the frames: named in the log; the batch again gives the same samples to the bit."""
    adapter = PipelineAdapter(spec, 0)
    adapter.batch = 2
    first = list(generate_resumable(adapter, REQUESTS, tmp_path, "recipe"))
    damaged = sorted(tmp_path.glob(f"*{suffix}"))[0]
    content = damaged.read_bytes()
    place = content.index(b"0.") + 2 if suffix == ".json" else len(content) // 2
    damaged.write_bytes(content[:place] + (b"%d" % ((content[place] - 47) % 10)) + content[place + 1 :])
    asked, original = [], adapter.generate
    monkeypatch.setattr(adapter, "generate", lambda requests: asked.extend(requests) or original(requests))
    second = list(generate_resumable(adapter, REQUESTS, tmp_path, "recipe"))
    assert asked in (REQUESTS[:2], REQUESTS[2:])
    assert damaged.stem in caplog.text
    for one, other in zip(first, second):
        assert np.array_equal(one.frames, other.frames)
        assert one.guidance[0]["content"].tolist() == other.guidance[0]["content"].tolist()


def test_parts_go_when_their_shard_is_written_and_those_of_another_recipe_with_them(spec, tmp_path):
    """Parts of another shard of the same recipe stay: its job may be running."""
    adapter = PipelineAdapter(spec, 0)
    list(generate_resumable(adapter, REQUESTS[:1], tmp_path / "parts", "older"))
    list(generate_resumable(adapter, REQUESTS[:2], tmp_path / "parts", "recipe"))
    drop_parts(tmp_path / "parts", "recipe", REQUESTS[:1])
    assert len(list((tmp_path / "parts").glob("*.npy"))) == 1
    drop_parts(tmp_path / "parts", "recipe", REQUESTS[1:2])
    assert not (tmp_path / "parts").exists()


def test_guidance_table_is_tidy():
    steps = [{"content": np.ones(3), "motion": np.zeros(2)}] * 2
    rows = guidance_rows(Sample(REQUESTS[0], np.zeros((3, 4, 4, 3), np.uint8), guidance=steps))
    assert len(rows) == 10
    assert {(quantity, frame) for _, _, _, frame, quantity, _ in rows} == {
        ("content", 0), ("content", 1), ("content", 2), ("motion", 0), ("motion", 1),
    }  # fmt: skip


def test_wrong_models_are_named(spec, tmp_path):
    from dataclasses import replace

    with pytest.raises(VidmemError, match="a pipeline class of diffusers"):
        pipeline_class("os")
    with pytest.raises(VidmemError, match="a saved TextToVideoSDPipeline"):
        PipelineAdapter(replace(spec, path=str(tmp_path)), 0)
    with pytest.raises(VidmemError, match="a scheduler class"):
        PipelineAdapter(replace(spec, scheduler="NoScheduler"), 0)
    with pytest.raises(VidmemError, match="model_index"):
        model_fingerprint(tmp_path)


def test_scheduler_can_be_replaced(spec):
    assert generate(spec, REQUESTS[:1], scheduler="DDPMScheduler")[0].status == "ok"
