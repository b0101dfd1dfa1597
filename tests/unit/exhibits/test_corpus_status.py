"""Nothing that is read is left out of the table of statuses, whether models are audited on it or inverted."""

from types import SimpleNamespace

import numpy as np
import pandas as pd

from tabulate_corpus import tabulate_corpus
from vidmem.base.clip_table import clip_row, clip_table
from vidmem.base.shards import save_shards
from vidmem.base.store import save_array, save_table
from vidmem.features.natural_motion import NaturalMotionFilter

MOTION = 3, NaturalMotionFilter(0.1, 0.5, 1.0)


def listed(folder, corpus, statuses, kinds=("clips",)):
    """Lists of one shard of a corpus, a clip of each status."""
    place = folder / f"corpus-{corpus}"
    place.mkdir()
    reasons = {status: "" if status == "ok" else "because" for status in statuses}
    rows = [
        clip_row({}, clip_id=f"{corpus}-{number}", set=place.name, source="s", split="member", status=status, reason=reason)
        for number, (status, reason) in enumerate(reasons.items())
    ]
    save_table(place / "0.clips.parquet", clip_table(rows))
    save_shards(place / "shards-clips.json", {"clips": [str(place / "0.clips.parquet")]})
    return place


def test_a_corpus_that_is_only_inverted_has_its_rows(tmp_path):
    audited = listed(tmp_path, "audited", ["ok", "gone"])
    inverted = listed(tmp_path, "inverted", ["ok", "missing", "mismatch"])
    pairs = pd.DataFrame({"clip_id": pd.Series([], dtype=str), "pair": pd.Series([], dtype=int)})
    save_table(audited / "0.flows.parquet", pairs)
    save_array(audited / "0.flows.npy", np.zeros((0, 2, 4, 4), np.float16))
    files = {"clips": "0.clips.parquet", "flows": "0.flows.npy", "pairs": "0.flows.parquet"}
    save_shards(audited / "shards-motion.json", {kind: [str(audited / name)] for kind, name in files.items()})
    output = SimpleNamespace(status=str(tmp_path / "status.csv"), motion=str(tmp_path / "motion.csv"))
    lists = [str(folder / "shards-clips.json") for folder in (audited, inverted)]
    tabulate_corpus(lists, [str(audited / "shards-motion.json")], *MOTION, output)
    status = pd.read_csv(output.status)
    assert status.set_index(["set", "status"])["clips"].to_dict() == {
        ("corpus-audited", "ok"): 1, ("corpus-audited", "gone"): 1,
        ("corpus-inverted", "ok"): 1, ("corpus-inverted", "missing"): 1, ("corpus-inverted", "mismatch"): 1,
    }  # fmt: skip
    assert len(pd.read_csv(output.motion)) == 0
