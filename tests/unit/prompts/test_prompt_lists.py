"""Prompt lists in every format; what is wrong with one is named."""

import pandas as pd
import pytest

from hostile_prompts import HOSTILE, write
from vidmem.base.store import hash_text, slug
from vidmem.errors import VidmemError
from vidmem.prompts import prompt_lists
from vidmem.prompts.prompt_lists import COLUMNS, load_prompt_list


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".ndjson", ".parquet", ".CSV"])
def test_a_hostile_list_is_the_same_in_every_format(tmp_path, suffix):
    table = pd.DataFrame({"prompt": [*HOSTILE, "", " \t"], "target": ["t", *[""] * 11]})
    listed = load_prompt_list(write(tmp_path / f"l{suffix.lower()}", table).rename(tmp_path / f"list{suffix}")).table
    assert list(listed.columns) == COLUMNS
    assert list(listed["prompt"]) == list(table["prompt"])
    assert list(listed["status"]) == ["ok"] * len(HOSTILE) + ["skipped"] * 2
    assert set(listed["reason"]) == {"", "empty prompt"}
    assert set(listed["target"]) == {"t", ""}
    assert listed["prompt_id"].is_unique
    assert listed["prompt_id"].str.fullmatch(r"[a-z0-9-]{1,60}").all(), list(listed["prompt_id"])
    assert (listed["line"].diff().dropna() > 0).all()


def test_a_long_list_is_read_in_parts(tmp_path, monkeypatch):
    (tmp_path / "l.txt").write_text("a\n" * 7)
    whole = load_prompt_list(tmp_path / "l.txt").table
    monkeypatch.setattr(prompt_lists, "PART", 3)
    pd.testing.assert_frame_equal(load_prompt_list(tmp_path / "l.txt").table, whole)
    assert whole["prompt_id"].is_unique


def test_a_text_file_is_a_prompt_a_line(tmp_path):
    (tmp_path / "l.txt").write_bytes("\ufeffa cat, on a mat\r\n\nanother \u2028 one\n".encode())
    listed = load_prompt_list(tmp_path / "l.txt").table
    assert list(listed["prompt"]) == ["a cat, on a mat", "", "another \u2028 one"]
    assert list(listed["line"]) == [1, 2, 3]
    assert list(listed["status"]) == ["ok", "skipped", "ok"]


def test_identities_are_those_of_earlier_lists(tmp_path):
    """Noise is drawn by prompt id: another loader must not generate everything anew."""
    (tmp_path / "l.csv").write_text("prompt,target\nA cat!,t\nA cat!,\nA cat!,t\n")
    wanted = [f"p-{slug('A cat!', 24)}-{hash_text('A cat!', target)[:8]}" for target in ("t", "")]
    assert wanted[0] == "p-a-cat-8c4828d3-1387c551"
    assert list(load_prompt_list(tmp_path / "l.csv").table["prompt_id"]) == [*wanted, f"{wanted[0]}-2"]


PUBLISHED = {
    "laion-labelled.csv": (
        ';Caption;URL;type;mean_sscd;max_sscd;Index\n0;"""Watch"", a video";http://a/b.jpg;VM;0.83;0.84;10\n1;Rug, blue;http://c;TM;0;0;2\n',
        [('"Watch", a video', "http://a/b.jpg", "VM"), ("Rug, blue", "http://c", "TM")],
    ),
    "laion.csv": (";Caption;URL;Index\n0;A pagoda;http://d?x=1;396\n", [("A pagoda", "http://d?x=1", "")]),
    "membench.csv": (
        ',prompt,urls\n0,happy scientist,[\'http://e\']\n1,boots,"[\'http://f\', ""http://g\'h""]"\n2,none,[]\n',
        [
            ("happy scientist", "http://e", "memorised"),
            ("boots", "http://f http://g'h", "memorised"),
            ("none", "", "memorised"),
        ],
    ),
    "webvid.csv": (
        "videoid,contentUrl,duration,page_dir,name\n21179416,http://h,PT00H00M11S,006001_006050,Aerial shot winter forest\n",
        [("Aerial shot winter forest", "21179416", "")],
    ),
    "openvid.csv": (
        "video,caption,aesthetic score,motion score,temporal consistency score,camera motion,frame,fps,seconds\n"
        'a_0.mp4,"In the video, a man",5,3,1,static,100,25,4\n',
        [("In the video, a man", "a_0.mp4", "")],
    ),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_lists_are_known_by_their_columns(tmp_path, name):
    text, wanted = PUBLISHED[name]
    (tmp_path / "list.csv").write_text(text)
    layout, listed = load_prompt_list(tmp_path / "list.csv")
    assert layout.name == name.removesuffix(".csv")
    assert list(listed[["prompt", "target", "label"]].itertuples(index=False, name=None)) == wanted
    assert (listed["label_source"] != "").tolist() == [label != "" for _, _, label in wanted]
    gone = name == "webvid.csv"
    assert set(listed["availability"]) == {"gone" if gone else "available" if name == "openvid.csv" else "unknown"}
    assert set(listed["reason"]) == {"WebVid was withdrawn" if gone else ""}
    assert set(listed["status"]) == {"ok"}


def test_webster_labels_come_from_parquet(tmp_path):
    table = pd.DataFrame(
        {
            "caption": ["a", "b"], "url": ["http://a", None], "index": [3, 4], "overfit_type": ["MV", "N"],
            "retrieved_urls": [["x"], []], "mse_real_gen": [1.0, 2.0],
        }
    )  # fmt: skip
    layout, listed = load_prompt_list(write(tmp_path / "l.parquet", table), licence="as its authors say", source="Webster")
    assert layout.name == "webster"
    assert list(listed["label"]) == ["MV", "N"]
    assert list(listed["target"]) == ["http://a", ""]
    assert set(listed["label_source"]) == {"Webster"}
    assert set(listed["licence"]) == {"as its authors say"}


def test_a_mapping_names_the_columns_of_any_list(tmp_path):
    rows = '{"text": "a", "video": [1, 2], "there": false}\n\n{"video": null, "text": "b", "more": {}}\n'
    (tmp_path / "l.jsonl").write_text(rows)
    mapping = {"prompt": "text", "target": "video", "availability": "there"}
    listed = load_prompt_list(tmp_path / "l.jsonl", mapping, label="seen").table
    assert list(listed["target"]) == ["1 2", ""]
    assert list(listed["availability"]) == ["gone", "unknown"]
    assert list(listed["reason"]) == ["the list says its target is gone", ""]
    assert set(listed["label"]) == {"seen"}
    assert set(listed["label_source"]) == {"l.jsonl"}
    assert list(listed["line"]) == [1, 3]


FAULTS = {
    "columns.csv": ("promt,target\na,t\n", ["columns prompt and some of target", "'promt'", "columns: {prompt"]),
    "typo.csv": ("prompt,tagret\na,t\n", ["'tagret'"]),
    "twice.csv": ("prompt,prompt\na,b\n", ["every column once", "'prompt'"]),
    "twice.jsonl": ('{"prompt": "a", "prompt": "b"}\n', ["line 1", "a key twice"]),
    "comma.csv": ("prompt\na\nb, c\n", ["line 3", "quote commas"]),
    "open.csv": ('prompt\n"a\n', ["not closed"]),
    "empty.csv": ("", ["columns prompt"]),
    "none.csv": ("prompt\n", ["at least one prompt"]),
    "none.jsonl": ("\n", ["columns prompt"]),
    "latin.csv": ("prompt\ncafé\n".encode("latin-1"), ["UTF-8"]),
    "latin.txt": ("a\ncafé\n".encode("latin-1"), ["UTF-8", "line 2"]),
    "latin.jsonl": ('{"prompt": "a"}\n{"prompt": "café"}\n'.encode("latin-1"), ["UTF-8", "line 2"]),
    "utf16.csv": ("prompt\na\n".encode("utf-16"), ["UTF-8"]),
    "pickled.csv": (b"\x80\x04\x95\x05\x00\x00\x00\x00\x00\x00\x00]", ["UTF-8"]),
    "broken.jsonl": ('{"prompt": "a"}\n{"prompt": \n', ["JSON object a line", "line 2"]),
    "array.jsonl": ('["prompt"]\n', ["JSON object a line", "list", "line 1"]),
    "deep.jsonl": ('{"prompt": ' + "[" * 100_000 + "\n", ["JSON object a line", "line 1"]),
    "absent.jsonl": ('{"prompt": "a"}\n{"target": "t"}\n', ["a value of 'prompt'", "line 2"]),
    "nested.jsonl": ('{"prompt": {"en": "a"}}\n', ["text, a number", "dict", "line 1"]),
    "surrogate.jsonl": ('{"prompt": "\\ud800"}\n', ["UTF-8 can hold", "line 1"]),
    "state.csv": ("prompt,availability\na,perhaps\n", ["an availability of available, gone, unknown", "'perhaps'", "line 2"]),
    "urls.csv": ("prompt,urls\na,\"['http://a', __import__('os')]\"\n", ["quoted addresses", "line 2"]),
    "text.parquet": ("prompt\na\n", ["a whole Parquet file"]),
    "list.xlsx": ("", [".jsonl, .ndjson, .parquet", "convert it"]),
    "list.csv.gz": ("", ["unpack"]),
    "list": ("", ["unpack"]),
    **{f"list{suffix}": (b"\x80\x04.", ["no pickle", "run code"]) for suffix in (".pkl", ".pickle", ".pt", ".PTH", ".npy")},
}


@pytest.mark.parametrize("name", FAULTS)
def test_what_is_wrong_with_a_list_is_named(tmp_path, name):
    content, messages = FAULTS[name]
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(VidmemError) as caught:
        load_prompt_list(tmp_path / name)
    assert all(message in str(caught.value) for message in [*messages, name]), str(caught.value)


def test_a_torn_or_ambiguous_parquet_file_is_named(tmp_path):
    import pyarrow
    import pyarrow.parquet

    path = write(tmp_path / "l.parquet", pd.DataFrame({"prompt": [f"{i} " * 50 for i in range(2000)]}))
    whole = path.read_bytes()
    path.write_bytes(whole[:200] + bytes(400) + whole[600:])
    with pytest.raises(VidmemError, match="a whole Parquet file"):
        load_prompt_list(path)
    twice = pyarrow.Table.from_arrays([pyarrow.array(["a"])] * 2, names=["prompt", "prompt"])
    pyarrow.parquet.write_table(twice, path)
    with pytest.raises(VidmemError, match="every column once"):
        load_prompt_list(path)
    with pytest.raises(VidmemError, match="no such file"):
        load_prompt_list(tmp_path / "absent.parquet")


@pytest.mark.parametrize("mapping", [{"prompt": "Text"}, {"target": "prompt"}, {"prompt": "prompt", "when": "target"}])
def test_a_mapping_that_does_not_fit_is_named(tmp_path, mapping):
    (tmp_path / "l.csv").write_text("prompt,target\na,t\n")
    with pytest.raises(VidmemError, match="columns maps some of prompt, target"):
        load_prompt_list(tmp_path / "l.csv", mapping)
