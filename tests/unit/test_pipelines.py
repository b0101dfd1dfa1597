"""Published pipeline classes on small random checkpoints, loaded from folders by the code that loads a hub repository."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from dataclasses import replace
from inspect import signature
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import sentencepiece
import torch

from checkpoints import CAPTIONS, SHAPES, save_animate_diff_apart, save_checkpoint, save_published_t5
from hub import list_files
from sampling import samples_of
from vidmem.detection import why_not_defined
from vidmem.devices import FLOAT32_ALONE
from vidmem.errors import VidmemError
from vidmem.generation import first_frames, requests_of
from vidmem.guidance import guidance_magnitudes
from vidmem.models import loading
from vidmem.models.adapter import GenerationSpec, PipelineAdapter, Request, adapter_of
from vidmem.models.limits import why_alone
from vidmem.signatures import EMBEDDED, RATES, call_of, told_rate

STEPS, PROMPTS = 2, ["a red ball", "two cats on a wall", ""]
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
UNPROMPTED = ("DDPMPipeline", "LDMPipeline")
UNGUIDED = (*UNPROMPTED, "HunyuanVideoPipeline")  # the last is told its scale: distilled
CLASSES = list(SHAPES)
GREY_LEVELS = 1  # of 255, between a sample made alone and one made in a batch, in float32


@pytest.fixture
def spec_of(saved):
    def build(name, **changes):
        frames, size = SHAPES[name]
        spec = GenerationSpec(name, str(saved(name)), steps=STEPS, guidance=3.0, frames=frames, size=size, batch=3)
        given = {"first_frame": "target", "drop_frames": 1} if name == "StableVideoDiffusionPipeline" else {}
        return replace(spec, **{**given, **changes})

    return build


def requests_for(name, count=3):
    pictures = np.random.default_rng(3).integers(0, 256, (count, 40, 48, 3), dtype=np.uint8)
    texts = [""] * count if name in UNPROMPTED else (PROMPTS * count)[:count]
    return [Request(f"p{number}", text, number, first_frame=pictures[number]) for number, text in enumerate(texts)]


def generate(spec, requests, adapter=None):
    adapter = adapter or PipelineAdapter(spec, 0)
    return samples_of(adapter, requests)


def apart(one, other):
    """Greatest difference of two clips in grey levels."""
    return int(np.abs(one.frames.astype(int) - other.frames).max())


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
    assert "its network is told the scale: there is one pass a step, and no guidance to be defined" in caplog.text
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


def test_prompts_without_a_target_are_rows_with_a_reason():
    class Corpus:
        clips = pd.DataFrame({"clip_id": ["a", "b"], "set": "corpus-films", "status": ["ok", "missing"], "split": "member"})

        def read(self, name, clip_ids):
            assert (name, list(clip_ids)) == ("corpus-films", ["a"])

        def of(self, name, clip_id):
            return np.stack([np.full((4, 4, 3), 7, np.uint8), np.full((4, 4, 3), 9, np.uint8)])

    prompts = pd.DataFrame({"prompt_id": ["p0", "p1", "p2", "p3"], "target": ["a", "b", "", "a"], "prompt": "x"})
    prompts = prompts.assign(status=["ok"] * 3 + ["skipped"], reason=[""] * 3 + ["no caption"])
    table, given = first_frames(prompts, Corpus())
    assert list(table["status"]) == ["ok", "skipped", "skipped", "skipped"]
    assert list(table["reason"]) == ["", *["no target clip that gives the first frame"] * 2, "no caption"]
    assert list(prompts["status"])[:3] == ["ok"] * 3
    assert given["p0"].shape == (4, 4, 3)
    requests = requests_of(table, 2, given)
    assert [(request.prompt_id, int(request.first_frame.max())) for request in requests] == [("p0", 7), ("p0", 7)]


def test_detection_of_a_model_that_starts_from_a_frame_is_not_defined():
    settings = {"kind": "diffusers", "unconditional": 0, "first_frame": "target"}
    assert why_not_defined(settings) == "a model that starts from a frame: there are no negative prompts with one"
    assert "no guidance pass was seen" in why_not_defined(settings | {"first_frame": None})


def test_a_motion_adapter_may_lie_in_a_repository_of_its_own(tmp_path):
    save_animate_diff_apart(tmp_path / "sd", tmp_path / "motion")
    frames, size = SHAPES["AnimateDiffPipeline"]
    spec = GenerationSpec("AnimateDiffPipeline", str(tmp_path / "sd"), steps=STEPS, frames=frames, size=size, guidance=3.0)
    spec = replace(spec, components={"motion_adapter": {"path": str(tmp_path / "motion"), "revision": None}})
    samples = generate(spec, requests_for("AnimateDiffPipeline", 2))
    assert [sample.status for sample in samples] == ["ok", "ok"]
    assert samples[0].guidance[0]["motion"].shape == (frames - 1,)
    with pytest.raises(
        VidmemError, match="(?s)a component of AnimateDiffPipeline: vae, .*motion_adaptor.*did you mean 'motion_adapter'"
    ):
        PipelineAdapter(replace(spec, components={"motion_adaptor": {"path": str(tmp_path / "motion")}}), 0)
    with pytest.raises(VidmemError, match="a saved motion_adapter"):
        PipelineAdapter(replace(spec, components={"motion_adapter": {"path": str(tmp_path)}}), 0)


HUB = """
import sys
from vidmem.models.adapter import GenerationSpec, PipelineAdapter, Request
commit = sys.argv[1]
parts = {"motion_adapter": {"path": "org/motion", "revision": commit}}
spec = GenerationSpec("AnimateDiffPipeline", "org/sd", commit, steps=1, frames=4, size=(32, 32), components=parts)
adapter = PipelineAdapter(spec, 0)
(sample,) = next(adapter.generate([Request("p", "a red ball", 0)]))
print(adapter.spec.path, adapter.spec.revision == commit, sample.status, sample.frames.shape)
"""


def test_a_repository_in_the_cache_of_the_hub_is_loaded_at_its_commit(tmp_path, root):
    """The layout that snapshot_download leaves; a process of its own, since the place of the cache is read on import.

    The repository has more than its components, which a fetch leaves there: nothing asks for it again.
    """
    commit, places = "0123456789" * 4, {}
    for name in ("sd", "motion"):
        places[name] = tmp_path / f"hub/models--org--{name}/snapshots/{commit}"
    save_animate_diff_apart(places["sd"], places["motion"])
    here = {
        path.relative_to(places["sd"]).as_posix(): path.stat().st_size for path in places["sd"].rglob("*") if path.is_file()
    }
    beside = {"config.json": 9, "tokenizer.json": 9, "sd.safetensors": 9, "unet/diffusion_pytorch_model.bin": 9}
    list_files(tmp_path / "hub/models--org--sd", commit, here | beside)
    environment = {**os.environ, "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(root / "workflow_scripts")}
    environment.pop("HF_HUB_CACHE", None)
    command = [sys.executable, "-c", HUB, commit]
    found = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert found.stdout.split("\n")[-2:] == ["org/sd True ok (4, 32, 32, 3)", ""], found.stderr[-3000:]


def test_predictions_of_velocity_are_a_stable_diffusion_too(tmp_path):
    """SD 2.1 at 768 pixels predicts the velocity."""
    from checkpoints import stable_diffusion

    torch.manual_seed(0)
    stable_diffusion("v_prediction").save_pretrained(tmp_path)
    spec = GenerationSpec("StableDiffusionPipeline", str(tmp_path), steps=STEPS, size=(32, 32), guidance=3.0)
    (sample,) = next(PipelineAdapter(spec, 0).probe(requests_for("StableDiffusionPipeline", 1), guidance_magnitudes))
    assert sample.guidance[0]["content"].shape == (1,)
    assert generate(spec, requests_for("StableDiffusionPipeline", 1))[0].status == "ok"


def test_the_autoencoder_decodes_by_samples_to_the_same_pixels_and_by_tiles_to_others(spec_of):
    name = "StableDiffusionPipeline"
    requests = requests_for(name, 2)
    plain = generate(spec_of(name), requests)
    sliced = PipelineAdapter(spec_of(name, vae={"slicing": True, "tiling": False}), 0)
    assert (sliced.pipeline.vae.use_slicing, sliced.pipeline.vae.use_tiling) == (True, False)
    assert all(apart(one, other) <= GREY_LEVELS for one, other in zip(plain, generate(None, requests, sliced)))
    tiled = PipelineAdapter(spec_of(name, vae={"tiling": True}, size=(64, 64)), 0)
    assert tiled.pipeline.vae.use_tiling
    samples = generate(spec_of(name, size=(64, 64)), requests)
    assert max(apart(one, other) for one, other in zip(samples, generate(None, requests, tiled))) > GREY_LEVELS
    with pytest.raises(VidmemError, match="an autoencoder with tiling"):
        PipelineAdapter(spec_of("DDPMPipeline", vae={"tiling": True}), 0)


def test_a_compiled_denoiser_is_still_seen_by_the_hooks(spec_of, monkeypatch):
    """The compiler itself is torch's: here it wraps, so that the calls are counted."""
    compiled = []

    def compile_nothing(function):
        def counted(*given, **named):
            compiled.append(1)
            return function(*given, **named)

        return counted

    monkeypatch.setattr(torch, "compile", compile_nothing)
    name = "TextToVideoSDPipeline"
    (sample,) = generate(spec_of(name, compile=True), requests_for(name, 1))
    assert (len(compiled), len(sample.guidance)) == (STEPS, STEPS)


def test_weights_are_offloaded_to_the_device_of_the_job(monkeypatch):
    moved = []
    pipeline = SimpleNamespace(
        enable_model_cpu_offload=lambda device: moved.append(("model", device)),
        enable_sequential_cpu_offload=lambda device: moved.append(("sequential", device)),
        to=lambda device: moved.append(("to", device)),
    )
    monkeypatch.setattr(loading.importlib.util, "find_spec", lambda name: name)
    for way in ("none", "model", "sequential"):
        loading.place_pipeline(pipeline, GenerationSpec("X", "", offload=way), "cuda:1", [])
    assert moved == [("to", "cuda:1"), ("model", "cuda:1"), ("sequential", "cuda:1")]


def test_an_offloaded_denoiser_is_still_seen_by_the_hooks(spec_of):
    """Offloading to where it came from: accelerate's hooks and ours around one network."""
    adapter, requests = PipelineAdapter(spec_of("StableDiffusion3Pipeline"), 0), requests_for("StableDiffusion3Pipeline", 2)
    plain = generate(None, requests, adapter)
    adapter.pipeline.enable_model_cpu_offload(device="cpu")
    for one, other in zip(plain, generate(None, requests, adapter)):
        assert apart(one, other) <= GREY_LEVELS
        assert len(other.guidance) == STEPS


def test_a_published_vocabulary_without_a_tokenizer_file_is_read_as_its_own_library_reads_it(tmp_path):
    """LTX-Video, CogVideoX, Mochi and Latte have a spiece.model alone."""
    name = "LTXPipeline"
    save_checkpoint(name, tmp_path)
    save_published_t5(tmp_path / "tokenizer")
    frames, size = SHAPES[name]
    adapter = PipelineAdapter(GenerationSpec(name, str(tmp_path), steps=STEPS, guidance=3.0, frames=frames, size=size), 0)
    model = sentencepiece.SentencePieceProcessor(model_file=str(tmp_path / "tokenizer/spiece.model"))
    for text in [*CAPTIONS, "A Ball, 3 cats!", "\ufb01ve"]:
        assert adapter.pipeline.tokenizer(text).input_ids == [*model.encode(text), model.eos_id()]
    (request,) = requests_for(name, 1)
    one, same, other = generate(None, [request, request, replace(request, prompt="a wall")], adapter)
    assert [sample.status for sample in (one, other)] == ["ok", "ok"]
    assert apart(one, same) <= GREY_LEVELS < apart(one, other)


TOLD = {"LTXPipeline": "frame_rate", "StableVideoDiffusionPipeline": "fps"}


@pytest.mark.parametrize("name", TOLD)
def test_networks_that_are_told_the_rate_of_frames_are_told_that_of_the_configuration(spec_of, name):
    requests, spec = requests_for(name, 1), spec_of(name)
    default = signature(getattr(__import__("diffusers"), name).__call__).parameters[TOLD[name]].default
    settings = {key: value for key, value in vars(spec).items() if key not in ("batch", "offload")}
    adapter = adapter_of({**settings, "fps": 3}, {"batch": 1, "offload": "none"}, 0, "cpu")
    assert adapter._arguments(requests)[TOLD[name]] == 3
    slow = generate(None, requests, adapter)[0]
    left, same = (generate(spec_of(name, **given), requests)[0] for given in ({}, {"fps": default}))
    assert apart(left, same) == 0
    assert apart(slow, same) > GREY_LEVELS
    explicit = PipelineAdapter(spec_of(name, fps=60, arguments={TOLD[name]: 3}), 0)
    assert apart(slow, generate(None, requests, explicit)[0]) == 0


def test_networks_that_are_not_told_the_rate_get_none(spec_of):
    adapter = PipelineAdapter(spec_of("TextToVideoSDPipeline", fps=8), 0)
    assert set(RATES).isdisjoint(adapter._arguments(requests_for("TextToVideoSDPipeline", 1)))


@pytest.mark.parametrize("name", [*CLASSES, *EMBEDDED, "LaViePipeline", "RaMViDPipeline", "UnconditionalVideoPipeline"])
def test_calls_are_read_off_the_source_as_python_reads_them(name):
    kind, constant = loading.pipeline_class(name), (int, float, str, bool, type(None))
    expected = dict(signature(kind.__call__).parameters)
    del expected["self"]
    assert list(call_of(name)) == [key for key, value in expected.items() if value.kind is not value.VAR_KEYWORD]
    for key, value in call_of(name).items():
        default = None if expected[key].default is expected[key].empty else expected[key].default
        assert value == (default if type(default) in constant else None), key
    assert told_rate(name) == bool({"fps", "frame_rate", "target_fps"} & set(expected))


def test_calls_of_unknown_classes_are_unknown():
    assert call_of("NoSuchPipeline") is None
    assert told_rate("NoSuchPipeline") is None


def test_how_a_machine_makes_a_sample_is_no_part_of_its_settings(saved):
    settings = {"pipeline": "DDPMPipeline", "path": str(saved("DDPMPipeline")), "size": [16, 16], "fps": 8, "samples": 1}
    adapter = adapter_of(settings, {"batch": 5, "offload": "none", "label": "x"}, 0, "cpu")
    assert (adapter.spec.batch, adapter.spec.offload, adapter.spec.size) == (5, "none", (16, 16))
