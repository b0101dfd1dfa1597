"""Make the baselines of the inversions: membership scores of the inverted images, plain samples, and chance matches."""

import os

from vidmem.base.devices import claim_device


def probe_model(inputs, params, corpora: dict, name: str, device, threads: int, output) -> None:
    import numpy as np
    import pandas as pd
    import torch

    from vidmem.base.store import save_table
    from vidmem.corpus.clip_frames import Frames
    from vidmem.features.statistics import IntervalRule
    from vidmem.inversion.chance import COLUMNS, COMPARED, chance_rows, middle_frames, plain_sample_count
    from vidmem.inversion.inputs import load_describer, load_model, load_targets, plain_samples
    from vidmem.inversion.membership import membership_scores
    from vidmem.inversion.presets import plan_of
    from vidmem.models.loading import frozen

    torch.set_num_threads(threads)
    inversion, seed = params.inversion, params.seed
    model, plan = load_model(inversion, device), plan_of(inversion["preset"], inversion["mode"], inversion["plan"])
    compared = inversion | {"splits": ["member", "heldout", "image"], "images_each": COMPARED}
    frames = Frames.listed([inputs.corpus], corpora)
    (chosen, targets), (clips, every) = (load_targets(frames, spec, seed) for spec in (inversion, compared))
    captions = list(clips[clips["split"] != "heldout"].sort_values("copies", ascending=False)["caption"]) or [""]
    describe = load_describer(inputs.weights, params.preset, threads)
    with frozen(model.pipeline):
        evidence = membership_scores(model, targets, seed, plan.mode)
        samples = plain_samples(model, plan, captions, plain_sample_count(len(targets[0].frames)), seed)
    pictures = (middle_frames(samples), middle_frames([target.frames for target in every]))
    found, known = (describe(middle).astype(np.float32) for middle in pictures)
    splits, rule = clips["split"].to_numpy(), plan.acceptance
    rows = chance_rows(name, found, known, splits, rule.samples, rule.threshold, IntervalRule(**params.interval))
    about = chosen[["clip_id", "copies", "split"]].rename(columns={"clip_id": "image_id"}).reset_index(drop=True)
    save_table(output.evidence, about.assign(model=name, **evidence))
    save_table(output.chance, pd.DataFrame(rows, columns=COLUMNS))


if "snakemake" in globals():
    from vidmem.base.logs import start_logging

    start_logging(snakemake.log[0], snakemake.scriptdir, snakemake.params)
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    # The corpora are no parameter of the rule, because the clip tables show whether their footage changed.
    probe_model(
        snakemake.input,
        snakemake.params,
        snakemake.config["corpora"],
        snakemake.wildcards.inversion,
        claim_device(snakemake.config["device"], snakemake.resources.get("gpu", 0)),
        snakemake.threads,
        snakemake.output,
    )
