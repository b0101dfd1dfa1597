"""The guard flags or stops generations, and refuses calls unlike those it was fitted on."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import vidmem
from first_steps import REQUESTS, first_steps
from vidmem.detection.detectors import Detector, save_detectors
from vidmem.detection.guard import Guard, samples_of
from vidmem.errors import VidmemError
from vidmem.generation.guidance import guidance_magnitudes, with_settings

CALL = {"num_frames": 3, "height": 32, "width": 32, "num_inference_steps": 3, "output_type": "np"}


def guard_of(adapter, level, action="flag"):
    return Guard(adapter.pipeline, Detector("m", "content", np.full(100, level), 0.9), 0.01, action)


def counted(adapter, call):
    calls = []
    handle = adapter.denoiser.register_forward_hook(lambda *given: calls.append(1))
    result = call()
    handle.remove()
    return result, len(calls)


def test_flagging_changes_nothing_and_costs_no_call(adapter):
    prompts = ["a red ball", "two cats"]
    plain = adapter.pipeline(prompt=prompts, generator=torch.Generator().manual_seed(0), **CALL)
    guarded = guard_of(adapter, 0.0)
    found, calls = counted(adapter, lambda: guarded(prompt=prompts, generator=torch.Generator().manual_seed(0), **CALL))
    assert calls == 3
    assert found.flagged.tolist() == [True, True]
    assert np.array_equal(np.asarray(found.output.frames), np.asarray(plain.frames))
    assert guard_of(adapter, 1e9)(prompt=prompts, **CALL).flagged.tolist() == [False, False]


def test_stopping_costs_one_step_and_mixed_batches_are_finished(adapter):
    found, calls = counted(adapter, lambda: guard_of(adapter, 0.0, "stop")("a red ball", **CALL))
    assert (found.output, calls, found.flagged.tolist()) == (None, 1, [True])
    levels = guard_of(adapter, 0.0)(
        prompt=["a red ball", "two cats"], generator=torch.Generator().manual_seed(0), **CALL
    ).magnitudes
    between = guard_of(adapter, levels.mean(), "stop")
    mixed = between(prompt=["a red ball", "two cats"], generator=torch.Generator().manual_seed(0), **CALL)
    assert mixed.output is not None
    assert mixed.flagged.sum() == 1


def test_an_unguarded_generation_is_an_error(adapter, tmp_path):
    with pytest.raises(VidmemError, match="a guidance pass"):
        guard_of(adapter, 0.0)("a red ball", guidance_scale=1.0, **CALL)
    with pytest.raises(VidmemError, match="one of"):
        guard_of(adapter, 0.0, "warn")
    with pytest.raises(VidmemError, match="at least 100"):
        Guard(adapter.pipeline, Detector("m", "content", np.ones(20), 0.9))
    save_detectors(tmp_path / "m.json", [Detector("m", "content", np.zeros(100), 0.9)])
    assert vidmem.guard(adapter.pipeline, tmp_path / "m.json")("a red ball", **CALL).flagged.tolist() == [True]


def test_samples_of_a_call():
    assert samples_of({"prompt": "a"}) == 1
    assert samples_of({"prompt": ["a", "b"], "num_images_per_prompt": 3}) == 6
    assert samples_of({"prompt_embeds": torch.zeros(4, 2, 2)}) == 4


def strict_guard(adapter, **changes):
    probes = first_steps(adapter, with_settings(guidance_magnitudes))[REQUESTS[0]]
    made_for = {
        "frames": 3.0,
        "elements": float(probes["elements"][0]),
        "time": float(probes["time"][0]),
        "negative_prompt": "",
    }
    return Guard(adapter.pipeline, Detector("m", "content", np.zeros(100), 0.9, made_for | changes), 0.01)


@pytest.mark.parametrize("call", [{"num_frames": 2}, {"height": 64}, {"num_inference_steps": 7}])
def test_calls_unlike_the_audit_are_refused(adapter, call):
    assert strict_guard(adapter)("a red ball", **CALL).flagged.tolist() == [True]
    if "num_inference_steps" in call:  # the same first time step, whatever the number of steps: nothing to refuse
        assert strict_guard(adapter)("a red ball", **CALL | call).flagged.tolist() == [True]
        with pytest.raises(VidmemError, match="as in the audit"):
            strict_guard(adapter, time=1.0)("a red ball", **CALL | call)
    else:
        with pytest.raises(VidmemError, match="as in the audit"):
            strict_guard(adapter)("a red ball", **CALL | call)


def test_a_negative_prompt_does_not_switch_the_guard_off(adapter):
    for hidden in ({"negative_prompt": "a red ball"}, {"negative_prompt_embeds": torch.zeros(1, 32, 32)}):
        with pytest.raises(VidmemError, match="the negative prompt"):
            strict_guard(adapter)("a red ball", **hidden, **CALL)
    with pytest.raises(VidmemError, match="the negative prompt"):  # nor may that of the audit be left out
        strict_guard(adapter, negative_prompt="blurred")("a red ball", **CALL)
    assert strict_guard(adapter, negative_prompt="blurred")("a red ball", negative_prompt="blurred", **CALL).flagged.all()


def test_a_magnitude_that_is_no_number_is_flagged(adapter):
    assert guard_of(adapter, 1.0).is_flagged(np.array([np.nan, 0.0, 2.0])).tolist() == [True, False, True]
