"""Ranks of inverted images, choice of targets, and presets."""

import math

import numpy as np
import pytest

from vidmem.errors import VidmemError
from vidmem.features.statistics import IntervalRule


def scores_table():
    import pandas as pd

    rows = [("a", 64, "member", 0, "replicated", 0.1, 0.9), ("a", 64, "member", 1, "replicated", 0.3, 0.8),
            ("b", 16, "member", 0, "replicated", 0.2, 0.7), ("b", 16, "member", 1, "not_replicated", math.inf, 0.4),
            ("c", 0, "heldout", 0, "not_replicated", math.inf, 0.3),
            ("c", 0, "heldout", 1, "diverged", math.inf, -1.0)]  # fmt: skip
    columns = ["image_id", "copies", "split", "seed", "status", "score", "best_similarity"]
    return pd.DataFrame(rows, columns=columns).assign(model="m", mode="none")


def test_censored_images_rank_last_by_their_similarity():
    from vidmem.inversion.outcome import image_means, ranks, separation

    table = scores_table()
    assert list(table["score"].to_numpy()[np.argsort(-ranks(table), kind="stable")]) == [0.1, 0.2, 0.3] + [math.inf] * 3
    assert list(np.argsort(-ranks(table), kind="stable"))[3:] == [3, 4, 5]
    means = image_means(table).set_index("image_id")
    assert means.loc["a", ["n_seeds", "n_replicated", "score"]].tolist() == [2, 2, pytest.approx(0.2)]
    assert means.loc["b", ["n_replicated", "score"]].tolist() == [1, pytest.approx(0.2)]
    assert means.loc["c", "n_replicated"] == 0
    assert math.isnan(means.loc["c", "score"])
    found = separation(table, 16, IntervalRule(draws=50), 0).iloc[0]
    assert (found["n_positive"], found["n_negative"], found["auc"]) == (2, 1, 1.0)


def test_targets_are_so_many_of_every_number_of_copies():
    import pandas as pd

    from vidmem.inversion.outcome import choose_targets

    clips = pd.DataFrame(
        {"clip_id": [f"c{i}" for i in range(30)], "copies": [0, 1, 64] * 10, "split": ["heldout", "member", "image"] * 10}
    )
    chosen = choose_targets(clips, ["heldout", "image"], 4, 0)
    assert chosen["copies"].value_counts().to_dict() == {0: 4, 64: 4}
    assert set(chosen["clip_id"]) == set(choose_targets(clips[::-1], ["heldout", "image"], 4, 0)["clip_id"])
    assert set(chosen["clip_id"]) != set(choose_targets(clips, ["heldout", "image"], 4, 1)["clip_id"])
    assert len(choose_targets(clips, ["member"], 0, 0)) == 10


def test_presets_are_the_official_constants_and_change_by_name():
    from vidmem.inversion.presets import PRESETS, plan_of

    ddpm = plan_of("ddpm", "", {})
    assert (ddpm.batch, ddpm.weights.check_every, ddpm.weights.delta, ddpm.weights.stall) == (32, 50, 1e-4, 1e-3)
    assert (ddpm.steps, ddpm.rate, ddpm.sampler_steps, ddpm.acceptance.samples) == (2000, 0.1, 200, 8)
    assert [PRESETS[name].weights.monitor for name in ("ddpm", "ldm", "sd1", "sd3")] == ["prediction"] + ["total"] * 3
    assert PRESETS["sd3"].acceptance.scales == (1.0, 2.0, 3.0, 4.0, 5.0)
    changed = plan_of("sd1", "none", {"steps": 10, "check_every": 2, "threshold": 0.4})
    assert (changed.steps, changed.weights.check_every, changed.acceptance.threshold) == (10, 2, 0.4)
    assert changed.acceptance.scales == (1.0,)
    assert plan_of("sd1", "caption", {"scales": [2.0]}).acceptance.scales == (2.0,)
    with pytest.raises(VidmemError, match="stps"):
        plan_of("ddpm", "", {"stps": 1})
    with pytest.raises(VidmemError, match="no guidance scales"):
        plan_of("sd1", "none", {"scales": [2.0]})
