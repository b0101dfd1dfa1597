"""Parts of the reference models: tokenizer, autoencoder, refiner."""

import pytest
import torch

from vidmem.models.families.autoencoder import PatchAutoencoder, fit_refiner
from vidmem.models.families.reference import build_tokenizer


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
