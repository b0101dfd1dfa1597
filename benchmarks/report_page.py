"""Seconds that the report page takes a thousand prompts, and how quickly a browser opens, sorts and filters it.

    python benchmarks/report_page.py [--prompts 10000] [--models 8] [--training 10000] [--folder FOLDER]

The tables are made up. No videos and figures are made: their number does not grow with the prompts. It needs Chromium and
Playwright.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "workflow_scripts"))

from vidmem.base.clip_table import clip_row, clip_table
from vidmem.exhibits.clip_rows import pair_scores, training_rows
from vidmem.exhibits.findings import findings
from vidmem.exhibits.report_page import chosen_pairs, clip_records, clips_of_models, render_page, sample_rows

METRICS = {"content": "gsscd", "motion": "wofs_k"}
STEPS = {
    "sort": "document.querySelectorAll('#table thead button')[2].click()",
    "filter": "(() => { const field = document.getElementById('by-text'); field.value = 'of clip 77';"
    " field.dispatchEvent(new Event('input')); })()",
    "search": "(() => { const field = document.getElementById('clip-text'); field.value = 'clip 777';"
    " field.dispatchEvent(new Event('input')); })()",
}
"""What a reader does -> what the browser runs for it."""


def made_clips(name: str, ids: list[str], split: str) -> pd.DataFrame:
    """Clip table with captions of the length that captions have."""
    return clip_table([
        clip_row({"kind": "file", "path": f"films/{one}.mp4"}, clip_id=one, set=name, source="film", split=split, fps=8.0,
                 prompt_id=one, caption=f"a man in a long coat walks past a row of red houses in the rain of clip {number}")
        for number, one in enumerate(ids)
    ])  # fmt: skip


def made_scores(ids: list[str], training: list[str], stream: np.random.Generator) -> pd.DataFrame:
    """Score table: a content score for every clip, and a motion score for most."""
    parts = []
    for metric, missing in (("gsscd", 0.0), ("wofs_k", 0.3)):
        values = np.where(stream.random(len(ids)) < missing, np.nan, stream.random(len(ids)))
        parts.append(pd.DataFrame({
            "clip_id": ids, "metric": metric, "value": values, "match": stream.choice(training, len(ids)), "query_frame": 1,
            "reference_frame": 2, "verdict": values >= 0.5, "view": "",
        }))  # fmt: skip
    return pd.concat(parts, ignore_index=True)


def made_verdict(models: list[str], prompts: int) -> dict:
    """A verdict with what the page shows of it."""
    kind = {"definition": {"metric": "gsscd", "threshold": 0.5}, "answer": "replays", "reason": "made up", "share": 0.5,
            "low": 0.4, "high": 0.6, "n_scored": prompts, "held_out": None, "worst": []}  # fmt: skip
    model = {"prompted": True, "n_prompts": prompts, "n_failed": 0, "training": {"n_clips": 1, "n_compared": 1},
             "content": kind, "motion": kind, "replayed": {"content": [], "motion": []}, "generated_sha256": "0" * 64,
             "model": {"path": "made/up", "revision": None, "files": {}}}  # fmt: skip
    return {
        "run": "made", "summary": ["made up"], "answer": {"margin": 0.1, "missing": 0.1}, "not_done": [],
        "models": {name: model | {"label": name} for name in models},
        "provenance": {"vidmem": "0", "commit": None, "seed": 0, "computed_by": [], "config_sha256": "0", "corpus_sha256": "0"},
    }  # fmt: skip


def make_page(prompts: int, count: int, clips: int) -> tuple[str, float]:
    """The page and the seconds that it took."""
    stream = np.random.default_rng(0)
    models = [f"model-{number}" for number in range(count)]
    names = [f"film-{number:06}" for number in range(clips)]
    training = made_clips("corpus-x", names, "member")
    made = {model: [f"p-{model}-{number}" for number in range(prompts // count)] for model in models}
    tables = [made_clips(f"generated-{model}", ids, "member") for model, ids in made.items()]
    scores = [made_scores(ids, names, stream) for ids in made.values()]
    rows = training_table(training, models, tables, scores)
    verdict, labels = made_verdict(models, prompts // count), {name: {"label": name, "prompted": True} for name in models}
    empty = {name: pd.DataFrame(columns=["model", "kind", "corpus", "n_prompts", "normalisation", "chosen_on", "data", "status",
                                         "truth", "auc", "generations", "steps", "copies", "detector", "reason"])
             for name in ("shares", "calibration", "copies", "detection")}  # fmt: skip
    start = time.perf_counter()
    shown = sample_rows(models, tables, scores, METRICS)
    chosen_pairs(shown, rows, 300)
    page = render_page({
        "verdict": verdict, "models": labels, "rows": shown, "videos": {}, "corpora": {}, "beside": False, "status": [],
        "counts": clips_of_models(shown, verdict), "training": clip_records(rows), "level": 0.95, "configuration": "",
        "findings": findings(empty, rows, labels, METRICS, {}), "pictures": {},
    })  # fmt: skip
    return page, time.perf_counter() - start


def training_table(
    training: pd.DataFrame, models: list[str], tables: list[pd.DataFrame], scores: list[pd.DataFrame]
) -> pd.DataFrame:
    """The table of training clips as tabulate_clips makes it."""
    every = pd.concat([table.assign(model=model) for model, table in zip(models, scores, strict=True)], ignore_index=True)
    found = every.rename(columns={"clip_id": "query", "match": "reference", "value": "score"})
    made = pd.concat([table.assign(model=model) for model, table in zip(models, tables, strict=True)], ignore_index=True)
    pairs = {kind: pair_scores(found, every, metric) for kind, metric in METRICS.items()}
    return training_rows(training, made, pairs, dict.fromkeys(METRICS, 0.5), {})


def watch(path: Path) -> dict[str, float]:
    """Milliseconds that Chromium takes to open the page, and for each of STEPS with its drawing."""
    from playwright.sync_api import sync_playwright

    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    with sync_playwright() as running:
        browser = running.chromium.launch(executable_path=program, args=["--no-sandbox"])
        page = browser.new_page()
        start = time.perf_counter()
        page.goto(path.as_uri())
        page.evaluate("document.body.offsetHeight")
        found = {"open": 1000 * (time.perf_counter() - start)}
        for name, step in STEPS.items():
            timed = f"const start = performance.now(); {step}; document.body.offsetHeight; return performance.now() - start;"
            found[name] = float(np.median([page.evaluate(f"(() => {{ {timed} }})()") for _ in range(5)]))
        browser.close()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", type=int, default=10_000)
    parser.add_argument("--models", type=int, default=8)
    parser.add_argument("--training", type=int, default=10_000)
    parser.add_argument("--folder", type=Path, help="folder in which the page stays")
    options = parser.parse_args()
    page, seconds = make_page(options.prompts, options.models, options.training)
    with tempfile.TemporaryDirectory() as temporary:
        path = (options.folder or Path(temporary)).resolve() / "made-up-page.html"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(page, encoding="utf-8")
        print(
            f"{options.prompts} prompts of {options.models} models, {options.training} training clips: {len(page) / 1e6:.1f} MB"
        )
        print(f"made in {seconds:.2f} s, {1000 * seconds / options.prompts:.3f} s a thousand prompts")
        print(", ".join(f"{name} {milliseconds:.0f} ms" for name, milliseconds in watch(path).items()))


if __name__ == "__main__":
    main()
