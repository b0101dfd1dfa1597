"""Patch autoencoder of the reference models.

Convolutional autoencoders of this size blur, and SSCD punishes blur and block noise. A clip that is generated through
such an autoencoder cannot score above the autoencoder's own reconstructions. This autoencoder is linear (principal
components of patches, partly whitened), and it is lossless if all components are kept. Then only the error of the diffusion
model that writes the latents is left. A small residual network behind the linear decoder removes a part of that error. It is
trained on footage whose latents were made noisy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.autoencoders.vae import DecoderOutput, DiagonalGaussianDistribution
from diffusers.models.modeling_outputs import AutoencoderKLOutput
from diffusers.models.modeling_utils import ModelMixin
from torch import nn
from torch.nn import functional

from ...base.seeding import torch_stream


class PatchAutoencoder(ModelMixin, ConfigMixin):
    """Autoencoder with the encode / decode contract of diffusers' AutoencoderKL.

    Args:
        patch: side of a patch in pixels, a power of two; the latent grid is the image divided by it.
        latent_channels: number of principal components that are kept; the code is lossless with all 3 * patch^2.
        scaling_factor: as in AutoencoderKL; 1 because the latents already have unit variance.
        refiner_size: (channels, layers) of the residual network behind the linear decoder; (0, 0) for no such network.
        block_out_channels: only its length matters: pipelines compute the downscaling 2 ** (length - 1) from it.
    """

    @register_to_config
    def __init__(
        self,
        patch: int = 4,
        latent_channels: int = 48,
        scaling_factor: float = 1.0,
        block_out_channels: tuple[int, ...] = (1, 1, 1),
        refiner_size: tuple[int, int] = (0, 0),
    ) -> None:
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
        """Make an autoencoder whose block_out_channels has the length that pipelines expect for this patch size."""
        return cls(patch, latent_channels, block_out_channels=(1,) * patch.bit_length(), refiner_size=tuple(refiner_size))

    def fit_components(self, images: torch.Tensor, whitening: float = 0.5) -> None:
        """Fit the linear part to images.

        Args:
            images: float [N, 3, H, W] in -1..1.
            whitening: each component is divided by its standard deviation to this power. With 1 all components have
                equal variance, so that noise hides all of them equally. With 0 the variances stay as they are. In both
                cases all components are then scaled by one factor to a mean variance of 1.
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
        """Map images float [N, 3, H, W] in -1..1 to latents float [N, latent_channels, H / patch, W / patch]."""
        patches = functional.pixel_unshuffle(images, self.config.patch).movedim(1, -1)
        return (((patches - self.mean) @ self.basis) / self.deviation).movedim(-1, 1)

    def reconstruct(self, latents: torch.Tensor) -> torch.Tensor:
        """Map latents float [N, latent_channels, h, w] to images float [N, 3, H, W], about -1..1, without the refiner."""
        patches = (latents.movedim(1, -1) * self.deviation) @ self.basis.T + self.mean
        return functional.pixel_shuffle(patches.movedim(-1, 1), self.config.patch)

    def encode(self, x: torch.Tensor, return_dict: bool = True) -> AutoencoderKLOutput | tuple[DiagonalGaussianDistribution]:
        """Encode images float [N, 3, H, W] in -1..1; the posterior has practically no variance (e^-30)."""
        latents = self.project(x)
        posterior = DiagonalGaussianDistribution(torch.cat([latents, torch.full_like(latents, -30.0)], dim=1))
        return AutoencoderKLOutput(latent_dist=posterior) if return_dict else (posterior,)

    def decode(
        self, z: torch.Tensor, return_dict: bool = True, generator: torch.Generator | None = None
    ) -> DecoderOutput | tuple[torch.Tensor]:
        """Decode latents. `generator` is not used; AutoencoderKL has this argument, so callers may pass it."""
        images = self.reconstruct(z)
        images = images if self.refiner is None else self.refiner(images)
        return DecoderOutput(sample=images) if return_dict else (images,)

    def enable_slicing(self) -> None:
        """Do nothing: decoding needs too little memory to be sliced."""

    def disable_slicing(self) -> None:
        """Do nothing: decoding needs too little memory to be sliced."""


class Refiner(nn.Module):
    """Residual convolutions that leave an image as it is until they are trained.

    Args:
        width: channels of the hidden layers; depth: number of hidden layers.
    """

    def __init__(self, width: int, depth: int):
        super().__init__()
        sizes = [(3, width), *[(width, width)] * depth, (width, 3)]
        self.layers = nn.ModuleList(nn.Conv2d(*size, 3, padding=1, padding_mode="replicate") for size in sizes)
        nn.init.zeros_(self.layers[-1].weight)
        nn.init.zeros_(self.layers[-1].bias)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return corrected images, float [N, 3, H, W], for images of the same shape."""
        hidden = functional.silu(self.layers[0](images))
        for layer in self.layers[1:-1]:
            hidden = hidden + functional.silu(layer(hidden))
        return images + self.layers[-1](hidden)


def fit_refiner(
    vae: PatchAutoencoder,
    images: torch.Tensor,
    steps: int,
    noise: float,
    seed: int,
    report: Callable[[int], None] | None = None,
) -> list[float]:
    """Train the refiner to remove the effect of noise in the latents from the images.

    Args:
        vae: autoencoder with fitted components and a refiner.
        images: float [N, 3, H, W] in -1..1.
        steps: number of training steps, with 32 images each.
        noise: largest standard deviation of the noise. It is drawn uniformly from 0 to this value for every image; one image in
            ten gets no noise.
        seed: seed of every random draw.
        report: called with the number of finished steps after every step.

    Returns:
        Mean absolute error of every 100 steps.

    Raises:
        ValueError: the autoencoder has no refiner.
    """
    if vae.refiner is None:
        raise ValueError("Expected an autoencoder with a refiner, got one without")
    latents = vae.project(images).detach()
    optimiser = torch.optim.AdamW(vae.refiner.parameters(), lr=2e-3, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    losses: list[float] = []
    recent: list[torch.Tensor] = []
    for step in range(steps):
        stream = torch_stream("refiner", seed, step)
        chosen = torch.randint(len(images), (32,), generator=stream)
        level = torch.rand(32, 1, 1, 1, generator=stream) * noise * (torch.rand(32, 1, 1, 1, generator=stream) > 0.1)
        noisy = latents[chosen] + level * torch.randn(latents[chosen].shape, generator=stream)
        # The absolute error keeps flat areas flat and edges sharp; the squared error would blur them.
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


def fit_autoencoder(
    images: torch.Tensor, plan: Mapping, seed: int, report: Callable[[int], None] | None = None
) -> tuple[PatchAutoencoder, list[float]]:
    """Fit an autoencoder to images; return it with the losses of its refiner.

    Args:
        images: float [N, 3, H, W] in -1..1.
        plan: patch, latent_channels, and refiner with width, depth, steps and noise. With a width of 0 there is no refiner.
        seed, report: see fit_refiner.
    """
    refiner = plan["refiner"]
    size = (refiner["width"], refiner["depth"]) if refiner["width"] else (0, 0)
    vae = PatchAutoencoder.untrained(plan["patch"], plan["latent_channels"], size)
    vae.fit_components(images)
    losses = fit_refiner(vae, images, refiner["steps"], refiner["noise"], seed, report) if refiner["width"] else []
    return vae, losses


@torch.no_grad()
def rebuild(vae: PatchAutoencoder, images: torch.Tensor) -> torch.Tensor:
    """Encode and decode images, float [N, 3, H, W] in -1..1, and return the reconstructions in that shape and range."""
    return torch.cat([vae.decode(vae.project(part), return_dict=False)[0].clamp(-1, 1) for part in images.split(64)])


def median_psnr(images: torch.Tensor, rebuilt: torch.Tensor) -> float:
    """Median over images of the peak signal-to-noise ratio in dB, at most 106.

    Args:
        images, rebuilt: originals and reconstructions, float [N, 3, H, W] in -1..1.
    """
    error = ((rebuilt - images) ** 2).mean(dim=(1, 2, 3))
    return (10 * torch.log10(4 / error.clamp(min=1e-10))).median().item()
