"""Invert one shard of a model's targets: the noise that reproduces each, and how far it is from the prior."""

import os
from pathlib import Path

from vidmem.devices import claim_device


def invert_images(
    inputs,
    corpora: dict,
    inversion: dict,
    name: str,
    preset: str,
    seed: int,
    shard: int,
    shards: int,
    recipe: int,
    slots: int,
    device,
    threads: int,
    output,
):
    import numpy as np
    import pandas as pd
    import torch
    from tqdm import tqdm

    from vidmem.clip_frames import Frames
    from vidmem.inversion import Inverter, plan_of
    from vidmem.inversion.inputs import load_describer, load_model, load_targets
    from vidmem.inversion.outcome import inversion_rows
    from vidmem.store import save_table

    torch.set_num_threads(threads)
    model = load_model(inversion, device)
    frames = Frames.listed([inputs.corpus], corpora)
    chosen, targets = load_targets(frames, inversion, seed, shard, shards)
    describe = load_describer(inputs.weights, preset, threads)
    plan = plan_of(inversion["preset"], inversion["mode"], inversion["plan"] | {"replays": inversion["replays"]})
    tables, noise, identity = [], {}, Path(inputs.model).read_text() + preset + str(recipe)
    for number in range(inversion["seeds"]):
        inverter = Inverter(model, plan, describe, seed + number, slots)
        with tqdm(total=len(targets), desc=f"invert {name}, seed {number}", unit="image", disable=None) as bar:

            def report(done: int, replicated: int, censored: int) -> None:
                bar.update(done - bar.n)
                bar.set_postfix(replicated=replicated, censored=censored)

            checkpoint = Path(f"{output.scores}.{number}.checkpoint")
            results = inverter.run(targets, checkpoint, report=report, identity=identity, keep=True)
        tables.append(inversion_rows(results, chosen, name, plan.mode, seed + number))
        for result in results:
            stem = f"{result.image_id}/{seed + number}"
            noise |= {f"{stem}/{part}": getattr(result, part) for part in ("mean", "log_variance", "replays")}
            noise |= {f"{stem}/{part}": value for part, value in result.prompt.items()}
            noise[f"{stem}/trace"] = np.array(result.trace, np.float32)
    save_noise(output.noise, noise)
    save_table(output.scores, pd.concat(tables, ignore_index=True))
    # Only now: of many seeds, those that were done must outlive a kill.
    for number in range(inversion["seeds"]):
        Path(f"{output.scores}.{number}.checkpoint").unlink(missing_ok=True)


def save_noise(path: str, noise: dict) -> None:
    import numpy as np
    from safetensors.numpy import save

    from vidmem.store import write_atomic

    # The format writes memory as it lies, whatever its strides: a view would come back as another picture.
    contiguous = {name: np.ascontiguousarray(value) for name, value in noise.items()}
    write_atomic(path, lambda file: file.write(save(contiguous)))


if "snakemake" in globals():
    from vidmem.logs import start_logging

    start_logging(snakemake.log[0], snakemake.scriptdir, snakemake.params)
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    claimed = claim_device(snakemake.config["device"], snakemake.resources.get("gpu", 0))
    params = snakemake.params
    invert_images(
        snakemake.input,
        # The clip tables say whether their footage changed: no parameter.
        snakemake.config["corpora"],
        params.inversion,
        snakemake.wildcards.inversion,
        params.preset,
        params.seed,
        int(snakemake.wildcards.shard),
        params.shards,
        params.recipe,
        # Scores do not depend on how many images are inverted at once.
        snakemake.config["inversions"][snakemake.wildcards.inversion]["slots"],
        claimed,
        snakemake.threads,
        snakemake.output,
    )
