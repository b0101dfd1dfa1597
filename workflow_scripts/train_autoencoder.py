"""Fit the patch autoencoder on all footage of a corpus, and measure the highest score that its reconstructions allow."""

from pathlib import Path

from vidmem.base.logs import start_logging


def train_autoencoder(
    frames: list[str], plan: dict, weights: Path, preset: str, seed: int, threads: int, folder: Path, ceiling: Path
) -> None:
    import numpy as np
    import torch

    from vidmem.base.logs import progress
    from vidmem.base.store import load_array, save_json
    from vidmem.features.descriptors import PRESETS, describe_frames, load_encoder
    from vidmem.models.families.autoencoder import fit_autoencoder, median_psnr, rebuild
    from vidmem.models.training_set import frames_of, images_of

    pictures = np.concatenate([load_array(path) for path in frames])
    images = images_of(pictures)
    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    bar = iter(progress(range(plan["refiner"]["steps"]), "train refiner", unit="step"))
    vae, losses = fit_autoencoder(images, plan, seed, lambda step: next(bar, None))
    rebuilt = rebuild(vae, images)
    encode = load_encoder(PRESETS[preset], weights)
    sides = (pictures[::4], frames_of(rebuilt)[::4])
    first, second = (np.concatenate(list(describe_frames(side, encode, PRESETS[preset]))) for side in sides)
    measured = {
        "median_psnr_db": median_psnr(images, rebuilt),
        "median_sscd": float(np.median((first.astype(np.float32) * second).sum(axis=1))),
    }
    vae.save_pretrained(folder, safe_serialization=True)
    save_json(ceiling, {**measured, "preset": preset, "images": len(images), "refiner_losses": losses, **plan})


if "snakemake" in globals():
    start_logging(snakemake.log[0], snakemake.scriptdir, snakemake.params)
    train_autoencoder(
        snakemake.input.frames,
        snakemake.params.plan,
        Path(snakemake.input.weights),
        snakemake.params.preset,
        snakemake.params.seed,
        snakemake.threads,
        Path(snakemake.output[0]).parent,
        Path(snakemake.output.ceiling),
    )
