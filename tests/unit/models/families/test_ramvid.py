"""RaMViD: official names, the forward pass and the sampler against their descriptions, the pipeline through the adapter."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from official_layouts import RAMVID, TINY_RAMVID, ramvid_names, random_weights
from official_networks import mapped, normalised, sinusoids
from own_checkpoints import RAMVID_NETWORK, save_tiny
from sampling import samples_of
from vidmem.errors import VidmemError
from vidmem.generation.adapter import GenerationSpec, PipelineAdapter, Request
from vidmem.models.families.checkpoints import AS_THEY_ARE, filled, renamed
from vidmem.models.families.ramvid import RaMViDUNet, ramvid_scheduler
from vidmem.models.families.records import FAMILIES

REQUESTS = [Request(f"clip{number}", "", 0) for number in range(3)]


def convolved(w, name, video, stride=(1, 1, 1)):
    """Video [C, T, H, W], over time, too."""
    kernel = w[f"{name}.weight"]
    return functional.conv3d(video[None], kernel, w[f"{name}.bias"], stride, kernel.shape[-1] // 2)[0]


def residual(w, name, video, told, groups):
    hidden = convolved(w, f"{name}.in_layers.2", functional.silu(normalised(w, f"{name}.in_layers.0", video[None], groups)[0]))
    scale, shift = mapped(w, f"{name}.emb_layers.1", functional.silu(told))[:, None, None, None].chunk(2)
    hidden = normalised(w, f"{name}.out_layers.0", hidden[None], groups)[0] * (1 + scale) + shift
    hidden = convolved(w, f"{name}.out_layers.3", functional.silu(hidden))
    return hidden + (convolved(w, f"{name}.skip_connection", video) if f"{name}.skip_connection.weight" in w else video)


def attended(w, name, video, heads, groups):
    """All places of all frames to all; a head has its query, key and value one behind the other."""
    flat = normalised(w, f"{name}.norm", video.flatten(1)[None], groups)[0]
    mixed = mapped(w, f"{name}.qkv", flat.T).T.chunk(heads)
    found = []
    for head in mixed:
        q, k, v = head.chunk(3)
        found.append(v @ (q.T @ k / math.sqrt(len(q))).softmax(-1).T)
    return video + mapped(w, f"{name}.proj_out", torch.cat(found).T).T.reshape(video.shape)


def reference(w, sample, time, plan):
    """RaMViD's U-Net for one clip [C, T, H, W], from its description."""
    groups, heads, depth, multipliers = plan["groups"], plan["heads"], plan["depth"], plan["multipliers"]
    told = mapped(w, "time_embed.2", functional.silu(mapped(w, "time_embed.0", sinusoids(time, plan["width"]))))

    def step(name, video, attends):
        video = residual(w, f"{name}.0", video, told, groups)
        return attended(w, f"{name}.1", video, heads, groups) if attends else video

    video = convolved(w, "input_blocks.0.0", sample)
    kept, number = [video], 1
    for level in range(len(multipliers)):
        for _ in range(depth):
            video = step(f"input_blocks.{number}", video, 2**level in plan["attended"])
            kept.append(video)
            number += 1
        if level < len(multipliers) - 1:
            video = convolved(w, f"input_blocks.{number}.0.op", video, (1, 2, 2))
            kept.append(video)
            number += 1
    video = residual(w, "middle_block.2", step("middle_block", video, True), told, groups)
    number = 0
    for level in reversed(range(len(multipliers))):
        attends = 2**level in plan["attended"]
        for index in range(depth + 1):
            video = step(f"output_blocks.{number}", torch.cat([video, kept.pop()]), attends)
            if level and index == depth:
                doubled = video.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
                video = convolved(w, f"output_blocks.{number}.{2 if attends else 1}.conv", doubled)
            number += 1
    return convolved(w, "out.2", functional.silu(normalised(w, "out.0", video[None], groups)[0]))


@pytest.mark.parametrize(("variant", "depth", "parameters"), [("ucf-101", 3, 308_343_427), ("bair", 2, 235_071_875)])
def test_every_official_name_is_taken_and_every_weight_of_ours_is_filled(variant, depth, parameters):
    """At the published sizes, on no device."""
    with torch.device("meta"):
        weights = {name: torch.empty(shape) for name, shape in ramvid_names(**RAMVID | {"depth": depth}).items()}
    network = FAMILIES["ramvid"].variants[variant].network
    unet = filled(RaMViDUNet, network, renamed(weights, (AS_THEY_ARE,), "spec"), "spec")
    assert len(unet.state_dict()) == len(weights)
    assert sum(values.numel() for values in unet.parameters()) == parameters
    assert unet(weights["out.2.bias"].new_empty(2, 3, 16, 64, 64), 1).sample.shape == (2, 3, 16, 64, 64)


def test_forward_pass_is_that_of_the_description():
    weights = random_weights(ramvid_names(**TINY_RAMVID))
    unet = filled(RaMViDUNet, RAMVID_NETWORK, renamed(weights, (AS_THEY_ARE,), "test"), "test")
    sample = torch.randn(2, 3, 5, 6, 4, generator=torch.Generator().manual_seed(5))
    times = torch.tensor([999, 40])
    with torch.no_grad():
        found = unet(sample, times).sample
        expected = torch.stack([reference(weights, sample[row], int(times[row]), TINY_RAMVID) for row in range(2)])
    assert expected.std() > 0.3
    assert torch.allclose(found, expected, atol=2e-4)


def test_one_frame_is_the_image_unet_of_diffusers():
    """The middle of every kernel over time is a network of improved-diffusion for images: an independent reference."""
    from diffusers import UNet2DModel

    weights = random_weights(ramvid_names(**TINY_RAMVID))
    ours = filled(RaMViDUNet, RAMVID_NETWORK, weights, "test")
    theirs = UNet2DModel(
        block_out_channels=(16, 32), layers_per_block=1, down_block_types=("DownBlock2D", "AttnDownBlock2D"), freq_shift=0,
        up_block_types=("AttnUpBlock2D", "UpBlock2D"), attention_head_dim=16, norm_num_groups=4, flip_sin_to_cos=True,
        resnet_time_scale_shift="scale_shift", attn_norm_num_groups=4,
    ).eval()  # fmt: skip
    residuals = {"in_layers.0": "norm1", "in_layers.2": "conv1", "emb_layers.1": "time_emb_proj", "out_layers.0": "norm2",
                 "out_layers.3": "conv2", "skip_connection": "conv_shortcut"}  # fmt: skip
    blocks = {
        "input_blocks.1.0": "down_blocks.0.resnets.0", "input_blocks.3.0": "down_blocks.1.resnets.0",
        "middle_block.0": "mid_block.resnets.0", "middle_block.2": "mid_block.resnets.1",
        "output_blocks.0.0": "up_blocks.0.resnets.0", "output_blocks.1.0": "up_blocks.0.resnets.1",
        "output_blocks.2.0": "up_blocks.1.resnets.0", "output_blocks.3.0": "up_blocks.1.resnets.1",
    }  # fmt: skip
    attentions = {"input_blocks.3.1": "down_blocks.1.attentions.0", "middle_block.1": "mid_block.attentions.0",
                  "output_blocks.0.1": "up_blocks.0.attentions.0", "output_blocks.1.1": "up_blocks.0.attentions.1"}  # fmt: skip
    places = {
        "time_embed.0": "time_embedding.linear_1", "time_embed.2": "time_embedding.linear_2", "input_blocks.0.0": "conv_in",
        "input_blocks.2.0.op": "down_blocks.0.downsamplers.0.conv", "output_blocks.1.2.conv": "up_blocks.0.upsamplers.0.conv",
        "out.0": "conv_norm_out", "out.2": "conv_out",
    }  # fmt: skip
    places |= {f"{block}.{part}": f"{own}.{name}" for block, own in blocks.items() for part, name in residuals.items()}
    places |= {f"{block}.norm": f"{own}.group_norm" for block, own in attentions.items()}
    places |= {f"{block}.proj_out": f"{own}.to_out.0" for block, own in attentions.items()}
    moved = {}
    for name, values in weights.items():
        place, _, kind = name.rpartition(".")
        values = values[:, :, values.shape[2] // 2] if values.ndim == 5 else values.flatten(1) if values.ndim == 3 else values
        if place.endswith(".qkv"):
            heads = values.reshape(2, 3, 16, *values.shape[1:])
            for index, part in enumerate("qkv"):
                moved[f"{attentions[place.removesuffix('.qkv')]}.to_{part}.{kind}"] = heads[:, index].flatten(0, 1)
        else:
            moved[f"{places[place]}.{kind}"] = values
    theirs.load_state_dict(moved)
    sample = torch.randn(2, 3, 1, 8, 6, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        first, second = ours(sample, 321).sample[:, :, 0], theirs(sample[:, :, 0], 321).sample
    assert first.std() > 0.3
    assert torch.allclose(first, second, atol=1e-4)


def spaced(steps: int) -> list[int]:
    """Steps of the official sampler: evenly over 0..999, both ends among them."""
    stride, place, found = 999 / (steps - 1), 0.0, []
    for _ in range(steps):
        found.append(round(place))
        place += stride
    return found


def test_every_number_of_steps_is_respaced_as_the_official_code_does():
    for steps in range(2, 1001):
        scheduler = ramvid_scheduler()
        scheduler.set_timesteps(steps)
        assert scheduler.timesteps.tolist() == spaced(steps)[::-1], steps


@pytest.mark.parametrize("steps", [1000, 250, 100, 7])
def test_sampler_is_that_of_the_description(steps):
    """Ancestral, the clean sample clipped, the larger fixed variance of the schedule of the chosen steps."""
    scheduler, times = ramvid_scheduler(), spaced(steps)
    scheduler.set_timesteps(steps)
    assert scheduler.timesteps.tolist() == times[::-1]
    signal = np.cumprod(1 - np.linspace(1e-4, 0.02, 1000))[times]
    before = np.append(1.0, signal[:-1])
    beta, stream = 1 - signal / before, torch.Generator().manual_seed(0)
    for index in sorted({steps - 1, steps // 2, 1, 0}):
        video, prediction = torch.randn(2, 1, 6, generator=stream)
        noise = torch.randn(1, 6, generator=torch.Generator().manual_seed(7))
        clean = ((video - math.sqrt(1 - signal[index]) * prediction) / math.sqrt(signal[index])).clamp(-1, 1)
        mean = beta[index] * math.sqrt(before[index]) / (1 - signal[index]) * clean
        mean = mean + (1 - before[index]) * math.sqrt(1 - beta[index]) / (1 - signal[index]) * video
        expected = mean + (math.sqrt(beta[index]) * noise if index else 0)
        stepped = scheduler.step(prediction, times[index], video, generator=torch.Generator().manual_seed(7)).prev_sample
        assert torch.allclose(stepped, expected, atol=2e-4)


@pytest.fixture(scope="module")
def adapter(tmp_path_factory):
    folder = save_tiny("RaMViDPipeline", tmp_path_factory.mktemp("ramvid") / "model")
    return PipelineAdapter(GenerationSpec("RaMViDPipeline", str(folder), steps=2, frames=3, size=(16, 16), batch=3), 0)


def test_samples_do_not_depend_on_their_batch_and_there_is_no_guidance(adapter):
    together = samples_of(adapter, REQUESTS)
    alone = [samples_of(adapter, [request])[0] for request in REQUESTS]
    for first, second in zip(together, alone):
        assert (first.status, first.frames.shape, first.guidance) == ("ok", (3, 16, 16, 3), [])
        assert np.abs(first.frames.astype(int) - second.frames).max() <= 1
    assert not np.array_equal(together[0].frames, together[1].frames)
    assert not adapter.prompted


def test_another_size_and_a_prompt_are_refused(adapter):
    with pytest.raises(VidmemError, match="16 x 16 pixels"):
        adapter.pipeline(height=32, width=32, num_inference_steps=1)
    with pytest.raises(VidmemError, match="takes prompts"):
        list(adapter.generate([Request("p", "a cat", 0)]))
