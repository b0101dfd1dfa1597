"""Inputs that tests of several rooms share."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pandas as pd
import pytest

from footage import write_video
from hostile_prompts import HOSTILE, write
from preflight_cases import write_pipeline


@pytest.fixture(scope="module")
def small_scores(tmp_path_factory):
    """Clips, controls and calibration scores of the small corpus."""
    from scored_corpus import scored, small_corpus

    clips, controls = small_corpus()
    return clips, controls, scored(tmp_path_factory.mktemp("small"), clips, controls)


@pytest.fixture
def open_folder():
    """A folder that every user may enter; those that pytest makes are root's alone."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    for path in [folder, *folder.rglob("*")]:
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o755)
    shutil.rmtree(folder)


@pytest.fixture
def adapter(tiny_pipeline):
    """The tiny pipeline with guidance, three steps, batches of two."""
    from vidmem.generation.adapter import GenerationSpec, PipelineAdapter

    spec = GenerationSpec("TextToVideoSDPipeline", str(tiny_pipeline), steps=3, guidance=3.0, frames=3, size=(32, 32), batch=2)
    return PipelineAdapter(spec, 0)


@pytest.fixture
def near_clips(stream, tmp_path):
    """Descriptors of forty clips by name, and opened queries near nine of them."""
    from search_corpus import descriptors, save_corpus
    from vidmem.features.clip_features import load_features
    from vidmem.features.descriptors import normalise

    clips = descriptors(stream)
    clips["c07"] = clips["c03"].copy()  # exact duplicates: a tie wherever they are found
    queries = {f"q{n}": normalise(clips[f"c{n:02d}"] + 0.3 * stream.normal(size=clips[f"c{n:02d}"].shape)) for n in range(9)}
    return clips, load_features(*[list(part) for part in save_corpus(tmp_path, queries, 1)])


@pytest.fixture
def captioned():
    """Six clips, their captions, splits and numbers of copies."""
    from captioned_clips import clip_table

    return clip_table(
        ["a", "b", "c", "d", "e", "f"],
        caption=["A cat.", "a cat", "a dog", "", "a cat", "a house on a hill"],
        split=["member", "member", "image", "member", "heldout", "member"],
        copies=[4, 1, 16, 1, 0, 1],
        status=["ok", "ok", "ok", "ok", "ok", "missing"],
        reason=["", "", "", "", "", "no such file"],
    )


@pytest.fixture
def curated(captioned, tmp_path):
    """Prompts of these captions and of a hostile list, curated."""
    from captioned_clips import signals
    from vidmem.prompts.curation import curate
    from vidmem.prompts.prompt_lists import load_prompt_list

    listed = pd.DataFrame({"prompt": ["A dog!", *HOSTILE, ""], "label": ["VM|x", *["<b>N</b>"] * 10, ""], "target": "http://a"})
    extra = load_prompt_list(write(tmp_path / "l.jsonl", listed), source="a paper", licence="MIT").table.assign(source="extra")
    probed = pd.DataFrame({"prompt": ["a cat", "a dog", HOSTILE[0]], "value": [9.0, 1.0, 5.0]})
    return curate(signals(captioned), {"tiny": probed}, [extra], "corpus-c", "CC0")


@pytest.fixture
def saved_pipeline(tmp_path):
    """A saved pipeline: a U-Net of 17 numbers, an autoencoder of 100."""
    return write_pipeline(tmp_path / "net", unet=[(3, 4), (5,)], vae=[(10, 10)], scheduler=None)


@pytest.fixture
def films(tmp_path) -> dict:
    """Six videos of a list, one of them missing."""
    names = [f"{number}.mp4" for number in range(5)]
    for number, name in enumerate(names):
        write_video(tmp_path / name, frames=6 + number)
    (tmp_path / "list.csv").write_text("path,caption\n" + "".join(f"{name},clip\n" for name in [*names, "gone.mp4"]))
    source = {
        "name": "films",
        "kind": "list",
        "path": str(tmp_path / "list.csv"),
        "split": "member",
        "fps": 10.0,
        "fit": "crop",
    }
    return {
        "frames": 7,
        "size": [32, 40],
        "min_information": 0.0,
        "max_damaged": 0.25,
        "keep_frames": False,
        "sources": [source],
    }
