"""Grid of the natural motion filter's limits on the controls of a finished audit: what each choice removes and costs.

    python benchmarks/filter_grid.py [results/default] [--corpus default]

Prints one CSV row a choice: share of motion copies lost and of camera moves removed among the pairs that fire without a
filter, share of unrelated moving pairs that fire. The choice in config.yaml is the row with the most camera moves removed
whose copies lost stay within 5 % and whose unrelated pairs that fire stay within 1 %.
"""

from __future__ import annotations

import argparse
import sys
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow_scripts"))

from vidmem.base.store import load_table
from vidmem.features.clip_features import load_features, motion_features
from vidmem.features.motion import COSINES
from vidmem.features.motion_rule import MotionRule
from vidmem.features.natural_motion import NaturalMotionFilter
from vidmem.scoring.validation import expected_answers
from vidmem.search.exact_motion import clip_scores, motion_block

STATIC = (0.005, 0.01, 0.02)
AFFINE = (0.5, 0.6, 0.65, 0.7, 0.8, 0.9)
ENTROPY = (None, 0.1, 0.5, 1.0)


def load_flows(folder: Path, corpus: str):
    """Clip ids, fields and motion features of the corpus and its controls, as one."""
    ids, counts, fields, rows = [], [], [], []
    for name in (f"corpus-{corpus}", f"controls-{corpus}"):
        stems = sorted(str(path)[: -len(".flows.npy")] for path in (folder / "data" / name).glob("*.flows.npy"))
        features = load_features(
            *([f"{stem}.{kind}" for stem in stems] for kind in ("clips.parquet", "flows.npy", "flows.parquet"))
        )
        for clip_id in features.spans:
            ids.append(clip_id)
            fields.append(features.of(clip_id))
            counts.append(len(fields[-1]))
            rows.append(features.table_of([clip_id]))
    return ids, np.array(counts), np.concatenate(fields), motion_features(pd.concat(rows))


def main(folder: Path, corpus: str, k: int, threshold: float) -> None:
    pairs = load_table(folder / f"scores/validation-{corpus}.parquet")
    pairs = pairs[(pairs["metric"] == "ofs_k") & (pairs["filter"] == "none")].drop_duplicates(["control", "first", "second"])
    answers = expected_answers("ofs_k")
    ids, counts, fields, features = load_flows(folder, corpus)
    place = {clip_id: index for index, clip_id in enumerate(ids)}
    first, second = pairs["first"].map(place).to_numpy(), pairs["second"].map(place).to_numpy()
    groups = {
        "copies_lost": pairs["control"].map(lambda name: answers.get(name) is True).to_numpy(),
        "camera_removed": (pairs["control"] == "camera").to_numpy(),
        "unrelated_fire": (pairs["control"] == "unrelated-moving").to_numpy(),
    }
    print("cosine,static,affine,entropy,copies_lost,camera_removed,unrelated_fire")
    for cosine in COSINES:
        products, bare = None, None
        for limits in [(None, None, None), *product(STATIC, AFFINE, ENTROPY)]:
            rule = MotionRule(k, cosine, "max", NaturalMotionFilter(*limits))
            block = motion_block(ids, counts, fields, features, rule)
            products = block.fields @ block.fields.T if products is None else products
            sides = rule.filter.sides if bare is not None else None
            fires = (clip_scores(block, block, rule, [sides], products)[0] >= threshold)[first, second]
            bare = fires if bare is None else bare
            lost = {name: 1 - fires[chosen & bare].mean() for name, chosen in groups.items()}
            lost["unrelated_fire"] = fires[groups["unrelated_fire"]].mean()
            print(cosine, *limits, *(f"{value:.4f}" for value in lost.values()), sep=",", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path, nargs="?", default=Path("results/default"))
    parser.add_argument("--corpus", default="default")
    parser.add_argument("--k", type=int, default=3)
    parser.add_argument("--threshold", type=float, default=0.5)
    given = parser.parse_args()
    main(given.folder, given.corpus, given.k, given.threshold)
