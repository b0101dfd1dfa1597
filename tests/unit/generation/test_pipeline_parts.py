"""Pipelines in parts, offloaded, compiled or told a frame rate generate as they should."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from inspect import signature
from types import SimpleNamespace

import pytest
import sentencepiece
import torch

from checkpoints import SHAPES, save_animate_diff_apart, save_checkpoint
from hub import list_files
from published_pipelines import GREY_LEVELS, STEPS, apart, requests_for
from sampling import generate
from text_parts import CAPTIONS, save_published_t5
from vidmem.errors import VidmemError
from vidmem.generation.adapter import GenerationSpec, PipelineAdapter, adapter_of
from vidmem.generation.guidance import guidance_magnitudes
from vidmem.models import loading
from vidmem.models.signatures import RATES


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
from vidmem.generation.adapter import GenerationSpec, PipelineAdapter, Request
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


def test_how_a_machine_makes_a_sample_is_no_part_of_its_settings(saved):
    settings = {"pipeline": "DDPMPipeline", "path": str(saved("DDPMPipeline")), "size": [16, 16], "fps": 8, "samples": 1}
    adapter = adapter_of(settings, {"batch": 5, "offload": "none", "label": "x"}, 0, "cpu")
    assert (adapter.spec.batch, adapter.spec.offload, adapter.spec.size) == (5, "none", (16, 16))
