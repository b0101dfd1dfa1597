"""Users' lists: nothing is shifted, swallowed or lost; what is wrong is named with its line."""

import numpy as np
import pandas as pd
import pytest

from vidmem.errors import VidmemError
from vidmem.lists import read_list
from vidmem.prompts import prompts_of_file
from vidmem.sources import digest_modules, imported_modules


def rows(path, text, required=("prompt",), optional=("target",), encoding="utf-8"):
    path.write_bytes(text.encode(encoding))
    return list(read_list(path, required, optional))


def test_rows_come_with_their_lines(tmp_path):
    found = rows(tmp_path / "l.csv", '\ufeffprompt,target\n"a, quoted\nline",t\n🎉 <b>\n')
    assert found == [(3, {"prompt": "a, quoted\nline", "target": "t"}), (4, {"prompt": "🎉 <b>", "target": ""})]
    assert rows(tmp_path / "l.csv", "prompt\n" + "x" * 200_000 + "\n")[0][1]["prompt"] == "x" * 200_000


@pytest.mark.parametrize(
    ("text", "encoding", "messages"),
    [
        ("prompt\na cat, on a mat\n", "utf-8", ["' on a mat'", "line 2", "quote commas"]),
        ("prompt,target\na,t\nb,t,u\n", "utf-8", ["2 cells", "line 3"]),
        ('prompt\n"a cat\na dog\n', "utf-8", ["not closed"]),
        ("prompt\ncafé\n", "latin-1", ["UTF-8"]),
        ("prompt\na\n", "utf-16", ["UTF-8"]),
        ("", "utf-8", ["columns prompt", "the first line names the columns"]),
        ("promt\na\n", "utf-8", ["columns prompt and some of target", "promt"]),
        ("prompt,prompt\na,b\n", "utf-8", ["columns prompt"]),
        ("prompt,extra\na,b\n", "utf-8", ["extra"]),
    ],
)
def test_what_is_wrong_is_named(tmp_path, text, encoding, messages):
    with pytest.raises(VidmemError) as caught:
        rows(tmp_path / "l.csv", text, encoding=encoding)
    assert all(message in str(caught.value) for message in [*messages, "l.csv"]), str(caught.value)


def test_prompts_are_named_by_what_they_say(tmp_path):
    clips = pd.DataFrame({"clip_id": ["t"], "split": ["member"], "copies": [4]})
    (tmp_path / "p.csv").write_text("prompt,target\na cat,t\na cat,\na cat,t\n \n")
    first = prompts_of_file(tmp_path / "p.csv", clips)
    (tmp_path / "p.csv").write_text("prompt,target\na dog,\na cat,t\na cat,\na cat,t\n")
    second = prompts_of_file(tmp_path / "p.csv", clips)
    assert list(first["prompt_id"])[:3] == list(second["prompt_id"])[1:]
    assert len(set(first["prompt_id"])) == 4
    assert list(first["status"]) == ["ok", "ok", "ok", "skipped"]
    (tmp_path / "p.csv").write_text("prompt\n")
    with pytest.raises(VidmemError, match="at least one prompt"):
        prompts_of_file(tmp_path / "p.csv", clips)


def test_a_digest_follows_imports(tmp_path):
    (tmp_path / "inner").mkdir()
    (tmp_path / "a.py").write_text("from .b import thing\nfrom .inner import c\n")
    (tmp_path / "b.py").write_text("import os\n")
    (tmp_path / "inner/c.py").write_text("def late():\n    from ..d import x\n")
    (tmp_path / "d.py").write_text("")
    (tmp_path / "other.py").write_text("")
    assert imported_modules(tmp_path, ["a"]) == ["a", "b", "d", "inner/c"]
    before = digest_modules(tmp_path, imported_modules(tmp_path, ["a"]))
    (tmp_path / "other.py").write_text("1\n")
    assert digest_modules(tmp_path, imported_modules(tmp_path, ["a"])) == before
    (tmp_path / "d.py").write_text("1\n")
    assert digest_modules(tmp_path, imported_modules(tmp_path, ["a"])) != before


def test_the_library_names_its_own_imports(root):
    found = imported_modules(root / "workflow_scripts/vidmem", ["scores"])
    assert {"content", "errors", "features", "motion", "scores", "store"} <= set(found)
    assert "figures" not in found


def test_rows_of_a_few_clips_are_those_of_the_whole_table(stream):
    from vidmem.features import ClipFeatures

    names = ["a"] * 3 + ["b"] * 2, ["c"] * 4
    rows = pd.DataFrame({"clip_id": [*names[0], *names[1]], "pair": range(9)})
    spans = {"a": (0, 0, 3), "b": (0, 3, 5), "c": (1, 0, 4)}
    features = ClipFeatures(pd.DataFrame(), spans, [np.zeros((5, 2)), np.zeros((4, 2))], rows, "")
    assert list(features.table_of(["c", "missing", "a"])["pair"]) == [5, 6, 7, 8, 0, 1, 2]
    assert len(features.table_of([])) == 0
