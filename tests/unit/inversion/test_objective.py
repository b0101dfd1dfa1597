"""The divergence, the weight's schedule and the acceptance test of the inversion."""

import numpy as np
import pytest
import torch

from vidmem.inversion.acceptance import AcceptanceRule, accept
from vidmem.inversion.objective import divergence, nats_per_image
from vidmem.inversion.schedule import AdaptiveWeights, WeightRule


def test_divergence_is_that_of_torch(stream):
    mean, log_variance = (torch.from_numpy(stream.normal(size=(3, 2, 4))) for _ in range(2))
    parts = divergence(mean, log_variance)
    normal = torch.distributions.Normal
    exact = torch.distributions.kl_divergence(normal(mean, (log_variance / 2).exp()), normal(0.0, 1.0)).mean((1, 2))
    assert torch.allclose(sum(parts), exact)
    assert all((part >= 0).all() for part in parts)
    assert nats_per_image(float(exact[0]), 8) == pytest.approx(8 * float(exact[0]))


def test_weights_follow_the_table_written_by_hand():
    """C = 2, delta 0.5, ksi 0.1, a window of three; two images with losses of their own."""
    weights = AdaptiveWeights(WeightRule(2, 0.5, stall=0.1, window=3), 2)
    losses = [(4.0, 1.0), (2.0, 1.0), (1.0, 1.0), (1.0, 1.0), (1.0, 1.0), (1.0, 1.0)]
    # First image: means at the checks 3, then (2 + 1 + 1) / 3 = 1.33 (fell), then 1 (fell). Second: 1, 1, 1 (stalls).
    expected = [(1.5, 1.5), (2.0, 2.0), (2.5, 2.5), (3.0, 1.25), (3.5, 1.75), (4.0, 0.875)]
    for step, (loss, wanted) in enumerate(zip(losses, expected)):
        weights.advance(torch.tensor(loss), check=step % 2 == 1)
        assert weights.value.tolist() == pytest.approx(list(wanted)), step


def test_staged_acceptance_is_the_full_test_on_the_same_noises(stream):
    rule = AcceptanceRule(8, 0.5, (1.0, 3.0, 5.0))
    table = stream.uniform(0.4, 1.0, (40, 8, 3))
    table[:10] = 0.9
    table[3, 6, 1] = np.nan
    asked, passes = [], []

    def look_up(image, noise, scale):
        asked.append(len(image))
        passes.append(np.where(scale == 0, 1, 2).sum())  # the first scale is 1: no second pass
        return table[image, noise, scale]

    staged, sampled, made = accept(look_up, 40, rule), sum(asked), sum(passes)
    full = accept(look_up, 40, rule, staged=False)
    assert (staged.passed == full.passed).all()
    assert 0 < staged.passed.sum() < 40
    assert np.allclose(staged.similarity[staged.passed], full.similarity[full.passed])
    assert (staged.similarity >= full.similarity).all()
    assert sampled < 40 * 8 * 3
    assert staged.calls.sum() == made
    assert accept(lambda *indices: np.zeros(len(indices[0])), 5, rule).calls.tolist() == [1 + 2 + 2] * 5
