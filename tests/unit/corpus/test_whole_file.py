"""A file of the user is covered by windows at every rate of a corpus."""

import numpy as np
import pytest
from PIL import Image

from vidmem.corpus.whole_file import FILE_SET, MOST, file_items, read_file, windows_of
from vidmem.errors import VidmemError
from vidmem.exhibits.playable_clips import save_mp4

CORPUS = {"frames": 4, "size": [32, 32], "min_information": 0.0, "max_damaged": 1.0,
          "sources": [{"fps": 8, "fit": "crop"}, {"fps": 4, "fit": "crop"}, {"fps": 8, "fit": "crop"}]}  # fmt: skip


@pytest.fixture
def film(tmp_path):
    """Two seconds whose grey level says the frame: 8 Hz, 16 frames."""
    frames = np.broadcast_to(np.arange(16, dtype=np.uint8)[:, None, None, None] * 15, (16, 32, 32, 3))
    save_mp4(tmp_path / "a.mp4", np.ascontiguousarray(frames), 8.0, height=32, loops=1)
    return tmp_path / "a.mp4"


def test_windows_cover_the_file_at_each_rate_once(film):
    items = file_items(film, CORPUS)
    assert [(source["fps"], item.clip_id, item.window) for source, item in items] == [
        (4, "0-0001", (1, 2)), (4, "0-0002", (2, 2)), *((8, f"1-000{n}", (n, 4)) for n in (1, 2, 3, 4))
    ]  # fmt: skip
    read = list(read_file(film, CORPUS, items))
    assert {row["set"] for row, _ in read} == {FILE_SET}
    assert [row["status"] for row, _ in read] == ["ok"] * 6
    seen = np.concatenate([frames[:, 16, 16, 0] for row, frames in read if row["fps"] == 8])
    assert np.abs(seen.astype(int) - np.arange(16) * 15).max() <= 4
    slow = np.concatenate([frames[:, 16, 16, 0] for row, frames in read if row["fps"] == 4])
    assert np.abs(slow.astype(int) - np.arange(0, 16, 2) * 15).max() <= 4


def test_a_picture_is_one_window(tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(np.full((40, 40, 3), 90, np.uint8)).save(path)
    ((row, frames),) = read_file(path, CORPUS, file_items(path, CORPUS))
    assert (row["count"], frames.shape) == (1, (1, 32, 32, 3))


def test_very_long_files_have_a_limit():
    assert windows_of(10 * MOST, 2.0) == MOST
    assert windows_of(2.0, 2.0) == 1
    assert windows_of(2.2, 2.0) == 2


@pytest.mark.parametrize("content", [b"", b"no video at all"])
def test_what_is_no_footage_is_told(tmp_path, content):
    path = tmp_path / "a.mp4"
    path.write_bytes(content)
    with pytest.raises(VidmemError, match="a video or an image"):
        file_items(path, CORPUS)
