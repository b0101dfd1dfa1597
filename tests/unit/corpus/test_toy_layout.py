"""A layout that this file alone knows goes through the corpus stage: no file of the library names it."""

import io

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

from footage import picture, write_video
from read_corpus import read_corpus
from vidmem.base.shards import load_shards, save_shards
from vidmem.base.store import load_array, load_table, load_tables
from vidmem.config import complete_config, load_schema
from vidmem.corpus.clip_frames import Frames
from vidmem.corpus.hub_datasets import wanted_files
from vidmem.corpus.item import make_item
from vidmem.corpus.layouts import LAYOUTS, Columns, Container, Layout, register_layout
from vidmem.corpus.listing import digest_shards
from vidmem.corpus.published_layouts import hashes_in, place_item, root_of
from vidmem.errors import VidmemError
from vidmem.planning.registries import registered_names

SHARDS = 3
COMMON = {"split": "member", "fps": 10.0, "fit": "crop"}


def toy_items(source, rows):
    """A list of reels: <root>/reels/<reel>.mp4."""
    for _, row in rows:
        places = [f"{root_of(source)}/reels/{row['reel']}.mp4"]
        yield place_item(source, row["reel"], places, caption=row["words"], expect=hashes_in(row))


def tape_items(source):
    """A tape: pictures one behind the other, 4,096 bytes each."""
    for number in range(2):
        yield make_item(source, f"picture-{number}", source["path"], part=str(4096 * number))


def read_tape(path, part):
    return path.read_bytes()[int(part) : int(part) + 4096].rstrip(b"\0")


@pytest.fixture(autouse=True)
def toys():
    register_layout(Layout("toy", toy_items, Columns(("reel",), ("words|text", "sha256", "md5")), hashed=True, rooted=True))
    register_layout(Layout("tape", tape_items, container=Container(".tape", read_tape, lambda part: True)))
    yield
    del LAYOUTS["toy"], LAYOUTS["tape"]


@pytest.fixture
def corpus(tmp_path):
    (tmp_path / "films/reels").mkdir(parents=True)
    for number in range(4):
        write_video(tmp_path / f"films/reels/r{number}.mp4", frames=8 + number)
    rows = [{"reel": f"r{number}", "text": f"reel {number}", "length": 1} for number in range(5)]
    pd.DataFrame(rows).to_csv(tmp_path / "reels.csv", index=False)
    pages = [io.BytesIO(), io.BytesIO()]
    for step, page in enumerate(pages):
        Image.fromarray(picture(step)).save(page, "PNG")
    (tmp_path / "a.tape").write_bytes(b"".join(page.getvalue().ljust(4096, b"\0") for page in pages))
    toy = {"name": "reels", "kind": "toy", "path": str(tmp_path / "reels.csv"), "root": str(tmp_path / "films"), **COMMON}
    tape = {"name": "tape", "kind": "tape", "path": str(tmp_path / "a.tape"), **COMMON}
    return {
        "frames": 6,
        "size": [48, 64],
        "min_information": 0.0,
        "max_damaged": 0.25,
        "keep_frames": True,
        "sources": [toy, tape],
    }


def read(corpus, folder):
    """All shards of the corpus, as their jobs read them, behind the list that further stages open."""
    folder.mkdir()
    files = {kind: [folder / f"{shard}.{kind}" for shard in range(SHARDS)] for kind in ("clips.parquet", "frames.npy")}
    for shard, (clips, frames) in enumerate(zip(*files.values())):
        read_corpus(corpus, "toys", shard, SHARDS, frames, clips)
    save_shards(folder / "shards.json", {"clips": files["clips.parquet"], "frames": files["frames.npy"]})
    return folder / "shards.json"


def test_a_toy_layout_is_read_by_the_corpus_stage(corpus, tmp_path):
    listed = read(corpus, tmp_path / "corpus-toys")
    clips = load_tables(load_shards(listed)["clips"]).set_index("caption")
    reels = clips.loc[[f"reel {number}" for number in range(5)]]
    assert list(reels["status"]) == ["ok"] * 4 + ["missing"]
    assert list(reels["count"]) == [6] * 4 + [0]
    pictures = clips.loc[[""]].sort_values("clip_id")
    assert list(pictures["status"]) == ["ok", "ok"]
    frames = Frames.listed([listed])
    for step, clip_id in enumerate(pictures["clip_id"]):
        assert np.array_equal(frames.of("corpus-toys", clip_id), picture(step)[None])
    stored = [load_array(path) for path in load_shards(listed)["frames"]]
    assert sum(map(len, stored)) == 4 * 6 + 2


def test_a_changed_reel_changes_the_digest_of_its_shard_alone(corpus, tmp_path):
    read(corpus, tmp_path / "corpus-toys")
    names = {shard: set(load_table(tmp_path / f"corpus-toys/{shard}.clips.parquet")["caption"]) for shard in range(SHARDS)}
    before = digest_shards(corpus["sources"], SHARDS)
    write_video(tmp_path / "films/reels/r2.mp4", frames=20)
    after = digest_shards(corpus["sources"], SHARDS)
    changed = [shard for shard in range(SHARDS) if before[shard] != after[shard]]
    assert changed == [shard for shard in range(SHARDS) if "reel 2" in names[shard]]


def test_the_configuration_takes_a_toy_layout(root):
    schema = load_schema(root / "rules/schemas/config.schema.yaml", registered_names())
    config = yaml.safe_load((root / "config.yaml").read_text())
    source = {"name": "reels", "kind": "toy", "path": "reels.csv"}
    config["corpora"]["default"]["sources"] = [source | {"root": "films", "recover": "attic"}]
    assert complete_config(config, schema)["corpora"]["default"]["sources"][0]["root"] == "films"
    config["corpora"]["default"]["sources"] = [source | {"kind": "tape", "recover": "attic"}]
    with pytest.raises(VidmemError, match="recover with a kind of list, .*, toy\nGot tape"):
        complete_config(config, schema)


def test_a_toy_container_is_fetched_as_a_file():
    assert wanted_files({"path": "data/a.tape", "fetch": []}) == ["data/a.tape"]
    assert wanted_files({"path": "data/a.reel", "fetch": []}) == ["data/a.reel/*"]


def test_a_name_is_of_one_layout():
    with pytest.raises(VidmemError, match="a layout of a new name"):
        register_layout(Layout("toy", tape_items))
