"""Memory of the stages behind the search against the size of the corpus, on made-up features.

    python benchmarks/stages.py [--clips 5000 20000 80000]

Calibration, validation and scores against the own training clip, each by the function its rule calls, and what make_controls
does before it draws (plan_controls), in a process of its own that samples its anonymous memory (RssAnon: mapped files do not
count). 200 held-out clips, 100 controls and 100 generated clips whatever the size of the corpus: what grows is what the
corpus costs.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import yaml

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "workflow_scripts"), str(ROOT / "benchmarks")]

from scale import Peak, anonymous_memory

from vidmem.base.clip_table import clip_row, clip_table
from vidmem.base.shards import save_shards
from vidmem.base.store import save_array, save_csv, save_table, shard_of
from vidmem.config import complete_config, load_schema
from vidmem.features.background import fit_background, save_background
from vidmem.scoring.thresholds import choose_in_force, save_in_force

FRAMES, DIMENSION, GRID, SHARD_CLIPS = 8, 512, 16, 1250
HELD, FEW = 200, 100
SCHEMA = ROOT / "rules/schemas/config.schema.yaml"


def write_set(folder: Path, clips: list[dict], extra: tuple[str, ...] = ()) -> None:
    """Clip tables, descriptors and flows of a set with the lists of its shards; every clip has features of its own."""
    shards = -(-len(clips) // SHARD_CLIPS)
    files: dict[str, list[str]] = {name: [] for name in ("clips", "descriptors", "rows", "flows", "pairs")}
    for number in range(shards):
        own = [clip for clip in clips if shard_of(clip["clip_id"], shards) == number]
        names, stream = [clip["clip_id"] for clip in own], np.random.default_rng(number)
        paths = {name: folder / f"{number}.{name}" for name in files}
        save_table(paths["clips"], clip_table([clip_row({}, **clip) for clip in own], extra))
        vectors = stream.normal(size=(FRAMES * len(own), DIMENSION)).astype(np.float32)
        save_array(paths["descriptors"], (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float16))
        save_array(paths["flows"], stream.normal(size=((FRAMES - 1) * len(own), 2, GRID, GRID)).astype(np.float16))
        frames, pairs = (pd.DataFrame({"clip_id": np.repeat(names, n), "computed_by": "made up"}) for n in (FRAMES, FRAMES - 1))
        save_table(paths["rows"], frames.assign(frame=np.tile(np.arange(FRAMES), len(own))))
        measures = dict.fromkeys(("magnitude", "area", "energy", "residual", "entropy"), 1.0)
        save_table(paths["pairs"], pairs.assign(pair=np.tile(np.arange(FRAMES - 1), len(own)), **measures))
        for name, path in paths.items():
            files[name].append(str(path))
    save_shards(folder / "content.json", {name: files[name] for name in ("clips", "descriptors", "rows")})
    save_shards(folder / "motion.json", {name: files[name] for name in ("clips", "flows", "pairs")})


def write_sets(folder: Path, clips: int) -> None:
    """A corpus, its controls, and clips that were generated from its captions."""
    common = {"count": FRAMES, "fps": 8.0, "information": 4.0}
    names = [f"clip-{place:09d}" for place in range(clips)]
    corpus = [{"clip_id": name, "set": "corpus-made", "source": "made", "split": "heldout" if place < HELD else "member",
               "caption": f"clip {place} of the corpus", **common} for place, name in enumerate(names)]  # fmt: skip
    copied = names[HELD : HELD + FEW]
    controls = [{"clip_id": f"blur-{name}", "set": "controls-made", "split": "control", "control": "blur", "variant": "blur",
                 "origin": name, "picture": name, **common} for name in copied]  # fmt: skip
    generated = [{"clip_id": f"made-{name}", "set": "generated-made", "target": name, "prompt_id": name, **common}
                 for name in copied]  # fmt: skip
    for name, rows, extra in (
        ("corpus", corpus, ()),
        ("controls", controls, ("control", "variant", "origin", "picture")),
        ("generated", generated, ("target", "prompt_id")),
    ):
        (folder / name).mkdir()
        write_set(folder / name, rows, extra)


def write_judges(folder: Path) -> None:
    """A background of motion, and the thresholds in force."""
    stream = np.random.default_rng(0)
    flows = [(f"clip-{place}", stream.normal(size=(FRAMES - 1, 2, GRID, GRID))) for place in range(FEW)]
    save_background(folder / "background.parquet", fit_background("corpus-made", "made up", flows))
    save_in_force(folder / "thresholds.json", {"made": choose_in_force({"content": 0.5, "motion": 0.5}, {})})


class Inputs(SimpleNamespace):
    """Named inputs of a rule."""

    def __getitem__(self, name: str):
        return getattr(self, name)


def calibrate(inputs: Inputs, config: dict, scratch: Path) -> None:
    from calibrate import calibrate

    out = {"scores": scratch / "scores.parquet", "thresholds": scratch / "thresholds.json"}
    calibrate(inputs, config["calibration"], config["search"]["block"], config["motion"], config["seed"], **out)


def validate_metrics(inputs: Inputs, config: dict, scratch: Path) -> None:
    from validate_metrics import validate_metrics

    moving = config["controls"]["moving"]
    validate_metrics(inputs, config["motion"], moving, config["seed"], scratch / "values.parquet")


def score_clips(inputs: Inputs, config: dict, scratch: Path) -> None:
    from score_clips import score_clips
    from vidmem.search.matches import COLUMNS

    save_table(scratch / "matches", pd.DataFrame(columns=COLUMNS))
    inputs.content = inputs.motion = [scratch / "matches"]
    score_clips(inputs, "made", config["content"], config["motion"], scratch / "scores.parquet")


def plan_controls(inputs: Inputs, config: dict, scratch: Path) -> None:
    """Of make_controls, without the drawing."""
    from vidmem.base.clip_table import usable
    from vidmem.features.clip_features import listed_clips, listed_features, mean_magnitudes
    from vidmem.scoring.control_plan import plan_controls

    clips = listed_clips(inputs.corpus_motion, ["clip_id", "status", "count", "fps", "information"])
    plan = plan_controls(usable(clips), mean_magnitudes(inputs.corpus_motion), config["controls"], 0.0, config["seed"])
    listed_features(inputs.corpus_motion, "motion", set(plan["origin"]))


STAGES = {stage.__name__: stage for stage in (calibrate, validate_metrics, score_clips, plan_controls)}


def measure(stage: str, folder: Path) -> dict:
    """Run a stage in this process."""
    config = complete_config(yaml.safe_load((ROOT / "config.yaml").read_text()), load_schema(SCHEMA))
    sets = {"corpus": "corpus", "controls": "controls", "own": "generated"}
    lists = {f"{role}_{kind}": folder / name / f"{kind}.json" for role, name in sets.items() for kind in ("content", "motion")}
    inputs = Inputs(**lists, thresholds=folder / "thresholds.json", background=folder / "background.parquet")
    with tempfile.TemporaryDirectory() as scratch:
        before, peak, began = anonymous_memory(), Peak(), time.perf_counter()
        peak.start()
        STAGES[stage](inputs, config, Path(scratch))
        highest = peak.finish()
    return {"seconds": time.perf_counter() - began, "before_mb": before / 2**20, "peak_mb": highest / 2**20}


def in_child(stage: str, folder: Path) -> dict:
    """The same in a process that has done nothing else."""
    command = [sys.executable, __file__, "--child", stage, str(folder)]
    result = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads([line for line in result.stdout.splitlines() if line.startswith("{")][-1])


def run(sizes: list[int], output: Path) -> None:
    rows = []
    for clips in sizes:
        with tempfile.TemporaryDirectory() as folder:
            write_sets(Path(folder), clips)
            write_judges(Path(folder))
            for stage in STAGES:
                rows.append({"stage": stage, "clips": clips, **in_child(stage, Path(folder))})
                print(pd.DataFrame(rows[-1:]).to_string(index=False), flush=True)
    table = pd.DataFrame(rows)
    save_csv(output / "stages.csv", table)
    for stage, group in table.groupby("stage", sort=False):
        first, last = group.iloc[0], group.iloc[-1]
        grown = (last["peak_mb"] - first["peak_mb"]) * 2**20 / max(1, last["clips"] - first["clips"])
        print(f"{stage}: {grown:.0f} bytes a clip")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        print(json.dumps(measure(sys.argv[2], Path(sys.argv[3]))))
        sys.exit()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, nargs="+", default=[5_000, 20_000, 80_000], help="more than 300")
    parser.add_argument("--output", type=Path, default=ROOT / "docs/results/scale")
    options = parser.parse_args()
    if min(options.clips) <= HELD + FEW:
        parser.error(f"more than {HELD + FEW} clips")
    run(sorted(options.clips), options.output)
