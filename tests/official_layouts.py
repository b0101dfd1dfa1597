"""Names and shapes of the official checkpoints, written down from the public code and configurations, and random ones of them.

Read from: Vchitect/LaVie base/models (c4cf9c7) and its mirror's resnet.py and unet_blocks.py, rotary_embedding_torch;
AILab-CVC/VideoCrafter lvdm (ea6037f, d586880) and configs (dab0535, ea6037f), open_clip's text tower; CompVis/latent-diffusion
configs/latent-diffusion (33c5704), ldm/modules (openaimodel, ema) and taming-transformers; Tobi-r9/RaMViD
diffusion_openai/unet.py (18f6cb1) and README (56a1489). Nothing of the library is used here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import torch

Names = dict[str, tuple[int, ...]]
LAVIE = {"widths": (320, 640, 1280, 1280), "depth": 2, "text": 768, "heads": 8, "rotary": 32, "groups": 32}
VIDEOCRAFTER = {
    "width": 320, "multipliers": (1, 2, 4, 4), "depth": 2, "attended": (4, 2, 1), "head": 64, "text": 1024, "length": 16,
    "relative": True, "fps": False, "over_time": False, "scale": None, "groups": 32,
    "vae": {"width": 128, "multipliers": (1, 2, 4, 4), "depth": 2, "channels": 4}, "layers": 24, "vocabulary": 49408,
}  # fmt: skip
RAMVID = {"width": 128, "multipliers": (1, 2, 3, 4), "depth": 3, "attended": (4, 8), "heads": 4, "groups": 32}
SCHEDULE = """betas alphas_cumprod alphas_cumprod_prev sqrt_alphas_cumprod sqrt_one_minus_alphas_cumprod
log_one_minus_alphas_cumprod sqrt_recip_alphas_cumprod sqrt_recipm1_alphas_cumprod posterior_variance
posterior_log_variance_clipped posterior_mean_coef1 posterior_mean_coef2"""
TINY_LAVIE = {"widths": (16, 32), "depth": 1, "text": 32, "heads": 2, "rotary": 4, "groups": 4}
TINY_VIDEOCRAFTER = VIDEOCRAFTER | {
    "width": 16, "multipliers": (1, 2), "depth": 1, "attended": (1,), "head": 8, "text": 32, "length": 2, "groups": 4,
    "vae": {"width": 8, "multipliers": (1, 2), "depth": 1, "channels": 4}, "layers": 2, "vocabulary": 600,
}  # fmt: skip
VERSIONS = {
    "v1-512": {},
    "v1-1024": {"fps": True, "scale": 0.3},
    "v2-512": {"fps": True, "relative": False, "over_time": True, "scale": 0.7},
}
"""What each published configuration of VideoCrafter changes."""
LATENT_DIFFUSION = {
    "width": 224, "multipliers": (1, 2, 3, 4), "depth": 2, "attended": (8, 4, 2), "head": 32, "groups": 32, "codes": 8192,
    "vae": {"width": 128, "multipliers": (1, 2, 4), "depth": 2, "channels": 3},
}  # fmt: skip
TINY_LATENT_DIFFUSION = LATENT_DIFFUSION | {
    "width": 16, "multipliers": (1, 2), "depth": 1, "attended": (2,), "head": 8, "groups": 4, "codes": 16,
    "vae": {"width": 8, "multipliers": (1, 2), "depth": 1, "channels": 3},
}  # fmt: skip
TINY_RAMVID = {"width": 16, "multipliers": (1, 2), "depth": 1, "attended": (2,), "heads": 2, "groups": 4}


def both(name: str, *shape: int) -> Names:
    """A weight and a bias as long as its first side."""
    return {f"{name}.weight": shape, f"{name}.bias": shape[:1]}


def attention(name: str, width: int, inner: int, context: int) -> Names:
    weights = {f"{name}.to_q.weight": (inner, width)} | {f"{name}.to_{part}.weight": (inner, context) for part in "kv"}
    return weights | both(f"{name}.to_out.0", width, inner)


def feed_forward(name: str, width: int) -> Names:
    return both(f"{name}.net.0.proj", 8 * width, width) | both(f"{name}.net.2", width, 4 * width)


def lavie_names(widths, depth, text, heads, rotary, groups, channels=4) -> Names:
    """lavie_base.pt: a U-Net of diffusers' naming with attn_temp and norm_temp in every transformer block."""
    time = 4 * widths[0]

    def resnet(name, taken, made):
        found = both(f"{name}.norm1", taken) | both(f"{name}.conv1", made, taken, 3, 3) | both(f"{name}.norm2", made)
        found |= both(f"{name}.time_emb_proj", made, time) | both(f"{name}.conv2", made, made, 3, 3)
        return found | (both(f"{name}.conv_shortcut", made, taken, 1, 1) if taken != made else {})

    def transformer(name, width):
        block = f"{name}.transformer_blocks.0"
        found = both(f"{name}.norm", width) | both(f"{name}.proj_in", width, width, 1, 1)
        found |= both(f"{name}.proj_out", width, width, 1, 1)
        for part, context in (("attn1", width), ("attn2", text), ("attn_temp", width)):
            found |= attention(f"{block}.{part}", width, width, context)
        for part in ("norm1", "norm2", "norm3", "norm_temp"):
            found |= both(f"{block}.{part}", width)
        found[f"{block}.attn_temp.time_rel_pos_bias.relative_attention_bias.weight"] = (32, heads)
        found[f"{block}.attn_temp.rotary_emb.freqs"] = (rotary // 2,)
        return found | feed_forward(f"{block}.ff", width)

    names = both("conv_in", widths[0], channels, 3, 3) | both("conv_norm_out", widths[0])
    names |= both("conv_out", channels, widths[0], 3, 3)
    names |= both("time_embedding.linear_1", time, widths[0]) | both("time_embedding.linear_2", time, time)
    last, skips, taken = len(widths) - 1, [widths[0]], widths[0]
    for level, width in enumerate(widths):
        for index in range(depth):
            names |= resnet(f"down_blocks.{level}.resnets.{index}", taken, width)
            names |= transformer(f"down_blocks.{level}.attentions.{index}", width) if level < last else {}
            taken = width
            skips.append(width)
        if level < last:
            names |= both(f"down_blocks.{level}.downsamplers.0.conv", width, width, 3, 3)
            skips.append(width)
    names |= resnet("mid_block.resnets.0", taken, taken) | resnet("mid_block.resnets.1", taken, taken)
    names |= transformer("mid_block.attentions.0", taken)
    for number, width in enumerate(reversed(widths)):
        for index in range(depth + 1):
            names |= resnet(f"up_blocks.{number}.resnets.{index}", taken + skips.pop(), width)
            names |= transformer(f"up_blocks.{number}.attentions.{index}", width) if number else {}
            taken = width
        if number < last:
            names |= both(f"up_blocks.{number}.upsamplers.0.conv", width, width, 3, 3)
    return names


def ladder_names(prefix: str, dims: int, channels: int, plan: dict, residual: Callable, attended: Callable) -> Names:
    """The U-Net of improved-diffusion: input_blocks, middle_block, output_blocks, out."""
    width, multipliers, depth = plan["width"], plan["multipliers"], plan["depth"]
    kernel = (3,) * dims
    names = both(f"{prefix}time_embed.0", 4 * width, width) | both(f"{prefix}time_embed.2", 4 * width, 4 * width)
    names |= both(f"{prefix}input_blocks.0.0", width, channels, *kernel)
    skips, taken, number = [width], width, 1
    for level, multiplier in enumerate(multipliers):
        for _ in range(depth):
            names |= residual(f"{prefix}input_blocks.{number}.0", taken, multiplier * width)
            taken = multiplier * width
            names |= attended(f"{prefix}input_blocks.{number}", 1, taken)[0] if 2**level in plan["attended"] else {}
            skips.append(taken)
            number += 1
        if level < len(multipliers) - 1:
            names |= both(f"{prefix}input_blocks.{number}.0.op", taken, taken, *kernel)
            skips.append(taken)
            number += 1
    names |= residual(f"{prefix}middle_block.0", taken, taken)
    middle, layers = attended(f"{prefix}middle_block", 1, taken)
    names |= middle | residual(f"{prefix}middle_block.{1 + layers}", taken, taken)
    number = 0
    for level, multiplier in reversed(list(enumerate(multipliers))):
        for index in range(depth + 1):
            names |= residual(f"{prefix}output_blocks.{number}.0", taken + skips.pop(), multiplier * width)
            taken, place = multiplier * width, 1
            if 2**level in plan["attended"]:
                found, layers = attended(f"{prefix}output_blocks.{number}", 1, taken)
                names, place = names | found, 1 + layers
            if level and index == depth:
                names |= both(f"{prefix}output_blocks.{number}.{place}.conv", taken, taken, *kernel)
            number += 1
    return names | both(f"{prefix}out.0", width) | both(f"{prefix}out.2", channels, width, *kernel)


def residual_names(name: str, taken: int, made: int, dims: int, time: int, doubled: int) -> Names:
    kernel = (3,) * dims
    found = both(f"{name}.in_layers.0", taken) | both(f"{name}.in_layers.2", made, taken, *kernel)
    found |= both(f"{name}.emb_layers.1", doubled * made, time) | both(f"{name}.out_layers.0", made)
    found |= both(f"{name}.out_layers.3", made, made, *kernel)
    return found | (both(f"{name}.skip_connection", made, taken, *(1,) * dims) if taken != made else {})


def joint_attention_names(name: str, place: int, width: int) -> tuple[Names, int]:
    """Attention whose query, key and value are one layer, and how many places it takes."""
    own = f"{name}.{place}"
    found = both(f"{own}.norm", width) | both(f"{own}.qkv", 3 * width, width, 1)
    return found | both(f"{own}.proj_out", width, width, 1), 1


def ramvid_names(**plan) -> Names:
    """ema_0.9999_<step>.pt: a state dict without a prefix."""

    def residual(name, taken, made):
        return residual_names(name, taken, made, 3, 4 * plan["width"], 2)

    return ladder_names("", 3, 3, plan, residual, joint_attention_names)


def videocrafter_names(**plan) -> Names:
    """state_dict of model.ckpt: U-Net, autoencoder, text encoder, and the buffers of the schedule."""
    names = videocrafter_unet_names("model.diffusion_model.", plan) | vae_names("first_stage_model.", **plan["vae"])
    names |= open_clip_names("cond_stage_model.model.", plan["text"], plan["layers"], plan["vocabulary"])
    names |= dict.fromkeys(SCHEDULE.split(), (1000,))
    return names | ({} if plan["scale"] is None else {"scale_arr": (1400,)})


def videocrafter_unet_names(prefix: str, plan: dict) -> Names:
    head, text, width = plan["head"], plan["text"], plan["width"]

    def residual(name, taken, made):
        found = residual_names(name, taken, made, 2, 4 * width, 1)
        for number, place in ((1, 2), (2, 3), (3, 3), (4, 3)) if plan["over_time"] else ():
            own = f"{name}.temopral_conv.conv{number}"
            found |= both(f"{own}.0", made) | both(f"{own}.{place}", made, made, 3, 1, 1)
        return found

    def transformer(name, taken, inner, context, relative, pointwise=False):
        block, one = f"{name}.transformer_blocks.0", (1,) if pointwise else ()
        found = both(f"{name}.norm", taken) | both(f"{name}.proj_in", inner, taken, *one)
        found |= both(f"{name}.proj_out", taken, inner, *one) | feed_forward(f"{block}.ff", inner)
        for number, width_of in ((1, inner), (2, context)):
            found |= attention(f"{block}.attn{number}", inner, inner, width_of)
            for part in "kv" if relative else "":
                table = f"{block}.attn{number}.relative_position_{part}.embeddings_table"
                found[table] = (2 * plan["length"] + 1, head)
        for number in (1, 2, 3):
            found |= both(f"{block}.norm{number}", inner)
        return found

    def attended(name, place, width_of):
        space = transformer(f"{name}.{place}", width_of, width_of, text, False)
        return space | transformer(f"{name}.{place + 1}", width_of, width_of, width_of, plan["relative"]), 2

    names = ladder_names(prefix, 2, 4, plan, residual, attended)
    names |= transformer(f"{prefix}init_attn.0", width, 8 * head, 8 * head, plan["relative"], pointwise=True)
    if plan["fps"]:
        names |= both(f"{prefix}fps_embedding.0", 4 * width, width) | both(f"{prefix}fps_embedding.2", 4 * width, 4 * width)
    return names


def vae_names(prefix: str, width: int, multipliers: tuple[int, ...], depth: int, channels: int, doubled: int = 2) -> Names:
    """Autoencoder of latent diffusion, attention in its middle only; doubled: a mean and a variance of every channel, or 1."""

    def resnet(name, taken, made):
        found = both(f"{name}.norm1", taken) | both(f"{name}.conv1", made, taken, 3, 3) | both(f"{name}.norm2", made)
        found |= both(f"{name}.conv2", made, made, 3, 3)
        return found | (both(f"{name}.nin_shortcut", made, taken, 1, 1) if taken != made else {})

    def middle(name, size):
        found = resnet(f"{name}.block_1", size, size) | resnet(f"{name}.block_2", size, size)
        found |= both(f"{name}.attn_1.norm", size)
        for part in ("q", "k", "v", "proj_out"):
            found |= both(f"{name}.attn_1.{part}", size, size, 1, 1)
        return found

    encoder, decoder, coarse = f"{prefix}encoder", f"{prefix}decoder", multipliers[-1] * width
    names = both(f"{prefix}quant_conv", doubled * channels, doubled * channels, 1, 1)
    names |= both(f"{prefix}post_quant_conv", channels, channels, 1, 1)
    names |= both(f"{encoder}.conv_in", width, 3, 3, 3) | both(f"{encoder}.norm_out", coarse)
    names |= both(f"{encoder}.conv_out", doubled * channels, coarse, 3, 3) | middle(f"{encoder}.mid", coarse)
    names |= both(f"{decoder}.conv_in", coarse, channels, 3, 3) | middle(f"{decoder}.mid", coarse)
    names |= both(f"{decoder}.norm_out", width) | both(f"{decoder}.conv_out", 3, width, 3, 3)
    taken = width
    for level, multiplier in enumerate(multipliers):
        for index in range(depth):
            names |= resnet(f"{encoder}.down.{level}.block.{index}", taken, multiplier * width)
            taken = multiplier * width
        if level < len(multipliers) - 1:
            names |= both(f"{encoder}.down.{level}.downsample.conv", taken, taken, 3, 3)
    for level, multiplier in reversed(list(enumerate(multipliers))):
        for index in range(depth + 1):
            names |= resnet(f"{decoder}.up.{level}.block.{index}", taken, multiplier * width)
            taken = multiplier * width
        if level:
            names |= both(f"{decoder}.up.{level}.upsample.conv", taken, taken, 3, 3)
    return names


def latent_diffusion_names(**plan) -> Names:
    """state_dict of model.ckpt: denoiser, its average over training under names without dots, autoencoder with a codebook."""

    def residual(name, taken, made):
        return residual_names(name, taken, made, 2, 4 * plan["width"], 1)

    channels = plan["vae"]["channels"]
    unet = ladder_names("", 2, channels, plan, residual, joint_attention_names)
    names = {f"model.diffusion_model.{name}": shape for name, shape in unet.items()}
    names |= {"model_ema.diffusion_model" + name.replace(".", ""): shape for name, shape in unet.items()}
    names |= vae_names("first_stage_model.", **plan["vae"], doubled=1)
    names |= {
        "model_ema.decay": (),
        "model_ema.num_updates": (),
        "first_stage_model.quantize.embedding.weight": (plan["codes"], channels),
    }
    return names | dict.fromkeys(SCHEDULE.split(), (1000,))


def latent_diffusion_weights(seed: int = 0, plan: dict = TINY_LATENT_DIFFUSION) -> dict[str, torch.Tensor]:
    """A random checkpoint whose noise levels are those of the public configuration: square roots evenly spaced."""
    weights = random_weights(latent_diffusion_names(**plan), seed)
    betas = torch.linspace(0.0015**0.5, 0.0195**0.5, 1000, dtype=torch.float64) ** 2
    return weights | {"betas": betas.float(), "alphas_cumprod": (1 - betas).cumprod(0).float()}


def open_clip_names(prefix: str, width: int, layers: int, vocabulary: int, tokens: int = 77) -> Names:
    """Text tower of OpenCLIP, all layers of it."""
    names = {f"{prefix}positional_embedding": (tokens, width), f"{prefix}text_projection": (width, width),
             f"{prefix}logit_scale": (), f"{prefix}token_embedding.weight": (vocabulary, width)}  # fmt: skip
    for layer in range(layers):
        block = f"{prefix}transformer.resblocks.{layer}"
        names |= both(f"{block}.ln_1", width) | both(f"{block}.ln_2", width) | both(f"{block}.attn.out_proj", width, width)
        names |= {f"{block}.attn.in_proj_weight": (3 * width, width), f"{block}.attn.in_proj_bias": (3 * width,)}
        names |= both(f"{block}.mlp.c_fc", 4 * width, width) | both(f"{block}.mlp.c_proj", width, 4 * width)
    return names | both(f"{prefix}ln_final", width)


def random_weights(names: Names, seed: int = 0) -> dict[str, torch.Tensor]:
    """Weights of a size at which every one of them is felt; constants where the checkpoint holds constants."""
    stream = torch.Generator().manual_seed(seed)
    weights = {}
    for name, shape in sorted(names.items()):
        fan = max(1, torch.Size(shape[1:]).numel())
        scale = fan**-0.5 if len(shape) > 1 else 0.2
        one = len(shape) == 1 and name.endswith("weight")  # the gain of a normalisation
        weights[name] = scale * torch.randn(shape, generator=stream) + one
    for name in (name for name in weights if name.endswith("rotary_emb.freqs")):
        weights[name] = 10000.0 ** -(torch.arange(names[name][0]) / names[name][0])
    return weights


def tiny_official(layout: str, variant: str | None = None, seed: int = 0) -> dict[str, torch.Tensor]:
    """A small random checkpoint of a layout, the schedule of VideoCrafter's variants the true one."""
    if layout == "lavie":
        return random_weights(lavie_names(**TINY_LAVIE), seed)
    if layout == "ldm":
        return latent_diffusion_weights(seed)
    if layout == "ramvid":
        return random_weights(ramvid_names(**TINY_RAMVID), seed)
    plan = TINY_VIDEOCRAFTER | VERSIONS[variant or "v1-512"]
    weights = random_weights(videocrafter_names(**plan), seed)
    if plan["scale"] is not None:
        ends = torch.cat([torch.linspace(1, plan["scale"], 400, dtype=torch.float64), torch.full((1000,), plan["scale"])])
        weights["scale_arr"] = (ends[:1000] if variant == "v1-1024" else ends).float()
    return weights


def save_official(path: Path, weights: dict, container: str | None = None) -> str:
    """Save as a trainer would; returns the hash."""
    torch.save(weights if container is None else {container: weights, "step": 7}, path)
    return hashlib.sha256(path.read_bytes()).hexdigest()
