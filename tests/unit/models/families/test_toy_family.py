"""A family of models that a test registers: the library takes it without a change to any of its files."""

import json

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler, DiffusionPipeline
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from diffusers.utils.torch_utils import randn_tensor
from diffusers.video_processor import VideoProcessor

from official_layouts import save_official
from vidmem.config import complete_config, load_schema
from vidmem.errors import VidmemError
from vidmem.generation.adapter import PipelineAdapter, Request
from vidmem.generation.latent_axes import latent_axes_of
from vidmem.models.conversion import convert_checkpoint
from vidmem.models.families.checkpoints import Renaming, filled, renamed
from vidmem.models.families.records import FAMILIES, ModelFamily, Variant, family_pipelines, register_family
from vidmem.models.families.reference import VideoOutput
from vidmem.models.loading import GenerationSpec
from vidmem.models.signatures import call_of
from vidmem.planning.model_needs import memory_needs
from vidmem.planning.registries import registered_names


class ToyUNet(ModelMixin, ConfigMixin):
    """Convolution of every frame alone; videos are [B, T, C, H, W]."""

    @register_to_config
    def __init__(self, in_channels: int = 3, kernel: int = 3):
        super().__init__()
        self.mix = torch.nn.Conv2d(in_channels, in_channels, kernel, padding=kernel // 2)

    def forward(self, sample, timestep):
        return self.mix(sample.flatten(0, 1)).unflatten(0, sample.shape[:2])


class ToyPipeline(DiffusionPipeline):
    """Videos in pixels without a prompt."""

    def __init__(self, unet: ToyUNet, scheduler: DDPMScheduler):
        super().__init__()
        self.register_modules(unet=unet, scheduler=scheduler)

    @torch.no_grad()
    def __call__(
        self, batch_size=1, num_frames=4, height=8, width=8, num_inference_steps=2, generator=None, output_type="np"
    ):  # fmt: skip
        video = randn_tensor((batch_size, num_frames, 3, height, width), generator=generator)
        self.scheduler.set_timesteps(num_inference_steps)
        for time in self.scheduler.timesteps:
            video = self.scheduler.step(self.unet(video, time), time, video, generator=generator).prev_sample
        processor = VideoProcessor(do_resize=False, vae_scale_factor=1)
        return VideoOutput(processor.postprocess_video(video.transpose(1, 2), output_type=output_type))


def toy_from_official(weights, network, choice, base, where):
    unet = filled(ToyUNet, network, renamed(weights, (Renaming(r"model\.(.+)", (r"mix.\1",)),), where), where)
    return ToyPipeline(unet=unet, scheduler=DDPMScheduler(**choice))


@pytest.fixture
def toy():
    variants = {
        "small": Variant({"unet": 84.0}, choice={"beta_end": 0.03}), "large": Variant({"unet": 228.0}, network={"kernel": 5}),
    }  # fmt: skip
    family = ModelFamily("toy", "ToyPipeline", __name__, "toy_from_official", variants, latent_axes={"ToyUNet": "btchw"})
    register_family(family)
    yield family
    del FAMILIES["toy"]


def official(folder, kernel=3):
    """Random weights under their official names, and the keys of a checkpoint in the configuration."""
    stream = torch.Generator().manual_seed(0)
    weights = {
        "model.weight": torch.randn(3, 3, kernel, kernel, generator=stream),
        "model.bias": torch.randn(3, generator=stream),
    }
    digest = save_official(folder / "toy.pt", weights)
    return weights, {"layout": "toy", "file": str(folder / "toy.pt"), "sha256": digest}


def test_a_registered_family_is_converted_loaded_and_generates(toy, tmp_path):
    weights, checkpoint = official(tmp_path)
    convert_checkpoint(checkpoint, None, tmp_path / "converted")
    record = json.loads((tmp_path / "converted/conversion.json").read_text())
    assert (record["layout"], record["variant"]) == ("toy", "small")
    spec = GenerationSpec("ToyPipeline", str(tmp_path / "converted"), steps=2, frames=2, size=(8, 8), batch=1)
    adapter = PipelineAdapter(spec, 0)
    assert torch.equal(adapter.pipeline.unet.mix.weight, weights["model.weight"])
    assert adapter.pipeline.scheduler.config.beta_end == 0.03
    (sample,) = next(adapter.generate([Request("p", "", 0)]))
    assert (sample.status, sample.frames.shape) == ("ok", (2, 8, 8, 3))
    assert len(np.unique(sample.frames)) > 2


def test_another_variant_of_it_has_another_network(toy, tmp_path):
    weights, checkpoint = official(tmp_path, kernel=5)
    convert_checkpoint(checkpoint | {"variant": "large"}, None, tmp_path / "converted")
    assert torch.equal(ToyUNet.from_pretrained(tmp_path / "converted/unet").mix.weight, weights["model.weight"])
    for settings, message in (({}, "other shapes"), ({"variant": "huge"}, r"\['large', 'small'\]")):
        with pytest.raises(VidmemError, match=message):
            convert_checkpoint(checkpoint | settings, None, tmp_path / "refused")
    with pytest.raises(VidmemError, match="none: toy needs none"):
        convert_checkpoint(checkpoint, tmp_path, tmp_path / "refused")


def test_the_axes_of_its_latents_and_its_call_are_known(toy):
    latents = torch.zeros(1, 3, 3, 8, 8)  # three frames of three channels: nothing but the record tells them apart
    assert latent_axes_of(ToyUNet(), latents, latents) == "btchw"
    assert call_of("ToyPipeline")["num_frames"] == 4


def test_without_its_record_nobody_knows_it(tmp_path):
    latents = torch.zeros(1, 3, 3, 8, 8)
    assert latent_axes_of(ToyUNet(), latents, latents) is None
    assert call_of("ToyPipeline") is None
    with pytest.raises(VidmemError, match="checkpoint.layout"):
        convert_checkpoint(official(tmp_path)[1], None, tmp_path / "converted")


def audit_of(checkpoint, **keys):
    source = {"name": "clips", "kind": "folder", "path": "clips"}
    model = {"kind": "diffusers", "corpus": "own", "pipeline": "ToyPipeline", "checkpoint": checkpoint} | keys
    return {"run": "test", "corpora": {"own": {"sources": [source]}}, "models": {"toy": model}}


def test_the_configuration_takes_it_and_a_preflight_knows_its_size(toy, root, tmp_path):
    schema = load_schema(root / "rules/schemas/config.schema.yaml", registered_names())
    checkpoint = official(tmp_path)[1]
    config = complete_config(audit_of(checkpoint), schema, family_pipelines())
    (row,) = memory_needs(config | {"device": "cpu"}, config["models"], tmp_path)
    assert f"at least {84 * 4} B" in row.found
    assert "counted on its networks" in row.found
    with pytest.raises(VidmemError, match="ToyPipeline for layout toy"):
        complete_config(audit_of(checkpoint, pipeline="LaViePipeline"), schema, family_pipelines())


def test_a_name_is_given_once(toy):
    with pytest.raises(VidmemError, match="a new name\nGot toy"):
        register_family(toy)
