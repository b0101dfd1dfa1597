"""InvMM: the engine against a loop written from the procedure."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler

from inverted_cases import PLAN, RULE, OraclePipeline, describe, pictures
from vidmem.base.seeding import seed_of
from vidmem.inversion.acceptance import AcceptanceRule
from vidmem.inversion.adapters import InvertibleModel
from vidmem.inversion.engine import Inverter
from vidmem.inversion.objective import divergence
from vidmem.inversion.presets import plan_of


def test_the_only_training_picture_passes_at_the_first_check_with_no_divergence(stream):
    target = pictures(1, stream)[0]
    model = InvertibleModel(OraclePipeline(target.frames[0]))
    plan = replace(PLAN, acceptance=AcceptanceRule(8), steps=50)
    own, other = Inverter(model, plan, describe, 0).run([target, pictures(2, stream)[1]])
    assert (own.status, own.steps, own.best_similarity) == ("replicated", 5, pytest.approx(1, abs=1e-3))
    assert 0 <= own.score < 1e-3
    assert (other.status, other.score, other.steps) == ("not_replicated", math.inf, 50)
    assert other.best_similarity < 0.5
    assert own.network_calls == 5 * 3 + 8 * 3
    assert other.network_calls == 50 * 3 + 10 * 1 * 3  # one sample a check, then dropped


def slow_inversion(pipeline, target, plan, seed):
    """One image, written from the published procedure: torch's Adam, a list for the window, floats for the weight."""
    rule, scheduler, checks = plan.weights, pipeline.scheduler, 0
    clean = torch.from_numpy(target.frames).permute(0, 3, 1, 2) / 127.5 - 1
    mean, log_variance = (torch.zeros_like(clean).requires_grad_() for _ in range(2))
    adam = torch.optim.Adam([mean, log_variance], lr=plan.rate)
    weight, previous, window, weights = 1.0, math.inf, [], []
    for step in range(plan.steps):
        if step % rule.check_every == 0:
            generator = torch.Generator().manual_seed(seed_of("inversion", seed, target.image_id, "steps", checks))
            checks += 1
        noise = torch.randn(plan.batch, *clean.shape[1:], generator=generator)
        times = torch.randint(1000, (plan.batch,), generator=generator)
        start = mean + (log_variance / 2).exp() * noise
        noisy = scheduler.add_noise(clean.expand_as(start), start, times)
        alpha = scheduler.alphas_cumprod[times][:, None, None, None]
        guess = (noisy - (1 - alpha).sqrt() * pipeline.unet(noisy, times).sample) / alpha.sqrt()
        error = ((guess - clean) ** 2).mean()
        loss = error + weight * 0.5 * (mean**2 + log_variance.exp() - log_variance - 1).mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
        window = [*window, float((loss if rule.monitor == "total" else error).detach())][-rule.window :]
        if (step + 1) % rule.check_every == 0 and step > 0:
            now = sum(window) / len(window)
            weight = weight / 2 if previous - now < rule.stall else weight + rule.delta
            previous = now
        else:
            weight += rule.delta
        weights.append(weight)
    return mean.detach()[0].numpy(), log_variance.detach()[0].numpy()


@pytest.mark.parametrize("monitor", ["prediction", "total"])
def test_engine_is_the_published_loop(pixel_pipeline, stream, monitor):
    targets = pictures(3, stream)
    plan = replace(PLAN, weights=replace(RULE, monitor=monitor), acceptance=AcceptanceRule(2, threshold=1.1))
    results = Inverter(InvertibleModel(pixel_pipeline), plan, describe, seed=7, slots=3).run(targets)
    for target, result in zip(targets, results):
        mean, log_variance = slow_inversion(pixel_pipeline, target, plan, 7)
        assert np.abs(result.mean - mean).max() < 2e-3
        assert np.abs(result.log_variance - log_variance).max() < 2e-3
        assert np.abs(mean).max() > 0.5  # it moved


def test_a_score_does_not_depend_on_its_neighbours(pixel_pipeline, stream):
    targets, model = pictures(4, stream), InvertibleModel(pixel_pipeline)
    plan = replace(PLAN, acceptance=AcceptanceRule(2, threshold=0.05))  # some pass at once, some never
    together = Inverter(model, plan, describe, 0, slots=4).run(targets)
    refilled = Inverter(model, plan, describe, 0, slots=2).run(targets)
    alone = [Inverter(model, plan, describe, 0, slots=1).run([target])[0] for target in targets[::-1]][::-1]
    for first, second, third in zip(together, refilled, alone):
        assert first.status == second.status == third.status
        assert first.steps == second.steps == third.steps
        assert first.network_calls == second.network_calls == third.network_calls
        assert np.allclose(first.mean, third.mean, atol=2e-3)
        assert np.allclose(second.mean, third.mean, atol=2e-3)
    assert not np.allclose(Inverter(model, plan, describe, 1).run(targets[:1])[0].mean, together[0].mean, atol=2e-3)


class Killed(Exception):
    pass


@pytest.mark.parametrize("kill_after", [1, 2, 4])
def test_killed_and_resumed_is_uninterrupted(pixel_pipeline, stream, tmp_path, kill_after):
    targets, model = pictures(3, stream), InvertibleModel(pixel_pipeline)
    plan, calls = replace(PLAN, acceptance=AcceptanceRule(2, threshold=0.05), refine=1), []

    def die(*counts):
        calls.append(counts)
        if len(calls) == kill_after:
            raise Killed

    whole = Inverter(model, plan, describe, 0, slots=2).run(targets)
    file = tmp_path / "inversion.checkpoint"
    with pytest.raises(Killed):
        Inverter(model, plan, describe, 0, slots=2).run(targets, file, every=1, report=die)
    assert file.exists()
    state = file.read_bytes()
    another = Inverter(model, plan, describe, 0, slots=2).run(targets, file, identity="another model")
    assert [result.trace for result in another] == [result.trace for result in whole]  # anew, not a mixture of two models
    file.write_bytes(state)
    again = Inverter(model, plan, describe, 0, slots=2).run(targets, file, keep=True)
    done = Inverter(model, plan, describe, 0, slots=1).run(targets, file)  # kept whole: nothing is done again
    assert [(one.trace, one.seconds) for one in done] == [(one.trace, one.seconds) for one in again]
    assert not file.exists()
    for first, second in zip(whole, again):
        assert (first.status, first.score, first.trace, first.steps) == (
            second.status,
            second.score,
            second.trace,
            second.steps,
        )
        assert first.network_calls == second.network_calls
        assert np.array_equal(first.mean, second.mean)


def test_refining_never_raises_the_score(pixel_pipeline, stream):
    targets, model = pictures(1, stream), InvertibleModel(pixel_pipeline)
    plan = replace(PLAN, acceptance=AcceptanceRule(2, threshold=-1.0))  # passes at every check
    first = Inverter(model, plan, describe, 0).run(targets)[0]
    refined = Inverter(model, replace(plan, refine=2), describe, 0).run(targets)[0]
    assert 0 < refined.score <= first.score
    assert (first.steps, refined.steps) == (5, 15)


def test_what_the_prior_reproduces_is_done_at_once(stream):
    target = pictures(1, stream)[0]
    model = InvertibleModel(OraclePipeline(target.frames[0]))
    result = Inverter(model, replace(PLAN, prior_check=True, refine=4), describe, 0).run([target])[0]
    assert (result.status, result.score, result.steps, result.network_calls) == ("replicated", 0, 0, 4 * 3)


def test_the_pipeline_is_given_back_as_it_was(pixel_pipeline, stream):
    unet = pixel_pipeline.unet.train()
    unet.conv_in.weight.requires_grad_(False)
    before = {name: value.clone() for name, value in unet.state_dict().items()}
    with pytest.raises(RuntimeError, match="no descriptor"):
        Inverter(InvertibleModel(pixel_pipeline), PLAN, lambda frames: describe(frames) if len(frames) == 1 else fail(), 0).run(
            pictures(2, stream)
        )
    assert unet.training
    assert not unet.conv_in.weight.requires_grad
    assert unet.conv_out.weight.requires_grad
    assert all(torch.equal(value, before[name]) for name, value in unet.state_dict().items())
    unet.conv_in.weight.requires_grad_(True)


def fail():
    raise RuntimeError("no descriptor")


def test_divergence_is_a_status(pixel_pipeline, stream):
    model = InvertibleModel(pixel_pipeline)
    result = Inverter(model, replace(PLAN, rate=1e30), describe, 0).run(pictures(1, stream))[0]
    assert (result.status, result.score) == ("diverged", math.inf)


def test_a_clipped_gradient_still_moves_each_image_alone(pixel_pipeline, stream):
    targets, model = pictures(2, stream), InvertibleModel(pixel_pipeline)
    plan = replace(PLAN, gradient_clip=1e-3)
    together = Inverter(model, plan, describe, 0, slots=2).run(targets)
    alone = Inverter(model, plan, describe, 0, slots=1).run(targets[1:])
    assert np.allclose(together[1].mean, alone[0].mean, atol=2e-3)


def test_latent_models_without_text_are_inverted(stream):
    from diffusers import LDMPipeline, UNet2DModel, VQModel

    torch.manual_seed(0)
    blocks = {"down_block_types": ("DownBlock2D",), "up_block_types": ("UpBlock2D",)}
    unet = UNet2DModel(sample_size=4, block_out_channels=(8,), layers_per_block=1, norm_num_groups=4, **blocks)
    vqvae = VQModel(
        block_out_channels=(8, 8), down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=3, num_vq_embeddings=16, norm_num_groups=4,
    )  # fmt: skip
    model = InvertibleModel(LDMPipeline(vqvae, unet, DDIMScheduler(clip_sample=False)))
    assert (model.shape, model.prompted) == ((3, 4, 4), False)
    plan = replace(plan_of("ldm", "", {}), steps=4, sampler_steps=2, batch=2)
    plan = replace(plan, weights=replace(plan.weights, check_every=2))
    result = Inverter(model, plan, describe, 0).run(pictures(1, stream))[0]
    assert (result.steps, result.mean.shape) == (4, (3, 4, 4))


def test_scores_are_those_of_the_published_loop_in_distribution(pixel_pipeline, stream):
    """Other random numbers, the same law: Kolmogorov-Smirnov over 40 seeds of each, the published loop with full tests."""
    from scipy.stats import ks_2samp

    target, model = pictures(1, stream)[0], InvertibleModel(pixel_pipeline)
    plan = replace(PLAN, acceptance=AcceptanceRule(2, threshold=1.1), steps=10)
    theirs = [slow_inversion(pixel_pipeline, target, plan, 1000 + seed) for seed in range(40)]
    ends = [divergence(*(torch.from_numpy(part)[None] for part in pair)) for pair in theirs]

    def chance(plan, part):
        again = [replace(target, image_id=f"again {place}") for place in range(40)]
        ours = [getattr(result, part) for result in Inverter(model, plan, describe, 0, slots=10).run(again)]
        return ks_2samp(ours, [float(end[part == "variance_part"]) for end in ends]).pvalue

    assert chance(plan, "mean_part") > 0.01
    assert chance(plan, "variance_part") > 0.01
    assert chance(replace(plan, rate=0.13), "mean_part") < 0.01  # another law is told apart
