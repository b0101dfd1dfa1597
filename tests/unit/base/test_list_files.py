"""Users' lists: nothing is shifted, swallowed or lost; what is wrong is named with its line."""

import pytest

from vidmem.base.code_digest import digest_modules, imported_modules
from vidmem.base.list_files import read_list
from vidmem.errors import VidmemError


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
    found = imported_modules(root / "workflow_scripts/vidmem", ["scoring/scores"])
    assert {"features/content", "errors", "features/clip_features", "features/motion", "scoring/scores", "base/store"} <= set(
        found
    )
    assert "exhibits/figures" not in found
