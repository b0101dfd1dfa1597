"""Videos, prompts and flow matching are inverted; samplers are those of the pipelines."""

import copy
import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, FlowMatchEulerDiscreteScheduler, TextToVideoSDPipeline

from inverted_cases import PLAN, OraclePipeline, describe, pictures
from vidmem.base.seeding import seed_of
from vidmem.errors import VidmemError
from vidmem.inversion.acceptance import AcceptanceRule
from vidmem.inversion.adapters import InvertibleModel
from vidmem.inversion.conditioning import Conditioning
from vidmem.inversion.engine import Inverter, Target, replay
from vidmem.inversion.presets import plan_of
from vidmem.inversion.sampling import sample
from vidmem.inversion.schedule import WeightRule
from vidmem.models.noising import path_of


@pytest.fixture
def video_pipeline(tiny_pipeline):
    return TextToVideoSDPipeline.from_pretrained(tiny_pipeline)


@pytest.mark.parametrize("mode", ["caption", "prompt"])
def test_replays_show_the_noise_that_was_found_and_the_prior(video_pipeline, stream, tmp_path, mode):
    model = InvertibleModel(video_pipeline, frames=2)
    plan = replace(PLAN, mode=mode, acceptance=AcceptanceRule(2, scales=(1.0, 3.0)), steps=5, batch=2, replays=2)
    first, second = (Inverter(model, plan, describe, 0, slots=n).run(clips(2, stream_of(1)))[1] for n in (1, 2))
    assert first.replays.shape == (2, 2, 2, 32, 32, 3)
    assert np.abs(first.replays.astype(int) - second.replays).max() <= 2
    assert not np.array_equal(first.replays[0], first.replays[1])
    still = replace(plan, rate=1e-9, mode="caption")
    prior = Inverter(model, still, describe, 0).run(clips(1, stream_of(1)))[0].replays
    assert np.abs(prior[0].astype(int) - prior[1]).max() <= 1  # noise that did not move is the prior


def stream_of(seed):
    return np.random.default_rng(seed)


def clips(count, stream):
    return [Target(f"clip {i}", stream.integers(0, 256, (2, 32, 32, 3), dtype=np.uint8), "a red ball") for i in range(count)]


@pytest.mark.parametrize("mode", ["empty", "caption", "prompt", "embedding"])
def test_video_is_inverted_in_every_mode(video_pipeline, stream, mode):
    model = InvertibleModel(video_pipeline, frames=2)
    assert model.video
    assert model.shape == (8, 2, 4, 4)
    plan = replace(PLAN, mode=mode, acceptance=AcceptanceRule(2, scales=(1.0, 3.0)), steps=5, batch=2)
    together = Inverter(model, plan, describe, 0, slots=2).run(clips(2, stream))
    assert [result.mean.shape for result in together] == [(8, 2, 4, 4)] * 2
    assert together[0].network_calls == 5 * 2 + (1 + 2) * 3  # two scales of one noise each, guided at the second
    assert np.isfinite(together[0].mean).all()
    assert np.abs(together[0].mean).max() > 0


def test_similarity_of_clips_is_that_of_the_least_similar_aligned_frame(video_pipeline, stream):
    model, seen = InvertibleModel(video_pipeline, frames=2), []

    def spy(frames):
        seen.append(np.array(frames))
        return describe(frames)

    target = clips(1, stream)[0]
    result = Inverter(model, replace(PLAN, mode="empty", steps=5), spy, 0).run([target])[0]
    generated = describe(seen[1])
    assert result.trace[0] == pytest.approx((generated * describe(target.frames)).sum(1).min(), abs=1e-5)


def test_network_calls_are_those_that_were_made(video_pipeline, stream):
    model, made = InvertibleModel(video_pipeline, frames=2), []
    predict = model.predict
    model.predict = lambda noisy, times, text: made.append(len(noisy)) or predict(noisy, times, text)
    plan = replace(PLAN, mode="caption", acceptance=AcceptanceRule(3, threshold=0.0, scales=(1.0, 3.0)), steps=10)
    results = Inverter(model, plan, describe, 0, slots=2).run(clips(3, stream))
    assert sum(result.network_calls for result in results) == sum(made)


def test_guidance_is_the_formula_for_each_sample_of_a_batch(video_pipeline):
    from vidmem.inversion.sampling import sample

    model = InvertibleModel(video_pipeline, frames=2)
    starts = torch.randn(2, *model.shape, generator=torch.Generator().manual_seed(0))
    told, silence = model.embed(["a red ball", "two cats"]), model.embed([""])
    together = sample(model, starts, told, silence, torch.tensor([1.0, 4.0]), "DDIMScheduler", 3)
    for place, scale in enumerate((1.0, 4.0)):
        own = {name: value[[place]] for name, value in told.items()}
        latents, sampler = starts[[place]], model.scheduler("DDIMScheduler", 3)
        for time in sampler.timesteps:
            with_text, without = (model.predict(latents, time[None], text) for text in (own, silence))
            latents = sampler.step(without + scale * (with_text - without), time, latents).prev_sample
        assert np.abs(together[place].astype(int) - model.decode(latents.detach())[0]).max() <= 1


def test_soft_prompts_get_gradient_and_hard_ones_are_the_encoders(video_pipeline):
    model = InvertibleModel(video_pipeline, frames=2)
    tokens = model._tokens(["two cats"])[0, 1:-1]
    hard = torch.nn.functional.one_hot(tokens, model.vocabulary).float()[None].requires_grad_()
    soft = model.embed_soft(hard)["encoder_hidden_states"]
    assert torch.allclose(
        soft[:, : len(tokens) // 2], model.embed(["two cats"])["encoder_hidden_states"][:, : len(tokens) // 2], atol=1e-5
    )
    gradient = torch.autograd.grad(soft.square().sum(), hard)[0]
    assert (gradient.abs().sum(-1) > 0).all()


def test_bad_input_is_named_before_any_step(pixel_pipeline, video_pipeline, stream):
    pixels, video = InvertibleModel(pixel_pipeline), InvertibleModel(video_pipeline, frames=2)
    with pytest.raises(VidmemError, match="zero terminal SNR"):
        path_of(DDIMScheduler(prediction_type="epsilon", rescale_betas_zero_snr=True))
    with pytest.raises(VidmemError, match="a model for mode prompt"):
        Conditioning(pixels, "prompt")
    with pytest.raises(VidmemError, match="a model for mode none"):
        Conditioning(video, "none")
    with pytest.raises(VidmemError, match="fewer slots"):
        Inverter(video, replace(PLAN, mode="prompt", memory=10_000), describe, 0)
    with pytest.raises(VidmemError, match="guidance scales"):
        Inverter(pixels, replace(PLAN, acceptance=AcceptanceRule(scales=(1.0, 2.0))), describe, 0)
    with pytest.raises(VidmemError, match=r"a target uint8 \(1, 8, 8, 3\)"):
        Inverter(pixels, PLAN, describe, 0).run(pictures(1, stream, side=16))
    with pytest.raises(VidmemError, match="the same id twice"):
        Inverter(pixels, PLAN, describe, 0).run(pictures(1, stream) * 2)
    with pytest.raises(VidmemError, match="a scheduler class"):
        Inverter(pixels, replace(PLAN, sampler="NoScheduler"), describe, 0).run(pictures(1, stream))
    clean = InvertibleModel(OraclePipeline(stream.integers(0, 256, (8, 8, 3), dtype=np.uint8)))
    with pytest.raises(VidmemError, match="a sampler for this model and 3 steps"):
        Inverter(clean, replace(PLAN, sampler="EulerAncestralDiscreteScheduler"), describe, 0)
    with pytest.raises(VidmemError, match="multiple of check_every"):
        Inverter(pixels, replace(PLAN, steps=PLAN.steps + 1), describe, 0)
    with pytest.raises(VidmemError, match="float32 weights"):
        Inverter(InvertibleModel(copy.deepcopy(pixel_pipeline).to(torch.bfloat16)), PLAN, describe, 0)
    with pytest.raises(VidmemError, match="UNetMotionModel"):
        InvertibleModel(SimpleNamespace(unet=motion_network(), scheduler=DDIMScheduler(), components={}))
    with pytest.raises(VidmemError, match="monitor one of"):
        WeightRule(5, 0.1, monitor="eye")
    broken = OraclePipeline(stream.integers(0, 256, (8, 8, 3), dtype=np.uint8))
    broken.unet.picture.data[0, 0, 0] = math.nan
    with pytest.raises(VidmemError, match="finite weights"):
        InvertibleModel(broken)


def motion_network():
    from diffusers import UNetMotionModel

    return UNetMotionModel(
        sample_size=4, block_out_channels=(8,), down_block_types=("DownBlockMotion",), up_block_types=("UpBlockMotion",),
        layers_per_block=1, norm_num_groups=4, cross_attention_dim=8, motion_num_attention_heads=2, num_attention_heads=2,
    )  # fmt: skip


@pytest.mark.parametrize("mode", ["prompt", "embedding", "caption"])
def test_what_is_saved_is_enough_to_replay(video_pipeline, stream, mode):
    model = InvertibleModel(video_pipeline, frames=2)
    plan = replace(
        PLAN, mode=mode, acceptance=AcceptanceRule(2, threshold=-1.0, scales=(1.0, 3.0)), steps=10, batch=2, refine=1
    )
    target = clips(1, stream)[0]
    result = Inverter(model, replace(plan, replays=2), describe, 0).run([target])[0]
    assert set(result.prompt) == {"prompt": {"words"}, "embedding": {"encoder_hidden_states"}, "caption": set()}[mode]
    arrays = {"mean": result.mean, "log_variance": result.log_variance, **result.prompt}
    found = {name: torch.from_numpy(value) for name, value in arrays.items()}
    seed = seed_of("inversion", 0, target.image_id, "replay", result.steps // plan.weights.check_every)
    again = replay(model, found, plan, 2, torch.Generator().manual_seed(seed), target.caption, result.scale)
    assert np.array_equal(again, result.replays)


@pytest.fixture(scope="module")
def flow_pipeline(tiny_pipeline):
    """SD3's own pipeline, tiny: two CLIP encoders with projections, no T5, flow matching."""
    from diffusers import AutoencoderKL, SD3Transformer2DModel, StableDiffusion3Pipeline
    from transformers import CLIPTextConfig, CLIPTextModelWithProjection, CLIPTokenizer

    torch.manual_seed(0)
    tokenizer = CLIPTokenizer.from_pretrained(tiny_pipeline / "tokenizer")
    config = CLIPTextConfig(vocab_size=len(tokenizer), hidden_size=16, intermediate_size=32, num_hidden_layers=2,
                            num_attention_heads=2, max_position_embeddings=32, projection_dim=16,
                            eos_token_id=tokenizer.eos_token_id, bos_token_id=tokenizer.bos_token_id)  # fmt: skip
    transformer = SD3Transformer2DModel(
        sample_size=4, patch_size=1, in_channels=4, num_layers=1, attention_head_dim=8, num_attention_heads=2,
        caption_projection_dim=16, joint_attention_dim=32, pooled_projection_dim=32, out_channels=4,
    )  # fmt: skip
    vae = AutoencoderKL(
        block_out_channels=(8, 8), layers_per_block=1, latent_channels=4, norm_num_groups=4, shift_factor=0.06,
        down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2, scaling_factor=1.5,
    )  # fmt: skip
    encoders = [CLIPTextModelWithProjection(config) for _ in range(2)]
    return StableDiffusion3Pipeline(
        transformer, FlowMatchEulerDiscreteScheduler(shift=3.0), vae, encoders[0], tokenizer, encoders[1], tokenizer, None, None
    )


def test_flow_matching_is_inverted(flow_pipeline, stream):
    model = InvertibleModel(flow_pipeline)
    assert (model.shape, model.size, model.soft) == ((4, 4, 4), (8, 8), False)
    plan = replace(plan_of("sd3", "", {}), steps=4, batch=2, sampler_steps=3)
    plan = replace(plan, weights=replace(plan.weights, check_every=2), acceptance=AcceptanceRule(2, scales=(1.0, 2.0)))
    targets = [replace(target, caption="a red ball") for target in pictures(2, stream)]
    together = Inverter(model, plan, describe, 0, slots=2).run(targets)
    alone = Inverter(model, plan, describe, 0, slots=1).run(targets[1:])
    assert np.allclose(together[1].mean, alone[0].mean, atol=2e-3)
    assert np.abs(together[0].mean).max() > 0.1
    with pytest.raises(VidmemError, match="mode caption"):
        Inverter(model, replace(plan, mode="prompt"), describe, 0)


def test_flow_sampler_is_that_of_the_pipeline(flow_pipeline):
    """The latents of its own call, for the same start noise and prompt."""
    model = InvertibleModel(flow_pipeline)
    start = torch.randn(1, *model.shape, generator=torch.Generator().manual_seed(0))
    flow_pipeline.set_progress_bar_config(disable=True)
    theirs = flow_pipeline(
        "a red ball", latents=start.clone(), num_inference_steps=4, guidance_scale=2.0, height=8, width=8, output_type="np"
    ).images
    told, silence = model.embed(["a red ball"]), model.embed([""])
    ours = sample(model, start, told, silence, torch.tensor([2.0]), "FlowMatchEulerDiscreteScheduler", 4)
    assert np.abs(ours[0].astype(float) - theirs * 255).max() <= 1
