"""What each kind of reference model is trained on, and what its autoencoder rebuilds."""

import numpy as np
import pandas as pd
import pytest
import torch

from vidmem.errors import VidmemError
from vidmem.models.families.autoencoder import PatchAutoencoder, fit_autoencoder, median_psnr, rebuild
from vidmem.models.training_set import frames_of, images_of, training_set

PLAN = {"patch": 4, "latent_channels": 48, "refiner": {"width": 0, "depth": 0, "steps": 0, "noise": 0.0}}


@pytest.fixture
def footage(stream):
    """Three whole clips of which one is held out, a clip that is too short, and two still images."""
    rows = [("a", "member", 4, 8), ("b", "member", 4, 1), ("c", "held-out", 4, 1), ("d", "member", 2, 1)]
    rows += [("e", "image", 1, 3), ("f", "image", 1, 1)]
    clips = pd.DataFrame(rows, columns=["clip_id", "split", "count", "copies"]).assign(caption=lambda table: table["clip_id"])
    frames = {row.clip_id: stream.integers(0, 256, (row.count, 16, 16, 3), np.uint8) for row in clips.itertuples(name="Clip")}
    return clips, frames


@pytest.fixture
def vae(footage):
    return fit_autoencoder(images_of(np.concatenate(list(footage[1].values()))), PLAN, 0)[0]


@pytest.mark.parametrize(
    ("kind", "captions", "stills", "shape"),
    [
        ("text-to-video", ["a", "b"], ["e", "f"], (4, 48, 4, 4)),
        ("unconditional-video", ["a", "b"], [], (4, 48, 4, 4)),
        ("text-to-image", ["a", "b", "e", "f"], [], (1, 48, 4, 4)),
        ("unconditional-image", ["a", "b", "e", "f"], [], (1, 3, 16, 16)),
    ],
)
def test_each_kind_has_its_clips_and_images(kind, captions, stills, shape, footage, vae):
    data = training_set(*footage, vae, kind)
    assert (data.captions, data.image_captions) == (captions, stills)
    copies = dict(zip(footage[0]["clip_id"], footage[0]["copies"], strict=True))
    assert list(data.copies) == [copies[name] for name in captions]
    assert data.clips.shape == (len(captions), *shape)
    assert len(data.images) == len(stills)


def test_images_are_trained_on_the_middle_frame(footage, vae):
    data = training_set(*footage, vae, "unconditional-image")
    assert np.array_equal(frames_of(data.clips[0]), footage[1]["a"][2][None])
    assert np.array_equal(frames_of(data.clips[2]), footage[1]["e"])


def test_without_members_nothing_is_trained(footage, vae):
    clips, frames = footage
    with pytest.raises(VidmemError, match="at least one clip"):
        training_set(clips.assign(split="held-out"), frames, vae, "text-to-video")


def test_the_ceiling_of_an_autoencoder_is_measured(footage, vae):
    images = images_of(np.concatenate(list(footage[1].values())))
    assert median_psnr(images, rebuild(vae, images)) > 60  # all components are kept
    few = PatchAutoencoder.untrained(4, 6)
    few.fit_components(images)
    rebuilt = rebuild(few, images)
    expected = [10 * np.log10(4 / float(((image - own) ** 2).mean())) for image, own in zip(images, rebuilt, strict=True)]
    assert median_psnr(images, rebuilt) == pytest.approx(float(torch.tensor(expected).median()), abs=1e-3)
