"""No prompt of an audit has a character that no prompt has; its row says why it is left out."""

import pandas as pd
import pytest

from hostile_prompts import HOSTILE, REFUSED, write
from vidmem.errors import VidmemError
from vidmem.prompts.audit_prompts import prompts_of_file
from vidmem.prompts.negatives import negative_prompts, prompts_of_grammar
from vidmem.prompts.prompt_lists import load_prompt_list


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_rows_of_lists_say_why_they_have_no_prompt(tmp_path, suffix):
    table = pd.DataFrame({"prompt": [*REFUSED, *HOSTILE, "\ufeffa cat", "a cat"]})
    listed = load_prompt_list(write(tmp_path / f"l{suffix}", table)).table
    count = len(REFUSED)
    assert list(listed["prompt"]) == [""] * count + [*HOSTILE, "a cat", "a cat"]
    assert list(listed["status"]) == ["skipped"] * count + ["ok"] * (len(HOSTILE) + 2)
    assert list(listed["reason"][:count]) == [f"no prompt: it has the character {mark}" for mark in REFUSED.values()]
    assert listed["prompt_id"].is_unique
    assert listed["prompt_id"].iloc[-1] == f"{listed['prompt_id'].iloc[-2]}-2"  # a mark makes no other prompt
    clips = pd.DataFrame({"clip_id": ["c"], "split": ["member"], "copies": [1]})
    audit = prompts_of_file(tmp_path / f"l{suffix}", clips)
    assert list(audit["reason"]) == list(listed["reason"])


def test_negatives_of_a_list_keep_the_reason(tmp_path):
    from list_negatives import list_negatives
    from vidmem.base.clip_table import clip_table
    from vidmem.base.shards import save_shards
    from vidmem.base.store import load_table, save_table

    save_table(tmp_path / "0.clips.parquet", clip_table([]))
    save_shards(tmp_path / "clips.json", {"clips": [str(tmp_path / "0.clips.parquet")]})
    path = write(tmp_path / "l.jsonl", pd.DataFrame({"prompt": ["a\0cat", "", "a dog", "a bus"]}))
    list_negatives(str(tmp_path / "clips.json"), {"file": str(path), "count": 3}, 0, tmp_path / "n.parquet")
    found = load_table(tmp_path / "n.parquet")
    assert list(found["prompt"]) == ["", "", "a dog"]
    assert list(found["reason"]) == ["no prompt: it has the character U+0000", "empty prompt", ""]
    assert found["prompt_id"].is_unique


@pytest.mark.parametrize("word", ['"a\\x1bcat"', '"\\ufeffcat"', '"\\x85"', '"a \\ufffd"'])
def test_a_grammar_with_such_a_character_is_named(tmp_path, word):
    for text in (f"templates: ['the {{a}}']\nwords: {{a: [{word}]}}", f"templates: [{word}]\nwords: {{a: [x]}}"):
        (tmp_path / "g.yaml").write_text(text)
        with pytest.raises(VidmemError, match=r"it has the character U\+"):
            prompts_of_grammar(tmp_path / "g.yaml", 1, 0)


def test_negatives_without_a_list_have_no_faults():
    assert list(negative_prompts(["a cat", ""], pd.Series(["a dog"]))["reason"]) == ["", "empty prompt"]
