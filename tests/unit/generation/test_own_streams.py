"""No sample draws noise from the stream that all share: every proven class, with noise at every step where it takes it."""

from dataclasses import replace
from inspect import signature

import diffusers
import pytest
import torch

from published_pipelines import CLASSES, GREY_LEVELS, apart, requests_for
from sampling import generate
from vidmem.generation.adapter import PipelineAdapter


@pytest.mark.parametrize("name", CLASSES)
def test_the_global_stream_changes_no_sample(spec_of, name):
    spec = spec_of(name)
    takes_noise = "eta" in signature(getattr(diffusers, name).__call__).parameters
    adapter = PipelineAdapter(replace(spec, arguments=spec.arguments | ({"eta": 1.0} if takes_noise else {})), 0)
    requests = requests_for(name, 2)
    torch.manual_seed(1)
    first = generate(None, requests, adapter)
    torch.manual_seed(2)
    torch.randn(7)
    turned = generate(None, requests[::-1], adapter)[::-1]
    for one, other in zip(first, turned, strict=True):
        assert (one.status, other.status) == ("ok", "ok")
        assert apart(one, other) <= GREY_LEVELS


def test_noise_at_every_step_is_heard_and_is_that_of_the_sample(spec_of):
    """LDMPipeline does not hand its generator on: the noise of its steps would be that of nobody."""
    spec = spec_of("LDMPipeline")
    quiet, noisy = (PipelineAdapter(replace(spec, arguments=spec.arguments | {"eta": eta}), 0) for eta in (0.0, 1.0))
    request = requests_for("LDMPipeline", 1)
    assert apart(*(generate(None, request, adapter)[0] for adapter in (quiet, noisy))) > GREY_LEVELS
    others = [replace(request[0], sample=number) for number in range(3)]
    together = generate(None, others, noisy)
    assert apart(together[0], generate(None, request, noisy)[0]) <= GREY_LEVELS
    assert apart(together[0], together[1]) > GREY_LEVELS


def test_the_step_of_a_scheduler_is_its_own_again_after_the_call(spec_of):
    adapter = PipelineAdapter(spec_of("LDMPipeline"), 0)
    generate(None, requests_for("LDMPipeline", 1), adapter)
    assert "step" not in vars(adapter.pipeline.scheduler)
