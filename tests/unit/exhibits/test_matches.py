"""What the galleries, the motion panel and the figure of inverted images show, on made-up clips."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from vidmem.corpus.frames import fit_frames
from vidmem.exhibits.best_matches import Pair, match_row, matched_frames
from vidmem.exhibits.inversion_samples import choose_images, sample_rows
from vidmem.exhibits.motion_matches import SIDE, motion_row, motion_window, shrink_frames
from vidmem.features.motion import mirror_flows
from vidmem.features.motion_rule import MotionRule
from vidmem.inversion.noise_files import array_name, save_noise

PAIR = Pair("net", "g", "t", 3, 1, "", 0.9, "a cat", "two cats", 4, 0.5, "")
ABOUT = {"corpus": "own", "label": "Net"}


class Frames:
    """Stand-in for the frames of an audit."""

    def __init__(self, frames, captions=()):
        self.frames, self.asked = frames, []
        rows = [(*key, caption) for key, caption in zip(frames, captions)]
        self.clips = pd.DataFrame(rows, columns=["set", "clip_id", "caption"])

    def of(self, name, clip_id):
        return self.frames[name, clip_id]

    def read(self, name, clip_ids):
        self.asked.append((name, sorted(clip_ids)))


@pytest.fixture
def frames(stream):
    return Frames(
        {
            ("corpus-own", "t"): stream.integers(0, 255, (6, 16, 24, 3), np.uint8),
            ("generated-net", "g"): stream.integers(0, 255, (5, 8, 8, 3), np.uint8),
        }
    )


def test_a_generated_clip_is_shown_in_the_size_of_its_match(frames):
    training, generated = matched_frames(PAIR, frames, "own")
    assert training.shape == (6, 16, 24, 3)
    assert np.array_equal(generated, fit_frames(frames.of("generated-net", "g"), (16, 24), "stretch"))


def test_a_row_of_a_gallery_says_what_was_found(frames):
    row = match_row(PAIR, frames, ABOUT, "GSSCD")
    assert np.array_equal(row["image"], row["training"][0])
    assert np.array_equal(row["frame"], row["generated"][3])
    words = {"score": 0.9, "threshold": 0.5, "caption": "a cat", "prompt": "two cats", "label": "Net", "copies": 4}
    assert words.items() <= row.items()


def test_a_window_has_frame_pairs_with_their_flow(stream):
    clip, flows = stream.integers(0, 255, (5, SIDE, SIDE, 3), np.uint8), np.zeros((4, 2, 4, 4), np.float16)
    flows[2, 0] = 1.0  # only the third pair moves
    window = motion_window(clip, flows, 1, MotionRule(2))
    assert len(window) == 2
    for place, (first, second, _) in enumerate(window, 1):
        assert np.array_equal(first, clip[place])
        assert np.array_equal(second, clip[place + 1])
    assert [bool((colour == 255).all()) for _, _, colour in window] == [True, False]


def test_both_windows_of_a_motion_match_begin_where_the_score_was_found(frames, stream):
    flows = {
        name: SimpleNamespace(of=lambda clip_id, length=length: np.ones((length, 2, 4, 4)))
        for name, length in (("corpus-own", 5), ("generated-net", 4))
    }
    row = motion_row(PAIR, frames, flows, ABOUT, "OFS-1", MotionRule(1))
    assert row["metric"] == "OFS-1"
    for side, (name, clip_id, first) in {"training": ("corpus-own", "t", 1), "generated": ("generated-net", "g", 3)}.items():
        whole = fit_frames(frames.of(name, clip_id), (SIDE, SIDE), "stretch")
        assert np.array_equal(row[side][0][0], whole[first])
        assert np.array_equal(row[side][0][1], whole[first + 1])


def test_a_mirrored_match_is_shown_as_it_was_compared(frames, stream):
    moving = stream.normal(size=(4, 2, 16, 16))
    flows = {
        "corpus-own": SimpleNamespace(of=lambda _: moving),
        "generated-net": SimpleNamespace(of=lambda _: mirror_flows(moving)),
    }
    pair = replace(PAIR, view="mirrored", training_frame=2, generated_frame=2)
    row = motion_row(pair, frames, flows, ABOUT, "WOFS-1", MotionRule(1, "whitened", weights=np.ones((2, 16, 16), np.float32)))
    assert row["view"] == "mirrored"
    for shown, other in zip(row["training"][0][2:], row["generated"][0][2:], strict=True):
        assert np.array_equal(shown, other)
    whole = fit_frames(frames.of("generated-net", "g"), (SIDE, SIDE), "stretch")
    assert np.array_equal(row["generated"][0][0], whole[2][:, ::-1])
    assert len(row["training"][0]) == 4  # with the flow without its background


def inversions(*rows):
    columns = ["model", "image_id", "copies", "seed", "status", "score", "best_similarity"]
    return pd.DataFrame([(*row, 7, "replicated", 0.125, 0.9) for row in rows], columns=columns)


def test_the_models_take_turns_in_the_figure_of_inverted_images():
    scores = inversions(*((model, f"{model}{copies}{n}", copies) for model in "ab" for copies in (0, 16) for n in range(9)))
    chosen = choose_images(pd.concat([scores, scores.assign(seed=8)]), count=4)
    assert chosen["copies"].tolist() == [16, 16, 0, 0]
    assert chosen["model"].tolist() == ["a", "b", "a", "b"]
    assert (chosen["seed"] == 7).all()
    first = choose_images(scores, count=2)
    assert sorted(first["model"]) == ["a", "b"]  # with one image a number of copies, each shows another model
    assert len(choose_images(scores, count=0)) == 2
    assert not len(choose_images(inversions()))


def test_images_without_samples_are_left_out_of_the_figure(tmp_path, stream):
    replays = stream.integers(0, 255, (2, 2, 3, 4, 4, 3), np.uint8)
    save_noise(tmp_path / "0.safetensors", {array_name("seen", 7, "replays"): replays})
    clips = {("corpus-own", name): stream.integers(0, 255, (3, 4, 4, 3), np.uint8) for name in ("seen", "other")}
    frames = Frames(clips, ["a cat", "a dog"])
    chosen = inversions(("net", "seen", 16), ("net", "other", 0))
    (row,) = sample_rows(chosen, {"net": [tmp_path / "0.safetensors"]}, frames, {"net": "own"})
    assert frames.asked == [("corpus-own", ["other", "seen"])]
    assert (row["title"], row["caption"]) == ("net: score 0.125, seen 16x", "a cat")
    assert np.array_equal(row["target"], clips["corpus-own", "seen"][1])
    assert np.array_equal(row["found"], replays[0, :, 1])
    assert np.array_equal(row["prior"], replays[1, :, 1])


def test_a_cropped_match_is_shown_as_part_of_a_larger_picture(stream):
    frames = stream.integers(0, 256, (2, 40, 60, 3)).astype(np.uint8)
    shown = shrink_frames(frames)
    assert shown.shape == frames.shape
    assert np.array_equal(shown[:, 20, 30], frames[:, 20, 30])  # the middle stays
    assert np.array_equal(shown[:, 0], shown[:, 1])  # the border is continued
    assert np.array_equal(shown[:, 2, 3], frames[:, 0, 0])
