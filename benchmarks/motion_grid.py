"""What a coarser flow grid costs the motion index: OFS-k on it against OFS-k on the stored grid, in a finished audit.

    python benchmarks/motion_grid.py [results/default] [--corpus default] [--grids 32 16 8]

Every generated clip, held-out clip and control against every reference. Prints one CSV row a grid: values of a window, bytes a
window in float16, error of a score, and how many of the queries have the right best reference among the best n of the coarse
grid - what the index has to find, since reported scores are those of the stored flows.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import yaml

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow_scripts"))

from vidmem.base.clip_table import query_clips
from vidmem.config import complete_config, load_schema
from vidmem.features.clip_features import load_features, reference_clips
from vidmem.features.motion_rule import MotionRule
from vidmem.search.exact_motion import clip_scores
from vidmem.search.matches import block_of

ROOT = Path(__file__).resolve().parents[1]
DEPTHS = (1, 5, 20)


def flows_of(folder: Path):
    """Flow features of a set."""
    stems = sorted(str(path)[: -len(".flows.npy")] for path in folder.glob("*.flows.npy"))
    return load_features(*([f"{stem}.{kind}" for stem in stems] for kind in ("clips.parquet", "flows.npy", "flows.parquet")))


def scores_on(sets: list, names: list[list[str]], references, theirs: list[str], rule: MotionRule, grid: int) -> np.ndarray:
    """OFS-k of all query clips and all references on a grid, float32 [queries, references]."""
    block, rows = block_of(references, theirs, rule, grid), []
    for features, own in zip(sets, names):
        queries = block_of(features, own, rule, grid)
        rows += clip_scores(queries, block, rule, [rule.filter.sides])
    return np.concatenate(rows)


def main(folder: Path, corpus: str, grids: list[int]) -> None:
    schema = load_schema(ROOT / "rules/schemas/config.schema.yaml")
    config = complete_config(yaml.safe_load((ROOT / "config.yaml").read_text()), schema)
    rule, full = MotionRule.of(config["motion"]), config["flow"]["grid"]
    places = sorted(path for path in (folder / "data").iterdir() if list(path.glob("*.flows.npy")))
    sets = [flows_of(path) for path in places]
    references = sets[[path.name for path in places].index(f"corpus-{corpus}")]
    theirs, names = reference_clips(references), [query_clips(one.clips) for one in sets]
    exact = scores_on(sets, names, references, theirs, rule, 0)
    known, defined = np.isfinite(exact), np.isfinite(exact).any(axis=1)
    print(f"# {defined.sum()} query clips with a window, {len(theirs)} references, {known.sum()} pairs with a score")
    print("grid,values_a_window,bytes_a_window,mean_error,largest_error," + ",".join(f"best_in_{depth}" for depth in DEPTHS))
    for grid in (full, *grids):
        coarse = scores_on(sets, names, references, theirs, rule, 0 if grid == full else grid)
        error = np.abs(coarse[known] - exact[known])
        order = np.argsort(-coarse[defined], axis=1)
        best = exact[defined].argmax(axis=1)
        shares = [(order[:, :depth] == best[:, None]).any(axis=1).mean() for depth in DEPTHS]
        values = 2 * rule.k * grid * grid
        print(
            f"{grid},{values},{2 * values},{error.mean():.4f},{error.max():.4f}," + ",".join(f"{share:.4f}" for share in shares)
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", default=ROOT / "results/default")
    parser.add_argument("--corpus", default="default")
    parser.add_argument("--grids", type=int, nargs="+", default=[32, 16, 8, 4])
    options = parser.parse_args()
    main(options.folder, options.corpus, options.grids)
