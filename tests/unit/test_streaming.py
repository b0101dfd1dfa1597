"""Corpora whose frames are not stored: little in memory, the same features, and frames that are read again to be shown."""

import os

import numpy as np
import pytest

from footage import write_video
from vidmem import feature_files
from vidmem.clip_frames import Frames
from vidmem.clip_table import clip_row, clip_table
from vidmem.corpus import list_corpus, read_clips
from vidmem.errors import VidmemError
from vidmem.listing import digest_shards, find_items, shard_of
from vidmem.shards import load_shards, save_shards
from vidmem.store import load_array, load_table, save_array, save_table

SHARDS = 5
FLOW = {"estimator": "dis", "side": 128, "grid": 16}


@pytest.fixture
def corpus(tmp_path) -> dict:
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
    return {"frames": 7, "size": [32, 40], "min_information": 0.0, "keep_frames": False, "sources": [source]}


@pytest.fixture
def fake_encoder(monkeypatch):
    """Descriptors without a network: means of the frame's quarters. Returns the sizes of the batches it was given."""
    sizes = []

    def encode(images: np.ndarray) -> np.ndarray:
        sizes.append(len(images))
        return images.reshape(len(images), 512, -1).mean(axis=2) + 1

    monkeypatch.setattr(feature_files, "load_encoder", lambda *_: encode)
    return sizes


def files(folder, batch: int):
    (folder / "weights").write_bytes(b"weights")
    describe = feature_files.DescriptorFiles(folder / "d.npy", folder / "d.parquet", folder / "weights", "sscd-160", batch)
    return describe, feature_files.FlowFiles(folder / "f.npy", folder / "f.parquet", None, FLOW)


def run(corpus: dict, folder, batch: int) -> tuple[bytes, ...]:
    describe, flows = files(folder, batch)
    with describe, flows:
        for row, pictures in read_clips(corpus, "films", list_corpus(corpus["sources"])):
            if row["status"] == "ok":
                describe.append(row["clip_id"], pictures)
                flows.append(row["clip_id"], pictures)
    return tuple((folder / name).read_bytes() for name in ("d.npy", "d.parquet", "f.npy", "f.parquet"))


def test_features_do_not_depend_on_the_batch(corpus, tmp_path, fake_encoder):
    found = [run(corpus, tmp_path, batch) for batch in (1, 4, 7, 1000)]
    assert all(other == found[0] for other in found)
    table = load_table(tmp_path / "d.parquet")
    assert len(table) == len(load_array(tmp_path / "d.npy")) == 6 + 4 * 7
    assert list(table["frame"][:7]) == [0, 1, 2, 3, 4, 5, 0]


def test_batches_are_full_but_the_last(corpus, tmp_path, fake_encoder):
    run(corpus, tmp_path, 4)
    assert fake_encoder == [4] * 8 + [2]


def test_no_more_frames_wait_than_a_batch_and_a_clip(tmp_path, fake_encoder):
    """A shard of many clips: a counting reader keeps track of how many of its frames are still alive."""
    import weakref

    alive: list[weakref.ref] = []

    def reader(clips: int, frames: int):
        for number in range(clips):
            pictures = np.full((frames, 16, 16, 3), number, np.uint8)
            alive.append(weakref.ref(pictures))
            yield f"clip-{number}", pictures

    describe, flows = files(tmp_path, 8)
    most = 0
    with describe, flows:
        for clip_id, pictures in reader(20, 3):
            describe.append(clip_id, pictures)
            flows.append(clip_id, pictures)
            most = max(most, sum(3 for clip in alive if clip() is not None))
    assert 0 < most <= 8 + 3 + 3
    assert len(load_table(tmp_path / "d.parquet")) == 60


def test_nothing_is_left_of_files_that_failed(tmp_path, fake_encoder):
    describe, _ = files(tmp_path, 4)
    with pytest.raises(ZeroDivisionError), describe:
        describe.append("clip", np.zeros((9, 8, 8, 3), np.uint8) + 7)
        raise ZeroDivisionError
    assert not [path for path in tmp_path.iterdir() if "d." in path.name]


def read_all(corpus: dict, folder) -> tuple[list[str], dict]:
    """Clip tables of all shards, and every frame there is."""
    known = {}
    for shard in range(SHARDS):
        rows = []
        for row, pictures in read_clips(corpus, "films", list_corpus(corpus["sources"], shard, SHARDS)):
            rows.append(row)
            known[row["clip_id"]] = pictures
        save_table(folder / f"corpus-films/{shard}.clips.parquet", clip_table(rows))
    return [str(folder / f"corpus-films/{shard}.clips.parquet") for shard in range(SHARDS)], known


def test_frames_that_were_not_kept_are_read_again(corpus, tmp_path):
    clips, known = read_all(corpus, tmp_path)
    frames = Frames(clips, [], {"films": corpus})
    usable = frames.clips[frames.clips["status"] == "ok"]["clip_id"]
    assert len(usable) == 5
    for clip_id in usable:
        assert (frames.of("corpus-films", clip_id) == known[clip_id]).all()
    with pytest.raises(VidmemError, match="keep_frames"):
        Frames(clips, [], {"films": corpus | {"keep_frames": True}})
    with pytest.raises(VidmemError, match="ran"):
        frames.of("corpus-films", next(iter(frames.clips[frames.clips["status"] != "ok"]["clip_id"])))


def test_several_clips_are_read_in_one_listing(corpus, tmp_path, monkeypatch):
    from vidmem import clip_frames

    listed = []
    monkeypatch.setattr(clip_frames, "find_items", lambda *given: listed.append(given) or find_items(*given))
    clips, _ = read_all(corpus, tmp_path)
    frames = Frames(clips, [], {"films": corpus})
    usable = list(frames.clips[frames.clips["status"] == "ok"]["clip_id"])
    frames.read("corpus-films", usable)
    for clip_id in usable:
        frames.of("corpus-films", clip_id)
    assert len(listed) == 1


def test_footage_that_changed_is_an_error(corpus, tmp_path):
    clips, _ = read_all(corpus, tmp_path)
    table = Frames(clips, [], {"films": corpus}).clips
    first = table[table["status"] == "ok"]["clip_id"].iloc[0]
    write_video(tmp_path / f"{first.removeprefix('films-')[0]}.mp4", frames=20, size=(64, 48))
    with pytest.raises(VidmemError, match="changed"):
        Frames(clips, [], {"films": corpus}).of("corpus-films", first)


def test_frames_of_many_clips_take_one_open_file_a_shard(tmp_path):
    path = tmp_path / "corpus-films/0.frames.npy"
    save_array(path, np.arange(50 * 2 * 4 * 4 * 3, dtype=np.uint8).reshape(100, 4, 4, 3))
    rows = [clip_row({}, clip_id=f"c{n}", set="corpus-films", status="ok", first=2 * n, count=2) for n in range(50)]
    save_table(tmp_path / "corpus-films/0.clips.parquet", clip_table(rows))
    frames = Frames([str(tmp_path / "corpus-films/0.clips.parquet")], [str(path)])
    before = len(os.listdir("/proc/self/fd"))
    stored = load_array(path)
    for number in range(50):
        assert np.array_equal(frames.of("corpus-films", f"c{number}"), stored[2 * number : 2 * number + 2])
    assert len(os.listdir("/proc/self/fd")) - before <= 4


def test_stored_frames_need_their_table(tmp_path):
    save_table(tmp_path / "corpus-films/0.clips.parquet", clip_table([]))
    save_array(tmp_path / "corpus-films/1.frames.npy", np.zeros((0, 8, 8, 3), np.uint8))
    with pytest.raises(VidmemError, match="clip table"):
        Frames([], [str(tmp_path / "corpus-films/1.frames.npy")])


def test_shards_hold_every_item_once(corpus):
    whole = [item.clip_id for _, item in list_corpus(corpus["sources"])]
    parts = [[item.clip_id for _, item in list_corpus(corpus["sources"], shard, SHARDS)] for shard in range(SHARDS)]
    assert sorted(whole) == sorted(clip_id for part in parts for clip_id in part)
    assert all(shard_of(clip_id, SHARDS) == shard for shard, part in enumerate(parts) for clip_id in part)


def test_a_repeated_line_is_counted_in_the_shard_of_what_it_repeats(corpus, tmp_path):
    with open(tmp_path / "list.csv", "a") as file:
        file.write("2.mp4,clip\n2.mp4,clip\n")
    for shards in (1, SHARDS):
        items = [item for shard in range(shards) for _, item in list_corpus(corpus["sources"], shard, shards)]
        repeats = sorted(item.clip_id.rpartition("-")[2] for item in items if item.problem)
        assert (len(items), repeats) == (8, ["repeat2", "repeat3"])


@pytest.mark.parametrize("place", [1, 3, 7])
def test_a_line_changes_the_digest_of_its_shard_only(corpus, tmp_path, place):
    before = digest_shards(corpus["sources"], SHARDS)
    lines = (tmp_path / "list.csv").read_text().splitlines(keepends=True)
    write_video(tmp_path / "new.mp4")
    known = {item.clip_id for _, item in list_corpus(corpus["sources"])}
    (tmp_path / "list.csv").write_text("".join([*lines[:place], "new.mp4,new\n", *lines[place:]]))
    (added,) = {item.clip_id for _, item in list_corpus(corpus["sources"])} - known
    after = digest_shards(corpus["sources"], SHARDS)
    assert [shard for shard in range(SHARDS) if before[shard] != after[shard]] == [shard_of(added, SHARDS)]


def test_another_file_or_caption_changes_the_digest_of_its_shard_only(corpus, tmp_path):
    before = digest_shards(corpus["sources"], SHARDS)
    own = [shard_of(item.clip_id, SHARDS) for _, item in list_corpus(corpus["sources"])]
    write_video(tmp_path / "3.mp4", frames=3)
    video = digest_shards(corpus["sources"], SHARDS)
    assert [shard for shard in range(SHARDS) if before[shard] != video[shard]] == [own[3]]
    text = (tmp_path / "list.csv").read_text()
    (tmp_path / "list.csv").write_text(text.replace("1.mp4,clip", "1.mp4,another"))
    caption = digest_shards(corpus["sources"], SHARDS)
    assert [shard for shard in range(SHARDS) if video[shard] != caption[shard]] == [own[1]]


def test_where_a_package_is_installed_does_not_count(tmp_path, monkeypatch):
    (tmp_path / "list.csv").write_text("path\npackage:footage_of_ours/a.mp4\n")
    source = {"name": "films", "kind": "list", "path": str(tmp_path / "list.csv"), "split": "member"}
    digests = []
    for place in ("here", "there"):
        (tmp_path / place / "footage_of_ours").mkdir(parents=True)
        (tmp_path / place / "footage_of_ours/__init__.py").touch()
        monkeypatch.syspath_prepend(tmp_path / place)
        (item,) = [item for _, item in list_corpus([source])]
        assert place in item.path
        digests.append(digest_shards([source], 1))
    assert digests[0] == digests[1]


def test_a_list_of_shards_changes_when_a_shard_does(tmp_path):
    """Snakemake compares small inputs by content: names alone would hide a shard that was computed again."""
    import os

    files = [tmp_path / f"{shard}.npy" for shard in range(3)]
    for file in files:
        file.write_bytes(b"same length")
    save_shards(tmp_path / "list.json", {"arrays": [str(file) for file in files], "frames": []})
    first = (tmp_path / "list.json").read_bytes()
    assert load_shards(tmp_path / "list.json") == {"arrays": [str(file) for file in files], "frames": []}
    files[1].write_bytes(b"same_length")
    os.utime(files[1], ns=(1, 1))
    save_shards(tmp_path / "list.json", {"arrays": [str(file) for file in files], "frames": []})
    assert (tmp_path / "list.json").read_bytes() != first
    with pytest.raises(FileNotFoundError):
        save_shards(tmp_path / "list.json", {"arrays": [str(tmp_path / "gone.npy")]})


def test_training_needs_frames_that_are_kept(root):
    import yaml

    from vidmem.config import complete_config, load_schema

    schema = load_schema(root / "rules/schemas/config.schema.yaml")
    config = yaml.safe_load((root / "tests/config/smoke.yaml").read_text())
    config["corpora"]["tiny"]["keep_frames"] = False
    with pytest.raises(VidmemError, match="train.corpus"):
        complete_config(config, schema)
    del config["train"]
    assert complete_config(config, schema)["corpora"]["tiny"]["keep_frames"] is False


def test_the_main_process_lists_without_the_libraries_that_decode(root):
    import subprocess
    import sys

    code = "import sys; import vidmem.listing; print(sorted({'numpy', 'pandas', 'av', 'cv2'} & set(sys.modules)))"
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=root / "workflow_scripts", capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"
