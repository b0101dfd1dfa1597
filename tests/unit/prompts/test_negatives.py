"""Negative prompts: sentences of a grammar, hostile lists."""

from __future__ import annotations

import pandas as pd
import pytest

from vidmem.errors import VidmemError
from vidmem.prompts.negatives import negative_prompts, prompts_of_grammar

GRAMMAR = "templates: ['{a} on {b}', 'the {a}']\nwords: {a: [cat, dog], b: [roof, wall, sea]}\n"


def test_grammar_draws_every_sentence_once(tmp_path):
    file = tmp_path / "grammar.yaml"
    file.write_text(GRAMMAR)
    every = prompts_of_grammar(file, 8, 0)
    assert set(every) == {f"{a} on {b}" for a in ("cat", "dog") for b in ("roof", "wall", "sea")} | {"the cat", "the dog"}
    assert prompts_of_grammar(file, 5, 1) == prompts_of_grammar(file, 5, 1) != prompts_of_grammar(file, 5, 2)
    with pytest.raises(VidmemError, match="at least 9 sentences"):
        prompts_of_grammar(file, 9, 0)


BAD = [
    "[]",
    "templates: []\nwords: {}",
    "templates: ['{c}']\nwords: {a: [x]}",
    "templates: ['{a.__class__}']\nwords: {a: [x]}",
    "templates: ['{a!r:>9}']\nwords: {a: [x]}",
    "templates: ['{a}']\nwords: {a: []}",
]


@pytest.mark.parametrize("text", BAD)
def test_bad_grammars_are_refused(tmp_path, text):
    (tmp_path / "g.yaml").write_text(text)
    with pytest.raises(VidmemError):
        prompts_of_grammar(tmp_path / "g.yaml", 1, 0)


def test_hostile_and_planted_negatives_keep_their_row():
    texts = ["../../etc/passwd", "<script>x</script>", "y" * 10_000, "🎉🎉", "", "  A Red   ball ", "🎉🎉"]
    table = negative_prompts(texts, pd.Series(["a red ball"]))
    assert list(table["prompt"]) == texts
    assert list(table["status"]) == ["ok"] * 4 + ["skipped"] * 3
    assert list(table["reason"][4:]) == ["empty prompt", "a caption of the corpus: not a negative", "twice in the list"]
    assert table["prompt_id"].is_unique
    assert table["prompt_id"].str.fullmatch(r"n-[a-z0-9-]+").all()
    later = negative_prompts(texts[1:], pd.Series(["a red ball"]))
    assert list(later["prompt_id"]) == list(table["prompt_id"][1:])  # named by what it says, not by its place
