"""The work of an audit against numbers counted by hand."""

import math

import pytest

from estimate_cases import UNKNOWN, changed
from vidmem.planning.estimate import network_calls
from vidmem.planning.workload import (
    Corpus,
    Span,
    count_workload,
    frames_made,
    inversion_calls,
    mitigation_calls,
    passes,
    probe_calls,
)


def test_sets_are_counted_by_hand(tiny):
    sets = {one.name: one for one in count_workload(tiny).sets}
    assert list(sets) == ["corpus-own", "controls-own", "generated-net", "mitigated-less"]
    corpus, controls, generated, mitigated = sets.values()
    assert (corpus.clips, corpus.frames, corpus.pairs) == (Span.of(5), Span.of(3 * 6 + 2), Span.of(3 * 5))
    assert (controls.clips, controls.frames) == (Span(0, 2 * 2 + 1 + 1 + 3 + 2), Span(0, 11 * 6))
    assert generated.clips == Span.of(4 * 2)  # the two pictures share a caption
    assert (mitigated.clips, mitigated.pairs) == (Span.of(1), Span.of(5))


def test_network_evaluations_are_counted_by_hand(tiny):
    calls = {(one.rule, one.name): one.amount for one in network_calls(tiny, count_workload(tiny))}
    assert calls["generate_clips", "net"] == Span.of(4 * 2 * 10 * 2)
    # Four captions and two negatives: guidance, alignment and curvature, two passes each.
    assert calls["probe_guidance", "net"] == Span.of((4 + 2) * 2 * 3)
    # Two passes of the first step and one with the embedding; then four times one forward and one backward; ten guided steps.
    assert calls["mitigate_clips", "net"] == Span(3 + 20, 3 + 2 * 4 + 20)
    # One image a number of copies and side (16, 4, 1, held out), two seeds. At best 25 steps of 8 there and back and one test
    # of 8 x 20; at worst 300 steps, 12 such tests, and twice three replays.
    assert calls["invert_images", "back"] == Span(8 * (2 * 25 * 8 + 160), 8 * (2 * 300 * 8 + 12 * 160 + 120))
    # 10 x 4 losses, 13 passes of the round trip; 48 samples of 20 steps.
    assert calls["probe_model", "back"] == Span.of(4 * 53 + 48 * 20)


def test_no_guidance_means_one_pass(tiny, schema):
    model = tiny["models"]["net"] | {"guidance": 1.0}
    detection = tiny["detection"]
    assert probe_calls(model, Span.of(4), Span.of(2), detection) == Span.of(6)
    assert probe_calls(model, Span.of(4), Span.of(2), detection | {"extra_pass": True}) == Span.of(12)
    assert mitigation_calls(tiny["mitigations"]["less"], model, Span.of(1)) == Span.of(0)


@pytest.mark.parametrize(
    ("changes", "worst"),
    [
        ({"plan": {"steps": 100}}, 2 * 100 * 8 + 4 * 160 + 120),
        ({"plan": {"scales": [1.0, 3.0]}, "mode": "caption"}, 2 * 300 * 8 + 12 * 160 * 3 + 240),
        ({"preset": "calibrated", "replays": 0}, 2 * 600 * 8 + (24 + 1) * 160),
    ],
)
def test_plans_of_inversions_count(tiny, changes, worst):
    assert inversion_calls(tiny["inversions"]["back"] | {"seeds": 1} | changes, Span.of(1)).high == worst


def test_prompts_of_a_list_count_its_usable_lines(tiny, schema, tmp_path):
    (tmp_path / "prompts.csv").write_text('prompt\n"one"\n""\n"two"\n')
    model = tiny["models"]["net"] | {"prompts": {"file": str(tmp_path / "prompts.csv")}}
    assert count_workload(changed(tiny, schema, models={"net": model})).prompts["net"] == Span.of(2)
    model["prompts"]["limit"] = 1
    assert count_workload(changed(tiny, schema, models={"net": model})).prompts["net"] == Span.of(1)
    model["prompts"]["file"] = "nowhere.csv"
    assert count_workload(changed(tiny, schema, models={"net": model})).prompts["net"] == Span(0, 1)


def test_fewer_images_than_asked_for_are_inverted(tiny):
    corpus = count_workload(tiny).corpora["own"]
    assert corpus.targets(["member", "heldout", "image"], 1, 1) == Span.of(4)
    assert corpus.targets(["image"], 5, 1) == Span.of(2)
    assert corpus.targets(["member", "heldout", "image"], 0, 6) == Span.of(3)  # pictures are no clips of six frames


def test_pipelines_of_images_make_one_frame():
    for name in ("StableDiffusionPipeline", "DDPMPipeline", "LDMPipeline", "FluxPipeline"):
        assert frames_made({"pipeline": name, "frames": 16}) == Span.of(1), name
    assert frames_made({"pipeline": "SomebodysPipeline", "frames": 16}) == Span(1, 16)


def test_pipelines_of_video_are_known_by_their_call_and_not_by_their_name():
    names = ["LTXPipeline", "WanPipeline", "MochiPipeline", "LattePipeline", "AnimateDiffPipeline", "HunyuanVideoPipeline"]
    names += ["TextToVideoSDPipeline", "LaViePipeline", "VideoCrafterPipeline", "RaMViDPipeline", "UnconditionalVideoPipeline"]
    assert {name: frames_made({"pipeline": name, "frames": 17}) for name in names} == dict.fromkeys(names, Span.of(17))
    assert frames_made({"pipeline": "StableVideoDiffusionPipeline", "frames": 16, "drop_frames": 1}) == Span.of(15)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"pipeline": "LTXPipeline"}, 2),
        ({"pipeline": "LTXPipeline", "guidance": 1.0}, 1),
        ({"pipeline": "LTXPipeline", "unconditional": 4}, 1),
        ({"pipeline": "HunyuanVideoPipeline"}, 1),
        ({"pipeline": "HunyuanVideoPipeline", "negative_prompt": "blurred"}, 1),  # its true_cfg_scale is 1
        ({"pipeline": "HunyuanVideoPipeline", "arguments": {"true_cfg_scale": 4.0}}, 1),  # nothing to guide away from
        ({"pipeline": "HunyuanVideoPipeline", "negative_prompt": "", "arguments": {"true_cfg_scale": 4.0}}, 2),
        ({"pipeline": "QwenImagePipeline", "negative_prompt": ""}, 2),  # its true_cfg_scale is 4
    ],
)
def test_embedded_guidance_is_one_pass(changes, expected):
    model = {"guidance": 6.0, "unconditional": 0, "negative_prompt": None, "arguments": {}}
    assert passes(model | changes) == expected


def test_files_may_be_images_or_clips():
    assert frames_made({"kind": "files", "frames": 8}) == Span(1, 8)


def test_spans_without_an_end_stay_that_way():
    assert UNKNOWN * Span.of(0) == Span.of(0)
    assert UNKNOWN * 3 + Span.of(1) == Span(1, math.inf)
    assert UNKNOWN.at_most(5) == Span(0, 5)
    assert Corpus(None, None, 8, (1, 1)).of_frames(lambda frames: frames - 1) == UNKNOWN
