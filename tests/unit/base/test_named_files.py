"""Flat lists of files as the files of each model."""

import pytest

from vidmem.base.named_files import files_by_name
from vidmem.errors import VidmemError


def test_files_go_by_name_and_kind_in_the_order_of_their_shards():
    files = {"probes": ["a.0", "a.1", "a.2", "b.0", "b.1", "b.2"], "scores": ["a", "b"], "guidance": []}
    found = files_by_name(files, ["one", "two"])
    assert found["one"] == {"probes": ["a.0", "a.1", "a.2"], "scores": ["a"], "guidance": []}
    assert found["two"] == {"probes": ["b.0", "b.1", "b.2"], "scores": ["b"], "guidance": []}
    assert files_by_name({"scores": []}, []) == {}


def test_a_list_that_lacks_a_shard_is_named():
    with pytest.raises(VidmemError, match="(?s)as many files for each of one, two.*files of probes"):
        files_by_name({"scores": ["a", "b"], "probes": ["a.0", "a.1", "b.0"]}, ["one", "two"])
