"""What can be wrong with a model: each a clear error before anything is generated, or a status row with its reason."""

from __future__ import annotations

import json
import logging
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import fetch_model
from checkpoints import SHAPES, save_checked, save_published_t5
from sampling import samples_of
from vidmem.errors import VidmemError
from vidmem.models import loading
from vidmem.models.adapter import GenerationSpec, PipelineAdapter, Request
from vidmem.models.fingerprint import component_fingerprint, model_fingerprint
from vidmem.models.loading import load_pipeline, pipeline_class
from vidmem.models.output import as_frames

REQUESTS = [Request(f"p{number}", text, 0) for number, text in enumerate(["a red ball", "two cats", "a wall"])]
IMAGE, VIDEO = "StableDiffusionPipeline", "TextToVideoSDPipeline"


@pytest.fixture
def spec_of(saved):
    def build(name=IMAGE, **changes):
        frames, size = SHAPES[name]
        spec = GenerationSpec(name, str(saved(name)), steps=2, guidance=3.0, frames=frames, size=size, batch=3)
        return replace(spec, **changes)

    return build


@pytest.fixture
def copy(saved, tmp_path):
    """A copy of a checkpoint, to be damaged, and what loads it."""

    def of(name=IMAGE):
        folder = tmp_path / name
        shutil.copytree(saved(name), folder)
        frames, size = SHAPES[name]
        return folder, GenerationSpec(name, str(folder), steps=2, frames=frames, size=size)

    return of


def generate(spec, requests=REQUESTS):
    return samples_of(PipelineAdapter(spec, 0), requests)


def refused(call, *parts):
    """The error of a call, which names these parts."""
    with pytest.raises(VidmemError) as caught:
        call()
    assert all(part in str(caught.value) for part in parts), str(caught.value)
    return caught.value


# Repositories and files.


def test_a_class_that_does_not_exist_is_named_with_the_nearest_that_does():
    refused(
        lambda: pipeline_class("StableDifusionPipeline"), "StableDifusionPipeline", "did you mean 'StableDiffusionPipeline'?"
    )
    refused(lambda: pipeline_class("UNet2DModel"), "a pipeline class of diffusers")


def test_a_folder_without_weights_is_named_before_and_when_it_is_loaded(copy):
    folder, spec = copy()
    (folder / "unet/diffusion_pytorch_model.safetensors").unlink()
    refused(lambda: load_pipeline(spec), "a saved StableDiffusionPipeline", "diffusion_pytorch_model", str(folder))
    for file in folder.rglob("*.safetensors"):
        file.unlink()
    refused(lambda: model_fingerprint(folder), "weights in safetensors files", "none of", str(folder))
    shutil.rmtree(folder)
    refused(lambda: load_pipeline(spec), "a saved StableDiffusionPipeline", str(folder))
    hub = replace(spec, path="org/name", revision="0" * 40)
    refused(lambda: load_pipeline(hub), "org/name", "the fetch stage brings hub repositories")


def test_a_tokenizer_without_files_is_no_tokenizer(copy):
    """transformers makes one up that reads every word alike."""
    folder, spec = copy()
    assert "tokenizer/tokenizer.json" in model_fingerprint(folder)
    shutil.rmtree(folder / "tokenizer")
    refused(lambda: model_fingerprint(folder), "a folder for each of", "none for tokenizer")
    refused(lambda: load_pipeline(spec), "a tokenizer that tells words apart", "tokenizer without a vocabulary")


def test_files_of_another_class_are_named_with_what_they_lack(saved):
    for name, absent in (
        ("StableDiffusionXLPipeline", "text_encoder_2, tokenizer_2"),
        ("AnimateDiffPipeline", "motion_adapter"),
    ):
        spec = GenerationSpec(name, str(saved(IMAGE)))
        refused(lambda spec=spec: load_pipeline(spec), f"a saved {name}", f"a {IMAGE} without {absent}", "components")
    refused(lambda: load_pipeline(GenerationSpec("WanPipeline", str(saved(IMAGE)))), "a saved WanPipeline")


def test_damaged_weights_are_to_be_fetched_again(copy):
    folder, spec = copy()
    for path in ("unet/diffusion_pytorch_model.safetensors", "text_encoder/model.safetensors"):
        whole = (folder / path).read_bytes()
        (folder / path).write_bytes(whole[:-100])
        refused(lambda: load_pipeline(spec), "a saved StableDiffusionPipeline", "fetch or copy the files again")
        (folder / path).write_bytes(whole)
    refused(lambda: load_pipeline(replace(spec, variant="fp16")), "variant=fp16", "variant: null")


def test_pickles_are_neither_fetched_nor_loaded(copy):
    folder, spec = copy()
    for file in folder.rglob("*.safetensors"):
        torch.save({}, file.with_suffix(".bin"))
        file.unlink()
    refused(lambda: model_fingerprint(folder), "weights in safetensors files", "pickles: ", "unet/diffusion_pytorch_model.bin")
    refused(lambda: load_pipeline(spec), "a saved StableDiffusionPipeline", "pickles (.bin, .ckpt) are not loaded")


def test_a_component_without_weights_is_named(tmp_path):
    refused(lambda: component_fingerprint(tmp_path), "a saved component (config.json)")
    (tmp_path / "config.json").write_text("{}")
    refused(lambda: component_fingerprint(tmp_path), "weights in safetensors files", "none of 1 files")
    save_file({"a": torch.zeros(1)}, tmp_path / "weights.safetensors")
    assert list(component_fingerprint(tmp_path)) == ["config.json", "weights.safetensors"]


PARTS = [("unet", "diffusion_pytorch_model", "UNet2DConditionModel"), ("text_encoder", "model", "CLIPTextModel")]


@pytest.mark.parametrize(("part", "file", "kind"), PARTS)
def test_parameters_that_no_file_has_are_an_error_and_not_random(copy, part, file, kind):
    folder, spec = copy()
    path = folder / part / f"{file}.safetensors"
    weights = load_file(path)
    gone = sorted(name for name in weights if name.endswith("weight"))[0]
    save_file({name: value for name, value in weights.items() if name != gone}, path, metadata={"format": "pt"})
    refused(
        lambda: load_pipeline(spec),
        "every parameter in its files",
        f"{kind} without",
        gone.split(".")[-2],
        "draw them at random",
    )
    save_file(weights, path, metadata={"format": "pt"})
    assert load_pipeline(spec) is not None


@pytest.mark.parametrize(("part", "file", "kind"), PARTS)
def test_parameters_of_another_shape_are_an_error(copy, part, file, kind):
    folder, spec = copy()
    path = folder / part / f"{file}.safetensors"
    weights = load_file(path)
    name = max(weights, key=lambda name: weights[name].numel())
    save_file(weights | {name: weights[name][:1].clone()}, path, metadata={"format": "pt"})
    refused(lambda: load_pipeline(spec), "a saved StableDiffusionPipeline", str(folder), "of another class, or of another")


def test_loading_is_asked_for_its_report_and_leaves_the_libraries_alone(saved):
    import diffusers
    import transformers

    before = [base.__dict__["from_pretrained"] for base in (diffusers.ModelMixin, transformers.PreTrainedModel)]
    with loading.loading_reports() as reports:
        model, report = diffusers.AutoencoderKL.from_pretrained(saved(IMAGE) / "vae", output_loading_info=True)
        assert (type(model).__name__, sorted(report["missing_keys"])) == ("AutoencoderKL", [])  # as its caller asked
        load_pipeline(GenerationSpec(IMAGE, str(saved(IMAGE))))
    assert dict(reports) == {"AutoencoderKL": [], "CLIPTextModel": [], "UNet2DConditionModel": []}
    with pytest.raises(VidmemError):
        load_pipeline(GenerationSpec(IMAGE, "/nowhere"))
    assert [base.__dict__["from_pretrained"] for base in (diffusers.ModelMixin, transformers.PreTrainedModel)] == before


def test_code_of_a_repository_does_not_run_unasked(copy, tmp_path):
    folder, spec = copy("DDPMPipeline")
    (folder / "unet/mine.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nfrom diffusers import UNet2DModel as Mine\n")
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps(index | {"unet": ["mine", "Mine"]}))
    refused(lambda: load_pipeline(spec), "a saved DDPMPipeline", "trust_remote_code: true")
    assert not (tmp_path / "ran").exists()


OWN = """
open({ran!r}, "w")
from diffusers import DDPMPipeline
from .layers import inverted

class Mine(DDPMPipeline):
    _optional_components = ["beside"]

    def __init__(self, unet, scheduler, beside):
        super().__init__(unet, scheduler)
        self.register_modules(beside=beside)

    def __call__(self, batch_size=1, generator=None, num_inference_steps=1000, output_type="pil"):
        output = super().__call__(batch_size, generator, num_inference_steps, output_type)
        output.images = inverted(output.images)
        return output
"""


@pytest.fixture
def own(copy, tmp_path):
    """A folder with a pipeline of its own, which inverts its pictures, its specification, and a file that its code makes."""

    def build(named, file="pipeline.py"):
        folder, spec = copy("DDPMPipeline")
        (folder / file).write_text(OWN.format(ran=str(tmp_path / "ran")))
        (folder / "layers.py").write_text("def inverted(images):\n    return 1 - images\n")
        index = json.loads((folder / "model_index.json").read_text())
        (folder / "model_index.json").write_text(json.dumps(index | {"_class_name": named, "beside": [None, None]}))
        return folder, replace(spec, pipeline="Mine", trust_remote_code=True), tmp_path / "ran"

    return build


@pytest.mark.parametrize(
    ("named", "file"), [(["pipeline", "Mine"], "pipeline.py"), (["mine", "Mine"], "mine.py"), ("Mine", "pipeline.py")]
)
def test_a_pipeline_of_the_repositorys_own_runs_where_it_is_granted_and_there_alone(own, saved, named, file):
    folder, spec, ran = own(named, file)
    assert {file, "layers.py"} < set(model_fingerprint(folder))
    for pipeline in ("Mine", "DDPMPipeline") if isinstance(named, list) else ("Mine",):
        unasked = replace(spec, trust_remote_code=False, pipeline=pipeline)
        expected = ("code of its own", "trust_remote_code: true") if isinstance(named, list) else ("Mine",)
        refused(lambda spec=unasked: load_pipeline(spec), "a pipeline class of diffusers", *expected)
    assert not ran.exists()
    plain = replace(spec, pipeline="DDPMPipeline", path=str(saved("DDPMPipeline")), trust_remote_code=False)
    request = [Request("p", "", 0)]
    (mine,), (theirs,) = generate(spec, request), generate(plain, request)
    assert ran.exists()
    assert (mine.status, type(load_pipeline(spec)).__name__) == ("ok", "Mine")
    assert sorted(path.name for path in Path(loading.place_code().name).rglob("layers.py")) == ["layers.py"]
    assert np.abs(mine.frames.astype(int) + theirs.frames - 255).max() <= 1


def test_own_code_that_is_another_or_not_there_is_named(own):
    folder, spec, ran = own(["other", "Mine"])
    refused(lambda: load_pipeline(spec), "other.py, which has the class Mine", str(folder))
    refused(lambda: load_pipeline(replace(spec, pipeline="DDPMPipeline")), "Mine, as model_index.json of", "models.pipeline")
    assert not ran.exists()
    (folder / "other.py").write_text("import no_such_package\n")
    refused(lambda: load_pipeline(spec), "a class Mine in other.py", "no_such_package")
    (folder / "other.py").write_text("Other = 1\n")
    refused(lambda: load_pipeline(spec), "a class Mine in other.py", str(folder))


def test_a_call_that_takes_no_seed_is_refused(spec_of, monkeypatch):
    call = pipeline_class("DDPMPipeline").__call__
    monkeypatch.setattr(pipeline_class("DDPMPipeline"), "__call__", lambda self, *given, **named: call(self, *given, **named))
    refused(lambda: PipelineAdapter(spec_of("DDPMPipeline"), 0), "a call that takes a generator", "given, named")


@pytest.mark.parametrize("absent", [["sentencepiece"], ["protobuf"], ["sentencepiece", "protobuf"]])
def test_a_package_that_reads_a_vocabulary_is_what_to_install(copy, monkeypatch, absent):
    import transformers.utils

    folder, spec = copy("LTXPipeline")
    for name in absent:
        monkeypatch.setattr(transformers.utils, f"is_{name}_available", lambda: False)
    assert load_pipeline(spec) is not None  # it has a tokenizer.json
    save_published_t5(folder / "tokenizer")
    error = refused(lambda: load_pipeline(spec), "not installed", str(folder / "tokenizer/spiece.model"))
    assert error.hint == f"pip install {' '.join(absent)}"
    assert "tiktoken" not in str(error)


def test_a_damaged_vocabulary_is_to_be_fetched_again(copy):
    folder, spec = copy("LTXPipeline")
    save_published_t5(folder / "tokenizer")
    (folder / "tokenizer/spiece.model").write_bytes(b"version https://git-lfs.github.com/spec/v1")
    assert "fetch or copy the files again" in refused(lambda: load_pipeline(spec), "a saved LTXPipeline", str(folder)).hint


def test_a_missing_accelerate_is_what_to_install(saved, monkeypatch):
    def refuse(*given, **named):
        raise ValueError("`low_cpu_mem_usage` cannot be False when `keep_in_fp32_modules` is True.")

    monkeypatch.setattr(pipeline_class("DDPMPipeline"), "from_pretrained", refuse)
    refused(
        lambda: load_pipeline(GenerationSpec("DDPMPipeline", str(saved("DDPMPipeline")))),
        "keep_in_fp32_modules",
        "pip install accelerate",
    )


HUB = {
    "GatedRepoError": ["https://huggingface.co/org/name", "hf auth login", "licence"],
    "RepositoryNotFoundError": ["misspelt, gone or private", "https://huggingface.co/org/name"],
    "RevisionNotFoundError": ["https://huggingface.co/org/name/commits"],
    "LocalEntryNotFoundError": ["give a folder as path"],
}


@pytest.mark.parametrize(("kind", "parts"), HUB.items())
def test_what_the_hub_refuses_is_said_with_the_page(monkeypatch, kind, parts):
    import huggingface_hub
    from huggingface_hub import errors

    answer = SimpleNamespace(headers={}, request=None, status_code=403)

    def refuse(repository, **named):
        error = getattr(errors, kind)
        raise error("no") if kind == "LocalEntryNotFoundError" else error("no", response=answer)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", refuse)
    refused(lambda: fetch_model.download("org/name", "0" * 40), "repository org/name", kind, *parts)
    refused(lambda: fetch_model.download("org/name", None), "a revision", "org/name")


def test_components_are_fetched_with_their_model(copy, tmp_path):
    folder, _ = copy()
    fetch_model.fetch_model(str(folder), None, {}, tmp_path / "plain.json")
    assert set(json.loads((tmp_path / "plain.json").read_text())) == {"path", "revision", "files"}
    place = {"path": str(folder / "vae"), "revision": None}
    fetch_model.fetch_model(str(folder), None, {"vae": place}, tmp_path / "model.json")
    record = json.loads((tmp_path / "model.json").read_text())["components"]["vae"]
    assert record["path"] == place["path"]
    assert set(record["files"]) == {"config.json", "diffusion_pytorch_model.safetensors"}


# Settings.


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
    refused(lambda: generate(spec_of("DDPMPipeline")), "a pipeline that takes prompts")


# Outputs.


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
    samples = generate(GenerationSpec(IMAGE, str(tmp_path), steps=2, size=(32, 32), batch=2))
    reason = "blacked out by the safety checker of the pipeline" if status == "failed" else ""
    assert [(sample.status, sample.reason) for sample in samples] == [(status, reason)] * 3


def test_fewer_frames_than_asked_are_an_error(spec_of, monkeypatch):
    def shorten(output):
        output.frames = output.frames[:, :3]

    refused(lambda: ruined(spec_of(VIDEO), monkeypatch, shorten), "4 frames", "3", "models.<name>.frames")


# The log.


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
