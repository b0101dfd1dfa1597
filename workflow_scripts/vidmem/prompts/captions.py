"""Captions with the same text, or with nearly the same text."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from scipy.sparse import csr_matrix

NGRAM = 4  # characters of an n-gram, which never spans two words

BLOCK = 2048  # rows of a sparse product that are computed at once


def normalise_caption(text: str) -> str:
    """Caption without differences that a reader does not see as other words.

    It has one case, one encoding of accents, no punctuation, no invisible letters and no repeated blanks. A caption of
    punctuation alone stays as it is, because otherwise all such captions would be equal.

    >>> normalise_caption("  A cat,\\u202e on the MAT! ")
    'a cat on the mat'
    >>> normalise_caption("?!")
    '?!'
    """
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    # Punctuation and control characters separate words. Direction marks and joiners (category Cf) stand within words.
    kept = "".join(
        "" if (kind := unicodedata.category(letter)) == "Cf" else " " if kind[0] in "PC" else letter for letter in folded
    )
    return re.sub(r"\s+", " ", kept).strip() or text.strip()


def caption_groups(texts: Sequence[str], training: Sequence[str], similarity: float) -> pd.DataFrame:
    """Count the training captions that are identical to each text, and those that are near it.

    Two captions are near if the cosine of their TF-IDF vectors of letter 4-grams reaches the similarity. Only direct neighbours
    count: connected components would chain captions that were made from one template.

    Args:
        texts: texts to look up, none of them empty.
        training: captions of the training clips, one a clip; empty captions are ignored.
        similarity: least cosine of near captions, above 0 and at most 1.

    Returns:
        One row a text, with the columns:
        - caption: the normalised text.
        - n_identical_captions: number of training clips with this normalised caption.
        - n_near_captions: number of training clips with another normalised caption that is near.
    """
    keys = [normalise_caption(text) for text in texts]
    counts = pd.Series([normalise_caption(text) for text in training if text.strip()], dtype=object).value_counts()
    universe = np.array(sorted({*keys, *counts.index}), dtype=object)
    weights = counts.reindex(universe).fillna(0).to_numpy(dtype=np.int64)
    near = np.zeros(len(universe), np.int64)
    for first, second in _near_pairs(letter_vectors(universe), similarity) if len(universe) else ():
        np.add.at(near, first, weights[second])
        np.add.at(near, second, weights[first])
    place = pd.Index(universe).get_indexer(np.array(keys, dtype=object))
    return pd.DataFrame({"caption": keys, "n_identical_captions": weights[place], "n_near_captions": near[place]})


def letter_vectors(captions: np.ndarray) -> csr_matrix:
    """TF-IDF vectors of captions, of unit norm; the columns are n-grams, from the most common to the rarest."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectors = TfidfVectorizer(analyzer="char_wb", ngram_range=(NGRAM, NGRAM), lowercase=False).fit_transform(captions)
    vectors = vectors.tocsr()[:, np.argsort(-np.bincount(vectors.indices, minlength=vectors.shape[1]), kind="stable")]
    vectors.sort_indices()
    return vectors


def _near_pairs(vectors: csr_matrix, similarity: float) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Find every pair of rows whose inner product reaches the similarity, each pair once, without computing all products.

    Leave out the most common features of a vector as long as their norm stays below the similarity: they alone cannot reach it.
    A near pair therefore shares a feature that is rare for both rows. Only such pairs are multiplied out (prefix filter,
    Bayardo et al. 2007).
    """
    rare = rare_part(vectors, similarity)
    columns = rare.T.tocsr()
    for start in range(0, rare.shape[0], BLOCK):
        shared = (rare[start : start + BLOCK] @ columns).tocoo()
        first, second = shared.row.astype(np.int64) + start, shared.col.astype(np.int64)
        first, second = first[first < second], second[first < second]
        for at in range(0, len(first), 32 * BLOCK):
            pair = first[at : at + 32 * BLOCK], second[at : at + 32 * BLOCK]
            near = np.asarray(vectors[pair[0]].multiply(vectors[pair[1]]).sum(axis=1)).ravel() >= similarity
            yield pair[0][near], pair[1][near]


def rare_part(vectors: csr_matrix, similarity: float) -> csr_matrix:
    """Rows without their most common features: those features whose squares add up to less than the squared similarity."""
    squares = np.r_[0.0, np.cumsum(vectors.data**2)]
    before = np.repeat(squares[vectors.indptr[:-1]], np.diff(vectors.indptr))
    kept = squares[1:] - before >= similarity**2 - 1e-6
    rare = vectors.copy()
    rare.data[~kept] = 0
    rare.eliminate_zeros()
    return rare
