"""Patch autoencoder of the reference models.

Convolutional autoencoders of this size blur, and SSCD punishes blur and block noise: whatever is generated through
them cannot score above their own reconstructions. Here the encoder is linear (principal components of patches,
partly whitened), and the decoder is its inverse followed by a small convolutional net that is trained on *noisy*
latents, so that it also removes the residual noise of a sampler.
"""

from __future__ import annotations

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.autoencoders.vae import DecoderOutput, DiagonalGaussianDistribution
from diffusers.models.modeling_outputs import AutoencoderKLOutput
from diffusers.models.modeling_utils import ModelMixin
from torch import nn
from torch.nn import functional


class PatchAutoencoder(ModelMixin, ConfigMixin):
    """Autoencoder with the encode / decode contract of diffusers' AutoencoderKL.

    Args:
        patch: side of a patch in pixels, a power of two; the latent grid is the image divided by it.
        latent_channels: principal components kept.
        width: channels of the refining net at full resolution; 0 leaves the decoder linear.
        scaling_factor: as in AutoencoderKL; the latents are already of unit scale.
        block_out_channels: only its length counts: pipelines read the downscaling 2 ** (length - 1) off it.
    """

    @register_to_config
    def __init__(
        self,
        patch: int = 8,
        latent_channels: int = 64,
        width: int = 24,
        scaling_factor: float = 1.0,
        block_out_channels: tuple[int, ...] = (1, 1, 1, 1),
    ):
        super().__init__()
        if patch != 2 ** (len(block_out_channels) - 1):
            raise ValueError(f"Expected patch == 2 ** (len(block_out_channels) - 1), got {patch} and {block_out_channels}")
        size = 3 * patch * patch
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("basis", torch.zeros(size, latent_channels))
        self.register_buffer("deviation", torch.ones(latent_channels))
        self.refine = _Refine(latent_channels, patch, width) if width else None

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
        images = functional.pixel_shuffle(patches.movedim(-1, 1), self.config.patch)
        return images if self.refine is None else images + self.refine(latents, images)

    def encode(self, x: torch.Tensor, return_dict: bool = True):
        """Encode images; the posterior is a point (its variance is e^-30)."""
        latents = self.project(x)
        posterior = DiagonalGaussianDistribution(torch.cat([latents, torch.full_like(latents, -30.0)], dim=1))
        return AutoencoderKLOutput(latent_dist=posterior) if return_dict else (posterior,)

    def decode(self, z: torch.Tensor, return_dict: bool = True, generator: torch.Generator | None = None):
        """Decode latents; `generator` is accepted for AutoencoderKL's sake and not used."""
        images = self.reconstruct(z)
        return DecoderOutput(sample=images) if return_dict else (images,)

    def enable_slicing(self) -> None:
        """Nothing to slice: decoding is small."""

    def disable_slicing(self) -> None:
        """Nothing to slice: decoding is small."""


class _Refine(nn.Module):
    """Correction of a blocky reconstruction: a trunk on the latent grid, which sees the whole scene, and a finer net."""

    def __init__(self, latent_channels: int, patch: int, width: int):
        super().__init__()
        trunk = 4 * width
        self.enter_latent = nn.Conv2d(latent_channels, trunk, 3, padding=1)
        self.trunk = nn.Sequential(*[_Residual(trunk) for _ in range(3)])
        self.spread = nn.Conv2d(trunk, 12 * (patch // 2) ** 2 // 3, 1)
        self.shuffle = patch // 2
        self.enter_image = nn.Conv2d(12 + 4, width, 3, padding=1)
        self.fine = nn.Sequential(*[_Residual(width) for _ in range(3)])
        self.leave = nn.Conv2d(width, 12, 3, padding=1)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)

    def forward(self, latents: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
        scene = functional.pixel_shuffle(self.spread(functional.silu(self.trunk(self.enter_latent(latents)))), self.shuffle)
        fine = self.enter_image(torch.cat([functional.pixel_unshuffle(images, 2), scene], dim=1))
        return functional.pixel_shuffle(self.leave(functional.silu(self.fine(fine))), 2)


class _Residual(nn.Module):
    def __init__(self, channels: int):
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.second(functional.silu(self.first(functional.silu(x))))
