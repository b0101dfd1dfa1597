"""Files of users: a key that stands twice is named with both lines, whatever the form of the file."""

import pytest
import yaml

from vidmem.base import strict_yaml
from vidmem.base.strict_yaml import read_strictly
from vidmem.errors import VidmemError

TWICE = {
    "at the top": ("run: a\nseed: 1\nrun: b\n", "run in lines 1 and 3"),
    "deep": ("corpora:\n  x:\n    frames: 8\n    size: 1\n    frames: 16\n", "corpora.x.frames in lines 3 and 5"),
    "in a list": ("s:\n- a: 1\n- - b: 2\n    b: 3\n", "s.1.0.b in lines 3 and 4"),
    "quoted": ("a: 1\n'a': 2\n", "a in lines 1 and 2"),
    "equal numbers": ("1: x\n1.0: y\n", "1.0 in lines 1 and 2"),
    "equal words": ("yes: x\ntrue: y\n", "true in lines 1 and 2"),
    "flow": ("m: {a: 1,\n  b: 2, a: 3}\n", "m.a in lines 1 and 2"),
    "two merge keys": ("b: &m {x: 1}\nc:\n  <<: *m\n  <<: *m\n", "c.<< in lines 3 and 4"),
    "inside an anchor": ("b: &m\n  x: 1\n  x: 2\nc:\n  <<: *m\n", "b.x in lines 2 and 3"),
    "three times": ("a: 1\na: 2\na: 3\n", "a in lines 1 and 2; a in lines 1 and 3"),
    "JSON": ('{"run": "a",\n "m": {"k": 1,\n\t\t"\\u006b": 2}}', "m.k in lines 2 and 3"),
    "JSON that begins with a tab": ('\t{"a": 1, "a":\t2}', "a in lines 1 and 1"),
    "a byte-order mark": ("\ufeffa: 1\na: 2\n", "a in lines 1 and 2"),
}


@pytest.fixture(params=["libyaml", "python"])
def reader(request, monkeypatch):
    """Both loaders of PyYAML. Some builds lack the one of libyaml."""
    monkeypatch.setattr(strict_yaml, "SafeLoader", {"libyaml": yaml.CSafeLoader, "python": yaml.SafeLoader}[request.param])
    return read_strictly


@pytest.mark.parametrize(("text", "told"), TWICE.values(), ids=TWICE)
def test_a_key_that_stands_twice_is_named_with_both_lines(reader, tmp_path, text, told):
    (tmp_path / "a.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(VidmemError) as caught:
        reader(tmp_path / "a.yaml")
    assert (caught.value.expected, caught.value.got, caught.value.where) == ("each key once", told, str(tmp_path / "a.yaml"))
    assert "keep one" in caught.value.hint


@pytest.mark.parametrize(
    ("text", "content"),
    [
        ("a: &m {x: 1, y: 2}\nb:\n  <<: *m\n  x: 3\n", {"a": {"x": 1, "y": 2}, "b": {"x": 3, "y": 2}}),
        ("a: &m {x: 1}\nb: &n {x: 2}\nc: {<<: [*m, *n]}\n", {"a": {"x": 1}, "b": {"x": 2}, "c": {"x": 1}}),
        ("a: {x: 1}\nb: {x: 1}\n", {"a": {"x": 1}, "b": {"x": 1}}),
        ('1: a\n"1": b\n', {1: "a", "1": "b"}),
        ('{\n\t"a": [1, {"b": null}]}', {"a": [1, {"b": None}]}),
        ("", None),
        ("just text", "just text"),
    ],
)
def test_what_is_right_is_read_as_it_stands(reader, tmp_path, text, content):
    (tmp_path / "a.yaml").write_text(text)
    assert reader(tmp_path / "a.yaml") == content


def test_aliases_that_lead_in_a_circle_end(reader, tmp_path):
    (tmp_path / "a.yaml").write_text("a: &x\n  b: *x\n")
    content = reader(tmp_path / "a.yaml")
    assert content["a"]["b"] is content["a"]


@pytest.mark.parametrize("content", [b"a: [1", b"a: \xff", b"a: !!python/tuple [1]", b"a: 1\n---\nb: 2\n", b"? [a]\n: 1\n"])
def test_what_is_no_plain_yaml_is_named(reader, tmp_path, content):
    (tmp_path / "a.yaml").write_bytes(content)
    with pytest.raises(VidmemError, match="a file in YAML or JSON") as caught:
        reader(tmp_path / "a.yaml")
    assert caught.value.where == str(tmp_path / "a.yaml")


def test_a_grammar_with_a_name_twice_is_refused(tmp_path):
    from vidmem.prompts.negatives import prompts_of_grammar

    (tmp_path / "g.yaml").write_text("templates: ['{a} ball']\nwords:\n  a: [red]\n  a: [blue]\n")
    with pytest.raises(VidmemError, match="words.a in lines 3 and 4"):
        prompts_of_grammar(tmp_path / "g.yaml", 1, 0)
