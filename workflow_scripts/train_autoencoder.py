"""Fit the patch autoencoder on all footage of a corpus, and measure the ceiling it sets."""

from pathlib import Path

from vidmem.devices import claim_device, torch_device
from vidmem.logs import start_logging


def train_autoencoder(frames: list[str], plan: dict, seed: int, device: str, threads: int, folder: Path, ceiling: Path) -> None:
    import numpy as np
    import torch
    from tqdm import tqdm

    from vidmem.models.autoencoder import PatchAutoencoder
    from vidmem.models.training import AutoencoderPlan, fit_autoencoder, images_of
    from vidmem.store import load_array, save_json

    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    images = images_of(np.concatenate([load_array(path) for path in frames]))
    vae = PatchAutoencoder(latent_channels=plan["latent_channels"], width=plan["width"]).to(device)
    with tqdm(total=plan["steps"], desc="autoencoder", unit="step", disable=None) as bar:

        def report(step: int, loss: float) -> None:
            bar.update(step - bar.n)
            bar.set_postfix(loss=f"{loss:.4f}")

        settings = AutoencoderPlan(steps=plan["steps"], batch=plan["batch"], seed=seed)
        losses = fit_autoencoder(vae, images.to(device), settings, report)
    with torch.inference_mode():
        rebuilt = torch.cat([vae.reconstruct(vae.project(part.to(device))).clamp(-1, 1).cpu() for part in images.split(64)])
    error = ((rebuilt - images) ** 2).mean(dim=(1, 2, 3))
    psnr = (10 * torch.log10(4 / error.clamp(min=1e-12))).median().item()
    vae.cpu().save_pretrained(folder, safe_serialization=True)
    save_json(ceiling, {"median_psnr_db": psnr, "images": len(images), "losses": losses, "seed": seed, **plan})


if "snakemake" in globals():
    start_logging(snakemake.log[0], snakemake.scriptdir)
    train_autoencoder(
        snakemake.input.frames,
        snakemake.params.plan,
        snakemake.config["seed"],
        torch_device(claim_device(snakemake.config["device"], snakemake.resources.get("gpu", 0))),
        snakemake.threads,
        Path(snakemake.output[0]).parent,
        Path(snakemake.output.ceiling),
    )
