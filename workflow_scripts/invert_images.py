"""Invert one shard of a model's targets: find noise that reproduces each target, and its distance from the prior."""

import os
from pathlib import Path

from vidmem.base.devices import claim_device


def invert_images(inputs, params, corpora: dict, slots: int, name: str, shard: int, device, threads: int, output) -> None:
    import pandas as pd
    import torch

    from vidmem.base.store import save_table
    from vidmem.corpus.clip_frames import Frames
    from vidmem.inversion.inputs import load_describer, load_model, load_targets
    from vidmem.inversion.noise_files import save_noise
    from vidmem.inversion.outcome import inversion_rows
    from vidmem.inversion.presets import plan_of
    from vidmem.inversion.repeats import invert_with_seeds, noise_arrays

    torch.set_num_threads(threads)
    inversion, seed = params.inversion, params.seed
    model = load_model(inversion, device)
    frames = Frames.listed([inputs.corpus], corpora)
    chosen, targets = load_targets(frames, inversion, seed, shard, params.shards)
    describe = load_describer(inputs.weights, params.preset, threads)
    plan = plan_of(inversion["preset"], inversion["mode"], inversion["plan"] | {"replays": inversion["replays"]})
    identity = Path(inputs.model).read_text() + params.preset + str(params.recipe)
    checkpoints = {seed + number: Path(f"{output.scores}.{number}.checkpoint") for number in range(inversion["seeds"])}
    found = invert_with_seeds(model, plan, describe, targets, checkpoints, slots, identity, name)
    save_noise(output.noise, noise_arrays(found))
    tables = [inversion_rows(results, chosen, name, plan.mode, own) for own, results in found.items()]
    save_table(output.scores, pd.concat(tables, ignore_index=True))
    for checkpoint in checkpoints.values():
        checkpoint.unlink(missing_ok=True)


if "snakemake" in globals():
    from vidmem.base.logs import start_logging

    start_logging(snakemake.log[0], snakemake.scriptdir, snakemake.params)
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    invert_images(
        snakemake.input,
        snakemake.params,
        # The corpora are no parameter of the rule, because the clip tables show whether their footage changed.
        snakemake.config["corpora"],
        # The number of slots is no parameter, because scores do not depend on how many images are inverted at once.
        snakemake.config["inversions"][snakemake.wildcards.inversion]["slots"],
        snakemake.wildcards.inversion,
        int(snakemake.wildcards.shard),
        claim_device(snakemake.config["device"], snakemake.resources.get("gpu", 0)),
        snakemake.threads,
        snakemake.output,
    )
