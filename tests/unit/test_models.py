"""The adapter, the guidance hook, the reference models and their training, on a tiny pipeline."""

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, TextToVideoSDPipeline

from vidmem.errors import VidmemError
from vidmem.generation import drop_parts, generate_resumable, guidance_rows, requests_of
from vidmem.guidance import GuidancePass, guidance_magnitudes
from vidmem.layouts import frames_first
from vidmem.models.adapter import GenerationSpec, PipelineAdapter, Request, Sample
from vidmem.models.autoencoder import PatchAutoencoder, fit_refiner
from vidmem.models.fingerprint import model_fingerprint
from vidmem.models.loading import pipeline_class
from vidmem.models.reference import UnconditionalVideoPipeline, build_pipeline, build_scheduler, build_tokenizer
from vidmem.models.training import DiffusionPlan, DiffusionTrainer, TrainingSet, denoising_loss
from vidmem.prompts import prompts_of_corpus

REQUESTS = [Request(f"p{number}", text, 0) for number, text in enumerate(["a red ball", "two cats", "a wall 🎉", "x" * 500])]


@pytest.fixture
def spec(tiny_pipeline):
    return GenerationSpec("TextToVideoSDPipeline", str(tiny_pipeline), steps=2, guidance=3.0, frames=3, size=(32, 32), batch=4)


def generate(spec, requests=REQUESTS, seed=0, **changes):
    from dataclasses import replace

    adapter = PipelineAdapter(replace(spec, **changes), seed)
    return [sample for batch in adapter.generate(requests) for sample in batch]


def test_generation_does_not_depend_on_the_batch(spec):
    together, alone = generate(spec), generate(spec, batch=1)
    mixed = generate(spec, requests=REQUESTS[::-1], batch=3)[::-1]
    for first, second, third in zip(together, alone, mixed):
        assert first.frames.shape == (3, 32, 32, 3)
        assert np.abs(first.frames.astype(int) - second.frames).max() <= 1  # float order in the batch: one grey level
        assert np.abs(first.frames.astype(int) - third.frames).max() <= 1
    assert not np.array_equal(together[0].frames, generate(spec, seed=1)[0].frames)


def test_samples_of_one_prompt_differ(spec):
    first, second = generate(spec, [Request("p", "a red ball", 0), Request("p", "a red ball", 1)])
    assert not np.array_equal(first.frames, second.frames)


def test_recorded_guidance_is_that_of_two_separate_passes(spec, tiny_pipeline):
    """At the first step both branches can be computed by hand from the known noise."""
    from vidmem.seeding import torch_stream

    request = REQUESTS[0]
    recorded = generate(spec, [request])[0].guidance
    assert len(recorded) == 2
    pipeline = TextToVideoSDPipeline.from_pretrained(tiny_pipeline)
    pipeline.scheduler.set_timesteps(2)
    noise = torch.randn((1, 8, 3, 4, 4), generator=torch_stream(0, "p0", 0)) * pipeline.scheduler.init_noise_sigma
    with torch.inference_mode():
        embed = pipeline.encode_prompt(request.prompt, "cpu", 1, True)
        branches = [pipeline.unet(noise, pipeline.scheduler.timesteps[0], text).sample for text in (embed[1], embed[0])]
    unconditional, conditional = [branch[0].movedim(1, 0).flatten(1).numpy() for branch in branches]
    guidance = conditional - unconditional
    assert recorded[0]["content"] == pytest.approx(np.linalg.norm(guidance, axis=1), rel=1e-4)
    assert recorded[0]["motion"] == pytest.approx(np.linalg.norm(np.diff(guidance, axis=0), axis=1), rel=1e-4)
    assert recorded[0]["conditional"] == pytest.approx(np.linalg.norm(conditional, axis=1), rel=1e-4)


def test_without_guidance_nothing_is_recorded_not_zero(spec):
    assert generate(spec, REQUESTS[:1], guidance=1.0)[0].guidance == []


def test_frame_axis_is_found():
    prediction = torch.arange(2 * 5 * 3 * 4).reshape(2, 5, 3, 2, 2).float()
    assert frames_first(prediction, 5).shape == (2, 3, 20)
    assert torch.equal(frames_first(prediction, 5)[0, 1], prediction[0, :, 1].movedim(0, -1).flatten())
    assert frames_first(prediction.transpose(1, 2), 5).shape == (2, 3, 20)
    assert frames_first(torch.zeros(2, 4, 8, 8), 4).shape == (2, 1, 256)
    packed = torch.arange(2 * 6 * 4).reshape(2, 6, 4).float()
    assert torch.equal(frames_first(packed, 4, 3)[0, 1], packed[0, 2:4].flatten())
    assert frames_first(packed, 4).shape == (2, 1, 24)
    assert frames_first(packed, 4, 5).shape == (2, 1, 24)  # tokens that are not so many frames
    assert frames_first(torch.zeros(2, 5, 3, 2, 2), 7) is None


def test_magnitudes_of_one_frame_have_no_motion():
    zeros, ones = torch.zeros(1, 1, 4), torch.ones(1, 1, 4)
    assert guidance_magnitudes(GuidancePass(zeros, zeros, ones))["motion"].shape == (1, 0)


def test_running_out_of_memory_halves_the_batch(spec, monkeypatch):
    adapter, sizes = PipelineAdapter(spec, 0), []
    call = adapter._call

    def limited(part):
        sizes.append(len(part))
        if len(part) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return call(part)

    monkeypatch.setattr(adapter, "_call", limited)
    samples = [sample for batch in adapter.generate(REQUESTS) for sample in batch]
    assert sizes == [4, 2, 1, 1, 1, 1]
    assert [sample.request for sample in samples] == REQUESTS
    assert all(sample.status == "ok" for sample in samples)


def test_memory_that_never_suffices_and_other_failures_become_rows(spec, monkeypatch):
    adapter = PipelineAdapter(spec, 0)
    monkeypatch.setattr(adapter, "_call", lambda part: (_ for _ in ()).throw(MemoryError()))
    assert {sample.reason for batch in adapter.generate(REQUESTS) for sample in batch} == {"out of memory at one sample a call"}
    adapter = PipelineAdapter(spec, 0)
    call = adapter._call

    def picky(part):
        if any(request.prompt_id == "p1" for request in part):
            raise ValueError("no cats")
        return call(part)

    monkeypatch.setattr(adapter, "_call", picky)
    samples = [sample for batch in adapter.generate(REQUESTS) for sample in batch]
    assert [sample.status for sample in samples] == ["ok", "failed", "ok", "ok"]
    assert samples[1].reason == "ValueError: no cats"


def test_not_a_number_is_a_failure(spec, monkeypatch):
    adapter = PipelineAdapter(spec, 0)
    decode = adapter.pipeline.vae.decode

    def broken(latents):
        output = decode(latents)
        output.sample[:3] = float("nan")
        return output

    monkeypatch.setattr(adapter.pipeline.vae, "decode", broken)
    samples = [sample for batch in adapter.generate(REQUESTS[:2]) for sample in batch]
    assert [sample.status for sample in samples] == ["failed", "ok"]
    assert "NaN" in samples[0].reason


def test_finished_parts_are_not_generated_again(spec, tmp_path, monkeypatch):
    adapter = PipelineAdapter(spec, 0)
    adapter.batch = 2
    first = list(generate_resumable(adapter, REQUESTS[:2], tmp_path, "recipe"))
    asked = []
    original = adapter.generate
    monkeypatch.setattr(adapter, "generate", lambda requests: asked.append(requests) or original(requests))
    second = list(generate_resumable(adapter, REQUESTS, tmp_path, "recipe"))
    assert asked == [REQUESTS[2:]]
    assert [sample.request for sample in second] == REQUESTS
    assert np.array_equal(first[0].frames, second[0].frames)
    assert first[0].guidance[0]["content"] == pytest.approx(second[0].guidance[0]["content"])
    list(generate_resumable(adapter, REQUESTS[:1], tmp_path, "another recipe"))
    assert asked[-1] == REQUESTS[:1]


@pytest.mark.parametrize("suffix", [".json", ".npy"])
def test_a_damaged_part_is_generated_again(spec, tmp_path, monkeypatch, caplog, suffix):
    """A digit of the guidance, a byte of the frames: named in the log; the batch again gives the same samples to the bit."""
    adapter = PipelineAdapter(spec, 0)
    adapter.batch = 2
    first = list(generate_resumable(adapter, REQUESTS, tmp_path, "recipe"))
    damaged = sorted(tmp_path.glob(f"*{suffix}"))[0]
    content = damaged.read_bytes()
    place = content.index(b"0.") + 2 if suffix == ".json" else len(content) // 2
    damaged.write_bytes(content[:place] + (b"%d" % ((content[place] - 47) % 10)) + content[place + 1 :])
    asked, original = [], adapter.generate
    monkeypatch.setattr(adapter, "generate", lambda requests: asked.extend(requests) or original(requests))
    second = list(generate_resumable(adapter, REQUESTS, tmp_path, "recipe"))
    assert asked in (REQUESTS[:2], REQUESTS[2:])
    assert damaged.stem in caplog.text
    for one, other in zip(first, second):
        assert np.array_equal(one.frames, other.frames)
        assert one.guidance[0]["content"].tolist() == other.guidance[0]["content"].tolist()


def test_parts_go_when_their_shard_is_written_and_those_of_another_recipe_with_them(spec, tmp_path):
    """Parts of another shard of the same recipe stay: its job may be running."""
    adapter = PipelineAdapter(spec, 0)
    list(generate_resumable(adapter, REQUESTS[:1], tmp_path / "parts", "older"))
    list(generate_resumable(adapter, REQUESTS[:2], tmp_path / "parts", "recipe"))
    drop_parts(tmp_path / "parts", "recipe", REQUESTS[:1])
    assert len(list((tmp_path / "parts").glob("*.npy"))) == 1
    drop_parts(tmp_path / "parts", "recipe", REQUESTS[1:2])
    assert not (tmp_path / "parts").exists()


def test_guidance_table_is_tidy():
    steps = [{"content": np.ones(3), "motion": np.zeros(2)}] * 2
    rows = guidance_rows(Sample(REQUESTS[0], np.zeros((3, 4, 4, 3), np.uint8), guidance=steps))
    assert len(rows) == 10
    assert {(quantity, frame) for _, _, _, frame, quantity, _ in rows} == {
        ("content", 0), ("content", 1), ("content", 2), ("motion", 0), ("motion", 1),
    }  # fmt: skip


def test_wrong_models_are_named(spec, tmp_path):
    from dataclasses import replace

    with pytest.raises(VidmemError, match="a pipeline class of diffusers"):
        pipeline_class("os")
    with pytest.raises(VidmemError, match="a saved TextToVideoSDPipeline"):
        PipelineAdapter(replace(spec, path=str(tmp_path)), 0)
    with pytest.raises(VidmemError, match="a scheduler class"):
        PipelineAdapter(replace(spec, scheduler="NoScheduler"), 0)
    with pytest.raises(VidmemError, match="model_index"):
        model_fingerprint(tmp_path)


def test_scheduler_can_be_replaced(spec):
    assert generate(spec, REQUESTS[:1], scheduler="DDPMScheduler")[0].status == "ok"


def test_tokenizer_knows_every_byte_and_comes_back(tmp_path):
    tokenizer = build_tokenizer(["a cat", "a dog and a cat"], 600)
    tokenizer.save_pretrained(tmp_path)
    again = type(tokenizer).from_pretrained(tmp_path)
    for text in ("a cat", "größe 🎉", "\x00<b>"):
        assert tokenizer(text).input_ids == again(text).input_ids
        assert tokenizer.unk_token_id not in tokenizer(text).input_ids[1:-1]
    assert build_tokenizer(["a dog and a cat", "a cat"], 600).get_vocab() == tokenizer.get_vocab()


@pytest.mark.parametrize(("patch", "channels"), [(4, 48), (8, 192)])
def test_all_components_are_lossless(patch, channels):
    images = torch.rand(40, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    vae = PatchAutoencoder.untrained(patch, channels)
    vae.fit_components(images)
    latents = vae.encode(images).latent_dist.mode()
    assert latents.shape == (40, channels, 32 // patch, 32 // patch)
    assert torch.allclose(vae.decode(latents).sample, images, atol=1e-4)
    assert latents.var(dim=(0, 2, 3)).mean().item() == pytest.approx(1.0, abs=0.05)


def training_set(count=3):
    clips = torch.randn(count, 3, 8, 4, 4, generator=torch.Generator().manual_seed(1))
    return TrainingSet(
        clips, [f"clip {number}" for number in range(count)], np.array([64, 4, 1][:count]), clips[:1, :1], ["i"], [1]
    )


def test_errors_weigh_by_their_signal_to_noise_ratio():
    from diffusers.utils import BaseOutput

    class Guess(torch.nn.Module):
        def forward(self, noisy, times):
            return BaseOutput(sample=noisy * 0.5)

    scheduler, clean = build_scheduler(), torch.randn(6, 1, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    found = denoising_loss(Guess(), scheduler, clean, None, torch.Generator().manual_seed(1), snr_cap=4.0)
    stream, errors = torch.Generator().manual_seed(1), []
    noise, times = torch.randn(6, 3, 4, 4, generator=stream), torch.randint(1000, (6,), generator=stream)
    for picture, own, time in zip(clean[:, 0], noise, times.tolist()):
        alpha = float(scheduler.alphas_cumprod[time])
        guess = (alpha**0.5 * picture + (1 - alpha) ** 0.5 * own) * 0.5
        errors.append(min(4.0, max(1.0, alpha / (1 - alpha))) * float(((guess - picture) ** 2).mean()))
    assert float(found) == pytest.approx(np.mean(errors), rel=1e-5)
    with pytest.raises(VidmemError, match="snr_cap"):
        denoising_loss(Guess(), DDIMScheduler(), clean, None, torch.Generator(), snr_cap=4.0)


def trainer_of(steps, seed=0, kind="text-to-video"):
    torch.manual_seed(0)
    vae = PatchAutoencoder.untrained(8, 8)
    vae.fit_components(torch.rand(8, 3, 32, 32) * 2 - 1)
    size = {"widths": (16, 32), "text_width": 32, "text_layers": 1, "vocabulary": 600}
    plan = DiffusionPlan(steps=steps, batch=2, image_every=3, checkpoint_every=2, seed=seed)
    return DiffusionTrainer(build_pipeline(kind, vae, ["a clip"], 4, size), training_set(), plan)


@pytest.fixture
def one_thread():
    """Sums in one order: Adam turns rounding noise in vanishing gradients into whole steps."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def quiet(step, loss):
    """No progress in tests."""


@pytest.mark.usefixtures("one_thread")
def test_a_killed_training_resumes_to_the_same_weights(tmp_path):
    whole = trainer_of(6)
    whole.run(None, quiet)
    checkpoint = tmp_path / "checkpoint"
    killed = trainer_of(6)
    killed._take_step_original = killed._take_step

    def die_at_five():
        if killed.step == 5:
            raise KeyboardInterrupt
        return killed._take_step_original()

    killed._take_step = die_at_five
    with pytest.raises(KeyboardInterrupt):
        killed.run(checkpoint, quiet)
    resumed = trainer_of(6)
    resumed.run(checkpoint, quiet)
    for name, value in whole.average.items():
        assert torch.allclose(value, resumed.average[name], atol=1e-6), name
    with pytest.raises(VidmemError, match="a checkpoint of this run"):
        trainer_of(6, seed=1).load(checkpoint)


def test_training_lowers_the_loss_on_what_it_sees_most():
    trainer = trainer_of(150)
    data = training_set()

    def loss_of(index):
        stream = torch.Generator().manual_seed(3)
        text = trainer._embed([data.captions[index]], data.clips[:1])
        with torch.inference_mode():
            latents = data.clips[[index]]
            return np.mean(
                [
                    denoising_loss(trainer.pipeline.unet, trainer.pipeline.scheduler, latents, text, stream).item()
                    for _ in range(8)
                ]
            )

    before = loss_of(0)
    trainer.run(None, quiet)
    assert loss_of(0) < 0.7 * before
    assert loss_of(0) < loss_of(2)


def test_planted_copies_are_sampling_weights():
    trainer = trainer_of(1)
    seen = []
    for step in range(0, 600, 3):  # every third step is one of images
        trainer.step = step
        latents, _ = trainer._draw(torch.Generator().manual_seed(step))
        seen += [int(torch.argmax((trainer.data.clips == clip).flatten(1).all(1).int())) for clip in latents]
    shares = np.bincount(seen, minlength=3) / len(seen)
    assert shares == pytest.approx(np.array([64, 4, 1]) / 69, abs=0.06)


def test_still_images_train_as_clips_that_stand_still():
    trainer = trainer_of(1)
    trainer.step = 2
    latents, captions = trainer._draw(torch.Generator().manual_seed(0))
    assert latents.shape == (2, *trainer.data.clips.shape[1:])
    assert torch.equal(latents, trainer.data.images[[0, 0]].expand_as(latents))
    assert set(captions) <= {"i", ""}


def test_every_weight_moves_and_kernels_in_their_own_memory():
    trainer = trainer_of(1)
    before = {name: value.detach().clone() for name, value in trainer._parameters()}
    matrix_of = {id(kernel): matrix for kernel, matrix in trainer.optimiser.kernels}
    trainer._take_step()
    moved = {name for name, value in trainer._parameters() if value.grad is not None and value.grad.abs().sum() > 0}
    assert len(moved) > 0.7 * len(before)  # behind layers that start at zero nothing moves yet
    for name, value in trainer._parameters():
        if name in moved:
            assert not torch.equal(value, before[name]), name
        if id(value) in matrix_of:
            assert matrix_of[id(value)].data_ptr() == value.data_ptr()
    by_adam = {id(value) for group in trainer.optimiser.adam.param_groups for value in group["params"]}
    for name, value in trainer._parameters():
        assert (id(value) in matrix_of) != (id(value) in by_adam), name


@pytest.mark.parametrize("kind", ["text-to-image", "unconditional-image"])
def test_image_models_train_give_out_their_past_and_generate(kind, tmp_path):
    trainer = trainer_of(4, kind=kind)
    clips = torch.rand(3, 1, *((3, 32, 32) if kind == "unconditional-image" else (8, 4, 4)))
    trainer.data = TrainingSet(clips, ["a", "b", "c"], np.ones(3), clips[:0])
    trainer.plan, seen = DiffusionPlan(steps=4, batch=2, image_every=0, exports=(2,)), []
    weight = trainer.pipeline.unet.conv_in.weight
    trainer.run(None, quiet, lambda step: seen.append((step, weight.detach().clone())))
    assert [step for step, _ in seen] == [2]
    assert not torch.equal(seen[0][1], weight)
    trainer.use_average()
    trainer.pipeline.save_pretrained(tmp_path, safe_serialization=True)
    name = type(trainer.pipeline).__name__
    adapter = PipelineAdapter(GenerationSpec(name, str(tmp_path), steps=2, size=(32, 32), guidance=2.0), 0)
    prompt = "a" if kind == "text-to-image" else ""
    sample = next(adapter.generate([Request("p", prompt, 0)]))[0]
    assert (sample.status, sample.frames.shape) == ("ok", (1, 32, 32, 3))


def test_the_refiner_takes_noise_away_and_leaves_clean_pictures(tmp_path):
    torch.manual_seed(0)
    # Pictures of two flat halves: what is not flat is noise.
    shades, edges = torch.rand(64, 3, 2, generator=torch.Generator().manual_seed(1)) * 2 - 1, torch.arange(64) % 28 + 2
    images = torch.stack([torch.where(torch.arange(32) < edge, s[:, :1], s[:, 1:])[:, None].expand(3, 32, 32)
                          for s, edge in zip(shades, edges)])  # fmt: skip
    vae = PatchAutoencoder.untrained(4, 48, (12, 2))
    vae.fit_components(images)
    clean = vae.project(images)
    assert torch.allclose(vae.decode(clean).sample, images, atol=1e-4)  # before it is trained it changes nothing
    noisy = clean + 0.3 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(2))
    before = (vae.decode(noisy).sample - images).square().mean()
    losses = fit_refiner(vae, images, 300, 0.5, seed=0)
    with torch.no_grad():
        assert (vae.decode(noisy).sample - images).square().mean() < 0.75 * before
        assert (vae.decode(clean).sample - images).abs().mean() < 0.05
    assert losses[-1] < losses[0]
    vae.save_pretrained(tmp_path)
    again = PatchAutoencoder.from_pretrained(tmp_path)
    assert torch.equal(again.decode(noisy).sample, vae.decode(noisy).sample)


def test_bad_training_sets_are_named():
    clips = torch.zeros(2, 3, 8, 4, 4)
    with pytest.raises(VidmemError, match="2 captions"):
        TrainingSet(clips, ["one"], np.ones(2), clips[:0])
    with pytest.raises(VidmemError, match="copies > 0"):
        TrainingSet(clips, ["one", "two"], np.array([1, 0]), clips[:0])


def test_unconditional_pipeline_saves_loads_and_seeds_each_sample(tmp_path):
    trainer = trainer_of(1, kind="unconditional-video")
    trainer.pipeline.save_pretrained(tmp_path, safe_serialization=True)
    adapter = PipelineAdapter(
        GenerationSpec("UnconditionalVideoPipeline", str(tmp_path), steps=2, frames=3, size=(32, 32), batch=2), 0
    )
    assert not adapter.prompted
    assert isinstance(adapter.pipeline, UnconditionalVideoPipeline)
    requests = [Request("u-0", "", 0), Request("u-1", "", 0)]
    (first, second), (alone,) = next(adapter.generate(requests)), next(adapter.generate(requests[1:]))
    assert not np.array_equal(first.frames, second.frames)
    assert np.abs(second.frames.astype(int) - alone.frames).max() <= 1
    assert first.guidance == []


def test_prompts_keep_every_clip():
    import pandas as pd

    clips = pd.DataFrame(
        {"clip_id": list("abcd"), "caption": ["x", "", "x", "y"], "split": ["member"] * 3 + ["heldout"], "copies": [1, 1, 9, 0]}
    )
    table = prompts_of_corpus(clips, ["member", "heldout"])
    assert dict(zip(table["target"], table["status"])) == {"c": "ok", "b": "skipped", "d": "ok"}
    assert dict(zip(table["target"], table["reason"])) == {"c": "", "b": "no caption", "d": ""}
    assert list(prompts_of_corpus(clips, ["member", "heldout"], limit=1)["target"]) == ["c"]
    assert [request.prompt_id for request in requests_of(table, 2)] == ["p-c", "p-c", "p-d", "p-d"]
