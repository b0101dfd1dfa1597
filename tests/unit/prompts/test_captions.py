"""Captions are normalised and grouped as all pairs say."""

import unicodedata

import numpy as np
import pandas as pd
import pytest

from hostile_prompts import HOSTILE
from vidmem.prompts.captions import caption_groups, letter_vectors, normalise_caption, rare_part


def test_captions_are_normalised():
    same = [
        "A cat, on the MAT.",
        "  a cat on the mat",
        "a\ncat\u00a0on\tthe mat!",
        "\u202ea ｃａｔ on the mat\u202c",
        "a c\u200bat on the mat",
    ]
    assert {normalise_caption(text) for text in same} == {"a cat on the mat"}
    assert normalise_caption("straße café") == normalise_caption("STRASSE cafe\u0301")
    assert normalise_caption("a cat") != normalise_caption("a cat 2")
    assert normalise_caption("...") != normalise_caption("!!!")
    assert normalise_caption("🎉") == "🎉"
    for text in HOSTILE:
        once = normalise_caption(text)
        assert once
        assert normalise_caption(once) == once
        assert unicodedata.is_normalized("NFKC", once)


WORDS = "red blue cat dog runs sleeps under over table chair old young street night rain slowly 4k".split()


@pytest.fixture
def captions(stream):
    made = [" ".join(stream.choice(WORDS, stream.integers(1, 9))) for _ in range(120)]
    made += [f"{text.upper()}!" for text in made[:20]] + [f"{text}, hd" for text in made[20:60]] + HOSTILE
    return [made[place] for place in stream.permutation(len(made))]


def slow_groups(texts, training, similarity):
    """Every pair of captions, n-grams counted by hand."""
    from collections import Counter

    def grams(text):
        words = [f" {word} " for word in text.split()]
        return Counter(word[at : at + 4] for word in words for at in range(max(1, len(word) - 3)))

    keys, trained = [normalise_caption(text) for text in texts], [normalise_caption(text) for text in training]
    bags = {key: grams(key) for key in {*keys, *trained}}
    held = Counter(gram for bag in bags.values() for gram in bag)
    weighted = {
        key: {gram: count * (np.log((1 + len(bags)) / (1 + held[gram])) + 1) for gram, count in bag.items()}
        for key, bag in bags.items()
    }
    norms = {key: np.sqrt(sum(value**2 for value in bag.values())) for key, bag in weighted.items()}

    def cosine(one, other):
        product = sum(value * weighted[other].get(gram, 0.0) for gram, value in weighted[one].items())
        return product / norms[one] / norms[other]

    near = [sum(key != other and cosine(key, other) >= similarity for other in trained) for key in keys]
    return [trained.count(key) for key in keys], near


@pytest.mark.parametrize("similarity", [0.3, 0.6, 0.8, 0.97])
def test_caption_groups_are_those_of_all_pairs(captions, similarity, monkeypatch):
    monkeypatch.setattr("vidmem.prompts.captions.BLOCK", 7)
    texts, training = captions[:80], captions[40:]
    found = caption_groups(texts, training, similarity)
    identical, near = slow_groups(texts, training, similarity)
    assert list(found["n_identical_captions"]) == identical
    assert list(found["n_near_captions"]) == near
    assert max(identical) > 1
    assert max(near) > 0


def test_caption_groups_do_not_depend_on_the_order(captions, stream):
    wanted = caption_groups(captions, captions, 0.7)
    order = stream.permutation(len(captions))
    found = caption_groups([captions[place] for place in order], sorted(captions), 0.7)
    pd.testing.assert_frame_equal(found, wanted.iloc[order].reset_index(drop=True))


def test_few_pairs_are_multiplied_out(stream):
    """The prefix filter must spare most pairs of captions that share common words, or a large corpus takes for ever."""
    texts = sorted({f"gameplay of {a}{b}, a {a} runs" for a in "abcdefghij" for b in "klmnopqrst"})
    vectors = letter_vectors(np.array([normalise_caption(text) for text in texts], dtype=object))
    rare = rare_part(vectors, 0.9)
    everyone, candidates = (vectors @ vectors.T).nnz, (rare @ rare.T).nnz
    assert everyone == len(texts) ** 2
    assert candidates < everyone / 4


def test_no_captions_are_no_groups():
    assert len(caption_groups([], [], 0.8)) == 0
    assert list(caption_groups(["a"], ["", " "], 0.8)["n_identical_captions"]) == [0]
