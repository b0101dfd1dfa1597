"""Latent diffusion: official names, denoiser and autoencoder against their descriptions, conversion, and what is refused."""

import json
import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from checkpoints import save_checkpoint
from official_layouts import (
    LATENT_DIFFUSION,
    TINY_LATENT_DIFFUSION,
    latent_diffusion_names,
    latent_diffusion_weights,
    save_official,
)
from official_networks import convolved_image, decoded, encoded, mapped, normalised, sinusoids
from own_checkpoints import LATENT_DIFFUSION_NETWORK
from vidmem.errors import VidmemError
from vidmem.generation.adapter import GenerationSpec, PipelineAdapter, Request
from vidmem.inversion.adapters import InvertibleModel
from vidmem.models.conversion import convert_checkpoint
from vidmem.models.families.latent_diffusion import UNET, latent_diffusion_from_official, official_scheduler
from vidmem.models.loading import load_pipeline

VAE = TINY_LATENT_DIFFUSION["vae"]


def converted(weights, network=LATENT_DIFFUSION_NETWORK, averaged=False):
    return latent_diffusion_from_official(weights, network, {"averaged": averaged}, None, "test")


def residual(w, name, image, told, groups):
    hidden = convolved_image(w, f"{name}.in_layers.2", functional.silu(normalised(w, f"{name}.in_layers.0", image, groups)))
    hidden = hidden + mapped(w, f"{name}.emb_layers.1", functional.silu(told))[None, :, None, None]
    hidden = functional.silu(normalised(w, f"{name}.out_layers.0", hidden, groups))
    hidden = convolved_image(w, f"{name}.out_layers.3", hidden)
    own = f"{name}.skip_connection"
    return hidden + (convolved_image(w, own, image) if f"{own}.weight" in w else image)


def attended(w, name, image, plan):
    """A head has its query, key and value one behind the other."""
    mixed = mapped(w, f"{name}.qkv", normalised(w, f"{name}.norm", image, plan["groups"])[0].flatten(1).T).T
    found = []
    for head in mixed.split(3 * plan["head"]):
        q, k, v = head.chunk(3)
        found.append(v @ (q.T @ k / math.sqrt(len(q))).softmax(-1).T)
    return image + mapped(w, f"{name}.proj_out", torch.cat(found).T).T.reshape(image.shape)


def reference(w, sample, time, plan):
    """The denoiser for one code [1, C, H, W], from its description."""
    depth, levels = plan["depth"], len(plan["multipliers"])
    told = mapped(w, "time_embed.2", functional.silu(mapped(w, "time_embed.0", sinusoids(time, plan["width"]))))

    def step(name, image, attends):
        image = residual(w, f"{name}.0", image, told, plan["groups"])
        return attended(w, f"{name}.1", image, plan) if attends else image

    image = convolved_image(w, "input_blocks.0.0", sample)
    kept, number = [image], 1
    for level in range(levels):
        for _ in range(depth):
            image = step(f"input_blocks.{number}", image, 2**level in plan["attended"])
            kept.append(image)
            number += 1
        if level < levels - 1:
            image = convolved_image(w, f"input_blocks.{number}.0.op", image, 2)
            kept.append(image)
            number += 1
    image = residual(w, "middle_block.2", step("middle_block", image, True), told, plan["groups"])
    number = 0
    for level in reversed(range(levels)):
        attends = 2**level in plan["attended"]
        for index in range(depth + 1):
            image = step(f"output_blocks.{number}", torch.cat([image, kept.pop()], dim=1), attends)
            if level and index == depth:
                doubled = image.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
                image = convolved_image(w, f"output_blocks.{number}.{2 if attends else 1}.conv", doubled)
            number += 1
    return convolved_image(w, "out.2", functional.silu(normalised(w, "out.0", image, plan["groups"])))


@pytest.mark.parametrize("averaged", [False, True])
def test_every_official_name_is_taken_and_every_weight_is_filled(averaged):
    """At the published sizes, on no device. The paper counts 274 million parameters of the denoiser."""
    names = latent_diffusion_names(**LATENT_DIFFUSION)
    with torch.device("meta"):
        weights = {name: torch.empty(shape) for name, shape in names.items()}
    for name in ("alphas_cumprod", "betas"):
        weights[name] = latent_diffusion_weights()[name]
    pipeline = converted(weights, {}, averaged)
    assert sum(values.numel() for values in pipeline.unet.parameters()) == 274_056_163
    of_codes = sum(math.prod(shape) for name, shape in names.items() if name.startswith("first_stage_model."))
    assert sum(values.numel() for values in pipeline.vqvae.parameters()) == of_codes
    assert pipeline.unet(torch.empty(2, 3, 64, 64, device="meta"), 1).sample.shape == (2, 3, 64, 64)


@pytest.mark.parametrize(
    ("multipliers", "depth", "attends"), [((1, 2), 1, (2,)), ((1, 2, 2), 2, (4, 2)), ((1, 1, 2), 1, (1, 4)), ((1, 1), 2, ())]
)
def test_denoiser_is_that_of_the_description(multipliers, depth, attends):
    plan = TINY_LATENT_DIFFUSION | {"multipliers": multipliers, "depth": depth, "attended": attends}
    network = LATENT_DIFFUSION_NETWORK | {
        "channel_multipliers": multipliers, "residual_blocks": depth, "attended": attends,
    }  # fmt: skip
    weights = latent_diffusion_weights(3, plan)
    unet = converted(weights, network).unet
    w = {name.removeprefix(UNET): values for name, values in weights.items()}
    sample = torch.randn(2, 3, 8, 4, generator=torch.Generator().manual_seed(5))
    times = torch.tensor([999, 40])
    with torch.no_grad():
        found = unet(sample, times).sample
    expected = torch.cat([reference(w, sample[row : row + 1], int(times[row]), plan) for row in range(2)])
    assert expected.std() > 0.1
    assert torch.allclose(found, expected, atol=2e-4)


def test_autoencoder_is_that_of_the_description():
    """Codes are not scaled, and become the nearest entries of the codebook before they are decoded."""
    weights = latent_diffusion_weights(1)
    pipeline = converted(weights)
    w = {name.removeprefix("first_stage_model."): values for name, values in weights.items()}
    picture = torch.rand(1, 3, 8, 12, generator=torch.Generator().manual_seed(2)) * 2 - 1
    codes = convolved_image(w, "quant_conv", encoded(w, picture, VAE, 4))
    book = w["quantize.embedding.weight"]
    nearest = (codes[0].flatten(1).T[:, None] - book[None]).square().sum(-1).argmin(1)
    quantised = book[nearest].T.reshape(codes.shape)
    expected = decoded(w, convolved_image(w, "post_quant_conv", quantised), VAE, 4)
    assert len(set(nearest.tolist())) > 3
    assert pipeline.vqvae.config.scaling_factor == 1.0
    with torch.no_grad():
        assert torch.allclose(pipeline.vqvae.encode(picture).latents, codes, atol=1e-4)
        assert torch.allclose(pipeline.vqvae.decode(codes).sample, expected, atol=1e-4)


def test_sampler_takes_the_official_steps():
    """Every 20th level from the second on, and from there to the first level of the training."""
    scheduler = official_scheduler()
    scheduler.set_timesteps(50)
    assert scheduler.timesteps.tolist() == list(range(981, 0, -20))
    betas = np.linspace(0.0015**0.5, 0.0195**0.5, 1000) ** 2
    signal = np.cumprod(1 - betas)
    sample, prediction = torch.randn(2, 1, 6, generator=torch.Generator().manual_seed(0))
    for time, before in ((981, 961), (21, 1), (1, 0)):
        clean = (sample - math.sqrt(1 - signal[time]) * prediction) / math.sqrt(signal[time])
        expected = math.sqrt(signal[before]) * clean + math.sqrt(1 - signal[before]) * prediction
        assert torch.allclose(scheduler.step(prediction, time, sample).prev_sample, expected, atol=1e-5)


def settings_of(folder, **changes):
    file = folder / "ffhq.ckpt"
    digest = save_official(file, latent_diffusion_weights(), "state_dict")
    settings = {"layout": "ldm", "variant": None, "file": str(file), "sha256": digest, "network": LATENT_DIFFUSION_NETWORK}
    return settings | changes


@pytest.mark.parametrize(("variant", "prefix"), [(None, "model_ema.diffusion_model"), ("raw", UNET)])
def test_a_checkpoint_becomes_a_folder_that_generates_and_is_inverted(tmp_path, variant, prefix):
    convert_checkpoint(settings_of(tmp_path, variant=variant), None, tmp_path / "made")
    assert json.loads((tmp_path / "made/conversion.json").read_text())["variant"] == (variant or "ema")
    assert json.loads((tmp_path / "made/model_index.json").read_text())["_class_name"] == "LDMPipeline"
    spec = GenerationSpec("LDMPipeline", str(tmp_path / "made"), steps=2, frames=1, size=(32, 32), batch=2)
    adapter = PipelineAdapter(spec, 0)
    samples = next(adapter.generate([Request(f"p{number}", "", 0) for number in range(2)]))
    assert [(sample.status, sample.frames.shape) for sample in samples] == [("ok", (1, 32, 32, 3))] * 2
    official = latent_diffusion_weights()
    name = "out2weight" if variant is None else "out.2.weight"
    assert torch.equal(adapter.pipeline.unet.conv_out.weight, official[prefix + name])
    model = InvertibleModel(load_pipeline(spec))
    picture = samples[0].frames
    assert model.shape == (3, 16, 16)
    with torch.no_grad():
        again = model.decode(model.encode(picture)[None])[0]
    assert again.shape == picture.shape


def test_what_is_not_this_model_is_refused():
    weights = latent_diffusion_weights()
    without = {name: values for name, values in weights.items() if not name.startswith("model_ema.diffusion")}
    linear = weights | {"alphas_cumprod": torch.linspace(1, 0.1, 1000)}
    shorter = weights | {"alphas_cumprod": weights["alphas_cumprod"][:500]}
    scaled = weights | {"scale_factor": torch.tensor(0.18)}
    for given, averaged, message in (
        (without, True, "average over training .model_ema.\nGot none of"),
        (linear, False, "share of the signal from 0.9985 to"),
        (shorter, False, "in 500 steps"),
        (scaled, False, "unexpected: scale_factor"),
        (weights | {"cond_stage_model.x": torch.zeros(1)}, False, "unexpected: cond_stage_model.x"),
    ):
        with pytest.raises(VidmemError, match=message):
            converted(given, averaged=averaged)
    with pytest.raises(VidmemError, match="Got \\['depth'\\]"):
        converted(weights, {"depth": 3})
    with pytest.raises(VidmemError, match="UNet2DModel in their shapes"):
        converted(weights, LATENT_DIFFUSION_NETWORK | {"latent_channels": 4})


def test_codes_whose_scale_nobody_stated_are_refused(tmp_path):
    """As in CompVis/ldm-celebahq-256, whose file has no scaling_factor."""
    save_checkpoint("LDMPipeline", tmp_path / "model")
    file = tmp_path / "model/vqvae/config.json"
    told = json.loads(file.read_text())
    assert told.pop("scaling_factor") == 1.0
    file.write_text(json.dumps(told))
    spec = GenerationSpec("LDMPipeline", str(tmp_path / "model"), steps=2, frames=1, size=(32, 32), batch=2)
    with pytest.raises(VidmemError, match="a scaling_factor of the codes\nGot none: 0.18215 is the default"):
        load_pipeline(spec)
