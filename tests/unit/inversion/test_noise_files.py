"""Inversions with several seeds: their files of noises, their checkpoints, and what they are compared with."""

import numpy as np
import pytest
from safetensors.numpy import load_file

from vidmem.errors import VidmemError
from vidmem.inversion.acceptance import AcceptanceRule
from vidmem.inversion.adapters import InvertibleModel
from vidmem.inversion.chance import middle_frames, plain_sample_count
from vidmem.inversion.engine import InversionPlan, Inverter, Target
from vidmem.inversion.noise_files import array_name, load_replays, save_noise
from vidmem.inversion.repeats import invert_with_seeds, noise_arrays
from vidmem.inversion.schedule import WeightRule

PLAN = InversionPlan(
    WeightRule(check_every=5, delta=1e-2, window=8), AcceptanceRule(2), steps=10, batch=2, sampler_steps=2, replays=1
)


def describe(frames):
    """Stand-in for SSCD: centred pixels, unit norm."""
    flat = np.asarray(frames, np.float32).reshape(len(frames), -1)
    flat = flat - flat.mean(1, keepdims=True)
    return flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-6)


@pytest.fixture
def targets(stream):
    return [Target(f"image {number}", stream.integers(0, 256, (1, 8, 8, 3), dtype=np.uint8)) for number in range(2)]


@pytest.fixture
def checkpoints(tmp_path):
    return {seed: tmp_path / f"{seed}.checkpoint" for seed in (7, 8)}


def invert(pipeline, targets, checkpoints):
    return invert_with_seeds(InvertibleModel(pipeline), PLAN, describe, targets, checkpoints, 2, "one model")


def test_saved_noise_comes_back_whatever_its_strides(tmp_path, stream):
    pictures = stream.integers(0, 255, (2, 3, 4, 5), np.uint8)
    views = {"replays": pictures.transpose(0, 2, 3, 1), "mean": stream.normal(size=(4, 6))[:, ::2], "whole": pictures}
    save_noise(str(tmp_path / "noise.safetensors"), views)
    back = load_file(tmp_path / "noise.safetensors")
    assert all(np.array_equal(back[name], view) for name, view in views.items())


def test_replays_are_found_in_whatever_shard_they_are(tmp_path, stream):
    pictures, none = stream.integers(0, 255, (2, 3, 1, 4, 4, 3), np.uint8), np.zeros((2, 0, 1, 4, 4, 3), np.uint8)
    paths = [tmp_path / "0.safetensors", tmp_path / "1.safetensors"]
    save_noise(paths[0], {array_name("undrawn", 7, "replays"): none})
    save_noise(paths[1], {array_name("drawn", 7, "replays"): pictures})
    assert np.array_equal(load_replays(paths, "drawn", 7), pictures)
    assert load_replays(paths, "drawn", 8) is None
    assert load_replays(paths, "undrawn", 7) is None
    assert load_replays([], "drawn", 7) is None


def test_every_seed_is_an_inversion_of_its_own(pixel_pipeline, targets, checkpoints):
    found = invert(pixel_pipeline, targets, checkpoints)
    assert list(found) == [7, 8]
    for seed, results in found.items():
        alone = Inverter(InvertibleModel(pixel_pipeline), PLAN, describe, seed, 2).run(targets)
        assert [result.image_id for result in results] == ["image 0", "image 1"]
        assert all(np.array_equal(one.mean, other.mean) for one, other in zip(results, alone, strict=True))
    assert not np.array_equal(found[7][0].mean, found[8][0].mean)


def test_seeds_that_are_done_outlive_a_kill(pixel_pipeline, targets, checkpoints, monkeypatch):
    def killed(self, *arguments):
        raise KeyboardInterrupt if self.seed == 8 else AssertionError("inverted again")

    first = invert(pixel_pipeline, targets, {7: checkpoints[7]})[7]
    assert checkpoints[7].exists()
    monkeypatch.setattr(Inverter, "_advance", killed)
    with pytest.raises(KeyboardInterrupt):
        invert(pixel_pipeline, targets, checkpoints)
    again = invert(pixel_pipeline, targets, {7: checkpoints[7]})[7]
    assert all(np.array_equal(one.replays, other.replays) for one, other in zip(first, again, strict=True))


def test_noises_are_named_by_image_seed_and_part(pixel_pipeline, targets, checkpoints):
    found = invert(pixel_pipeline, targets[:1], checkpoints)
    arrays, result = noise_arrays(found), found[8][0]
    assert list(arrays) == [
        f"image 0/{seed}/{part}" for seed in (7, 8) for part in ("mean", "log_variance", "replays", "trace")
    ]
    assert arrays["image 0/8/mean"] is result.mean
    assert arrays["image 0/8/replays"].shape == (2, 1, 1, 8, 8, 3)
    assert arrays["image 0/8/trace"].tolist() == pytest.approx(result.trace)


def test_two_targets_of_one_id_are_refused(pixel_pipeline, targets, checkpoints):
    with pytest.raises(VidmemError, match="one id a target"):
        invert(pixel_pipeline, [targets[0], targets[0]], checkpoints)


@pytest.mark.parametrize(("frames", "samples"), [(1, 48), (4, 12), (3, 16), (16, 12)])
def test_fewer_samples_of_long_clips_are_compared(frames, samples):
    assert plain_sample_count(frames) == samples


@pytest.mark.parametrize(("frames", "middle"), [(1, 0), (4, 2), (5, 2)])
def test_the_middle_frame_stands_for_a_clip(stream, frames, middle):
    clips = stream.integers(0, 255, (3, frames, 4, 4, 3), np.uint8)
    assert np.array_equal(middle_frames(list(clips)), clips[:, middle])
