"""Search for the windows of one file among the training clips, the held-out clips and the generated clips of an audit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import pandas as pd

from ..base.clip_table import usable
from ..features.clip_features import ClipFeatures, listed_features
from ..features.metrics import Metric
from ..features.motion_comparison import MotionComparison
from .content_search import search_content
from .motion_search import search_motion_set
from .references import OpenReferences, ReferenceShards
from .through_index import CertifiedIndex


@dataclass(frozen=True)
class SearchedSet:
    """A set of clips in which a file is looked up.

    Attributes:
        role: 'training', 'held out' or 'generated'.
        where: the corpus, or the label of the model.
        name: name of the set.
        references: kind of features -> the clips to search.
        indexes: 'content' or 'motion' -> the index to search through; none for an exact scan.
    """

    role: str
    where: str
    name: str
    references: Mapping[str, ReferenceShards]
    indexes: Mapping[str, CertifiedIndex | None] = field(default_factory=dict)


@dataclass(frozen=True)
class FileSearch:
    """How a file is looked up: by the metrics of the verdict.

    Attributes:
        content: metric of content; comparison: the motion comparison, of which the configured metric counts.
        search: section `search` of the configuration.
    """

    content: Metric
    comparison: MotionComparison
    search: Mapping

    @property
    def kinds(self) -> dict[str, str]:
        """Kind of memorization -> kind of features that it compares."""
        return {"content": "content", "motion": self.comparison.rule_of(self.comparison.configured).features}

    def matches(self, queries: Mapping[str, ClipFeatures], searched: SearchedSet) -> pd.DataFrame:
        """Best matches of every window of the file, by content and by motion: the columns of a table of matches, and kind.

        Args:
            queries: "content" and "motion" -> descriptors and flows of the windows.
        """
        wanted, search = replace(self.comparison, metrics=(self.comparison.configured,)), dict(self.search)
        found = search_content(
            [self.content], queries["content"], searched.references["content"], search, searched.indexes.get("content")
        )
        moved = search_motion_set(
            wanted, queries["motion"], searched.references, search, lambda _: None, searched.indexes.get("motion")
        )
        moved = moved[moved["metric"] == self.comparison.configured.name]
        tables = [table.assign(kind=kind) for kind, table in (("content", found), ("motion", moved)) if len(table)]
        return pd.concat(tables, ignore_index=True) if tables else found.assign(kind="")


def searched_set(about: Mapping, lookup: FileSearch, threads: int) -> SearchedSet:
    """A set in which a file is looked up.

    Args:
        about: role, where, set, `lists` and `indexes` by kind ('content', 'motion'), and `splits`. Without splits the set is
            a corpus of any size, whose references are read shard by shard or searched through the indexes.
        threads: CPU threads of a search through an index.
    """
    named = about["role"], about["where"], about["set"]
    if about["splits"] is not None:
        return SearchedSet(*named, open_references(about["lists"], lookup.kinds, about["splits"]))
    references = {features: ReferenceShards.listed(about["lists"][kind], features) for kind, features in lookup.kinds.items()}
    opened = {
        kind: CertifiedIndex.open(files[0], files[1], dict(lookup.search), threads) for kind, files in about["indexes"].items()
    }
    return SearchedSet(*named, references, opened)


def open_references(lists: Mapping[str, str], kinds: Mapping[str, str], splits: Sequence[str]) -> dict[str, ReferenceShards]:
    """The usable clips of a listed set as references, by kind of features.

    Args:
        lists: 'content' and 'motion' -> path of the list of that kind.
        kinds: see FileSearch.kinds.
        splits: splits whose clips are searched; all if empty.
    """
    found: dict[str, ReferenceShards] = {}
    for kind, features in kinds.items():
        opened = listed_features(lists[kind], features)
        found[features] = OpenReferences(opened, list(usable(opened.clips, splits)["clip_id"]))
    return found
