"""Lists are cut into shards: each item once, a change reaches its own shard only."""

import pytest

from films import SHARDS
from footage import write_video
from vidmem.corpus.item import shard_of_clip
from vidmem.corpus.listing import digest_shards, list_corpus


def test_shards_hold_every_item_once(films):
    whole = [item.clip_id for _, item in list_corpus(films["sources"])]
    parts = [[item.clip_id for _, item in list_corpus(films["sources"], shard, SHARDS)] for shard in range(SHARDS)]
    assert sorted(whole) == sorted(clip_id for part in parts for clip_id in part)
    assert all(shard_of_clip(clip_id, SHARDS) == shard for shard, part in enumerate(parts) for clip_id in part)


def test_a_repeated_line_is_counted_in_the_shard_of_what_it_repeats(films, tmp_path):
    with open(tmp_path / "list.csv", "a") as file:
        file.write("2.mp4,clip\n2.mp4,clip\n")
    for shards in (1, SHARDS):
        items = [item for shard in range(shards) for _, item in list_corpus(films["sources"], shard, shards)]
        repeats = sorted(item.clip_id.rpartition("-")[2] for item in items if item.problem)
        assert (len(items), repeats) == (8, ["repeat2", "repeat3"])


@pytest.mark.parametrize("place", [1, 3, 7])
def test_a_line_changes_the_digest_of_its_shard_only(films, tmp_path, place):
    before = digest_shards(films["sources"], SHARDS)
    lines = (tmp_path / "list.csv").read_text().splitlines(keepends=True)
    write_video(tmp_path / "new.mp4")
    known = {item.clip_id for _, item in list_corpus(films["sources"])}
    (tmp_path / "list.csv").write_text("".join([*lines[:place], "new.mp4,new\n", *lines[place:]]))
    (added,) = {item.clip_id for _, item in list_corpus(films["sources"])} - known
    after = digest_shards(films["sources"], SHARDS)
    assert [shard for shard in range(SHARDS) if before[shard] != after[shard]] == [shard_of_clip(added, SHARDS)]


def test_another_file_or_caption_changes_the_digest_of_its_shard_only(films, tmp_path):
    before = digest_shards(films["sources"], SHARDS)
    own = [shard_of_clip(item.clip_id, SHARDS) for _, item in list_corpus(films["sources"])]
    write_video(tmp_path / "3.mp4", frames=3)
    video = digest_shards(films["sources"], SHARDS)
    assert [shard for shard in range(SHARDS) if before[shard] != video[shard]] == [own[3]]
    text = (tmp_path / "list.csv").read_text()
    (tmp_path / "list.csv").write_text(text.replace("1.mp4,clip", "1.mp4,another"))
    caption = digest_shards(films["sources"], SHARDS)
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


def test_the_main_process_lists_without_the_libraries_that_decode(root):
    import subprocess
    import sys

    code = "import sys; import vidmem.corpus.listing; print(sorted({'numpy', 'pandas', 'av', 'cv2'} & set(sys.modules)))"
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=root / "workflow_scripts", capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"
