"""The card and the table of curated prompts survive hostile text."""

import numpy as np
import pandas as pd

from vidmem.exhibits.prompt_card import prompt_card
from vidmem.exhibits.table_files import save_exhibit, to_markdown
from vidmem.exhibits.tables import prompt_rows


def test_the_card_counts_everything_and_shows_no_markup(curated):
    card = prompt_card("c", "curated-c.parquet", curated, {"sha256": {"a": "b"}, "config": "```\n# no heading"})
    assert "17 prompts" in card
    assert "| extra | skipped | empty prompt | 1 |" in card
    assert "| extra | MIT | 12 |" in card
    assert "VM\\|x" in card
    assert "<b>" not in card
    assert "No model was probed" not in card
    assert "No model was probed" in prompt_card("c", "f", curated.assign(white_box=np.nan), {})
    described = {name.replace("SIGNAL", "copies").replace("MODEL", "tiny") for name in card.split("`")[1::2]}
    missing = [name for name in curated if name not in described and not name.startswith("rank_")]
    assert missing == []


def test_the_exhibit_survives_hostile_prompts(curated, tmp_path):
    shown = prompt_rows("c", curated, 0)
    save_exhibit(tmp_path / "prompts", shown)
    table = pd.read_csv(tmp_path / "prompts.csv", keep_default_na=False)
    assert len(table) == len(curated)
    assert table["prompt"].str.len().max() <= 201
    assert not table["prompt"].str.contains("[\x00-\x1f\u202a-\u202e\u2028]", regex=True).any()
    lines = (tmp_path / "prompts.md").read_text().splitlines()
    assert len(lines) == len(curated) + 2
    for broken in ("<script", "![x](", "| a | b"):
        assert not any(broken in line.replace("\\|", "").replace("\\[", "") for line in lines), broken
    assert len((tmp_path / "prompts.tex").read_text().splitlines()) == len(curated) + 6
    assert len(prompt_rows("c", curated, 3)) == 3
    assert "n/a" in to_markdown(shown[["copies"]])
