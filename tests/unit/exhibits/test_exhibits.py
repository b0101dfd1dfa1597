"""Tables, figures and the verdict."""

import csv
import io

import numpy as np
import pandas as pd
import pytest

from footage import read_video
from vidmem.base.clip_table import clip_row, clip_table
from vidmem.detection.evaluation import why_not_defined
from vidmem.exhibits.detection_figures import detection_roc, magnitude_steps
from vidmem.exhibits.figures import copies_figure, gallery, pair_words, plain_text, save_figure, score_distributions, strip
from vidmem.exhibits.playable_clips import MARK, save_mp4, side_by_side
from vidmem.exhibits.table_files import save_exhibit, to_latex, to_markdown
from vidmem.exhibits.tables import HELD_OUT, memorization_rows, not_done_table, real_rows
from vidmem.features.statistics import IntervalRule
from vidmem.generation.elsewhere import NOT_DONE
from vidmem.scoring.scores import VerdictRule, prompt_verdicts
from workflow_helpers import ROOT


def verdict_inputs():
    rows = [("p1", "ok", 0.9), ("p1", "ok", 0.1), ("p2", "ok", 0.2), ("p2", "failed", None), ("p3", "failed", None)]
    clips = clip_table(
        clip_row({}, clip_id=f"{p}-s{i}", prompt_id=p, target="t", status=status, reason="" if status == "ok" else "died")
        for i, (p, status, _) in enumerate(rows)
    )
    scores = pd.DataFrame(
        [
            {"clip_id": f"{p}-s{i}", "metric": "gsscd", "value": v, "verdict": v > 0.5, "natural": ""}
            for i, (p, _, v) in enumerate(rows)
            if v
        ]
    )
    return clips, scores


def test_failed_samples_stay_in_the_denominator():
    clips, scores = verdict_inputs()
    anyone = prompt_verdicts(clips, scores, "gsscd", "any").set_index("prompt_id")
    assert anyone["memorised"].to_dict() == {"p1": True, "p2": False, "p3": False}
    assert anyone["n_ok"].to_dict() == {"p1": 2, "p2": 1, "p3": 0}
    assert anyone["share"].to_dict() == {"p1": 0.5, "p2": 0.0, "p3": 0.0}
    assert anyone["defined"].to_dict() == {"p1": True, "p2": True, "p3": False}
    every = prompt_verdicts(clips, scores, "gsscd", "every").set_index("prompt_id")
    assert not every["memorised"].any()


@pytest.mark.parametrize(
    ("reason", "defined"), [("short", False), ("no reference window", False), ("static", True), ("", True)]
)
def test_motion_that_is_not_defined_is_not_a_share_of_zero(reason, defined):
    clips, scores = verdict_inputs()
    scores = pd.concat([scores.assign(metric=name, verdict=False, natural=reason, match="") for name in METRICS])
    rules = VerdictRule("gsscd"), VerdictRule("ofs_k"), IntervalRule()
    references = clips.assign(split="member")
    row = memorization_rows("m", "c", clips, scores, references, *rules)[0]
    held = clips.assign(split="heldout")
    for found in (row, real_rows("c", held, scores, *rules)[0]):
        assert np.isnan(found["motion_share"]) != defined
        assert np.isnan(found["motion_share_unfiltered"]) != defined
        assert found["n_prompts"] in (3, 5)


METRICS = ("gsscd", "ofs_k", "ofs_k_unfiltered")


def test_matches_with_images_are_counted_apart():
    clips, scores = verdict_inputs()
    scores = scores.assign(match=["photo"] + ["video"] * (len(scores) - 1))
    references = pd.DataFrame({"clip_id": ["photo", "video"], "split": ["image", "member"]})
    rules = VerdictRule("gsscd"), VerdictRule("ofs_k"), IntervalRule()
    row = memorization_rows("m", "c", clips, scores, references, *rules)[0]
    assert (row["content_share"], row["content_share_images"]) == (pytest.approx(1 / 3), pytest.approx(1 / 3))
    row = memorization_rows("m", "c", clips, scores.assign(match="video"), references, *rules)[0]
    assert (row["content_share"], row["content_share_images"]) == (pytest.approx(1 / 3), 0)


@pytest.mark.parametrize("samples", ["any", "every"])
def test_a_prompt_whose_only_sample_failed_is_in_the_denominator_and_told_apart(samples):
    """Two prompts of one sample each, one memorised, one blacked out: half, and one of the two is known to have failed."""
    rows = [("a", "one", "ok", ""), ("b", "two", "failed", "blacked out by the safety checker")]
    about = {"set": "generated-m", "split": "", "target": ""}
    made = [
        clip_row({}, clip_id=clip, status=status, reason=why) | about | {"prompt_id": prompt}
        for clip, prompt, status, why in rows
    ]
    scores = pd.DataFrame({"clip_id": ["a"], "match": ["x"], "value": [0.9], "verdict": [True], "natural": [""]})
    scores = pd.concat([scores.assign(metric=name) for name in METRICS])
    rules = VerdictRule("gsscd", samples), VerdictRule("ofs_k", samples), IntervalRule()
    references = pd.DataFrame({"clip_id": ["x"], "split": ["member"]})
    row = memorization_rows("m", "c", pd.DataFrame(made), scores, references, *rules)[0]
    assert (row["n_prompts"], row["n_ok"], row["n_failed"]) == (2, 1, 1)
    assert (row["content_share"], row["motion_share"]) == (0.5, 0.5)
    page = (ROOT / "docs/models.md").read_text()
    assert "`n_failed`" in page
    assert "never counted as not memorised" not in page


def test_false_alarms_of_a_search_count_clips_not_pairs():
    """Of four unrelated clips one resembles one other: one pair of six fires, but two clips of four."""
    from vidmem.exhibits.tables import filter_table
    from vidmem.scoring.validation import FILTERS

    pairs = [(a, b) for place, a in enumerate("abcd") for b in "abcd"[place + 1 :]]
    rows = [("unrelated-moving", a, b, 0.9 if (a, b) == ("b", "d") else 0.1) for a, b in pairs]
    rows += [("motion-twin", "a", "t", 0.9), ("camera", "x", "y", 0.9), ("motion-twin", "a", "short", np.nan)]
    table = pd.DataFrame(rows, columns=["control", "first", "second", "value"])
    table = pd.concat([table.assign(filter=stage, metric="ofs_k", variant="v", corpus="c") for stage in FILTERS])
    found = filter_table(table, "ofs_k", 0.5, "v", IntervalRule())
    found = found[found["filter"] == "none"].set_index("pairs")
    assert found.loc["unrelated", ["n", "fires"]].tolist() == [6, pytest.approx(1 / 6)]
    assert found.loc["unrelated, any of the corpus", ["n", "fires"]].tolist() == [4, 0.5]
    assert found.loc["motion copies", "n"] == 1


HOSTILE = 'a|b & 50% "x"_<i>\n$1'


def test_tables_escape_hostile_text(tmp_path):
    table = pd.DataFrame({"caption": [HOSTILE], "share": [1 / 3], "empty": [np.nan]})
    assert "a\\|b" in to_markdown(table)
    assert "<i>" not in to_markdown(table)
    assert r"50\% " in to_latex(table)
    assert "n/a" in to_latex(table)
    save_exhibit(tmp_path / "t.csv", table)
    assert next(csv.DictReader(io.StringIO((tmp_path / "t.csv").read_text())))["caption"] == HOSTILE
    assert {path.suffix for path in tmp_path.iterdir()} == {".csv", ".md", ".tex"}


def test_a_picture_tells_prompt_and_caption_apart():
    """A match may be of another training clip than the one that was asked for."""
    assert pair_words({"caption": "a red ball", "prompt": "a red ball"}, 60) == "a red ball"
    assert pair_words({"caption": "a red ball", "prompt": ""}, 60) == "a red ball"
    told = pair_words({"caption": "a red ball", "prompt": "two cats on a wall"}, 80)
    assert told == "asked for: two cats on a wall\nfound: a red ball"
    long = pair_words({"caption": "a ball " * 30, "prompt": "a cat " * 30}, 60)
    assert long.startswith("asked for: a cat")
    assert [len(line) <= 60 for line in long.splitlines()] == [True, True]


def test_a_gallery_without_a_memorised_pair_says_so(stream):
    frames = stream.integers(0, 255, (4, 16, 16, 3), dtype=np.uint8)
    row = {"training": frames, "generated": frames, "training_frame": 0, "generated_frame": 0, "threshold": 0.5, "copies": 1,
           "metric": "GSSCD", "caption": "a", "prompt": "a", "label": "model"}  # fmt: skip
    titles = [gallery([row | {"score": score}], "Extracted")._suptitle.get_text() for score in (0.5, 0.49)]
    assert titles[0].startswith("Extracted  (threshold 0.5")
    assert titles[1].startswith("Extracted: nothing; the closest pairs  (threshold 0.5")


def test_figures_come_out_byte_identical(tmp_path, stream):
    frames = stream.integers(0, 255, (8, 32, 32, 3), dtype=np.uint8)
    row = {
        "training": frames,
        "generated": frames[::-1],
        "training_frame": 3,
        "generated_frame": 4,
        "score": 0.7,
        "threshold": 0.5,
        "metric": "GSSCD",
    }
    row |= {"copies": 4, "caption": HOSTILE * 5, "prompt": HOSTILE, "label": "model"}
    distribution = pd.DataFrame({"metric": "GSSCD", "group": ["a", "b"] * 20, "value": stream.random(40)})
    share = {"content_share": 0.5, "low": 0.2, "high": 0.8, "mean_own_gsscd": 0.4}
    copies = pd.DataFrame([{"model": "m", "data": "video", "copies": c, "n": 5, **share} for c in (0, 1, 64)])
    for name in ("first", "second"):
        save_figure(gallery([row], "Gallery"), tmp_path / f"{name}-gallery.png")
        save_figure(gallery([], "Gallery"), tmp_path / f"{name}-nothing.png")
        save_figure(score_distributions(distribution, {"GSSCD": [0.5]}), tmp_path / f"{name}-scores.png")
        save_figure(copies_figure(copies), tmp_path / f"{name}-copies.png")
    made = sorted(path.name.removeprefix("first-") for path in tmp_path.glob("first-*"))
    assert len(made) == 8
    for name in made:
        assert (tmp_path / f"first-{name}").read_bytes() == (tmp_path / f"second-{name}").read_bytes(), name


def test_hostile_captions_in_figures_are_plain():
    text = plain_text("\x1b[31m$\\alpha$ <b>", 60)
    assert "\x1b" not in text
    assert r"\$" in text
    assert len(plain_text("word " * 100, 20, 2).splitlines()) == 2


def test_strip_shows_the_marked_frame():
    frames = np.arange(8, dtype=np.uint8)[:, None, None, None].repeat(16, 1).repeat(16, 2).repeat(3, 3)
    shown = strip(frames, 4, marked=3)
    assert shown.shape == (16, 64, 3)
    assert 3 in shown[8, ::16, 0].tolist() or 3 in shown[8, 8::16, 0].tolist()
    assert strip(frames[:1], 3).shape == (16, 48, 3)


def test_clips_play_everywhere_and_repeat_byte_for_byte(tmp_path, stream):
    frames = stream.integers(0, 255, (5, 32, 32, 3), dtype=np.uint8)
    both = side_by_side(frames, frames[:3], 0, 0, 1)
    assert both.shape == (5, 32, 64, 3)
    assert (both[0, 0] == MARK).all()
    assert np.array_equal(both[4], np.concatenate([frames[4], frames[2]], axis=1))
    for name in ("a.mp4", "b.mp4"):
        save_mp4(tmp_path / name, both, 5, loops=2)
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()
    import av

    with av.open(str(tmp_path / "a.mp4")) as container:
        stream_ = container.streams.video[0]
        assert (stream_.codec_context.name, stream_.codec_context.pix_fmt) == ("h264", "yuv420p")
    assert len(read_video(tmp_path / "a.mp4", 100, 5.0).frames) == 10


def test_clips_play_in_step_and_matching_frames_are_marked(stream):
    training, generated = (stream.integers(0, 200, (length, 32, 32, 3)).astype(np.uint8) for length in (8, 6))
    both = side_by_side(training, generated, 5, 2, 1)
    assert both.shape == (9, 32, 64, 3)
    assert np.array_equal(both[5, 1:-1, 1:32], training[5, 1:-1, 1:])
    assert np.array_equal(both[5, 1:-1, 32:-1], generated[2, 1:-1, :-1])
    assert (both[5, 0] == MARK).all()
    assert np.array_equal(both[4, :, :32], training[4])
    assert np.array_equal(both[0, :, 32:], generated[0])
    assert np.array_equal(both[-1, :, :32], training[-1])


def test_verdict_quotes_the_caption_of_the_corpus_that_was_searched(tmp_path):
    from vidmem.base.store import save_table
    from vidmem.exhibits.verdict import audit_verdict

    corpora, clips, scores = [], [], []
    for name in ("a", "b"):
        about = {"clip_id": "same", "set": f"corpus-{name}", "split": "member", "copies": 1, "pixels": name}
        row = clip_row({}, caption=f"caption of {name}", **about)
        generated = clip_row({}, clip_id="p-s0", set=f"generated-{name}", caption="a prompt", prompt_id="p")
        match = {"clip_id": "p-s0", "metric": "gsscd", "value": 0.7, "match": "same", "query_frame": 0, "reference_frame": 0,
                 "natural": ""}  # fmt: skip
        corpora.append(clip_table([row]))
        clips.append(clip_table([generated]))
        scores.append(str(tmp_path / f"scores-{name}.parquet"))
        save_table(
            scores[-1],
            pd.DataFrame([match | {"verdict": True, "preset": f"preset of {name}", "search": "exact", "view": ""}]),
        )
    share = {f"{kind}_{part}": 0.5 for kind in ("content", "motion") for part in ("share", "low", "high")}
    share |= {"content_scored": 1, "motion_scored": 0}
    rows = [{"model": m, "corpus": m, "kind": "all", "n_prompts": 1, "n_ok": 1, "n_failed": 0, **share} for m in "ab"]
    held = {"model": HELD_OUT, "kind": "heldout", "n_ok": 1, "n_failed": 0}
    floor = dict.fromkeys(share, 0.25) | {"content_scored": 4, "motion_scored": 3}
    rows += [
        held | {"corpus": "a", "n_prompts": 4} | floor,
        held | {"corpus": "b", "n_prompts": 0} | dict.fromkeys(share, np.nan),
    ]
    table = pd.DataFrame(rows)
    table.to_csv(tmp_path / "table2.csv", index=False)
    config = {"run": "r", "seed": 0, "interval": {"level": 0.95}, "answer": {"margin": 0.1, "missing": 0.1}}
    config |= {"content": {"metric": "gsscd", "samples": "any"}, "motion": {"metric": "ofs_k", "samples": "every"}}
    config["models"] = {name: {"corpus": name, "path": "x", "kind": "video", "label": f"Model {name}"} for name in "ab"}
    left_out = [{"model": "a", "what": "inversion", "status": "not_defined", "reason": "generated elsewhere, n/a"}]
    pd.DataFrame(left_out).to_csv(tmp_path / "not_done.csv", index=False)
    verdict = audit_verdict(tmp_path / "table2.csv", {}, scores, clips, pd.concat(corpora), config, tmp_path / "not_done.csv")
    assert verdict["not_done"] == left_out
    assert verdict["models"]["a"]["content"]["held_out"] == {"n": 4, "n_scored": 4, "share": 0.25, "low": 0.25, "high": 0.25}
    assert (verdict["models"]["a"]["motion"]["n_scored"], verdict["models"]["a"]["motion"]["held_out"]["n_scored"]) == (0, 3)
    assert verdict["models"]["b"]["motion"]["held_out"] is None
    assert [verdict["models"][name]["content"]["answer"] for name in "ab"] == ["replays", "inconclusive"]
    assert verdict["models"]["a"]["content"]["difference"]["low"] == 0.25  # both intervals are points here
    assert verdict["models"]["b"]["content"]["difference"] is None
    assert [verdict["models"][name]["content"]["tries"] for name in "ab"] == [1, 1]
    assert verdict["summary"][0] == (
        "Models of different corpora are not compared: their training clips and their floors differ."
    )
    assert verdict["summary"][1].startswith("Model a: 50 % of 1 prompts replay training content (95 % interval 50 to 50 %)")
    assert verdict["models"]["a"]["training"] == {"n_clips": 1, "n_compared": 1, "absent": {}}
    quoted = [verdict["models"][name]["content"]["worst"][0]["caption"] for name in "ab"]
    assert quoted == ["caption of a", "caption of b"]
    assert verdict["provenance"]["computed_by"] == ["preset of a", "preset of b"]
    corpora[1] = corpora[1].assign(pixels="other")
    changed = audit_verdict(tmp_path / "table2.csv", {}, scores, clips, pd.concat(corpora), config, tmp_path / "not_done.csv")
    assert changed["provenance"]["corpus_sha256"] != verdict["provenance"]["corpus_sha256"]


def test_what_is_left_out_is_a_table_and_no_zero():
    reason = why_not_defined({"kind": "files"})
    assert reason == NOT_DONE["detection"]
    columns = ["model", "detector", "status", "reason"]
    rows = [["closed", "all", "not_defined", reason], ["open", "content", "ok", ""], ["open", "motion", "not_defined", "few"]]
    detection = {
        "content detection": pd.DataFrame(rows, columns=columns),
        "motion detection": pd.DataFrame(rows[1:], columns=columns),
    }
    table = not_done_table({"closed": {"kind": "files"}, "open": {"kind": "diffusers"}}, detection)
    assert list(table["what"]) == ["content detection", "inversion", "mitigation"]
    assert set(table["model"]) == {"closed"}
    assert table["reason"].str.startswith("generated elsewhere: ").all()
    assert len(not_done_table({"open": {"kind": "diffusers"}}, detection)) == 0
    none = [["open", kind, "not_defined", why] for kind in ("content", "motion") for why in ("no negative prompt", "few")]
    detection["motion detection"] = pd.DataFrame(none, columns=columns)
    (row,) = not_done_table({"open": {"kind": "diffusers"}}, detection).to_dict("records")
    assert (row["what"], row["status"]) == ("motion detection", "not_defined")
    assert row["reason"].startswith("few; no negative prompt (detection.negatives")


def test_empty_figures_say_why():
    drawn = ((detection_roc([]), "no case has prompts of both classes"), (magnitude_steps(pd.DataFrame()), "no guidance was"))
    for figure, words in drawn:
        (text,) = (found.get_text() for found in figure.axes[0].texts)
        assert words in text
