"""Training of the reference models: weights of the loss, resumption, images and videos."""

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler

from vidmem.errors import VidmemError
from vidmem.generation.adapter import GenerationSpec, PipelineAdapter, Request
from vidmem.models.families.autoencoder import PatchAutoencoder
from vidmem.models.families.reference import UnconditionalVideoPipeline, build_pipeline, build_scheduler
from vidmem.models.training import DiffusionPlan, DiffusionTrainer, denoising_loss
from vidmem.models.training_set import TrainingSet


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
    trainer = trainer_of(100)
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
