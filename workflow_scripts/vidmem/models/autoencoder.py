"""Patch autoencoder of the reference models.

Convolutional autoencoders of this size blur, and SSCD punishes blur and block noise: whatever is generated through
them cannot score above their own reconstructions. This one is linear (principal components of patches, partly
whitened): with all components kept it is lossless, and there is no ceiling.
"""

from __future__ import annotations

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.autoencoders.vae import DecoderOutput, DiagonalGaussianDistribution
from diffusers.models.modeling_outputs import AutoencoderKLOutput
from diffusers.models.modeling_utils import ModelMixin
from torch.nn import functional


class PatchAutoencoder(ModelMixin, ConfigMixin):
    """Autoencoder with the encode / decode contract of diffusers' AutoencoderKL.

    Args:
        patch: side of a patch in pixels, a power of two; the latent grid is the image divided by it.
        latent_channels: principal components kept; all 3 * patch^2 of them make the code lossless.
        scaling_factor: as in AutoencoderKL; the latents are already of unit scale.
        block_out_channels: only its length counts: pipelines read the downscaling 2 ** (length - 1) off it.
    """

    @register_to_config
    def __init__(
        self,
        patch: int = 4,
        latent_channels: int = 48,
        scaling_factor: float = 1.0,
        block_out_channels: tuple[int, ...] = (1, 1, 1),
    ):
        super().__init__()
        if patch != 2 ** (len(block_out_channels) - 1):
            raise ValueError(f"Expected patch == 2 ** (len(block_out_channels) - 1), got {patch} and {block_out_channels}")
        size = 3 * patch * patch
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("basis", torch.zeros(size, latent_channels))
        self.register_buffer("deviation", torch.ones(latent_channels))

    @classmethod
    def untrained(cls, patch: int, latent_channels: int) -> PatchAutoencoder:
        """Autoencoder of a patch size, with the bookkeeping that pipelines expect."""
        return cls(patch, latent_channels, block_out_channels=(1,) * patch.bit_length())

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
        return DecoderOutput(sample=images) if return_dict else (images,)

    def enable_slicing(self) -> None:
        """Nothing to slice: decoding is small."""

    def disable_slicing(self) -> None:
        """Nothing to slice: decoding is small."""
