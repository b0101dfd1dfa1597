"""Rows of clips: a status that is not ok has a reason."""

import pytest

from vidmem.base.clip_table import clip_row, clip_table
from vidmem.errors import VidmemError


def test_a_status_needs_a_reason():
    with pytest.raises(VidmemError, match="a reason unless ok"):
        clip_row({}, clip_id="a", status="failed")
    assert list(clip_table([])["clip_id"]) == []
    assert clip_table([]).dtypes["count"] == "int64"
