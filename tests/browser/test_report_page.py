"""The report page in a real browser: it opens from disk, plays, sorts, filters and searches.."""

import io

import numpy as np
import pandas as pd
import pytest

from vidmem.exhibits.clip_rows import COLUMNS
from vidmem.exhibits.playable_clips import write_mp4
from vidmem.exhibits.report_page import data_address, in_step, render_page

HOSTILE = "</script><img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"
KIND = {
    "definition": {}, "answer": "replays", "reason": "at least 4 % more", "difference": None, "share": 0.375, "low": 0.28,
    "high": 0.47, "held_out": {"n": 18, "share": 0.0, "low": 0.0, "high": 0.1}, "worst": [],
}  # fmt: skip


def clip(number, caption):
    values = dict.fromkeys(COLUMNS, "") | {
        "clip_id": f"t{number}", "caption": caption, "file": f"films/{number}.mp4", "copies": number,
        "answer": f"Answer on t{number}.",
    }  # fmt: skip
    values |= {"content_times": number == 6, "motion_times": 0}
    return values | {"content_model": "m" if number % 2 else "n", "content_generated": f"g{number}", "content_score": 0.9}


def row(number):
    match = {
        "score": round(1 - number / 100, 3),
        "match": f"t{number % 7}",
        "verdict": number < 30,
        "view": "",
        "frames": [1, 2],
    }
    return {"model": "m" if number % 2 else "n", "id": f"g{number}", "prompt": HOSTILE if number == 5 else f"prompt {number}",
            "target": "", "split": "member", "copies": number, "status": "ok", "reason": "", "content": match,
            "motion": match | {"score": 0.1, "verdict": False}}  # fmt: skip


@pytest.fixture(scope="module")
def page_file(tmp_path_factory):
    file = io.BytesIO()
    write_mp4(file, np.random.default_rng(0).integers(0, 256, (16, 32, 64, 3)).astype(np.uint8), 8.0, 128, 2)
    rows = [row(number) for number in range(120)]
    model = {
        "label": "Model <b>M</b>", "prompted": True, "n_prompts": 96, "n_ok": 96, "n_failed": 0,
        "training": {"n_clips": 8, "n_compared": 8, "absent": {}},
        "content": KIND, "motion": KIND | {"share": None, "answer": "not defined"},
        "generated_sha256": "0" * 64, "model": {"path": "a/b", "revision": None, "files": {}},
    }  # fmt: skip
    verdict = {
        "run": "x", "summary": [f"Model: {HOSTILE}"], "answer": {"margin": 0.1, "missing": 0.1},
        "models": {"m": model, "n": model},
        "not_done": [{"model": "m", "what": "inversion", "status": "not_defined", "reason": HOSTILE}],
        "provenance": {"vidmem": "0", "commit": None, "seed": 0, "computed_by": ["p"],
                       "config_sha256": "1" * 64, "corpus_sha256": "2" * 64},
    }  # fmt: skip
    pixel = data_address("image/png", bytes.fromhex(
        "89504e470d0a1a0a0000000d4948445200000001000000010806000000"
        "1f15c4890000000d49444154789c6360000002000001e221bc330000000049454e44ae426082"
    ))  # fmt: skip
    text = render_page({
        "verdict": verdict, "models": {name: {"label": f"Model {name}", "prompted": True} for name in "mn"}, "rows": rows,
        "training": [clip(number, HOSTILE if number == 3 else f"caption {number}") for number in range(8)],
        "videos": {f"{one['model']}/{one['id']}/{one['content']['match']}": data_address("video/mp4", file.getvalue())
                   for one in rows[:9]},
        "limits": {"content": 0.5, "motion": 0.5}, "metrics": {"content": "gsscd", "motion": "wofs_k"},
        "status": [{"set": "corpus-x", "source": HOSTILE, "split": "member", "status": "ok", "reason": "", "clips": 8}],
        "scored": {name: {"content": [60, 60], "motion": [40, 60]} for name in "mn"}, "calibration": [],
        "configuration": HOSTILE,
        "pictures": dict.fromkeys(("scores", "calibration", "motion", "copies", "detection"), pixel),
    })  # fmt: skip
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def page(browser, page_file):
    opened, said = browser.new_page(), []
    opened.on("console", lambda message: said.append(message.text))
    opened.on("pageerror", lambda error: said.append(str(error)))
    opened.on("request", lambda request: said.append(request.url) if not request.url.startswith(("file:", "data:")) else None)
    opened.goto(page_file.as_uri())
    yield opened
    assert said == []  # no error, no warning, and nothing from the network
    opened.close()


def cells(page, column):
    return page.locator(f"#table tbody tr td:nth-child({column})").all_inner_texts()


def test_hostile_captions_show_as_text(page):
    assert page.title() == "Audit x: what the models replay"
    assert HOSTILE in page.inner_text("#answer .summary")
    page.fill("#by-text", "onerror")
    assert cells(page, 3) == [HOSTILE]
    page.fill("#clip-text", "t3")
    assert HOSTILE in page.inner_text("#clips")
    assert "Model <b>M</b>" in page.inner_text("#answer")
    assert page.title() == "Audit x: what the models replay"


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
    page.select_option("#by-verdict", "motion")
    assert page.inner_text("#found") == "0 of 120 generated clips"
    page.select_option("#by-verdict", "none")
    page.fill("#by-text", "prompt 11")
    assert set(cells(page, 3)) == {f"prompt {number}" for number in (111, 113, 115, 117, 119)}


def test_a_clip_is_found_by_id_file_and_caption(page):
    for text in ("t6", "films/6.mp4", "CAPTION 6"):
        page.fill("#clip-text", text)
        assert page.locator("#clips li").count() == 1
        assert "Answer on t6." in page.inner_text("#clips li")
    page.click("#clips li button")
    assert page.inner_text("#dialog-title") == "t6 and g6"
    page.keyboard.press("Escape")
    assert not page.is_visible("#dialog")
    page.fill("#clip-text", "nothing like it")
    assert "Not among the 8 training clips" in page.inner_text("#clips-found")


def test_a_pair_opens_by_keyboard_and_plays(page):
    page.locator("#table tbody tr:first-child button").first.focus()
    page.keyboard.press("Enter")
    video = page.locator("#dialog video")
    for _ in range(100):  # the page forbids scripts in texts, so Playwright's own waiting does not run
        if video.evaluate("video => video.currentTime") > 0:
            break
        page.wait_for_timeout(100)
    assert video.evaluate("video => video.currentTime") > 0
    assert video.evaluate("video => video.videoWidth") == 256
    assert "prompt 0" in page.inner_text("#dialog-body")
    page.keyboard.press("Escape")
    page.fill("#by-text", "g119")
    page.click("#table tbody button >> nth=0")
    assert "no video in the page" in page.inner_text("#dialog-body")


def test_the_page_fits_a_phone_and_the_dark(browser, page_file):
    for scheme in ("light", "dark"):
        opened = browser.new_page(viewport={"width": 360, "height": 740}, color_scheme=scheme)
        opened.goto(page_file.as_uri())
        assert opened.evaluate("document.documentElement.scrollWidth") <= 360
        background = opened.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (background == "rgb(255, 255, 255)") == (scheme == "light")
        opened.close()


def test_clips_play_in_step(stream):
    training, generated = (stream.integers(0, 200, (length, 32, 32, 3)).astype(np.uint8) for length in (8, 6))
    both = in_step(training, generated, 5, 2, 1)
    assert both.shape == (9, 32, 64, 3)
    assert np.array_equal(both[5, 1:-1, 1:32], training[5, 1:-1, 1:])
    assert np.array_equal(both[5, 1:-1, 32:-1], generated[2, 1:-1, :-1])
    assert (both[5, 0] == (255, 196, 0)).all()
    assert np.array_equal(both[4, :, :32], training[4])
    assert np.array_equal(both[0, :, 32:], generated[0])
    assert np.array_equal(both[-1, :, :32], training[-1])
    assert not pd.isna(both.max())
