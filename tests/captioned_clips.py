"""Clip tables with captions, their near-duplicate clusters and signals."""

import numpy as np
import pandas as pd

from vidmem.prompts.curation import static_signals
from vidmem.prompts.near_duplicates import near_duplicate_clusters
from vidmem.search.faiss_index import add_vectors, train_index


def clip_table(ids, **columns):
    base = {
        "clip_id": ids, "split": "member", "status": "ok", "reason": "", "information": 4.0, "copies": 1, "caption": "",
    }  # fmt: skip
    return pd.DataFrame(base | columns)


def build_index(blocks, dimension, factory="Flat"):
    """Index of blocks under each other, known by their rows."""
    vectors = np.concatenate([np.zeros((0, dimension), np.float32), *blocks])
    index = train_index(dimension, factory, vectors)
    add_vectors(index, vectors, np.arange(len(vectors)))
    return index


def clusters_of(clips, index, rows, blocks, *limits, **options):
    stored = np.concatenate([np.zeros((0, index.d), np.float32), *blocks]).__getitem__
    return near_duplicate_clusters(clips, index, rows, np.arange(len(rows)), blocks, stored, *limits, **options)


def signals(clips):
    rows, vectors = ["a", "b", "c", "d"], np.float32([[1, 0], [0.9, np.sqrt(0.19)], [0, 1], [0, -1]])
    clusters = clusters_of(clips, build_index([vectors], 2), rows, [vectors], 0.8)
    return static_signals(clips, clusters, 0.8)
