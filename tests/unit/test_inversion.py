"""InvMM: the objective, the weight's schedule, the acceptance test, the engine against a loop written from the procedure."""

import copy
import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, FlowMatchEulerDiscreteScheduler, TextToVideoSDPipeline

from vidmem.errors import VidmemError
from vidmem.inversion import (
    AcceptanceRule,
    AdaptiveWeights,
    Conditioning,
    DiffusionPath,
    FlowPath,
    InversionPlan,
    Inverter,
    InvertibleModel,
    Target,
    WeightRule,
    accept,
    divergence,
    nats_per_image,
    path_of,
    plan_of,
    replay,
    sample,
)
from vidmem.seeding import seed_of

RULE = WeightRule(check_every=5, delta=1e-2, window=8)
PLAN = InversionPlan(RULE, AcceptanceRule(4), steps=15, batch=3, sampler_steps=3)


def describe(frames):
    """Stand-in for SSCD: centred pixels, unit norm."""
    flat = np.asarray(frames, np.float32).reshape(len(frames), -1)
    flat = flat - flat.mean(1, keepdims=True)
    return flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-6)


def pictures(count, stream, side=8):
    return [Target(f"image {i}", stream.integers(0, 256, (1, side, side, 3), dtype=np.uint8)) for i in range(count)]


class Oracle(torch.nn.Module):
    """Optimal denoiser of a training set of one picture: it always predicts that picture."""

    class config:
        in_channels, sample_size = 3, 8

    def __init__(self, picture):
        super().__init__()
        self.register_parameter("picture", torch.nn.Parameter(torch.from_numpy(picture).permute(2, 0, 1) / 127.5 - 1))

    def forward(self, sample, timestep):
        from diffusers.utils import BaseOutput

        return BaseOutput(sample=self.picture.expand(len(sample), -1, -1, -1))


class OraclePipeline:
    def __init__(self, picture, prediction="sample"):
        self.unet, self.scheduler = Oracle(picture), DDIMScheduler(prediction_type=prediction, rescale_betas_zero_snr=True)
        self.components = {"unet": self.unet, "scheduler": self.scheduler}


@pytest.fixture
def video_pipeline(tiny_pipeline):
    return TextToVideoSDPipeline.from_pretrained(tiny_pipeline)


def test_divergence_is_that_of_torch(stream):
    mean, log_variance = (torch.from_numpy(stream.normal(size=(3, 2, 4))) for _ in range(2))
    parts = divergence(mean, log_variance)
    normal = torch.distributions.Normal
    exact = torch.distributions.kl_divergence(normal(mean, (log_variance / 2).exp()), normal(0.0, 1.0)).mean((1, 2))
    assert torch.allclose(sum(parts), exact)
    assert all((part >= 0).all() for part in parts)
    assert nats_per_image(float(exact[0]), 8) == pytest.approx(8 * float(exact[0]))


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
def test_a_perfect_output_denoises_exactly(prediction, stream):
    path = DiffusionPath(torch.linspace(0.99, 0.01, 10), prediction)
    clean, noise = (torch.from_numpy(stream.normal(size=(10, 3, 4)).astype(np.float32)) for _ in range(2))
    times = torch.arange(10)
    alpha = path.alphas[:, None, None]
    output = {"epsilon": noise, "sample": clean, "v_prediction": alpha.sqrt() * noise - (1 - alpha).sqrt() * clean}[prediction]
    assert torch.allclose(path.denoised(path.mix(clean, noise, times), output, times), clean, atol=1e-5)


def test_the_official_epsilon_weight():
    """The loss is the error of epsilon times (1 - alpha) / alpha: 24,780 at the last time of the DDPM schedule."""
    path = path_of(DDIMScheduler(clip_sample=False))
    times, clean, noise = torch.tensor([999]), torch.zeros(1, 4), torch.ones(1, 4)
    noisy = path.mix(clean, noise, times)
    assert float(path.denoised(noisy, noise + 1, times).square().mean()) == pytest.approx(24_780, rel=0.01)


def test_flow_denoises_exactly_and_shifts_its_times(stream):
    path = path_of(FlowMatchEulerDiscreteScheduler(shift=3.0))
    assert path == FlowPath(3.0, 1000.0)
    clean, noise = (torch.from_numpy(stream.normal(size=(6, 4)).astype(np.float32)) for _ in range(2))
    times = path.draw(6, torch.Generator().manual_seed(0))
    assert torch.allclose(path.denoised(path.mix(clean, noise, times), noise - clean, times), clean, atol=1e-5)
    levels = path.draw(100_000, torch.Generator().manual_seed(1))
    assert float(levels.median()) == pytest.approx(3 * 0.5 / 2, abs=0.01)  # the median of s is 1/2


def test_weights_follow_the_table_written_by_hand():
    """C = 2, delta 0.5, ksi 0.1, a window of three; two images with losses of their own."""
    weights = AdaptiveWeights(WeightRule(2, 0.5, stall=0.1, window=3), 2)
    losses = [(4.0, 1.0), (2.0, 1.0), (1.0, 1.0), (1.0, 1.0), (1.0, 1.0), (1.0, 1.0)]
    # First image: means at the checks 3, then (2 + 1 + 1) / 3 = 1.33 (fell), then 1 (fell). Second: 1, 1, 1 (stalls).
    expected = [(1.5, 1.5), (2.0, 2.0), (2.5, 2.5), (3.0, 1.25), (3.5, 1.75), (4.0, 0.875)]
    for step, (loss, wanted) in enumerate(zip(losses, expected)):
        weights.advance(torch.tensor(loss), check=step % 2 == 1)
        assert weights.value.tolist() == pytest.approx(list(wanted)), step


def test_staged_acceptance_is_the_full_test_on_the_same_noises(stream):
    rule = AcceptanceRule(8, 0.5, (1.0, 3.0, 5.0))
    table = stream.uniform(0.4, 1.0, (40, 8, 3))
    table[:10] = 0.9
    table[3, 6, 1] = np.nan
    asked, passes = [], []

    def look_up(image, noise, scale):
        asked.append(len(image))
        passes.append(np.where(scale == 0, 1, 2).sum())  # the first scale is 1: no second pass
        return table[image, noise, scale]

    staged, sampled, made = accept(look_up, 40, rule), sum(asked), sum(passes)
    full = accept(look_up, 40, rule, staged=False)
    assert (staged.passed == full.passed).all()
    assert 0 < staged.passed.sum() < 40
    assert np.allclose(staged.similarity[staged.passed], full.similarity[full.passed])
    assert (staged.similarity >= full.similarity).all()
    assert sampled < 40 * 8 * 3
    assert staged.calls.sum() == made
    assert accept(lambda *indices: np.zeros(len(indices[0])), 5, rule).calls.tolist() == [1 + 2 + 2] * 5


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
    from vidmem.inversion import sample

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


def scores_table():
    import pandas as pd

    rows = [("a", 64, "member", 0, "replicated", 0.1, 0.9), ("a", 64, "member", 1, "replicated", 0.3, 0.8),
            ("b", 16, "member", 0, "replicated", 0.2, 0.7), ("b", 16, "member", 1, "not_replicated", math.inf, 0.4),
            ("c", 0, "heldout", 0, "not_replicated", math.inf, 0.3),
            ("c", 0, "heldout", 1, "diverged", math.inf, -1.0)]  # fmt: skip
    columns = ["image_id", "copies", "split", "seed", "status", "score", "best_similarity"]
    return pd.DataFrame(rows, columns=columns).assign(model="m", mode="none")


def test_censored_images_rank_last_by_their_similarity():
    from vidmem.inversion.outcome import image_means, ranks, separation

    table = scores_table()
    assert list(table["score"].to_numpy()[np.argsort(-ranks(table), kind="stable")]) == [0.1, 0.2, 0.3] + [math.inf] * 3
    assert list(np.argsort(-ranks(table), kind="stable"))[3:] == [3, 4, 5]
    means = image_means(table).set_index("image_id")
    assert means.loc["a", ["n_seeds", "n_replicated", "score"]].tolist() == [2, 2, pytest.approx(0.2)]
    assert means.loc["b", ["n_replicated", "score"]].tolist() == [1, pytest.approx(0.2)]
    assert means.loc["c", "n_replicated"] == 0
    assert math.isnan(means.loc["c", "score"])
    found = separation(table, 16, {"draws": 50, "level": 0.95}, 0).iloc[0]
    assert (found["n_positive"], found["n_negative"], found["auc"]) == (2, 1, 1.0)


def test_targets_are_so_many_of_every_number_of_copies():
    import pandas as pd

    from vidmem.inversion.outcome import choose_targets

    clips = pd.DataFrame(
        {"clip_id": [f"c{i}" for i in range(30)], "copies": [0, 1, 64] * 10, "split": ["heldout", "member", "image"] * 10}
    )
    chosen = choose_targets(clips, ["heldout", "image"], 4, 0)
    assert chosen["copies"].value_counts().to_dict() == {0: 4, 64: 4}
    assert set(chosen["clip_id"]) == set(choose_targets(clips[::-1], ["heldout", "image"], 4, 0)["clip_id"])
    assert set(chosen["clip_id"]) != set(choose_targets(clips, ["heldout", "image"], 4, 1)["clip_id"])
    assert len(choose_targets(clips, ["member"], 0, 0)) == 10


def test_presets_are_the_official_constants_and_change_by_name():
    from vidmem.inversion import PRESETS, plan_of

    ddpm = plan_of("ddpm", "", {})
    assert (ddpm.batch, ddpm.weights.check_every, ddpm.weights.delta, ddpm.weights.stall) == (32, 50, 1e-4, 1e-3)
    assert (ddpm.steps, ddpm.rate, ddpm.sampler_steps, ddpm.acceptance.samples) == (2000, 0.1, 200, 8)
    assert [PRESETS[name].weights.monitor for name in ("ddpm", "ldm", "sd1", "sd3")] == ["prediction"] + ["total"] * 3
    assert PRESETS["sd3"].acceptance.scales == (1.0, 2.0, 3.0, 4.0, 5.0)
    changed = plan_of("sd1", "none", {"steps": 10, "check_every": 2, "threshold": 0.4})
    assert (changed.steps, changed.weights.check_every, changed.acceptance.threshold) == (10, 2, 0.4)
    assert changed.acceptance.scales == (1.0,)
    assert plan_of("sd1", "caption", {"scales": [2.0]}).acceptance.scales == (2.0,)
    with pytest.raises(VidmemError, match="stps"):
        plan_of("ddpm", "", {"stps": 1})
    with pytest.raises(VidmemError, match="no guidance scales"):
        plan_of("sd1", "none", {"scales": [2.0]})


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
