"""Why a file cannot be read: a status and a reason, and no error of the system."""

import os
import shutil

import pytest

from permissions import ordinary_user
from vidmem.base.file_faults import file_fault
from vidmem.base.list_files import open_list, read_header
from vidmem.errors import VidmemError

ABSENT = {
    "nothing.mp4": "no such file",
    "file.txt/inside.mp4": "no such file",
    "n" * 300 + ".mp4": "no such file: its name is too long",
    "deep/" * 1000 + "a.mp4": "no such file: its name is too long",
    "a\0b.mp4": "no such file: no file can have its name",
    "half \ud83d.mp4": "no such file: no file can have its name",
    "circle.mp4": "no such file: its link leads in a circle",
    "folder.mp4": "no such file: a folder or a device has its name",
    "pipe.mp4": "no such file: a folder or a device has its name",
}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "file.txt").write_text("a")
    (tmp_path / "circle.mp4").symlink_to("circle.mp4")
    (tmp_path / "folder.mp4").mkdir()
    os.mkfifo(tmp_path / "pipe.mp4")
    return tmp_path


@pytest.mark.parametrize("name", ABSENT, ids=range(len(ABSENT)))
def test_absent_files_have_their_reason(folder, name):
    fault = file_fault(f"{folder}/{name}")
    assert (fault.status, fault.reason) == ("missing", ABSENT[name])
    assert file_fault(folder / "file.txt") is None


def test_files_that_may_not_be_read_are_skipped(open_folder):
    (open_folder / "closed.txt").write_text("a")
    (open_folder / "closed.txt").chmod(0)
    (open_folder / "shut").mkdir()
    shutil.copy(open_folder / "closed.txt", open_folder / "shut/a.txt")
    (open_folder / "shut").chmod(0)
    with ordinary_user():
        for name in ("closed.txt", "shut/a.txt"):
            fault = file_fault(open_folder / name)
            assert (fault.status, fault.reason) == ("skipped", "the file may not be read: permission denied")


@pytest.mark.parametrize("name", ["n" * 300 + ".csv", "a\0b.csv", "file.txt/l.csv"], ids=range(3))
@pytest.mark.parametrize("read", [open_list, read_header])
def test_lists_that_cannot_be_read_are_named(folder, name, read):
    with pytest.raises(VidmemError, match="Got no such file"):
        read(f"{folder}/{name}")


def test_a_list_that_may_not_be_read_says_why(open_folder):
    (open_folder / "l.csv").write_text("path\n")
    (open_folder / "l.csv").chmod(0)
    with ordinary_user(), pytest.raises(VidmemError, match="Got the file may not be read: permission denied"):
        open_list(open_folder / "l.csv")
