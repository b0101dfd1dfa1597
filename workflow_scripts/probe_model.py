"""What inversions are compared with: membership scores of the same images, plain samples, and passes by chance."""

import os

from vidmem.devices import claim_device

SAMPLES, LEAST = 48, 12  # of images; a clip costs what its frames cost, so that there are fewer of them
COMPARED = 100  # images of every number of copies that samples are compared with: a corpus may have millions


def probe(
    inputs, corpora: dict, inversion: dict, name: str, preset: str, seed: int, interval: dict, device: str, threads: int, output
) -> None:
    import numpy as np
    import pandas as pd
    import torch

    from vidmem.clip_frames import Frames
    from vidmem.inversion import frozen, plan_of
    from vidmem.inversion.chance import COLUMNS, chance_rows
    from vidmem.inversion.inputs import load_describer, load_model, load_targets, plain_samples
    from vidmem.inversion.membership import membership_scores
    from vidmem.store import save_table

    torch.set_num_threads(threads)
    model, plan = load_model(inversion, device), plan_of(inversion["preset"], inversion["mode"], inversion["plan"])
    whole = inversion | {"splits": ["member", "heldout", "image"], "images_each": COMPARED}
    frames = Frames.listed([inputs.corpus], corpora)
    (chosen, targets), (clips, every) = (load_targets(frames, spec, seed) for spec in (inversion, whole))
    captions = list(clips[clips["split"] != "heldout"].sort_values("copies", ascending=False)["caption"])
    describe = load_describer(inputs.weights, preset, threads)
    with frozen(model.pipeline):
        evidence = membership_scores(model, targets, seed, plan.mode)
        samples = plain_samples(model, plan, captions or [""], max(LEAST, SAMPLES // len(targets[0].frames)), seed)
    middle = samples.shape[1] // 2
    known = describe(np.stack([target.frames[middle] for target in every])).astype(np.float32)
    found = describe(samples[:, middle]).astype(np.float32)
    rows = chance_rows(
        name, found, known, clips["split"].to_numpy(), plan.acceptance.samples, plan.acceptance.threshold, interval
    )
    about = chosen[["clip_id", "copies", "split"]].rename(columns={"clip_id": "image_id"}).reset_index(drop=True)
    save_table(output.evidence, about.assign(model=name, **evidence))
    save_table(output.chance, pd.DataFrame(rows, columns=COLUMNS))


if "snakemake" in globals():
    from vidmem.logs import start_logging

    start_logging(snakemake.log[0], snakemake.scriptdir, snakemake.params)
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    params = snakemake.params
    probe(
        snakemake.input,
        # The clip tables say whether their footage changed: no parameter.
        snakemake.config["corpora"],
        params.inversion,
        snakemake.wildcards.inversion,
        params.preset,
        params.seed,
        params.interval,
        claim_device(snakemake.config["device"], snakemake.resources.get("gpu", 0)),
        snakemake.threads,
        snakemake.output,
    )
