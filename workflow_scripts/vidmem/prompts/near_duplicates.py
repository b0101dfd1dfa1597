"""Near-duplicate clusters of the clips of a corpus, by their descriptors."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from ..base.clip_table import REFERENCE_SPLITS, is_usable
from ..base.identity import video_of
from ..errors import VidmemError

if TYPE_CHECKING:
    import faiss

EDGES = 2**20  # pairs of clips kept in memory before they are merged into the clusters


def near_duplicate_clusters(
    clips: pd.DataFrame,
    index: faiss.Index,
    rows: Sequence[str],
    ids: np.ndarray,
    blocks: Iterable[np.ndarray],
    stored: Callable[[np.ndarray], np.ndarray],
    similarity: float,
    min_information: float = 0.0,
    batch: int = 1024,
) -> pd.DataFrame:
    """Clusters of near-duplicate training clips: connected components of a graph whose nodes are clips.

    Two clips are connected if any frame of one and any frame of the other reach the similarity, as in GSSCD. Clips with little
    information are not in the graph: dark frames resemble each other, and would chain many clips.

    With an approximate index a cluster may fall apart, because a search misses pairs. But clips are never connected wrongly:
    the stored descriptors decide about every pair that the index finds.

    Args:
        clips: clip table of the corpus.
        index: FAISS inner-product index of the descriptors of all frames of the training clips.
        rows: clip id of every frame in the index.
        ids: number of every frame in the index, int64, ascending.
        blocks: descriptors of these frames in this order, in blocks of float [n, d], unit norm.
        stored: function from numbers of frames to their stored descriptors, float [m, d].
        similarity: least inner product of two frames of near-duplicates.
        min_information: clips with less information (bits, as in the clip table) are not in the graph.
        batch: frames looked up at once.

    Returns:
        One row a clip, with the columns:
        - clip_id.
        - cluster: smallest clip id of its component; its own id if it is not in the graph.
        - n_near_duplicate_clips: other videos in its component; missing if it is not in the graph.
        - cluster_reason: why it is not in the graph; '' if it is.

    Raises:
        VidmemError: the index does not fit its rows or the frames, or it cannot search a range.
    """
    if index.ntotal != len(rows):
        raise VidmemError(f"{index.ntotal} rows as in the index", len(rows), "near_duplicate_clusters", "build it again")
    reasons = _why_left_out(clips, min_information)
    nodes = np.sort(clips.loc[reasons == "", "clip_id"].to_numpy(dtype=object))
    owners = pd.Index(nodes).get_indexer(np.asarray(rows, dtype=object))
    labels, waiting, seen = np.arange(len(nodes)), [], 0
    for vectors in blocks:
        for first in range(0, len(vectors), batch):
            part = vectors[first : first + batch]
            mine = owners[seen : seen + len(part)]
            waiting.append(_edges(index, part, mine, owners, ids, stored, similarity, len(nodes)))
            seen += len(part)
        if sum(map(len, waiting)) > max(len(nodes), EDGES):
            labels, waiting = _joined(labels, waiting), []
    if seen != len(rows):
        raise VidmemError(f"{len(rows)} frames as in the index", seen, "near_duplicate_clusters", "build it again")
    return _cluster_table(clips, reasons, nodes, _joined(labels, waiting))


def _why_left_out(clips: pd.DataFrame, min_information: float) -> pd.Series:
    """Why each clip is not in the graph; '' for those that are."""
    reasons = pd.Series("", index=clips.index, dtype=object)
    low = clips["information"] < min_information
    reasons[low] = [f"information {value:.2f} below {min_information:g} bits" for value in clips["information"][low]]
    reasons[~clips["split"].isin(REFERENCE_SPLITS)] = "not a training clip"
    lost = ~is_usable(clips)
    reasons[lost] = clips["status"][lost] + ": " + clips["reason"][lost]
    return reasons


def _edges(
    index: faiss.Index, vectors: np.ndarray, queries: np.ndarray, owners: np.ndarray, ids: np.ndarray,
    stored: Callable[[np.ndarray], np.ndarray], similarity: float, nodes: int,
) -> np.ndarray:  # fmt: skip
    """Pairs of clips that the frames of a batch connect, each pair once, as the number smaller * nodes + larger, int64.

    Args:
        vectors: descriptors of the frames of the batch, [n, d].
        queries: node of every frame of the batch, [n]; -1 for a clip that is not in the graph.
        owners: node of every frame in the index; -1 for a clip that is not in the graph.
        nodes: number of nodes.
    """
    mine = queries >= 0
    if not mine.any():
        return np.zeros(0, np.int64)
    # FAISS returns frames strictly above the radius, but a frame exactly at the similarity counts, too.
    radius = float(np.nextafter(np.float32(similarity), np.float32(-1)))
    try:
        limits, _, hits = index.range_search(np.ascontiguousarray(vectors[mine], dtype=np.float32), radius)
    except RuntimeError as error:
        found = str(error).split("\n")[0][:120]
        raise VidmemError("an index that can search a range", found, "search.index", "use Flat") from error
    asked = np.repeat(np.flatnonzero(mine), np.diff(limits.astype(np.int64)))
    pairs = np.stack([queries[asked], owners[np.searchsorted(ids, hits)]])
    other = (pairs[1] >= 0) & (pairs[0] != pairs[1])
    scores = np.einsum("nd,nd->n", vectors[asked[other]].astype(np.float32), stored(hits[other]).astype(np.float32))
    pairs = np.sort(pairs[:, other][:, scores >= np.float32(similarity)], axis=0).astype(np.int64)
    return np.unique(pairs[0] * nodes + pairs[1])


def _joined(labels: np.ndarray, edges: list[np.ndarray]) -> np.ndarray:
    """Labels of all nodes after further edges are added; the label of a node is the smallest node of its component."""
    count = len(labels)
    if not count:
        return labels
    codes = np.concatenate([np.zeros(0, np.int64), *edges])
    first, second = np.r_[np.arange(count), codes // count], np.r_[labels, codes % count]
    graph = coo_matrix((np.ones(len(first), bool), (first, second)), shape=(count, count))
    _, component = connected_components(graph, directed=False)
    _, smallest = np.unique(component, return_index=True)
    return smallest[component]


def _cluster_table(clips: pd.DataFrame, reasons: pd.Series, nodes: np.ndarray, labels: np.ndarray) -> pd.DataFrame:
    place = pd.Index(nodes).get_indexer(clips["clip_id"].to_numpy(dtype=object))
    inside = place >= 0
    table = pd.DataFrame({"clip_id": clips["clip_id"].to_numpy(), "cluster": clips["clip_id"].to_numpy(dtype=object)})
    table.loc[inside, "cluster"] = nodes[labels[place[inside]]] if len(nodes) else []
    videos = pd.DataFrame({"label": labels, "video": [video_of(node) for node in nodes]}).drop_duplicates()
    sizes = np.bincount(videos["label"].to_numpy(dtype=np.int64), minlength=len(nodes))
    others = np.full(len(clips), np.nan)
    others[inside] = sizes[labels[place[inside]]] - 1
    return table.assign(n_near_duplicate_clips=pd.array(others, dtype="Int64"), cluster_reason=reasons.to_numpy())
