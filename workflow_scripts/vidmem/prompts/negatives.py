"""Negative prompts, which are not captions of the corpus: from a list, or drawn from a grammar that imitates its captions."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from ..base.caption_text import checked_text
from ..base.seeding import random_stream
from ..base.store import hash_text, slug
from ..base.strict_yaml import read_strictly
from ..errors import VidmemError
from .audit_prompts import COLUMNS
from .captions import normalise_caption

TRIES = 50  # draws for each wanted sentence, before a grammar counts as too small


def prompts_of_grammar(path: Path | str, count: int, seed: int) -> list[str]:
    """Draw different sentences from a grammar.

    Args:
        path: YAML file with `templates`, sentences with {names}, and `words`, a list for every name.
        count: number of sentences.
        seed: seed of the audit.

    Raises:
        VidmemError: the file has another form or a key twice, a name has no words, or the grammar has fewer sentences.
    """
    if count < 1:
        raise VidmemError("a number of sentences to draw", count, "config key detection.negatives.count")
    templates, words = _checked_grammar(read_strictly(path), str(path))
    stream = random_stream("negative prompts", seed)
    drawn: dict[str, None] = {}
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


def _checked_grammar(grammar: object, where: str) -> tuple[list[str], dict[str, list[str]]]:
    """Templates and words of a grammar as text, after a check of its form."""
    if not isinstance(grammar, dict) or set(grammar) != {"templates", "words"}:
        raise VidmemError("the keys templates and words", sorted(grammar) if isinstance(grammar, dict) else grammar, where)
    if not isinstance(grammar["templates"], list) or not grammar["templates"] or not isinstance(grammar["words"], dict):
        got = f"templates: {type(grammar['templates']).__name__}, words: {type(grammar['words']).__name__}"
        raise VidmemError("a list of templates, and words: a list for each name", got, where)
    templates, words = [str(template) for template in grammar["templates"]], grammar["words"]
    for template in templates:
        names = re.findall(r"\{(\w*)\}", template)
        if "{" in re.sub(r"\{\w+\}", "", template) or not all(
            isinstance(words.get(name), list) and words[name] for name in names
        ):
            raise VidmemError(f"only names with words: {sorted(words)}", template, where)
    known = {name: [str(word) for word in entries] for name, entries in words.items()}
    for text in (*templates, *(word for entries in known.values() for word in entries)):
        if fault := checked_text(f" {text}")[1]:  # a mark at the start of a word stands within its sentence
            raise VidmemError("text of letters and signs", f"{text!r}: {fault}", where)
    return templates, known


def negative_prompts(texts: Sequence[str], captions: pd.Series, faults: Sequence[str] = ()) -> pd.DataFrame:
    """Table of negative prompts. A prompt that is a caption of the corpus gets the status 'skipped', with the reason.

    Args:
        texts: prompts, any text.
        captions: captions of the corpus.
        faults: for each prompt why its list left it out, '' if it did not; empty if there is no list.

    Returns:
        Table of audit_prompts.COLUMNS; the split is 'negative', copies is 0, and there is no target.
    """
    known, rows = {normalise_caption(caption) for caption in captions}, []
    seen: Counter[str] = Counter()
    for text, fault in zip(texts, faults or [""] * len(texts), strict=True):
        folded, repeats = normalise_caption(text), seen[text]
        status, reason = ("ok", "")
        if not folded:
            status, reason = "skipped", fault or "empty prompt"
        elif folded in known:
            status, reason = "skipped", "a caption of the corpus: not a negative"
        elif seen[folded]:
            status, reason = "skipped", "twice in the list"
        identity = f"n-{slug(text, 24)}-{hash_text(text)[:8]}" + (f"-{repeats + 1}" if repeats else "")
        rows.append((identity, text, "", "negative", 0, status, reason))
        seen.update({text, folded})
    return pd.DataFrame(rows, columns=COLUMNS)
