"""Prompts that no clip was planted for: of a list, or drawn from a grammar of the corpus's captions."""

from __future__ import annotations

import re
import string
from collections import Counter
from pathlib import Path

import pandas as pd
import yaml

from .curation import normalise_caption
from .errors import VidmemError
from .prompts import COLUMNS
from .seeding import random_stream
from .store import hash_text, slug

TRIES = 50  # draws a wanted prompt, before a grammar counts as too small


def prompts_of_grammar(path: Path | str, count: int, seed: int) -> list[str]:
    """Different sentences drawn from a grammar.

    Args:
        path: YAML with `templates`, sentences with {names}, and `words`, a list for every name.
        count: sentences wanted.

    Raises:
        VidmemError: another form, a name without words, or a grammar of fewer sentences.
    """
    if count < 1:
        raise VidmemError("a number of sentences to draw", count, "config key detection.negatives.count")
    grammar = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    templates, words = _checked_grammar(grammar, str(path))
    stream, drawn = random_stream("negative prompts", seed), {}
    for _ in range(TRIES * count):
        template = templates[int(stream.integers(len(templates)))]
        names = {name for _, name, _, _ in string.Formatter().parse(template) if name}
        chosen = {name: words[name][int(stream.integers(len(words[name])))] for name in sorted(names)}
        drawn.setdefault(template.format_map(chosen))
        if len(drawn) == count:
            return list(drawn)
    raise VidmemError(
        f"a grammar of at least {count} sentences", f"about {len(drawn)}", str(path), "more words, or a lower count"
    )


def _checked_grammar(grammar, where: str) -> tuple[list[str], dict[str, list[str]]]:
    if not isinstance(grammar, dict) or set(grammar) != {"templates", "words"} or not grammar["templates"]:
        raise VidmemError("the keys templates and words", sorted(grammar) if isinstance(grammar, dict) else grammar, where)
    templates, words = [str(template) for template in grammar["templates"]], grammar["words"]
    for template in templates:
        names = re.findall(r"\{(\w*)\}", template)
        if "{" in re.sub(r"\{\w+\}", "", template) or not all(
            isinstance(words.get(name), list) and words[name] for name in names
        ):
            raise VidmemError(f"only names with words: {sorted(words)}", template, where)
    return templates, {name: [str(word) for word in entries] for name, entries in words.items()}


def negative_prompts(texts: list[str], captions: pd.Series) -> pd.DataFrame:
    """Table of negative prompts; one that training knows as a caption is skipped, with the reason.

    Args:
        texts: prompts, hostile text as any.
        captions: captions of the corpus.

    Returns:
        COLUMNS of prompts; split 'negative', copies 0, no target.
    """
    known, seen, rows = {normalise_caption(caption) for caption in captions}, Counter(), []
    for text in texts:
        folded, repeats = normalise_caption(text), seen[text]
        status, reason = ("ok", "")
        if not folded:
            status, reason = "skipped", "empty prompt"
        elif folded in known:
            status, reason = "skipped", "a caption of the corpus: not a negative"
        elif seen[folded]:
            status, reason = "skipped", "twice in the list"
        identity = f"n-{slug(text, 24)}-{hash_text(text)[:8]}" + (f"-{repeats + 1}" if repeats else "")
        rows.append((identity, text, "", "negative", 0, status, reason))
        seen.update({text, folded})
    return pd.DataFrame(rows, columns=COLUMNS)
