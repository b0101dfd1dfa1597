"""The metrics of an audit, one record each. The other modules read the records. The metrics that every
audit computes are named here: GSSCD, OFS, and SCENES.

To add a content metric, write a file with its pair function, and register a record at the end of this file.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..errors import VidmemError
from .content import best_aligned, gsscd, gsscd_of_pairs, vsscd_match
from .motion_rule import ofs_by_rule

KINDS = ("content", "motion")
GSSCD, OFS = "gsscd", "ofs_k"
"""The metrics of content and of motion that every audit searches, whatever metric the verdicts are based on."""
SCENES = "vsscd"
"""The metric that decides whether two clips show one scene: it compares the clips over their whole length."""
OWN, UNFILTERED = "_own", "_unfiltered"
"""Endings of a metric's name in the table of scores. '_own' marks the score of a generated clip against its own training clip,
whose caption prompted it. '_unfiltered' marks a score without the natural motion filter."""


@dataclass(frozen=True)
class Metric:
    """What the audit knows of a metric.

    Attributes:
        name: name in the configuration and in the tables.
        kind: 'content' or 'motion'. The kind says which features are compared. It also says which section of the
            configuration states the threshold and how many samples must reach it.
        pair: function that compares two clips. A content metric takes the descriptors of two clips, float [T, d] and [U, d]
            of unit norm, and returns a FrameMatch. A motion metric takes the flows of two clips and a MotionRule, and returns
            the scores of all pairs of windows, float [I, J].
        search: name of the search that finds candidates; the modules content_search and motion_search know the searches.
            'frames' finds clips by their most similar frames, and 'aligned' by frames at equal times: both are matrix products.
            'pairs' compares every pair of clips by `pair`: it is exact for every content metric, and slow. 'windows' is for
            motion. Candidates of a content search are scored again by `pair`.
        label: name in figures; '{k}' stands for the number of frame pairs in a window.
        shown: function that chooses the frames of two clips that a figure shows; content only. None if `pair` names them.
        pairs: function that scores many pairs at once, if that is faster than `pair`; content only. It takes a list of
            descriptors and the index in it of the first and the second clips, int [n], and returns float [n].
        whitened: whether flows are compared without the background of common motion, see background.py; motion only.

    Raises:
        VidmemError: an unknown kind, or a name that ends with OWN or UNFILTERED.
    """

    name: str
    kind: str
    pair: Callable
    search: str
    label: str
    shown: Callable | None = None
    pairs: Callable | None = None
    whitened: bool = False

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise VidmemError(f"kind one of {KINDS}", self.kind, f"metric {self.name}")
        if self.name.endswith((OWN, UNFILTERED)):
            raise VidmemError(f"a name without the endings {OWN} and {UNFILTERED}", self.name, "metric")


METRICS: dict[str, Metric] = {}
"""Every metric by its name."""


def register_metric(metric: Metric) -> None:
    """Add a metric. From then on the configuration may name it.

    Raises:
        VidmemError: the name is taken.
    """
    if metric.name in METRICS:
        raise VidmemError("a metric of a new name", f"{metric.name}, which is there", "register_metric")
    METRICS[metric.name] = metric


def metric_of(name: str) -> Metric:
    """The record of a metric.

    Raises:
        VidmemError: no metric has this name.
    """
    if name not in METRICS:
        raise VidmemError(f"a metric of {', '.join(METRICS)}", name, "metric")
    return METRICS[name]


def metrics_of(kind: str) -> list[Metric]:
    """The metrics of one kind, 'content' or 'motion', in the order of their registration."""
    return [metric for metric in METRICS.values() if metric.kind == kind]


def searched_metrics(kind: str, configured: str) -> list[Metric]:
    """The metrics of one kind that the search uses: GSSCD or OFS-k, and the configured metric if it is another."""
    return [metric_of(name) for name in dict.fromkeys(({"content": GSSCD, "motion": OFS}[kind], configured))]


def metric_names() -> list[str]:
    """Names of all metrics: first the content metrics, then the motion metrics."""
    return [metric.name for kind in KINDS for metric in metrics_of(kind)]


def metric_labels(names: Sequence[str], k: int) -> dict[str, str]:
    """Labels of some metrics for figures, by the name of the metric.

    Args:
        k: frame pairs in a motion window.

    >>> metric_labels(["gsscd", "ofs_k"], 3)
    {'gsscd': 'GSSCD', 'ofs_k': 'OFS-3'}
    """
    return {name: metric_of(name).label.format(k=k) for name in names}


register_metric(Metric(GSSCD, "content", gsscd, "frames", "GSSCD", pairs=gsscd_of_pairs))
register_metric(Metric("vsscd", "content", vsscd_match, "aligned", "VSSCD", shown=best_aligned))
register_metric(Metric(OFS, "motion", ofs_by_rule, "windows", "OFS-{k}"))
register_metric(Metric("wofs_k", "motion", ofs_by_rule, "windows", "WOFS-{k}", whitened=True))
