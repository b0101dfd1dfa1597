"""Train one reference model on the planted members of a corpus, and save it in diffusers format with a card."""

import json
from pathlib import Path

import pandas as pd

from vidmem.base.devices import claim_device, torch_device
from vidmem.base.logs import start_logging

SETTINGS = ("steps", "batch", "rate", "image_every", "snr_cap", "checkpoint_every")


def train_model(
    inputs, kind: str, plan: dict, size: list[int], seed: int, device: str, threads: int, checkpoint: Path, output
) -> None:
    import torch

    from vidmem.base.clip_table import usable
    from vidmem.base.store import load_table, save_json, save_text
    from vidmem.features.clip_features import frame_rows
    from vidmem.models.card import model_card, training_record
    from vidmem.models.families.autoencoder import PatchAutoencoder
    from vidmem.models.families.reference import build_pipeline
    from vidmem.models.training import DiffusionPlan, DiffusionTrainer, train_and_save
    from vidmem.models.training_set import training_set

    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    vae = PatchAutoencoder.from_pretrained(Path(inputs.autoencoder).parent).eval()
    tables = [load_table(path) for path in inputs.clips]
    frames: dict = {}
    for table, path in zip(tables, inputs.frames, strict=True):
        frames |= frame_rows(table, path)
    clips = usable(pd.concat(tables, ignore_index=True)).sort_values("clip_id")
    data = training_set(clips, frames, vae, kind)
    pipeline = build_pipeline(kind, vae, data.captions + data.image_captions, size[0] // vae.config.patch, plan)
    settings = DiffusionPlan(**{name: plan[name] for name in SETTINGS}, exports=tuple(plan["exports"]), seed=seed)
    trainer = DiffusionTrainer(pipeline, data, settings, device)
    train_and_save(trainer, checkpoint, Path(output[0]).parent, f"train {kind}")
    ceiling = json.loads(Path(inputs.ceiling).read_text())
    record = training_record(kind, clips, data, plan, seed, trainer.losses, trainer.seconds, device, ceiling)
    save_json(output.history, record)
    save_text(output.card, model_card(record))
    checkpoint.unlink(missing_ok=True)


if "snakemake" in globals():
    start_logging(snakemake.log[0], snakemake.scriptdir, snakemake.params)
    train_model(
        snakemake.input,
        snakemake.wildcards.kind,
        snakemake.params.plan,
        snakemake.params.corpus["size"],
        snakemake.params.seed,
        torch_device(claim_device(snakemake.config["device"], snakemake.resources.get("gpu", 0))),
        snakemake.threads,
        Path(snakemake.params.checkpoint),
        snakemake.output,
    )
