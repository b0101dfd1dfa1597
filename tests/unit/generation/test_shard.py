"""Rows of prompts that no sample can be made for."""

from __future__ import annotations

import numpy as np
import pandas as pd

from vidmem.generation.shard import first_frames, requests_of


def test_prompts_without_a_target_are_rows_with_a_reason():
    class Corpus:
        clips = pd.DataFrame({"clip_id": ["a", "b"], "set": "corpus-films", "status": ["ok", "missing"], "split": "member"})

        def read(self, name, clip_ids):
            assert (name, list(clip_ids)) == ("corpus-films", ["a"])

        def of(self, name, clip_id):
            return np.stack([np.full((4, 4, 3), 7, np.uint8), np.full((4, 4, 3), 9, np.uint8)])

    prompts = pd.DataFrame({"prompt_id": ["p0", "p1", "p2", "p3"], "target": ["a", "b", "", "a"], "prompt": "x"})
    prompts = prompts.assign(status=["ok"] * 3 + ["skipped"], reason=[""] * 3 + ["no caption"])
    table, given = first_frames(prompts, Corpus())
    assert list(table["status"]) == ["ok", "skipped", "skipped", "skipped"]
    assert list(table["reason"]) == ["", *["no target clip that gives the first frame"] * 2, "no caption"]
    assert list(prompts["status"])[:3] == ["ok"] * 3
    assert given["p0"].shape == (4, 4, 3)
    requests = requests_of(table, 2, given)
    assert [(request.prompt_id, int(request.first_frame.max())) for request in requests] == [("p0", 7), ("p0", 7)]
