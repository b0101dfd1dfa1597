"""Patch autoencoder of the reference models.

Convolutional autoencoders of this size blur, and SSCD punishes blur and block noise: whatever is generated through
them cannot score above their own reconstructions. This one is linear (principal components of patches, partly
whitened): with all components kept it is lossless. What is left is the error of the diffusion model that writes the
latents: a small residual network behind the linear decoder, trained on footage with noise in its latents, takes away a part.
"""

from __future__ import annotations

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.autoencoders.vae import DecoderOutput, DiagonalGaussianDistribution
from diffusers.models.modeling_outputs import AutoencoderKLOutput
from diffusers.models.modeling_utils import ModelMixin
from torch import nn
from torch.nn import functional

from ..seeding import torch_stream


class PatchAutoencoder(ModelMixin, ConfigMixin):
    """Autoencoder with the encode / decode contract of diffusers' AutoencoderKL.

    Args:
        patch: side of a patch in pixels, a power of two; the latent grid is the image divided by it.
        latent_channels: principal components kept; all 3 * patch^2 of them make the code lossless.
        scaling_factor: as in AutoencoderKL; the latents are already of unit scale.
        refiner_size: (channels, layers) of the residual network behind the linear decoder; (0, 0) for none.
        block_out_channels: only its length counts: pipelines read the downscaling 2 ** (length - 1) off it.
    """

    @register_to_config
    def __init__(
        self,
        patch: int = 4,
        latent_channels: int = 48,
        scaling_factor: float = 1.0,
        block_out_channels: tuple[int, ...] = (1, 1, 1),
        refiner_size: tuple[int, int] = (0, 0),
    ):
        super().__init__()
        if patch != 2 ** (len(block_out_channels) - 1):
            raise ValueError(f"Expected patch == 2 ** (len(block_out_channels) - 1), got {patch} and {block_out_channels}")
        size = 3 * patch * patch
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("basis", torch.zeros(size, latent_channels))
        self.register_buffer("deviation", torch.ones(latent_channels))
        self.refiner = Refiner(*refiner_size) if refiner_size[0] else None

    @classmethod
    def untrained(cls, patch: int, latent_channels: int, refiner_size: tuple[int, int] = (0, 0)) -> PatchAutoencoder:
        """Autoencoder of a patch size, with the bookkeeping that pipelines expect."""
        return cls(patch, latent_channels, block_out_channels=(1,) * patch.bit_length(), refiner_size=tuple(refiner_size))

    def fit_components(self, images: torch.Tensor, whitening: float = 0.5) -> None:
        """Set the linear part from images.

        Args:
            images: float [N, 3, H, W] in -1..1.
            whitening: power of the component's deviation that is divided out. 1 makes every component equally
                loud, so that noise drowns none before the others; 0 keeps the spectrum. The whole is then scaled
                to unit mean variance.
        """
        patches = functional.pixel_unshuffle(images, self.config.patch).movedim(1, -1).flatten(0, -2).double()
        mean = patches.mean(0)
        values, vectors = torch.linalg.eigh(torch.cov((patches - mean).T))
        values, vectors = values.flip(0)[: self.config.latent_channels], vectors.flip(1)[:, : self.config.latent_channels]
        deviation = values.clamp(min=1e-12).sqrt() ** whitening
        deviation *= (values / deviation**2).mean().sqrt()
        self.mean.copy_(mean)
        self.basis.copy_(vectors * vectors.abs().max(0).values.sign())
        self.deviation.copy_(deviation)

    def project(self, images: torch.Tensor) -> torch.Tensor:
        """Latents float [N, latent_channels, H / patch, W / patch] of images float [N, 3, H, W] in -1..1."""
        patches = functional.pixel_unshuffle(images, self.config.patch).movedim(1, -1)
        return (((patches - self.mean) @ self.basis) / self.deviation).movedim(-1, 1)

    def reconstruct(self, latents: torch.Tensor) -> torch.Tensor:
        """Images float [N, 3, H, W], about -1..1, of latents float [N, latent_channels, h, w]."""
        patches = (latents.movedim(1, -1) * self.deviation) @ self.basis.T + self.mean
        return functional.pixel_shuffle(patches.movedim(-1, 1), self.config.patch)

    def encode(self, x: torch.Tensor, return_dict: bool = True):
        """Encode images; the posterior is a point (its variance is e^-30)."""
        latents = self.project(x)
        posterior = DiagonalGaussianDistribution(torch.cat([latents, torch.full_like(latents, -30.0)], dim=1))
        return AutoencoderKLOutput(latent_dist=posterior) if return_dict else (posterior,)

    def decode(self, z: torch.Tensor, return_dict: bool = True, generator: torch.Generator | None = None):
        """Decode latents; `generator` is accepted for AutoencoderKL's sake and not used."""
        images = self.reconstruct(z)
        images = images if self.refiner is None else self.refiner(images)
        return DecoderOutput(sample=images) if return_dict else (images,)

    def enable_slicing(self) -> None:
        """Nothing to slice: decoding is small."""

    def disable_slicing(self) -> None:
        """Nothing to slice: decoding is small."""


class Refiner(nn.Module):
    """Residual convolutions that leave an image as it is until they are trained.

    Args:
        width: channels inside; depth: layers inside.
    """

    def __init__(self, width: int, depth: int):
        super().__init__()
        sizes = [(3, width), *[(width, width)] * depth, (width, 3)]
        self.layers = nn.ModuleList(nn.Conv2d(*size, 3, padding=1, padding_mode="replicate") for size in sizes)
        nn.init.zeros_(self.layers[-1].weight)
        nn.init.zeros_(self.layers[-1].bias)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Images float [N, 3, H, W] of images."""
        hidden = functional.silu(self.layers[0](images))
        for layer in self.layers[1:-1]:
            hidden = hidden + functional.silu(layer(hidden))
        return images + self.layers[-1](hidden)


def fit_refiner(vae: PatchAutoencoder, images: torch.Tensor, steps: int, noise: float, seed: int, report=None) -> list[float]:
    """Train the refiner to undo noise in the latents.

    Args:
        vae: with fitted components and a refiner.
        images: float [N, 3, H, W] in -1..1.
        steps: of 32 images each.
        noise: largest deviation of the noise; each image gets one drawn evenly from 0 to it, and one in ten gets none.
        seed: of every draw.
        report: told every step.

    Returns:
        Mean absolute errors, one a hundred steps.
    """
    latents = vae.project(images).detach()
    optimiser = torch.optim.AdamW(vae.refiner.parameters(), lr=2e-3, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    losses, recent = [], []
    for step in range(steps):
        stream = torch_stream("refiner", seed, step)
        chosen = torch.randint(len(images), (32,), generator=stream)
        level = torch.rand(32, 1, 1, 1, generator=stream) * noise * (torch.rand(32, 1, 1, 1, generator=stream) > 0.1)
        noisy = latents[chosen] + level * torch.randn(latents[chosen].shape, generator=stream)
        # The absolute error keeps flat areas flat and edges sharp, where the squared one would blur.
        loss = functional.l1_loss(vae.refiner(vae.reconstruct(noisy).detach()), images[chosen])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        recent.append(loss.detach())
        if len(recent) == 100:
            losses.append(float(torch.stack(recent).mean()))
            recent.clear()
        if report is not None:
            report(step + 1)
    return losses
