"""The arithmetic of the official networks, written from the public code on their weights by name."""

from __future__ import annotations

import torch
from torch.nn import functional


def normalised(weights: dict, name: str, values: torch.Tensor, groups: int, eps: float = 1e-5) -> torch.Tensor:
    """Group normalisation of [N, C, ...] over everything but N, from its definition."""
    grouped = values.reshape(len(values), groups, -1)
    centred = (grouped - grouped.mean(-1, keepdim=True)) / (grouped.var(-1, unbiased=False, keepdim=True) + eps).sqrt()
    sides = (1, -1) + (1,) * (values.ndim - 2)
    return centred.reshape(values.shape) * weights[f"{name}.weight"].reshape(sides) + weights[f"{name}.bias"].reshape(sides)


def mapped(weights: dict, name: str, values: torch.Tensor) -> torch.Tensor:
    """Linear layer."""
    return values @ weights[f"{name}.weight"].flatten(1).T + weights.get(f"{name}.bias", 0)


def layered(weights: dict, name: str, values: torch.Tensor) -> torch.Tensor:
    """Layer normalisation of the last axis."""
    centred = values - values.mean(-1, keepdim=True)
    scaled = centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt()
    return scaled * weights[f"{name}.weight"] + weights[f"{name}.bias"]


def gated(weights: dict, name: str, values: torch.Tensor) -> torch.Tensor:
    """Feed-forward layer with a gate."""
    kept, gate = mapped(weights, f"{name}.net.0.proj", values).chunk(2, dim=-1)
    return mapped(weights, f"{name}.net.2", kept * functional.gelu(gate))


def attending(weights: dict, name: str, values: torch.Tensor, context: torch.Tensor, heads: int) -> torch.Tensor:
    """Attention of places [P, C] to a context [K, D], head by head."""
    query = mapped(weights, f"{name}.to_q", values)
    key, value = (mapped(weights, f"{name}.to_{part}", context) for part in "kv")
    found = []
    for q, k, v in zip(query.chunk(heads, -1), key.chunk(heads, -1), value.chunk(heads, -1)):
        found.append((q @ k.T / q.shape[-1] ** 0.5).softmax(-1) @ v)
    return mapped(weights, f"{name}.to_out.0", torch.cat(found, dim=-1))


def sinusoids(time: float, width: int) -> torch.Tensor:
    """Cosines, then sines, of a time at frequencies from 1 to nearly 1 / 10000."""
    angles = time * 10000.0 ** -(torch.arange(width // 2) / (width // 2))
    return torch.cat([angles.cos(), angles.sin()])


def convolved(weights: dict, name: str, video: torch.Tensor, stride: int = 1) -> torch.Tensor:
    """Frame by frame [C, T, H, W], padded to keep the size."""
    kernel, bias = weights[f"{name}.weight"], weights[f"{name}.bias"]
    frames = [functional.conv2d(frame[None], kernel, bias, stride, kernel.shape[-1] // 2)[0] for frame in video.unbind(1)]
    return torch.stack(frames, dim=1)


def convolved_image(weights: dict, name: str, image: torch.Tensor, stride: int = 1) -> torch.Tensor:
    """One picture [1, C, H, W], padded to keep the size."""
    return convolved(weights, name, image[0][:, None], stride)[:, 0][None]


def resolved(weights: dict, name: str, image: torch.Tensor, groups: int) -> torch.Tensor:
    """Residual block of the autoencoder."""
    hidden = image
    for number in (1, 2):
        normed = normalised(weights, f"{name}.norm{number}", hidden, groups, 1e-6)
        hidden = convolved_image(weights, f"{name}.conv{number}", functional.silu(normed))
    own = f"{name}.nin_shortcut"
    return hidden + (convolved_image(weights, own, image) if f"{own}.weight" in weights else image)


def middle(weights: dict, name: str, image: torch.Tensor, groups: int) -> torch.Tensor:
    """Coarsest level of the autoencoder, with its one attention."""
    image = resolved(weights, f"{name}.block_1", image, groups)
    normed = normalised(weights, f"{name}.attn_1.norm", image, groups, 1e-6)
    q, k, v = (convolved_image(weights, f"{name}.attn_1.{part}", normed)[0].flatten(1).T for part in "qkv")
    found = ((q @ k.T / q.shape[-1] ** 0.5).softmax(-1) @ v).T.reshape(image.shape)
    return resolved(weights, f"{name}.block_2", image + convolved_image(weights, f"{name}.attn_1.proj_out", found), groups)


def decoded(weights: dict, codes: torch.Tensor, plan: dict, groups: int) -> torch.Tensor:
    """Picture of codes [1, C, H, W] behind post_quant_conv, from the official weights: the coarsest level first."""
    image = middle(weights, "decoder.mid", convolved_image(weights, "decoder.conv_in", codes), groups)
    for level in reversed(range(len(plan["multipliers"]))):
        for index in range(plan["depth"] + 1):
            image = resolved(weights, f"decoder.up.{level}.block.{index}", image, groups)
        if level:
            doubled = image.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
            image = convolved_image(weights, f"decoder.up.{level}.upsample.conv", doubled)
    return convolved_image(
        weights, "decoder.conv_out", functional.silu(normalised(weights, "decoder.norm_out", image, groups, 1e-6))
    )


def encoded(weights: dict, image: torch.Tensor, plan: dict, groups: int) -> torch.Tensor:
    """Codes of a picture [1, 3, H, W] before quant_conv; pictures are padded below and on the right before they shrink."""
    image = convolved_image(weights, "encoder.conv_in", image)
    for level in range(len(plan["multipliers"])):
        for index in range(plan["depth"]):
            image = resolved(weights, f"encoder.down.{level}.block.{index}", image, groups)
        if level < len(plan["multipliers"]) - 1:
            name = f"encoder.down.{level}.downsample.conv"
            padded = functional.pad(image, (0, 1, 0, 1))
            image = functional.conv2d(padded, weights[f"{name}.weight"], weights[f"{name}.bias"], 2)
    image = middle(weights, "encoder.mid", image, groups)
    return convolved_image(
        weights, "encoder.conv_out", functional.silu(normalised(weights, "encoder.norm_out", image, groups, 1e-6))
    )
