"""LaVie: official names, the forward pass against one written from the description, the pipeline through the adapter."""

import cmath
import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from official_layouts import LAVIE, TINY_LAVIE, lavie_names, random_weights
from official_networks import attending, convolved, gated, layered, mapped, normalised, sinusoids
from own_checkpoints import LAVIE_NETWORK, save_tiny
from sampling import samples_of
from vidmem.generation.adapter import GenerationSpec, PipelineAdapter, Request
from vidmem.models.families.checkpoints import filled, renamed
from vidmem.models.families.lavie import RENAMINGS, LaVieUNet, distance_buckets, rotated

REQUESTS = [Request(f"p{number}", text, 0) for number, text in enumerate(["a red ball", "two cats", "a wall"])]


def bucket(query: int, key: int) -> int:
    """Of T5: 16 buckets a direction, 8 of them for the distances 0 to 7, the others logarithmic up to 32."""
    distance, ahead = abs(query - key), 16 * (key > query)
    if distance < 8:
        return ahead + distance
    return ahead + min(15, 8 + int(math.log(distance / 8) / math.log(32 / 8) * 8))


def turned(vector: torch.Tensor, frame: int, width: int) -> torch.Tensor:
    """Channels 2i and 2i + 1 as a complex number, turned by frame * 10000^(-2i / width)."""
    values = vector.tolist()
    for pair in range(width // 2):
        number = complex(*values[2 * pair : 2 * pair + 2]) * cmath.exp(1j * frame * 10000 ** (-2 * pair / width))
        values[2 * pair : 2 * pair + 2] = [number.real, number.imag]
    return torch.tensor(values)


def over_time(w, name, places, heads, rotary):
    """Attention of one place [T, C] over its frames."""
    query, key, value = (mapped(w, f"{name}.to_{part}", places).chunk(heads, -1) for part in "qkv")
    bias = w[f"{name}.time_rel_pos_bias.relative_attention_bias.weight"]
    frames, found = range(len(places)), []
    for head in range(heads):
        width = query[head].shape[-1]
        q = [turned(query[head][frame], frame, rotary) for frame in frames]
        k = [turned(key[head][frame], frame, rotary) for frame in frames]
        scores = torch.tensor([[float(q[i] @ k[j]) / width**0.5 for j in frames] for i in frames])
        scores = scores + torch.tensor([[float(bias[bucket(i, j), head]) for j in frames] for i in frames])
        found.append(scores.softmax(-1) @ value[head])
    return mapped(w, f"{name}.to_out.0", torch.cat(found, dim=-1))


def transformer(w, name, video, text, plan):
    """One clip [C, T, H, W]."""
    channels, frames, height, width = video.shape
    block, heads, hidden = f"{name}.transformer_blocks.0", plan["heads"], []
    for frame in video.unbind(1):
        flat = mapped(w, f"{name}.proj_in", normalised(w, f"{name}.norm", frame[None], plan["groups"], 1e-6)[0].flatten(1).T)
        normed = layered(w, f"{block}.norm1", flat)
        flat = flat + attending(w, f"{block}.attn1", normed, normed, heads)
        hidden.append(flat + attending(w, f"{block}.attn2", layered(w, f"{block}.norm2", flat), text, heads))
    hidden = torch.stack(hidden)  # frames, places, channels
    for place in range(height * width):
        normed = layered(w, f"{block}.norm_temp", hidden[:, place])
        hidden[:, place] = hidden[:, place] + over_time(w, f"{block}.attn_temp", normed, heads, plan["rotary"])
    hidden = hidden + gated(w, f"{block}.ff", layered(w, f"{block}.norm3", hidden))
    back = mapped(w, f"{name}.proj_out", hidden).permute(2, 0, 1).reshape(channels, frames, height, width)
    return back + video


def reference(w, sample, time, text, plan):
    """LaVie's U-Net for one clip [C, T, H, W], from its description."""
    widths, groups, last = plan["widths"], plan["groups"], len(plan["widths"]) - 1
    told = mapped(w, "time_embedding.linear_1", sinusoids(time, widths[0]))
    told = functional.silu(mapped(w, "time_embedding.linear_2", functional.silu(told)))

    def resnet(name, video):
        normed = normalised(w, f"{name}.norm1", video[None], groups)[0]  # all frames together
        hidden = convolved(w, f"{name}.conv1", functional.silu(normed))
        hidden = hidden + mapped(w, f"{name}.time_emb_proj", told)[:, None, None, None]
        hidden = convolved(w, f"{name}.conv2", functional.silu(normalised(w, f"{name}.norm2", hidden[None], groups)[0]))
        return hidden + (convolved(w, f"{name}.conv_shortcut", video) if f"{name}.conv_shortcut.weight" in w else video)

    video = convolved(w, "conv_in", sample)
    kept = [video]
    for level in range(len(widths)):
        for index in range(plan["depth"]):
            video = resnet(f"down_blocks.{level}.resnets.{index}", video)
            video = transformer(w, f"down_blocks.{level}.attentions.{index}", video, text, plan) if level < last else video
            kept.append(video)
        if level < last:
            video = convolved(w, f"down_blocks.{level}.downsamplers.0.conv", video, stride=2)
            kept.append(video)
    video = transformer(w, "mid_block.attentions.0", resnet("mid_block.resnets.0", video), text, plan)
    video = resnet("mid_block.resnets.1", video)
    for number in range(len(widths)):
        for index in range(plan["depth"] + 1):
            video = resnet(f"up_blocks.{number}.resnets.{index}", torch.cat([video, kept.pop()]))
            video = transformer(w, f"up_blocks.{number}.attentions.{index}", video, text, plan) if number else video
        if number < last:
            doubled = video.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
            video = convolved(w, f"up_blocks.{number}.upsamplers.0.conv", doubled)
    return convolved(w, "conv_out", functional.silu(normalised(w, "conv_norm_out", video[None], groups)[0]))


def test_every_official_name_is_taken_and_every_weight_of_ours_is_filled():
    """At the published sizes, on no device: 909.1 million parameters."""
    names = lavie_names(**LAVIE)
    with torch.device("meta"):
        weights = {name: torch.empty(shape) for name, shape in names.items()}
    unet = filled(LaVieUNet, {}, renamed(weights, RENAMINGS, "spec"), "spec")
    constants = sum(name.endswith("rotary_emb.freqs") for name in names)
    assert (len(names), constants, len(unet.state_dict())) == (830, 16, 814)
    assert sum(values.numel() for values in unet.parameters()) == 909_124_100
    empty = weights["conv_in.bias"].new_empty
    assert unet(empty(2, 4, 16, 40, 64), 1, empty(2, 77, 768)).sample.shape == (2, 4, 16, 40, 64)


def test_forward_pass_is_that_of_the_description():
    weights = random_weights(lavie_names(**TINY_LAVIE))
    unet = filled(LaVieUNet, LAVIE_NETWORK, renamed(weights, RENAMINGS, "test"), "test")
    stream = torch.Generator().manual_seed(5)
    sample, text = torch.randn(2, 4, 10, 4, 6, generator=stream), torch.randn(2, 3, 32, generator=stream)
    times = torch.tensor([981, 40])
    with torch.no_grad():
        found = unet(sample, times, text).sample
        expected = [reference(weights, sample[row], int(times[row]), text[row], TINY_LAVIE) for row in range(2)]
    assert torch.stack(expected).std() > 0.3
    assert torch.allclose(found, torch.stack(expected), atol=2e-4)


def test_one_frame_without_temporal_attention_is_stable_diffusion():
    """Stable Diffusion's network of diffusers has the same names: an independent reference of everything but time."""
    from diffusers import UNet2DConditionModel

    weights = random_weights(lavie_names(**TINY_LAVIE))
    silent = {name: torch.zeros_like(values) for name, values in weights.items() if "attn_temp.to_out" in name}
    ours = filled(LaVieUNet, LAVIE_NETWORK, renamed(weights | silent, RENAMINGS, "test"), "test")
    theirs = UNet2DConditionModel(
        block_out_channels=(16, 32), layers_per_block=1, down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"), cross_attention_dim=32, attention_head_dim=2, norm_num_groups=4,
    ).eval()  # fmt: skip
    theirs.load_state_dict({name: values for name, values in weights.items() if "_temp" not in name})
    stream = torch.Generator().manual_seed(3)
    sample, text = torch.randn(2, 4, 1, 8, 6, generator=stream), torch.randn(2, 5, 32, generator=stream)
    with torch.no_grad():
        first, second = ours(sample, 321, text).sample[:, :, 0], theirs(sample[:, :, 0], 321, text).sample
    assert first.std() > 0.3
    assert torch.allclose(first, second, atol=1e-4)


def test_distances_in_time_fall_into_the_buckets_of_t5():
    expected = [[bucket(query, key) for key in range(61)] for query in range(61)]
    assert distance_buckets(61).tolist() == expected


def test_rotation_keeps_products_of_equal_distance_and_leaves_the_other_channels():
    stream = torch.Generator().manual_seed(0)
    one, other = torch.randn(2, 8, generator=stream)
    turned_one, turned_other = (rotated(vector.expand(9, 8), 4) for vector in (one, other))
    products = turned_one @ turned_other.T
    assert torch.allclose(products.diagonal(2), products.diagonal(2)[0].expand(7), atol=1e-5)
    assert not torch.allclose(products[0], products[0, 0].expand(9), atol=1e-2)
    assert torch.equal(turned_one[:, 4:], one[4:].expand(9, 4))


def test_sizes_that_do_not_halve_evenly_come_back():
    unet = LaVieUNet(**LAVIE_NETWORK | {"block_out_channels": (16, 16, 16)}).eval()
    with torch.no_grad():
        assert unet(torch.zeros(1, 4, 2, 5, 7), 1, torch.zeros(1, 3, 32)).sample.shape == (1, 4, 2, 5, 7)


@pytest.fixture(scope="module")
def adapter(tmp_path_factory):
    folder = save_tiny("LaViePipeline", tmp_path_factory.mktemp("lavie") / "model")
    spec = GenerationSpec("LaViePipeline", str(folder), steps=2, guidance=3.0, frames=3, size=(32, 32), batch=3)
    return PipelineAdapter(spec, 0, attention=True)


def test_samples_do_not_depend_on_their_batch_and_guidance_is_recorded(adapter):
    together = samples_of(adapter, REQUESTS)
    alone = [samples_of(adapter, [request])[0] for request in REQUESTS]
    for first, second in zip(together, alone):
        assert (first.status, first.frames.shape) == ("ok", (3, 32, 32, 3))
        assert np.abs(first.frames.astype(int) - second.frames).max() <= 1
        assert len(first.guidance) == 2
        assert first.guidance[0]["content"].shape == (3,)
        assert first.guidance[0]["motion"].shape == (2,)
        assert (first.guidance[0]["content"] > 0).all()
        assert "entropy" in "".join(first.guidance[0])  # the cross-attention to the prompt can be read, too
    assert not np.array_equal(together[0].frames, together[1].frames)


def test_guidance_is_that_of_two_separate_passes(adapter):
    from vidmem.base.seeding import torch_stream

    pipeline, request = adapter.pipeline, REQUESTS[0]
    recorded = samples_of(adapter, [request])[0].guidance[0]
    pipeline.scheduler.set_timesteps(2)
    noise = torch.randn((1, 4, 3, 16, 16), generator=torch_stream(0, "p0", 0))
    with torch.inference_mode():
        text = [pipeline.encode_prompt([prompt]) for prompt in (request.prompt, "")]
        given, without = (pipeline.unet(noise, pipeline.scheduler.timesteps[0], part).sample[0] for part in text)
    guidance = (given - without).movedim(1, 0).flatten(1)
    assert recorded["content"] == pytest.approx(guidance.norm(dim=1).numpy(), rel=1e-3)
    assert recorded["motion"] == pytest.approx(guidance.diff(dim=0).norm(dim=1).numpy(), rel=1e-3)


def test_a_prompt_may_be_an_embedding(adapter):
    from dataclasses import replace

    with torch.inference_mode():
        embedding = adapter.pipeline.encode_prompt([REQUESTS[0].prompt])[0]
    own, given = samples_of(adapter, REQUESTS[:1])[0], samples_of(adapter, [replace(REQUESTS[0], embedding=embedding)])[0]
    assert np.array_equal(own.frames, given.frames)


def test_without_guidance_there_is_one_branch(adapter):
    frames = adapter.pipeline("a cat", num_frames=2, height=32, width=32, num_inference_steps=1, guidance_scale=1.0).frames
    assert frames.shape == (1, 2, 32, 32, 3)
    assert 0 <= frames.min() < frames.max() <= 1


def test_the_schedule_is_the_published_one(adapter):
    config = adapter.pipeline.scheduler.config
    assert (config.beta_start, config.beta_end, config.beta_schedule) == (1e-4, 0.02, "linear")
    adapter.pipeline.scheduler.set_timesteps(50)
    assert adapter.pipeline.scheduler.timesteps[[0, 1, -2, -1]].tolist() == [980, 960, 20, 0]  # as the official sampler
