"""Membership baselines, factor tables and chance rates against slow references and made-up models with a known answer."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
from diffusers import DDIMScheduler, FlowMatchEulerDiscreteScheduler
from scipy import stats

from vidmem.base.seeding import seed_of
from vidmem.features.statistics import IntervalRule
from vidmem.inversion.adapters import InvertibleModel
from vidmem.inversion.chance import COLUMNS, chance_rows, inverted_row
from vidmem.inversion.engine import Target
from vidmem.inversion.membership import HOPS, LEVELS, NOISES, REACH, membership_scores
from vidmem.inversion.outcome import factor_table, membership_table
from vidmem.models.noising import path_of

INTERVAL = IntervalRule(draws=100)


class Recaller(torch.nn.Module):
    """Denoiser that recalls its one training picture, with the output its scheduler asks for."""

    class config:
        in_channels, sample_size = 3, 8

    def __init__(self, picture, path):
        super().__init__()
        self.register_parameter("picture", torch.nn.Parameter(torch.from_numpy(picture).permute(2, 0, 1) / 127.5 - 1))
        self.path = path

    def forward(self, sample, timestep):
        from diffusers.utils import BaseOutput

        clean = self.picture.expand(len(sample), -1, -1, -1)
        times = timestep if hasattr(self.path, "alphas") else timestep / self.path.scale
        signal, sigma = self.path.levels(times, sample)
        noise = (sample - signal * clean) / sigma
        return BaseOutput(sample=self.path.goal(clean, noise, times).expand_as(sample))


class Recall:
    def __init__(self, picture, scheduler):
        self.scheduler, self.unet = scheduler, Recaller(picture, path_of(scheduler))
        self.components = {"unet": self.unet, "scheduler": scheduler}


SCHEDULERS = {
    "epsilon": lambda: DDIMScheduler(),
    "v": lambda: DDIMScheduler(prediction_type="v_prediction"),
    "sample": lambda: DDIMScheduler(prediction_type="sample"),
    "flow": lambda: FlowMatchEulerDiscreteScheduler(shift=3.0),
}


@pytest.mark.parametrize("kind", SCHEDULERS)
def test_a_recalled_picture_has_no_loss_and_another_has(stream, kind):
    pictures = stream.integers(0, 256, (2, 1, 8, 8, 3), dtype=np.uint8)
    model = InvertibleModel(Recall(pictures[0, 0], SCHEDULERS[kind]()))
    found = membership_scores(model, [Target("own", pictures[0]), Target("other", pictures[1])], 0, "none")
    for method in ("loss", "secmi"):
        assert found[method][0] == pytest.approx(0, abs=1e-5)
    assert found["loss"][1] < -0.05


def slow_scores(model, target, scheduler, seed):
    """Training loss and SecMI's t-error of an epsilon model, from the formulas, one number at a time."""
    clean = torch.from_numpy(np.array(target.frames)).permute(0, 3, 1, 2).float() / 127.5 - 1
    stream = torch.Generator().manual_seed(seed_of("membership", seed, target.image_id))
    losses = []
    noise = torch.randn(LEVELS * NOISES, 3, 8, 8, generator=stream)
    for place in range(LEVELS * NOISES):
        time = torch.tensor([round((place // NOISES + 0.5) / LEVELS * 999)])
        noisy = scheduler.add_noise(clean, noise[place : place + 1], time)
        losses.append(float(((model.network(noisy, time).sample - noise[place]) ** 2).mean()))
    times = [round(share * REACH * 999) for share in np.linspace(0.01, 1 + 1 / HOPS, HOPS + 2)]
    alphas = scheduler.alphas_cumprod

    def move(sample, epsilon, now, then):
        guess = (sample - (1 - alphas[now]).sqrt() * epsilon) / alphas[now].sqrt()
        return alphas[then].sqrt() * guess + (1 - alphas[then]).sqrt() * epsilon

    samples = [clean]
    for now, then in zip(times, times[1:]):
        samples.append(move(samples[-1], model.network(samples[-1], torch.tensor([now])).sample, now, then))
    back = move(samples[-1], model.network(samples[-1], torch.tensor([times[-1]])).sample, times[-1], times[-2])
    return -np.mean(losses), -float(((back - samples[-2]) ** 2).mean())


@torch.no_grad()
def test_membership_is_the_formula(pixel_pipeline, stream):
    target = Target("image", stream.integers(0, 256, (1, 8, 8, 3), dtype=np.uint8))
    model = InvertibleModel(pixel_pipeline)
    found = membership_scores(model, [target], 3, "none")
    loss, secmi = slow_scores(model, target, pixel_pipeline.scheduler, 3)
    assert found["loss"][0] == pytest.approx(loss, rel=1e-4)
    assert found["secmi"][0] == pytest.approx(secmi, rel=1e-3)


def inverted(model, copies, score, image, similarity=0.3, seed=0):
    status = "replicated" if np.isfinite(score) else "not_replicated"
    split = "member" if copies else "heldout"
    return {"image_id": image, "model": model, "copies": copies, "split": split, "mode": "none", "seed": seed,
            "status": status, "score": score, "best_similarity": similarity}  # fmt: skip


def scores_of(model, table):
    return [inverted(model, copies, score, f"i{place}") for place, (copies, score) in enumerate(table)]


def test_factors_have_a_row_a_level_and_the_fall_over_all():
    early = [(64, math.inf), (64, math.inf), (16, math.inf), (0, math.inf), (0, math.inf)]
    late = [(64, 0.01), (64, 0.02), (16, 0.1), (0, math.inf), (0, math.inf)]
    scores = pd.DataFrame(scores_of("early", early) + scores_of("late", late))
    studies = [{"model": name, "factor": "training_steps", "level": level} for name, level in (("early", 10), ("late", 90))]
    table = factor_table(scores, studies, 16, INTERVAL, 0)
    steps = table[table["factor"] == "training_steps"].set_index("level")
    assert list(steps.index) == [10, 90, "all"]
    assert steps["replicated_share"].tolist()[:2] == [0, 1]
    assert steps.loc[90, ["n_images", "auc"]].tolist() == [3, 1.0]
    assert steps.loc[10, "auc"] == 0.5
    assert steps.loc["all", "rank_correlation"] < -0.8
    copies = table[(table["factor"] == "copies") & (table["model"] == "late")].set_index("level")
    assert list(copies.index) == [0, 16, 64, "all"]
    assert copies.loc["all", "rank_correlation"] == pytest.approx(stats.spearmanr([64, 64, 16, 0, 0], [1, 2, 3, 4.5, 4.5])[0])
    assert copies.loc["all", "correlation_high"] <= 0
    assert copies["score"].isna().tolist() == [True, False, False, False]


def test_seeds_are_no_images_of_their_own():
    rows = [
        inverted("m", 0, 0.1 if image < 2 else math.inf, f"i{image}", seed=seed) for image in range(4) for seed in range(10)
    ]
    row = inverted_row("m", pd.DataFrame(rows), INTERVAL)
    assert row[2:5] == (4, 2, 0.5)
    assert (row[5], row[6]) == pytest.approx((0.15, 0.85), abs=0.01)
    table = factor_table(pd.DataFrame(rows), [], 16, INTERVAL, 0).iloc[0]
    assert table[["n_images", "n_inversions", "n_replicated"]].tolist() == [4, 40, 2]


def test_levels_are_compared_on_the_images_they_share():
    few, many = [(64, math.inf), (0, math.inf)], [(64, math.inf), (0, math.inf), (64, 0.1)]
    studies = [{"model": name, "factor": "sampler", "level": name} for name in ("few", "many")]
    table = factor_table(pd.DataFrame(scores_of("few", few) + scores_of("many", many)), studies, 16, INTERVAL, 0)
    assert table[table["factor"] == "sampler"]["n_images"].tolist() == [1, 1]


def test_names_of_levels_are_not_ordered():
    scores = pd.DataFrame(scores_of("a", [(64, 0.1), (0, math.inf)]) + scores_of("b", [(64, 0.2), (0, math.inf)]))
    studies = [{"model": name, "factor": "sampler", "level": name.upper()} for name in "ab"]
    table = factor_table(scores, studies, 16, INTERVAL, 0)
    assert list(table[table["factor"] == "sampler"]["level"]) == ["A", "B"]


def test_a_member_need_not_be_memorised():
    """Seen once: known by its loss, never replicated."""
    scores = pd.DataFrame(scores_of("m", [(64, 0.1), (64, 0.1), (1, math.inf), (1, math.inf), (0, math.inf), (0, math.inf)]))
    evidence = scores[["image_id", "model", "copies", "split"]].assign(loss=[-1, -1, -2, -2, -9, -9], secmi=[0.0] * 6)
    table = membership_table(scores, evidence, INTERVAL, 0).set_index(["method", "copies"])
    assert table.loc[("loss", 1), ["auc", "replicated_share"]].tolist() == [1, 0]
    assert table.loc[("invmm", 1), "auc"] == 0.5
    assert table.loc[("invmm", 64), ["auc", "replicated_share"]].tolist() == [1, 1]
    assert table.loc[("secmi", 64), "auc"] == 0.5


def test_chance_counts_samples_tests_and_pairs():
    eye = np.eye(4, dtype=np.float32)
    images, splits = eye[:3], np.array(["member", "heldout", "heldout"])
    samples = np.stack([eye[0], eye[0], eye[1], eye[1], eye[1]])  # two of the member, three of a held-out image
    table = pd.DataFrame(chance_rows("m", samples, images, splits, 2, 0.5, INTERVAL), columns=COLUMNS).set_index("probe")
    assert table[["n", "found"]].to_numpy().tolist() == [[5, 2], [10, 3], [4, 1], [3, 0]]
    held = pd.DataFrame(scores_of("m", [(64, 0.1), (0, 0.2), (0, math.inf)]))
    assert inverted_row("m", held, INTERVAL)[2:5] == (2, 1, 0.5)
