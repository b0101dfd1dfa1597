"""Which captions of a corpus are most prone to trigger memorization: every signal, and one rank of all of them.

Signals: how often training saw the clip, how many captions say the same or nearly so, how many clips show the same, and how
suspicious one denoising step of a model looks (Webster 2305.08694). High means suspicious. None is folded into another:
each is a column, and the combined rank is a mean of ranks.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np
import pandas as pd
from scipy.sparse import coo_matrix, csr_matrix
from scipy.sparse.csgraph import connected_components
from scipy.stats import rankdata

from .errors import VidmemError
from .features import REFERENCE_SPLITS, is_usable
from .items import video_of
from .logs import LOGGER
from .prompts import prompts_of_corpus

SPLITS = ("member", "heldout", "image")
AVAILABLE = {"ok": "available", "recovered": "available", "missing": "gone", "gone": "gone"}
"""What the status of a clip says of its footage; of others it is unknown: there may be another file of that name."""
STATIC = ("copies", "n_identical_captions", "n_near_captions", "n_near_duplicate_clips")
SIGNALS = (*STATIC, "white_box")
COLUMNS = (
    "rank", "combined", "prompt_id", "prompt", "source", "target", "split", "cluster", "label", "label_source", "licence",
    "availability", "status", "reason", *SIGNALS, *(f"rank_{name}" for name in SIGNALS), "caption", "cluster_reason", "line",
)  # fmt: skip
NGRAM = 4  # characters, within words
EDGES = 2**20  # pairs of clips in memory before they are joined
BLOCK = 2048  # rows of a sparse product at once


def near_duplicate_clusters(
    clips: pd.DataFrame,
    index,
    rows: Sequence[str],
    ids: np.ndarray,
    blocks: Iterable[np.ndarray],
    stored: Callable[[np.ndarray], np.ndarray],
    similarity: float,
    min_information: float = 0.0,
    batch: int = 1024,
) -> pd.DataFrame:
    """Clusters of training clips that show the same: components of the graph of frames that resemble each other.

    Two clips are joined if any two of their frames reach the similarity, so that the edges are those of GSSCD. Clips of little
    information are left out: dark frames resemble each other, and one of them would chain many.

    Args:
        clips: clip table of the corpus.
        index: FAISS inner-product index of the frames of the training clips.
        rows: clip id of every frame; ids: its identity in the index, int64, ascending.
        blocks: the same frames in the same order, float [n, d] each, unit norm.
        stored: the frames of some identities, float [m, d]; what an index finds counts if these reach the similarity.
        similarity: least inner product of two frames of near-duplicates.
        min_information: clips below it (bits, as in the clip table) are left out.
        batch: frames looked up at once.

    Returns:
        A row a clip: clip_id; cluster, the smallest clip id of its component, its own where it is not in the graph;
        n_near_duplicate_clips, the others of its component (windows of a video are one), missing where it is not in the graph;
        cluster_reason, why it is not. Of an approximate index, clusters may be cut in pieces, never joined wrongly: stored
        frames decide.

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
    index, vectors: np.ndarray, queries: np.ndarray, owners: np.ndarray, ids: np.ndarray,
    stored: Callable[[np.ndarray], np.ndarray], similarity: float, nodes: int,
) -> np.ndarray:  # fmt: skip
    """Pairs of clips that some frames of a batch join, each pair once, as smaller * nodes + larger."""
    mine = queries >= 0
    if not mine.any():
        return np.zeros(0, np.int64)
    # FAISS returns what is above the radius; what is equal to the similarity counts, too.
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
    """Labels after joining further edges; a label is the smallest node of its component."""
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


def normalise_caption(text: str) -> str:
    """Caption without what people do not read: case, punctuation, accents' encoding, invisible and repeated blanks.

    A caption of punctuation alone stays as it is: otherwise all of them would be the same.

    >>> normalise_caption("  A cat,\\u202e on the MAT! ")
    'a cat on the mat'
    >>> normalise_caption("?!")
    '?!'
    """
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    # Punctuation and controls between words part them; marks of direction and joiners stand within words.
    kept = "".join(
        "" if (kind := unicodedata.category(letter)) == "Cf" else " " if kind[0] in "PC" else letter for letter in folded
    )
    return re.sub(r"\s+", " ", kept).strip() or text.strip()


def caption_groups(texts: Sequence[str], training: Sequence[str], similarity: float) -> pd.DataFrame:
    """How many captions of the training data say the same as each text, and how many nearly the same.

    Nearly: the cosine of TF-IDF vectors of the letters, four in a row within words, reaches the similarity. Neighbours are
    counted, not components: captions made from one template would chain.

    Args:
        texts: not empty; training: captions of the training clips, one a clip, the empty ones count for nothing.
        similarity: above 0, at most 1.

    Returns:
        A row a text: caption (normalised), n_identical_captions (clips with the same normalised caption, its own among
        them), n_near_captions (clips with another one that is near).
    """
    keys = [normalise_caption(text) for text in texts]
    counts = pd.Series([normalise_caption(text) for text in training if text.strip()], dtype=object).value_counts()
    universe = np.array(sorted({*keys, *counts.index}), dtype=object)
    weights = counts.reindex(universe).fillna(0).to_numpy(dtype=np.int64)
    near = np.zeros(len(universe), np.int64)
    for first, second in _near_pairs(_letters(universe), similarity) if len(universe) else ():
        np.add.at(near, first, weights[second])
        np.add.at(near, second, weights[first])
    place = pd.Index(universe).get_indexer(np.array(keys, dtype=object))
    return pd.DataFrame({"caption": keys, "n_identical_captions": weights[place], "n_near_captions": near[place]})


def _letters(captions: np.ndarray) -> csr_matrix:
    """TF-IDF vectors of captions, unit norm, their features from the most common to the rarest."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectors = TfidfVectorizer(analyzer="char_wb", ngram_range=(NGRAM, NGRAM), lowercase=False).fit_transform(captions)
    vectors = vectors.tocsr()[:, np.argsort(-np.bincount(vectors.indices, minlength=vectors.shape[1]), kind="stable")]
    vectors.sort_indices()
    return vectors


def _near_pairs(vectors: csr_matrix, similarity: float) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pairs of rows whose inner product reaches the similarity, each once, exactly, without comparing all of them.

    The common features of a vector, as many as have together a norm below the similarity, cannot reach it alone. A near pair
    therefore shares a feature that is rare for both; only such pairs are multiplied out (prefix filter, Bayardo et al. 2007).
    """
    rare = _rare_part(vectors, similarity)
    columns = rare.T.tocsr()
    for start in range(0, rare.shape[0], BLOCK):
        shared = (rare[start : start + BLOCK] @ columns).tocoo()
        first, second = shared.row.astype(np.int64) + start, shared.col.astype(np.int64)
        first, second = first[first < second], second[first < second]
        for at in range(0, len(first), 32 * BLOCK):
            pair = first[at : at + 32 * BLOCK], second[at : at + 32 * BLOCK]
            near = np.asarray(vectors[pair[0]].multiply(vectors[pair[1]]).sum(axis=1)).ravel() >= similarity
            yield pair[0][near], pair[1][near]


def _rare_part(vectors: csr_matrix, similarity: float) -> csr_matrix:
    """Rows without their most common features, whose squares add up to less than the squared similarity."""
    squares = np.r_[0.0, np.cumsum(vectors.data**2)]
    before = np.repeat(squares[vectors.indptr[:-1]], np.diff(vectors.indptr))
    kept = squares[1:] - before >= similarity**2 - 1e-6
    rare = vectors.copy()
    rare.data[~kept] = 0
    rare.eliminate_zeros()
    return rare


def static_signals(clips: pd.DataFrame, clusters: pd.DataFrame, caption_similarity: float) -> pd.DataFrame:
    """What the corpus says of every caption, without a model, with ranks.

    Args:
        clips: clip table of the corpus; clusters: of near_duplicate_clusters.

    Returns:
        A row a caption (and a row a clip without one), with the columns of list_prompts, availability (of the clip), caption,
        cluster, cluster_reason and STATIC.
    """
    table = prompts_of_corpus(clips, SPLITS)
    # Also of clips whose file cannot be read here: training saw their captions all the same.
    first = clips["clip_id"] == clips["clip_id"].map(video_of)  # training saw a video's caption once, however many its windows
    training = clips.loc[clips["split"].isin(REFERENCE_SPLITS) & first, "caption"]
    said = table["status"] == "ok"
    groups = caption_groups(list(table["prompt"][said]), list(training), caption_similarity)
    for name in groups:
        kind = "str" if name == "caption" else "Int64"
        table[name] = groups[name].set_axis(table.index[said]).reindex(table.index).astype(kind)
    table["caption"] = table["caption"].fillna("")
    found = clusters.set_index("clip_id").loc[table["target"]].reset_index(drop=True)
    states = clips.set_index("clip_id")["status"].map(AVAILABLE).fillna("unknown")
    table["availability"] = states.loc[table["target"]].to_numpy()
    return rank_prompts(pd.concat([table.reset_index(drop=True), found], axis=1).astype({"copies": "Int64"}), STATIC)


def add_white_box(table: pd.DataFrame, scores: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """One-step scores of models as columns: white_box_<model> as it is, white_box their common scale.

    Scores of two models do not compare. white_box is therefore the mean, over the models that probed a prompt, of the share of
    the model's other prompts that scored lower (half of those equal): 0 to 1. Prompts are told by their text.

    Args:
        scores: model -> prompt, value (higher is more suspicious); of a prompt listed twice the higher value counts.
    """
    text, shares = table["prompt"].str.strip(), []
    for model, probed in scores.items():
        best = probed.assign(prompt=probed["prompt"].str.strip()).groupby("prompt")["value"].max().dropna()
        strange = int((~best.index.isin(text)).sum())
        LOGGER.info("%s: %d prompts probed, %d of them not among the curated", model, len(best), strange)
        share = pd.Series((rankdata(best) - 0.5) / max(len(best), 1), index=best.index)
        table = table.assign(**{f"white_box_{model}": text.map(best).astype(float)})
        shares.append(text.map(share).astype(float))
    mean = pd.concat(shares, axis=1).mean(axis=1) if shares else np.nan
    return table.assign(white_box=pd.Series(mean, index=table.index, dtype=float))


def curate(
    static: pd.DataFrame, scores: Mapping[str, pd.DataFrame], lists: Sequence[pd.DataFrame], source: str, licence: str
) -> pd.DataFrame:
    """The curated data set of a corpus: its captions and further lists, every signal, and the combined rank.

    Args:
        static: of static_signals; scores: of add_white_box; lists: of append_lists.
        source, licence: of the corpus.

    Returns:
        COLUMNS, then white_box_<model> of every model that was probed.
    """
    table = append_lists(static.assign(source=source, licence=licence), lists)
    table = rank_prompts(add_white_box(table, scores))
    return table[[*COLUMNS, *(f"white_box_{model}" for model in scores)]]


def append_lists(table: pd.DataFrame, lists: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Rows of further lists under those of a corpus; one that says what a caption says, normalised, has its signals, too.

    Args:
        table: static signals, best first, with the column source; lists: tables of load_prompt_list, with the column source.
    """
    about = ["cluster", "cluster_reason", *STATIC]
    said = table[(table["status"] == "ok") & ~table["caption"].duplicated()]  # of captions that say the same the first
    known = said.set_index("caption")[about]
    parts = [table.assign(label="", label_source="", line=pd.array([pd.NA] * len(table), "Int64"))]
    for listed in lists:
        found = known.reindex([normalise_caption(text) for text in listed["prompt"]]).reset_index(names="caption")
        found[["cluster", "cluster_reason"]] = found[["cluster", "cluster_reason"]].fillna("")
        parts.append(pd.concat([listed.reset_index(drop=True), found], axis=1).assign(split=""))
    return pd.concat(parts, ignore_index=True).astype({"line": "Int64"})


def rank_prompts(table: pd.DataFrame, signals: Sequence[str] = SIGNALS) -> pd.DataFrame:
    """Rows in the order of all signals together, the most suspicious first.

    Every signal ranks the prompts it was measured for, 1 for its highest value; equal values share the mean of their ranks.
    combined is the mean of (rank - 0.5) / prompts measured, over the signals that a prompt has and that vary: a
    missing signal neither helps nor harms. Equal combined ranks go by prompt id. Prompts that are not ok have no rank
    and come last.

    Args:
        table: prompt_id, status and the signals; rows in any order.

    Returns:
        The table with rank (1, 2, ...), combined, and rank_<signal>, missing where the signal is.
    """
    usable_rows, shares = (table["status"] == "ok").to_numpy(), {}
    for name in signals:
        values = table[name].astype(float).to_numpy(dtype=float, na_value=np.nan)
        measured = usable_rows & ~np.isnan(values)
        ranks = np.full(len(table), np.nan)
        ranks[measured] = rankdata(-values[measured])
        table = table.assign(**{f"rank_{name}": ranks})
        if len(np.unique(values[measured])) > 1:
            shares[name] = (ranks - 0.5) / measured.sum()
    count = sum((~np.isnan(share) for share in shares.values()), np.zeros(len(table), int))
    total = sum((np.nan_to_num(share) for share in shares.values()), np.zeros(len(table)))
    combined = np.divide(total, count, out=np.full(len(table), np.nan), where=count > 0)
    LOGGER.info("signals that vary: %s", ", ".join(shares) or "none")
    keys = [name for name in ("prompt_id", "source", "line") if name in table]
    table = table.assign(combined=combined, unusable=~usable_rows).sort_values(["unusable", "combined", *keys])
    order = pd.array(np.where(table["unusable"], np.nan, np.arange(1, len(table) + 1)), dtype="Int64")
    return table.assign(rank=order).drop(columns="unusable").reset_index(drop=True)
