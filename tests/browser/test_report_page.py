"""The report page in a real browser: it opens from disk, plays, sorts, filters, searches and prints."""

import io

import numpy as np
import pandas as pd
import pytest

from vidmem.exhibits.clip_rows import COLUMNS
from vidmem.exhibits.playable_clips import write_mp4
from vidmem.exhibits.report_page import clip_records, clips_of_models, data_address, render_page

HOSTILE = "</script><img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"
KIND = {
    "definition": {"metric": "gsscd", "threshold": 0.5}, "answer": "replays", "reason": "at least 4 % more", "difference": None,
    "share": 0.375, "low": 0.28, "high": 0.47, "n_scored": 96, "worst": [],
    "held_out": {"n": 18, "n_scored": 18, "share": 0.0, "low": 0.0, "high": 0.1},
}  # fmt: skip
BEST = {"generated": "g1", "training": "t1", "score": 0.774, "memorised": True}
MODEL = {
    "replayed": {"content": ["a"] * 36, "motion": ["a", "b", "c"]},
    "label": "Model <b>M</b>", "prompted": True, "n_prompts": 96, "n_ok": 96, "n_failed": 0,
    "training": {"n_clips": 8, "n_compared": 8, "absent": {}}, "content": KIND,
    "motion": KIND | {"n_scored": 80, "answer": "no evidence", "worst": [BEST],
                      "held_out": KIND["held_out"] | {"n_scored": 14, "share": 1 / 18}},
    "generated_sha256": "0" * 64, "model": {"path": "a/b", "revision": None, "files": {HOSTILE: "3" * 64}},
}  # fmt: skip
VERDICT = {
    "run": "x", "summary": [f"By content: {HOSTILE}", "Model M", "Model N"], "answer": {"margin": 0.1, "missing": 0.1},
    "models": {"m": MODEL, "n": MODEL | {"prompted": False}},
    "not_done": [{"model": "m", "what": "inversion", "status": "not_defined", "reason": HOSTILE}],
    "provenance": {"vidmem": "0", "commit": None, "seed": 0, "computed_by": ["p"],
                   "config_sha256": "1" * 64, "corpus_sha256": "2" * 64},
}  # fmt: skip
PIXEL = bytes.fromhex("89504e470d0a1a0a0000000d4948445200000001000000010806000000"
                      "1f15c4890000000d49444154789c6360000002000001e221bc330000000049454e44ae426082")  # fmt: skip


def clip(number):
    values = dict.fromkeys(COLUMNS, "") | {
        "clip_id": f"t{number}", "caption": HOSTILE if number == 3 else f"caption {number}", "file": f"films/{number}.mp4",
        "start_s": 1.92 if number == 6 else 0.0,
        "source": "film" if number < 4 else "game", "copies": number, "answer": f"Answer on t{number}.",
        "content_times": number == 6, "motion_times": 0, "content_score": 0.9, "motion_score": np.nan, "content_threshold": 0.5,
    }  # fmt: skip
    return values | {"content_model": "m" if number % 2 else "n", "content_generated": f"g{number}"}


def row(number):
    match = {
        "score": round(1 - number / 100, 3),
        "match": f"t{number % 7}",
        "verdict": number < 30,
        "view": "",
        "frames": [1, 2],
    }
    return {"model": "m" if number % 2 else "n", "id": f"g{number}", "prompt": HOSTILE if number == 5 else f"prompt {number}",
            "file": f"out/{number}.mp4", "split": "heldout" if number == 8 else "member", "reason": "", "content": match,
            "motion": None if number % 10 == 0 else match | {"score": 0.1, "verdict": number in (1, 2, 40, 41)}}  # fmt: skip


def video():
    file = io.BytesIO()
    write_mp4(file, np.random.default_rng(0).integers(0, 256, (16, 32, 64, 3)).astype(np.uint8), 8.0, 128, 2)
    return file.getvalue()


def write_page(path, count, address, beside=False):
    """A page of `count` generated clips. `address` stores a file and gives its address."""
    rows, played = [row(number) for number in range(count)], video()
    told = {
        part: [HOSTILE]
        for part in ("copied", "calibration", "copies", "detection", "mitigation", "inversion", "lacking", "repeated")
    }
    text = render_page({
        "verdict": VERDICT, "models": {name: {"label": f"Model {name}", "prompted": True} for name in "mn"}, "rows": rows,
        "training": clip_records(pd.DataFrame([clip(number) for number in range(8)])), "beside": beside, "level": 0.95,
        "videos": {f"{one['model']}/{one['id']}/{one['content']['match']}": address(f"pair-{place}.mp4", played)
                   for place, one in enumerate(rows[:9])},
        "status": [{"set": "corpus-x", "source": HOSTILE, "split": "member", "status": "ok", "reason": "", "clips": 8}],
        "corpora": {"x": {"sources": [{"name": HOSTILE, "path": "films.csv", "revision": None}]}},
        "counts": clips_of_models(rows, VERDICT), "configuration": HOSTILE,
        "findings": told | {"held_out": {"m": [HOSTILE], "n": []}, "prompted": {"m": [HOSTILE]}},
        "pictures": {"scores": address("scores.png", PIXEL), "motion": address("motion.png", PIXEL)},
    })  # fmt: skip
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def page_file(tmp_path_factory):
    return write_page(tmp_path_factory.mktemp("page") / "report.html", 120, data_address)


@pytest.fixture
def opened(browser):
    """Opens a page; it may neither complain nor ask the network for anything."""
    pages, said = [], []

    def open_page(path, **options):
        page = browser.new_page(**options)
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda asked: said.append(asked.url) if not asked.url.startswith(("file:", "data:")) else None)
        page.goto(path.as_uri())
        pages.append(page)
        return page

    yield open_page
    assert said == []
    for page in pages:
        page.close()


@pytest.fixture
def page(opened, page_file):
    return opened(page_file)


def cells(page, column):
    return page.locator(f"#table tbody tr td:nth-child({column})").all_inner_texts()


def plays(page, selector):
    """Whether a video plays. The page forbids scripts in texts, so Playwright's own waiting does not run."""
    video = page.locator(selector).first
    for _ in range(100):
        if video.evaluate("video => video.currentTime") > 0:
            return True
        page.wait_for_timeout(100)
    return False


def test_hostile_captions_show_as_text(page):
    assert page.title() == "Audit x: what the models replay"
    assert HOSTILE in page.inner_text("#answer .lead")
    for part in ("#about", "#sure", "#more", "#omitted"):
        assert HOSTILE in page.locator(part).evaluate("part => part.textContent")
    page.fill("#by-text", "onerror")
    assert cells(page, 3) == [HOSTILE]
    page.fill("#clip-text", "t3")
    assert HOSTILE in page.inner_text("#clips")
    assert "Model <b>M</b>" in page.inner_text("#answer")
    assert page.title() == "Audit x: what the models replay"


def test_the_head_compares_the_models_and_says_what_each_number_counts(page):
    text = page.inner_text("#answer")
    assert "Floor: 0 %, 0 of 18 real clips it never saw." in text
    assert "Floor: 5.6 %, 1 of 18 real clips it never saw (14 have a motion score)." in text
    assert "38 % of 96 prompts (95 % interval 28 % to 47 %)" in text
    assert "Prompts that gave no clip: 0 of 96." in page.locator("#answer .card").first.inner_text()
    assert "gave no clip" not in page.locator("#answer .card").nth(1).inner_text()
    assert "It takes no prompt" in page.locator("#answer .card").nth(1).inner_text()
    assert "80 of the 96 prompts have a motion score." in text
    assert (
        "Model <b>M</b>: 60 clips of 96 prompts. Model <b>M</b>: 60 clips without a prompt, 48 with a motion score."
        in page.inner_text("#prompts")
    )
    assert VERDICT["summary"][1] not in page.inner_text("#answer .lead")


def test_a_strong_match_by_motion_is_named_and_no_evidence_is_not_green(page):
    text = page.locator("#answer .card").first.inner_text()
    assert "3 of 96 prompts replay motion. Closest by motion: generated clip g1 against training clip t1, 0.77" in text
    badge = page.locator("#answer .badge.no-evidence").first
    assert badge.inner_text() == "No evidence beyond chance"
    assert badge.evaluate("badge => getComputedStyle(badge).color") == page.evaluate("getComputedStyle(document.body).color")


def test_without_javascript_the_page_says_what_is_missing(browser, page_file):
    page = browser.new_page(java_script_enabled=False)
    page.goto(page_file.as_uri())
    assert "need JavaScript" in page.inner_text("noscript")
    page.close()


def test_words_are_explained_where_they_lead(page):
    assert page.locator(".term").count() > 6
    for address in page.locator(".term").evaluate_all("terms => terms.map((term) => term.getAttribute('href'))"):
        assert page.locator(f"dt{address}").count() == 1


def test_the_table_sorts_pages_and_filters(page):
    assert page.inner_text("#found") == "120 of 120 generated clips"
    assert cells(page, 4)[:3] == ["1.000", "0.990", "0.980"]
    assert len(cells(page, 1)) == 50
    page.click("#next")
    assert cells(page, 4)[0] == "0.500"
    assert page.inner_text("#page") == "page 2 of 3"
    page.click("#table thead button >> text=Content")
    assert cells(page, 4)[0] == "-0.190"
    assert page.locator("#table th[aria-sort=ascending]").inner_text().startswith("Content")
    page.select_option("#by-model", "m")
    page.select_option("#by-verdict", "content")
    assert page.inner_text("#found") == "15 of 120 generated clips"
    page.select_option("#by-verdict", "none")
    page.fill("#by-text", "prompt 11")
    assert set(cells(page, 3)) == {f"prompt {number}" for number in (111, 113, 115, 117, 119)}


@pytest.mark.parametrize(
    ("wanted", "count"),
    [("any", 31), ("content", 30), ("motion", 3), ("both", 2), ("content only", 28), ("motion only", 1), ("none", 89)],
)
def test_the_verdicts_of_both_kinds_are_told_apart(page, wanted, count):
    page.select_option("#by-verdict", wanted)
    assert page.inner_text("#found") == f"{count} of 120 generated clips"


def test_scores_sources_and_what_a_prompt_describes_filter(page):
    page.fill("#by-content", "0.9")
    assert page.inner_text("#found") == "11 of 120 generated clips"
    page.fill("#by-motion", "0.1")
    assert page.inner_text("#found") == "9 of 120 generated clips"  # 0 and 10 have no motion score
    page.select_option("#by-source", "game")
    assert set(cells(page, 6)) == {"t4\nfilms/4.mp4", "t5\nfilms/5.mp4", "t6\nfilms/6.mp4, from second 1.92"}
    page.select_option("#by-source", "")
    page.select_option("#by-split", "a held-out clip")
    assert cells(page, 2) == ["g8\nout/8.mp4"]


def test_a_clip_is_found_by_id_file_and_caption(page):
    for text in ("t6", "films/6.mp4", "CAPTION 6"):
        page.fill("#clip-text", text)
        assert page.locator("#clips li").count() == 1
        assert "Answer on t6." in page.inner_text("#clips li")
        assert "content: 0.900 (threshold 0.5), g6 (out/6.mp4), Model n" in page.inner_text("#clips li")
    page.click("#clips li button")
    assert page.inner_text("#dialog-title") == "t6 and g6"
    page.keyboard.press("Escape")
    assert not page.is_visible("#dialog")
    page.fill("#clip-text", "nothing like it")
    assert "Not among the 8 training clips" in page.inner_text("#clips-found")


def test_a_pair_opens_by_keyboard_plays_and_names_thresholds_and_files(page):
    page.locator("#table tbody tr:first-child button").first.focus()
    page.keyboard.press("Enter")
    assert plays(page, "#dialog video")
    assert page.locator("#dialog video").evaluate("video => video.videoWidth") == 256
    said = page.inner_text("#dialog-body")
    assert "Score by content: 1.000 (threshold 0.5): replayed; training frame 1, generated frame 2." in said
    assert "No motion score." in said
    assert "Training clip: t0 (films/0.mp4), copies 0. Caption: caption 0" in said
    assert "Generated clip: g0 (out/0.mp4), Model n. Prompt: prompt 0" in said
    page.keyboard.press("Escape")
    page.fill("#by-text", "out/119.mp4")
    page.click("#table tbody button >> nth=0")
    assert "This pair has no video" in page.inner_text("#dialog-body")


def test_videos_and_pictures_beside_the_page_show_from_disk(opened, tmp_path):
    def beside(name, content):
        (tmp_path / "report").mkdir(exist_ok=True)
        (tmp_path / "report" / name).write_bytes(content)
        return f"report/{name}"

    page = opened(write_page(tmp_path / "report.html", 12, beside, beside=True))
    assert "data:" not in page.content().split("</head>")[1]
    assert page.locator("figure img").first.evaluate("image => image.naturalWidth") == 1
    page.locator("#worst video").first.scroll_into_view_if_needed()
    assert plays(page, "#worst video")


def test_a_video_that_does_not_play_shows_its_first_frame(opened, page_file):
    page = opened(page_file, reduced_motion="reduce")
    for _ in range(100):
        if page.locator("#worst video").first.evaluate("video => video.readyState") >= 2:  # a frame is there
            break
        page.wait_for_timeout(100)
    states = page.locator("#worst video").evaluate_all("videos => videos.map((video) => [video.paused, video.readyState >= 2])")
    assert states[0] == [True, True]


def test_words_of_a_cell_stay_whole_and_no_table_is_too_wide(opened, page_file):
    page = opened(page_file, viewport={"width": 1240, "height": 900})
    cells = "[...document.querySelectorAll('#table td:not(.number)')].map((cell) => cell.getBoundingClientRect().width)"
    assert min(page.evaluate(cells)) >= 8.5 * 16  # 'unconditional' takes 13 letters
    assert page.locator("#table td .file wbr").count() > 50  # a path breaks after its slashes
    for width in (760, 900, 1100, 1240):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_the_page_fits_a_phone_and_the_dark(opened, page_file):
    for scheme in ("light", "dark"):
        page = opened(page_file, viewport={"width": 360, "height": 740}, color_scheme=scheme)
        assert page.locator("figure .wide[tabindex='0']").count() == 2
        assert page.locator("figure .hint").first.is_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        background = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (background == "rgb(255, 255, 255)") == (scheme == "light")
        assert page.evaluate("getComputedStyle(document.querySelector('figure img')).backgroundColor") == "rgb(255, 255, 255)"
        row = page.locator("#table tbody tr").first
        assert row.evaluate("row => row.scrollWidth <= row.clientWidth")
        boxes = [cell.bounding_box() for cell in row.locator("td").all()]
        assert all(below["y"] >= above["y"] + above["height"] for above, below in zip(boxes, boxes[1:]))  # a card, no line
        page.click("#table thead button >> text=Content")
        assert cells(page, 4)[0] == "-0.190"


def test_a_print_has_all_rows_up_to_a_number_and_says_what_it_lacks(opened, tmp_path, page):
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    page.emulate_media(media="print", color_scheme="dark")
    assert len(cells(page, 1)) == 120
    assert page.locator("details:not([open])").count() == 0
    assert not page.is_visible("#by-text")
    assert page.inner_text("#unprinted") == ""
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    page.emulate_media(media="screen")
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert len(cells(page, 1)) == 50
    assert page.locator("details[open]").count() == 0
    long = opened(write_page(tmp_path / "long.html", 1003, data_address))
    long.evaluate("dispatchEvent(new Event('beforeprint'))")
    long.emulate_media(media="print")
    assert long.locator("#table tbody tr").count() == 1000
    assert long.inner_text("#unprinted") == "3 further rows are not printed."
