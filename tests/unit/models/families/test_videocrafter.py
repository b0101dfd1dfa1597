"""VideoCrafter 1 and 2: official names, the forward pass and the sampler against their descriptions, the pipeline."""

import math
import re
from functools import partial

import diffusers
import numpy as np
import pytest
import torch
from torch.nn import functional

from official_layouts import TINY_VIDEOCRAFTER, VERSIONS, VIDEOCRAFTER, random_weights, tiny_official, videocrafter_unet_names
from official_networks import attending, convolved, convolved_image, decoded, gated, layered, mapped, normalised, sinusoids
from own_checkpoints import VIDEOCRAFTER_NETWORK, save_base, save_tiny
from sampling import samples_of
from vidmem.errors import VidmemError
from vidmem.generation.adapter import GenerationSpec, PipelineAdapter, Request
from vidmem.models.families.checkpoints import filled, renamed
from vidmem.models.families.records import FAMILIES
from vidmem.models.families.videocrafter import (
    UNET_RENAMINGS,
    ScaledDDIMScheduler,
    VideoCrafterUNet,
    text_renamings,
    videocrafter_from_official,
)
from vidmem.models.loading import other_scheduler

REQUESTS = [Request(f"p{number}", text, 0) for number, text in enumerate(["a red ball", "two cats", "a wall"])]
PARAMETERS = {"v1-512": 1_144_485_956, "v1-1024": 1_144_485_956 + 2_050_560, "v2-512": 1_413_284_420}


def distance_vectors(table: torch.Tensor, frames: int, length: int) -> torch.Tensor:
    rows = [[table[min(max(key - query, -length), length) + length] for key in range(frames)] for query in range(frames)]
    return torch.stack([torch.stack(row) for row in rows])


def over_time(w, name, places, heads, plan):
    """Attention of one place [T, C] over its frames, with a learned part of keys and values for every distance."""
    query, key, value = (mapped(w, f"{name}.to_{part}", places).chunk(heads, -1) for part in "qkv")
    found = []
    for q, k, v in zip(query, key, value):
        scores = q @ k.T
        if plan["relative"]:
            ahead = distance_vectors(w[f"{name}.relative_position_k.embeddings_table"], len(places), plan["length"])
            scores = scores + (q[:, None] * ahead).sum(-1)
        shares = (scores / q.shape[-1] ** 0.5).softmax(-1)
        out = shares @ v
        if plan["relative"]:
            ahead = distance_vectors(w[f"{name}.relative_position_v.embeddings_table"], len(places), plan["length"])
            out = out + (shares[..., None] * ahead).sum(1)
        found.append(out)
    return mapped(w, f"{name}.to_out.0", torch.cat(found, dim=-1))


def spatial(w, name, video, text, plan):
    block, done = f"{name}.transformer_blocks.0", []
    heads = video.shape[0] // plan["head"]
    for frame in video.unbind(1):
        flat = mapped(w, f"{name}.proj_in", normalised(w, f"{name}.norm", frame[None], plan["groups"], 1e-6)[0].flatten(1).T)
        normed = layered(w, f"{block}.norm1", flat)
        flat = flat + attending(w, f"{block}.attn1", normed, normed, heads)
        flat = flat + attending(w, f"{block}.attn2", layered(w, f"{block}.norm2", flat), text, heads)
        flat = flat + gated(w, f"{block}.ff", layered(w, f"{block}.norm3", flat))
        done.append(mapped(w, f"{name}.proj_out", flat).T.reshape(frame.shape) + frame)
    return torch.stack(done, dim=1)


def temporal(w, name, video, heads, plan):
    block, normed = f"{name}.transformer_blocks.0", normalised(w, f"{name}.norm", video[None], plan["groups"], 1e-6)[0]
    made = video.clone()
    for row in range(video.shape[2]):
        for column in range(video.shape[3]):
            place = mapped(w, f"{name}.proj_in", normed[:, :, row, column].T)
            for number in (1, 2):
                place = place + over_time(w, f"{block}.attn{number}", layered(w, f"{block}.norm{number}", place), heads, plan)
            place = place + gated(w, f"{block}.ff", layered(w, f"{block}.norm3", place))
            made[:, :, row, column] += mapped(w, f"{name}.proj_out", place).T
    return made


def residual(w, name, video, told, plan):
    groups, frames = plan["groups"], video.unbind(1)
    normed = torch.stack([normalised(w, f"{name}.in_layers.0", frame[None], groups)[0] for frame in frames], dim=1)
    hidden = convolved(w, f"{name}.in_layers.2", functional.silu(normed))
    hidden = hidden + mapped(w, f"{name}.emb_layers.1", functional.silu(told))[:, None, None, None]
    normed = torch.stack([normalised(w, f"{name}.out_layers.0", frame[None], groups)[0] for frame in hidden.unbind(1)], dim=1)
    hidden = convolved(w, f"{name}.out_layers.3", functional.silu(normed))
    hidden = hidden + (convolved(w, f"{name}.skip_connection", video) if f"{name}.skip_connection.weight" in w else video)
    if not plan["over_time"]:
        return hidden
    moving = hidden
    for number, place in ((1, 2), (2, 3), (3, 3), (4, 3)):
        own = f"{name}.temopral_conv.conv{number}"
        normed = functional.silu(normalised(w, f"{own}.0", moving[None], groups)[0])
        padded = functional.pad(normed, (0, 0, 0, 0, 1, 1))
        kernel = w[f"{own}.{place}.weight"][..., 0, 0]
        moving = sum(torch.einsum("oc,cthw->othw", kernel[..., tap], padded[:, tap : tap + video.shape[1]]) for tap in range(3))
        moving = moving + w[f"{own}.{place}.bias"][:, None, None, None]
    return hidden + moving


def reference(w, sample, time, fps, text, plan):
    """VideoCrafter's U-Net for one clip [C, T, H, W], from its description."""
    depth, multipliers = plan["depth"], plan["multipliers"]

    def embedded(name, value):
        return mapped(w, f"{name}.2", functional.silu(mapped(w, f"{name}.0", sinusoids(value, plan["width"]))))

    told = embedded("time_embed", time) + (embedded("fps_embedding", fps) if plan["fps"] else 0)

    def step(name, video, attends):
        video = residual(w, f"{name}.0", video, told, plan)
        if not attends:
            return video
        return temporal(w, f"{name}.2", spatial(w, f"{name}.1", video, text, plan), video.shape[0] // plan["head"], plan)

    video = temporal(w, "init_attn.0", convolved(w, "input_blocks.0.0", sample), 8, plan)
    kept, number = [video], 1
    for level in range(len(multipliers)):
        for _ in range(depth):
            video = step(f"input_blocks.{number}", video, 2**level in plan["attended"])
            kept.append(video)
            number += 1
        if level < len(multipliers) - 1:
            video = convolved(w, f"input_blocks.{number}.0.op", video, stride=2)
            kept.append(video)
            number += 1
    video = residual(w, "middle_block.3", step("middle_block", video, True), told, plan)
    number = 0
    for level in reversed(range(len(multipliers))):
        attends = 2**level in plan["attended"]
        for index in range(depth + 1):
            video = step(f"output_blocks.{number}", torch.cat([video, kept.pop()]), attends)
            if level and index == depth:
                doubled = video.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
                video = convolved(w, f"output_blocks.{number}.{3 if attends else 1}.conv", doubled)
            number += 1
    normed = torch.stack([normalised(w, "out.0", frame[None], plan["groups"])[0] for frame in video.unbind(1)], dim=1)
    return convolved(w, "out.2", functional.silu(normed))


@pytest.mark.parametrize("variant", VERSIONS)
def test_every_official_name_of_the_unet_is_taken_and_every_weight_is_filled(variant):
    """At the published sizes, on no device."""
    network = FAMILIES["videocrafter"].variants[variant].network
    with torch.device("meta"):
        names = videocrafter_unet_names("", VIDEOCRAFTER | VERSIONS[variant])
        weights = {name: torch.empty(shape) for name, shape in names.items()}
    unet = filled(VideoCrafterUNet, network, renamed(weights, UNET_RENAMINGS, "spec"), "spec")
    assert len(unet.state_dict()) == len(names)
    assert sum(values.numel() for values in unet.parameters()) == PARAMETERS[variant]
    grid = (40, 64) if variant.endswith("512") else (72, 128)
    empty = weights["out.0.bias"].new_empty
    assert unet(empty(2, 4, 16, *grid), 1, empty(2, 77, 1024), fps=28).sample.shape == (2, 4, 16, *grid)


@pytest.mark.parametrize("variant", VERSIONS)
def test_forward_pass_is_that_of_the_description(variant):
    plan = TINY_VIDEOCRAFTER | VERSIONS[variant]
    weights = random_weights(videocrafter_unet_names("", plan))
    network = VIDEOCRAFTER_NETWORK | FAMILIES["videocrafter"].variants[variant].network
    unet = filled(VideoCrafterUNet, network, renamed(weights, UNET_RENAMINGS, "test"), "test")
    stream = torch.Generator().manual_seed(5)
    sample, text = torch.randn(2, 4, 5, 4, 6, generator=stream), torch.randn(2, 3, 32, generator=stream)
    times, rates = torch.tensor([981, 40]), torch.tensor([28, 8])
    with torch.no_grad():
        found = unet(sample, times, text, fps=rates).sample
        rows = [(sample[row], int(times[row]), int(rates[row]), text[row]) for row in range(2)]
        expected = torch.stack([reference(weights, *row, plan) for row in rows])
        slower = unet(sample, times, text, fps=8).sample
    assert expected.std() > 0.3
    assert torch.allclose(found, expected, atol=2e-4)
    assert torch.allclose(found[0], slower[0]) != plan["fps"]


def test_version_two_without_its_rate_is_the_video_unet_of_diffusers():
    """ModelScope's network, which diffusers carries, is the same but for the rate of the frames: an independent reference."""
    from diffusers import UNet3DConditionModel

    plan = TINY_VIDEOCRAFTER | VERSIONS["v2-512"] | {"fps": False, "width": 32, "groups": 32, "head": 32}
    weights = random_weights(videocrafter_unet_names("", plan))
    changes = {"model_channels": 32, "norm_num_groups": 32, "head_width": 32, "relative_positions": False}
    network = VIDEOCRAFTER_NETWORK | changes | {"temporal_convolutions": True}
    ours = filled(VideoCrafterUNet, network, renamed(weights, UNET_RENAMINGS, "test"), "test")
    theirs = UNet3DConditionModel(
        block_out_channels=(32, 64), layers_per_block=1, down_block_types=("CrossAttnDownBlock3D", "DownBlock3D"),
        up_block_types=("UpBlock3D", "CrossAttnUpBlock3D"), cross_attention_dim=32, attention_head_dim=32, norm_num_groups=32,
    ).eval()  # fmt: skip
    places = {
        "input_blocks.1": "down_blocks.0.{}.0", "input_blocks.3": "down_blocks.1.{}.0", "output_blocks.0": "up_blocks.0.{}.0",
        "output_blocks.1": "up_blocks.0.{}.1", "output_blocks.2": "up_blocks.1.{}.0", "output_blocks.3": "up_blocks.1.{}.1",
    }  # fmt: skip
    residuals = {"in_layers.0": "norm1", "in_layers.2": "conv1", "emb_layers.1": "time_emb_proj", "out_layers.0": "norm2",
                 "out_layers.3": "conv2", "skip_connection": "conv_shortcut"}  # fmt: skip
    others = {
        "input_blocks.0.0": "conv_in", "input_blocks.2.0.op": "down_blocks.0.downsamplers.0.conv", "out.0": "conv_norm_out",
        "output_blocks.1.1.conv": "up_blocks.0.upsamplers.0.conv", "out.2": "conv_out", "init_attn.0": "transformer_in",
        "time_embed.0": "time_embedding.linear_1", "time_embed.2": "time_embedding.linear_2",
        "middle_block.1": "mid_block.attentions.0", "middle_block.2": "mid_block.temp_attentions.0",
    }  # fmt: skip
    for place, own in {**places, "middle_block.0": "mid_block.{}.0", "middle_block.3": "mid_block.{}.1"}.items():
        block = place if place.startswith("middle") else f"{place}.0"
        others |= {f"{block}.{name}": f"{own.format('resnets')}.{ours_}" for name, ours_ in residuals.items()}
        others[f"{block}.temopral_conv"] = own.format("temp_convs")
        if not place.startswith("middle"):
            others |= {f"{place}.1": own.format("attentions"), f"{place}.2": own.format("temp_attentions")}
    moved = {}
    for name, values in weights.items():
        start = max((start for start in others if name.startswith(f"{start}.")), key=len)
        values = values[..., 0] if name.startswith("init_attn.0.proj") and values.ndim == 3 else values
        moved[f"{others[start]}{name.removeprefix(start)}"] = values
    theirs.load_state_dict(moved)
    stream = torch.Generator().manual_seed(5)
    sample, text = torch.randn(2, 4, 3, 8, 8, generator=stream), torch.randn(2, 5, 32, generator=stream)
    with torch.no_grad():
        first, second = ours(sample, 500, text).sample, theirs(sample, 500, text).sample
    assert first.std() > 0.3
    assert torch.allclose(first, second, atol=1e-4)


def ddim(latents, prediction, index, steps, scale_end, noise):
    """One step of the official sampler, ancestral, from its tables."""
    betas = np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2
    signal, scales = np.cumprod(1 - betas), np.ones(1000)
    if scale_end is not None:
        scales = np.concatenate([np.linspace(1, scale_end, 400), np.full(1000, scale_end)])
    times = np.arange(0, 1000, 1000 // steps) + 1
    before = [signal[0], *signal[times[:-1]]][index]
    scale_before = [scales[0], *scales[times[:-1]]][index]
    now, scale = signal[times[index]], scales[times[index]]
    sigma = math.sqrt((1 - before) / (1 - now) * (1 - now / before))
    clean = (latents - math.sqrt(1 - now) * prediction) / math.sqrt(now) / scale
    return math.sqrt(before) * scale_before * clean + math.sqrt(1 - before - sigma**2) * prediction + sigma * noise


@pytest.mark.parametrize("scale_end", [None, 0.3, 0.7])
def test_sampler_is_that_of_the_description(scale_end):
    scheduler = ScaledDDIMScheduler(**({} if scale_end is None else {"scale_end": scale_end}))
    scheduler.set_timesteps(50)
    assert scheduler.timesteps[[0, 1, -1]].tolist() == [981, 961, 1]
    stream = torch.Generator().manual_seed(0)
    for index in (49, 30, 20, 19, 1, 0):
        latents, prediction = torch.randn(2, 1, 4, generator=stream, dtype=torch.float64)
        noise = torch.randn(1, 4, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
        time = scheduler.timesteps[49 - index]
        stepped = scheduler.step(prediction, time, latents, eta=1.0, generator=torch.Generator().manual_seed(7)).prev_sample
        assert torch.allclose(stepped, ddim(latents, prediction, index, 50, scale_end, noise), atol=1e-5)


@pytest.mark.parametrize(("steps", "count"), [(50, 50), (60, 63), (30, 31)])
def test_the_number_of_steps_is_that_of_the_official_sampler(steps, count):
    scheduler = ScaledDDIMScheduler(scale_end=0.7)
    scheduler.set_timesteps(steps)
    assert scheduler.timesteps.tolist() == (np.arange(0, 1000, 1000 // steps) + 1)[::-1].tolist()
    assert len(scheduler.timesteps) == count
    latents, prediction = torch.randn(2, 1, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    noise = torch.randn(1, 4, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
    for index in (count - 1, count // 2, 0):
        stream = torch.Generator().manual_seed(7)
        stepped = scheduler.step(prediction, scheduler.timesteps[count - 1 - index], latents, eta=1.0, generator=stream)
        assert torch.allclose(stepped.prev_sample, ddim(latents, prediction, index, steps, 0.7, noise), atol=1e-5)


def test_noise_is_added_to_latents_that_are_scaled_as_in_training():
    scheduler = ScaledDDIMScheduler(scale_end=0.3)
    clean, noise = torch.randn(2, 3, 4, 2, 2, generator=torch.Generator().manual_seed(0))
    times = torch.tensor([0, 200, 999])
    found = scheduler.add_noise(clean, noise, times)
    for row, (time, scale) in enumerate(zip(times, (1.0, 1 - 0.7 * 200 / 399, 0.3))):
        signal = scheduler.alphas_cumprod[time]
        assert torch.allclose(found[row], signal.sqrt() * scale * clean[row] + (1 - signal).sqrt() * noise[row], atol=1e-6)


def test_a_scheduler_that_cannot_scale_is_refused():
    with pytest.raises(VidmemError, match=r"scale_end 0.7") as told:
        other_scheduler(ScaledDDIMScheduler(scale_end=0.7), diffusers.DPMSolverMultistepScheduler)
    assert "models.<name>.scheduler" in str(told.value)
    plain = other_scheduler(ScaledDDIMScheduler(), diffusers.DPMSolverMultistepScheduler)
    assert (plain.config.beta_start, plain.config.beta_end, plain.config.beta_schedule) == (0.00085, 0.012, "scaled_linear")
    assert other_scheduler(diffusers.DDIMScheduler(), diffusers.EulerDiscreteScheduler).config.beta_end == 0.02


def test_scheduler_is_saved_and_loaded_with_its_scale(tmp_path):
    ScaledDDIMScheduler(scale_end=0.7).save_pretrained(tmp_path)
    loaded = ScaledDDIMScheduler.from_pretrained(tmp_path)
    assert (loaded.config.scale_end, loaded.config.steps_offset, loaded.config.set_alpha_to_one) == (0.7, 1, False)
    assert loaded.scale(1000) == pytest.approx(0.7)


official = partial(tiny_official, "videocrafter")


def converted(weights, variant, base):
    published = FAMILIES["videocrafter"].variants[variant]
    network = VIDEOCRAFTER_NETWORK | published.network
    return videocrafter_from_official(weights, network, published.choice, base, "test.ckpt")


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return save_base(tmp_path_factory.mktemp("base"))


@pytest.mark.parametrize("variant", VERSIONS)
def test_every_name_of_the_whole_checkpoint_is_taken(variant, base):
    weights = official(variant)
    pipeline = converted(weights, variant, base)
    unet = weights["model.diffusion_model.out.2.weight"]
    assert torch.equal(pipeline.unet.state_dict()["out.2.weight"], unet)
    assert torch.equal(pipeline.vae.quant_conv.weight, weights["first_stage_model.quant_conv.weight"])
    with pytest.raises(VidmemError, match="missing: out.2.bias"):
        converted({name: values for name, values in weights.items() if not name.endswith("out.2.bias")}, variant, base)
    for prefix in ("model.diffusion_model.", "first_stage_model.", "cond_stage_model.model.", ""):
        with pytest.raises(VidmemError, match="unexpected: surprise"):
            converted(weights | {f"{prefix}surprise": torch.zeros(1)}, variant, base)


def test_text_embedding_is_the_penultimate_layer_of_open_clip_normalised(base):
    """Computed from the official weights: causal attention, all layers but the last, then the final norm."""
    w, tokens = official("v1-512"), torch.tensor([[5, 9, 3, 2]])
    encoder = converted(w, "v1-512", base).text_encoder.eval()
    w = {name.removeprefix("cond_stage_model.model."): values for name, values in w.items()}
    hidden = w["token_embedding.weight"][tokens[0]] + w["positional_embedding"][:4]
    block, heads = "transformer.resblocks.0", encoder.config.num_attention_heads
    normed = layered(w, f"{block}.ln_1", hidden)
    parts = (normed @ w[f"{block}.attn.in_proj_weight"].T + w[f"{block}.attn.in_proj_bias"]).chunk(3, dim=-1)
    found = []
    for q, k, v in zip(*(part.chunk(heads, -1) for part in parts)):
        scores = (q @ k.T / q.shape[-1] ** 0.5).masked_fill(torch.ones(4, 4).triu(1).bool(), -torch.inf)
        found.append(scores.softmax(-1) @ v)
    hidden = hidden + mapped(w, f"{block}.attn.out_proj", torch.cat(found, -1))
    wide = functional.gelu(mapped(w, f"{block}.mlp.c_fc", layered(w, f"{block}.ln_2", hidden)))
    expected = layered(w, "ln_final", hidden + mapped(w, f"{block}.mlp.c_proj", wide))
    with torch.no_grad():
        assert torch.allclose(encoder(tokens)[0][0], expected, atol=1e-4)


def test_decoder_is_that_of_latent_diffusion(base):
    """Computed from the official weights, up.1 before up.0."""
    w = official("v1-512")
    vae = converted(w, "v1-512", base).vae.eval()
    w = {name.removeprefix("first_stage_model."): values for name, values in w.items()}
    latents = torch.randn(1, 4, 3, 2, generator=torch.Generator().manual_seed(2))
    expected = decoded(w, convolved_image(w, "post_quant_conv", latents), TINY_VIDEOCRAFTER["vae"], 4)
    with torch.no_grad():
        assert torch.allclose(vae.decode(latents).sample, expected, atol=1e-4)


def test_another_variant_and_another_base_are_refused(base, tmp_path):
    with pytest.raises(VidmemError, match=r"structure of v2-512.*\nGot that of v1-1024"):
        converted(official("v1-1024"), "v2-512", base)
    with pytest.raises(VidmemError, match=r"structure of v1-1024\nGot that of v1-512 \(the file of 6 December 2023\)"):
        converted(official("v1-512"), "v1-1024", base)
    with pytest.raises(VidmemError, match=r"v1-512 .*\nGot that of v2-512, which the file of October 2023 .* shares"):
        converted(official("v2-512"), "v1-512", base)
    scaled = official("v2-512") | {"scale_arr": torch.full((1000,), 0.3)}
    with pytest.raises(VidmemError, match=r"shrink to 0\.7\nGot 0\.3"):
        converted(scaled, "v2-512", base)
    with pytest.raises(VidmemError, match="text encoder of 1 layers"):
        converted(official("v1-512"), "v1-512", save_base(tmp_path / "two", num_hidden_layers=2))
    with pytest.raises(VidmemError, match="quick_gelu"):
        converted(official("v1-512"), "v1-512", save_base(tmp_path / "quick", hidden_act="quick_gelu"))
    with pytest.raises(VidmemError, match="vae of a saved Stable Diffusion"):
        converted(official("v1-512"), "v1-512", tmp_path / "nothing")


def test_renamings_of_the_text_encoder_do_not_take_layer_one_for_layer_eleven():
    names = [f"transformer.resblocks.{layer}.ln_1.weight" for layer in range(24)]
    ours = renamed({name: torch.zeros(1) for name in names}, text_renamings(23), "test")
    assert sorted(int(re.search(r"\d+", name)[0]) for name in ours) == list(range(23))


@pytest.fixture(scope="module")
def adapter(tmp_path_factory):
    folder = save_tiny("VideoCrafterPipeline", tmp_path_factory.mktemp("videocrafter") / "model")
    spec = GenerationSpec("VideoCrafterPipeline", str(folder), steps=2, guidance=3.0, frames=3, size=(32, 32), batch=3)
    return PipelineAdapter(spec, 0, attention=True)


def test_samples_do_not_depend_on_their_batch_and_guidance_is_recorded(adapter):
    together = samples_of(adapter, REQUESTS)
    alone = [samples_of(adapter, [request])[0] for request in REQUESTS]
    for first, second in zip(together, alone):
        assert (first.status, first.frames.shape) == ("ok", (3, 32, 32, 3))
        assert np.abs(first.frames.astype(int) - second.frames).max() <= 1
        assert len(first.guidance) == 2
        assert (first.guidance[0]["content"] > 0).all()
        assert (first.guidance[0]["motion"] > 0).all()
        assert (first.guidance[0]["content"].shape, first.guidance[0]["motion"].shape) == ((3,), (2,))
        assert "entropy" in "".join(first.guidance[0])
    assert not np.array_equal(together[0].frames, together[1].frames)


def test_the_rate_of_frames_is_told(adapter):
    options = {"num_frames": 2, "height": 32, "width": 32, "num_inference_steps": 1}
    made = [
        adapter.pipeline("a cat", fps=fps, generator=torch.Generator().manual_seed(0), **options).frames for fps in (8, 28, 28)
    ]
    assert np.array_equal(made[1], made[2])
    assert not np.array_equal(made[0], made[1])


def test_sizes_that_the_levels_cannot_halve_are_refused(adapter):
    with pytest.raises(VidmemError, match="multiples of 4"):
        adapter.pipeline("a cat", num_frames=2, height=34, width=32, num_inference_steps=1)
