"""The motion metrics on footage that had no part in choosing them: copies against strangers.

    python benchmarks/motion_field.py FOLDER [--side 64] [--frames 8] [--fps 10] [--copies 3]

FOLDER holds films, such as those of Debian's package opencv-doc (vtest.avi, tree.avi, Megamind.avi, box.mp4, cup.mp4). Every
film is cut into windows. Of four windows in a row the first is a reference, the third is held out, and the others are left out:
what goes on from one window to the next would be no stranger. Copies of references are cropped, brightened, encoded again, and
mirrored. A held-out clip is looked up without its film's part of the background. Nothing is chosen here.
"""

from __future__ import annotations

import argparse
import sys
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow_scripts"))

from vidmem.corpus.decode import Footage, Window, read_windows
from vidmem.corpus.frames import fit_frames
from vidmem.features.background import fit_background
from vidmem.features.flow import clip_flows, load_estimator
from vidmem.features.flow_measures import FlowFeatures, flow_features
from vidmem.features.metrics import metric_of
from vidmem.features.motion_comparison import MotionComparison
from vidmem.features.motion_rule import MotionRule
from vidmem.features.natural_motion import NaturalMotionFilter
from vidmem.scoring.controls import edit_clip
from vidmem.search.exact_motion import clip_scores, motion_block

FILTERS = {
    "no filter": NaturalMotionFilter(),
    "filter of config.yaml": NaturalMotionFilter(static=0.005, affine=0.65, entropy=0.1),
}
EDITS = ("crop", "brightness", "reencode", "mirror")
MOST = 200
SIDES = ("references", "held-out", "copies")


def cut(path: Path, frames: int, fps: float, side: int) -> dict[str, np.ndarray]:
    """Windows of a film, at most MOST: clip id -> frames uint8 [T, side, side, 3]."""

    def fit(picture: np.ndarray, aspect: float) -> np.ndarray:
        return fit_frames(picture[None], (side, side), "crop")[0]

    windows = [Window(number * frames / fps, fit) for number in range(MOST)]
    read = enumerate(read_windows(path, windows, frames, fps), 1)
    return {f"films-{path.stem}-00000000-w{number}": footage.frames for number, footage in read
            if isinstance(footage, Footage) and len(footage.frames) == frames}  # fmt: skip


class Clips:
    """Flows of some clips, with what the filter measures."""

    def __init__(self, clips: dict[str, np.ndarray]):
        estimate = load_estimator("dis")
        self.flows = {name: clip_flows(frames, estimate, 256, 64) for name, frames in clips.items()}
        self.measures = {name: flow_features(flows, size=clips[name].shape[1:3]) for name, flows in self.flows.items()}

    def block(self, names: list[str], rule: MotionRule, query: bool = False):
        measured = [vars(self.measures[name]) for name in names]
        features = FlowFeatures(**{key: np.concatenate([one[key] for one in measured]) for key in measured[0]})
        counts = [len(self.flows[name]) for name in names]
        return motion_block(names, counts, np.concatenate([self.flows[name] for name in names]), features, rule, query)


def maxima(metric, comparison: MotionComparison, queries: Clips, clip_set: str, references: Clips) -> pd.DataFrame:
    """Best reference of every query clip: clip_id, match, score (-1 if no window can support a verdict)."""
    names, theirs, rows = sorted(queries.flows), sorted(references.flows), []
    table = pd.DataFrame({"clip_id": names, "set": clip_set})
    for rule, group in comparison.by_rule(metric, table, names):
        block = queries.block(group, rule, query=True)
        (scores,) = clip_scores(block, references.block(theirs, rule), rule, ["either"])
        best = scores.reshape(-1, len(group), len(theirs)).max(axis=0)
        rows += [(name, theirs[int(row.argmax())], max(-1.0, float(row.max()))) for name, row in zip(group, best)]
    return pd.DataFrame(rows, columns=["clip_id", "match", "score"])


def main(folder: Path, side: int, frames: int, fps: float, copies: int) -> None:
    films = {path.stem: cut(path, frames, fps, side) for path in sorted(folder.iterdir())}
    parts: dict[str, dict[str, np.ndarray]] = {name: {} for name in SIDES}
    for windows in films.values():
        names = list(windows)
        parts["references"] |= {name: windows[name] for name in names[::4]}
        parts["held-out"] |= {name: windows[name] for name in names[2::4]}
        for name in islice(names[::4], copies):
            parts["copies"] |= {f"{edit}/{name}": np.ascontiguousarray(edit_clip(windows[name], edit)) for edit in EDITS}
    clips = {name: Clips(own) for name, own in parts.items()}
    sampled = clips["references"].flows | clips["held-out"].flows
    background = fit_background("corpus-films", "dis", sampled.items())
    print(f"{ {name: len(own) for name, own in parts.items()} }, {background.counts.sum()} fields of the background")
    for words, natural in FILTERS.items():
        rule = MotionRule(3, "field", "max", natural, views=("mirrored", "cropped"))
        comparison = MotionComparison(rule, (metric_of("ofs_k"), metric_of("wofs_k")), background)
        for metric in comparison.metrics:
            held, made = (
                maxima(metric, comparison, clips[name], clip_set, clips["references"])
                for name, clip_set in (("held-out", "corpus-films"), ("copies", "copies"))
            )
            right = made["score"].where(made["match"] == made["clip_id"].str.partition("/")[2], -1.0)
            edits = made["clip_id"].str.partition("/")[0]
            found = {edit: f"{(right[edits == edit] >= 0.5).mean():.2f}" for edit in EDITS}
            alarms = f"{(held['score'] >= 0.5).sum()} of {len(held)} (highest {held['score'].max():.3f})"
            none = f"{(right == -1).mean():.2f}"
            print(f"{metric.name}, {words}: false alarms at 0.5: {alarms}")
            print(f"    recall {(right >= 0.5).mean():.3f}, {found}, without the right match {none}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--side", type=int, default=64)
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--fps", type=float, default=10.0)
    parser.add_argument("--copies", type=int, default=3)
    given = parser.parse_args()
    main(given.folder, given.side, given.frames, given.fps, given.copies)
