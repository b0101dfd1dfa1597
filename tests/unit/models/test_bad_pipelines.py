"""What can be wrong with the files of a model: each a clear error before anything is generated."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from refusals import IMAGE, refused
from sampling import generate
from text_parts import save_published_t5
from vidmem.errors import VidmemError
from vidmem.generation.adapter import GenerationSpec, Request
from vidmem.models import loading
from vidmem.models.families.whole import loading_reports
from vidmem.models.fingerprint import component_fingerprint, model_fingerprint
from vidmem.models.loading import load_pipeline, pipeline_class


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
    with loading_reports() as reports:
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
