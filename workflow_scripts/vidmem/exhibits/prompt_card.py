"""Card of a curated data set of prompts: its purpose, content and origin, and how to load it."""

from __future__ import annotations

import json

import pandas as pd

from .. import __version__
from ..base.store import hash_text
from .table_files import on_one_line, to_markdown

COLUMNS = {
    "rank": "place by all signals together, 1 the most suspicious; missing for prompts that are not ok",
    "combined": "mean over the signals of (rank - 0.5) / prompts measured; 0 is the most suspicious",
    "prompt_id": "of the corpus: p- and the clip id; of a list: a digest of prompt and target",
    "prompt": "the caption, as it was found",
    "source": "the corpus or the list",
    "target": "training clip it is the caption of; in a list, what the list says: often addresses",
    "split": "member, image or heldout; empty for a list",
    "cluster": "smallest clip id of the near-duplicates of the target",
    "label": "what the list says of the prompt, in its own words",
    "label_source": "who said so",
    "licence": "of the text, as far as its source states one",
    "availability": "of the footage behind the target: available, gone, unknown",
    "status": "ok, or skipped",
    "reason": "of another status, or of a target that is gone",
    "copies": "times training saw the target",
    "n_identical_captions": "training clips with the same caption but for case, punctuation and blanks, its own among them",
    "n_near_captions": "training clips with another caption that is nearly the same",
    "n_near_duplicate_clips": "other training clips that show the same as the target",
    "white_box": "share of the probed prompts that look less suspicious to one denoising step, mean over the models",
    "rank_SIGNAL": "place by one signal among the prompts it was measured for; equal ones share the mean",
    "white_box_MODEL": "one-step score of a model, on its own scale",
    "caption": "the caption normalised, by which identical ones are told",
    "cluster_reason": "why the target is not in the graph of near-duplicates",
    "line": "line or row of the list",
}


def prompt_card(corpus: str, file: str, table: pd.DataFrame, provenance: dict) -> str:
    """Write the card in Markdown, with the header that data set hubs read.

    Args:
        corpus: name of the corpus.
        file: name of the Parquet file beside the card.
        table: table that curation.curate returns.
        provenance: everything the data set was made from, for JSON.
    """
    text = json.dumps(provenance, indent=2, sort_keys=True, ensure_ascii=False)
    columns = pd.DataFrame([(f"`{name}`", what) for name, what in COLUMNS.items()], columns=["column", "what"])
    head = {"config_name": "default", "data_files": file}
    return f"""---
pretty_name: Prompts prone to trigger memorization, corpus {corpus}
configs: [{json.dumps(head)}]
---
# Prompts prone to trigger memorization: corpus {corpus}

{len(table)} prompts, ranked by how likely a model that was trained on the corpus {corpus} replays training data for them.
Made by vidmem {__version__}. A rank is a reason to look, not a finding: nothing here says that a model did replay anything.
{_absent(table)}
## What is in it
{_counts(table, ["source", "status", "reason"])}
{_counts(table, ["source", "label_source", "label"])}
{_counts(table, ["source", "availability"])}
A prompt stands once for every source that has it. Nothing that was listed is left out: what cannot be prompted has a status
and a reason, and no rank. Before any statistics, group by `cluster` (or by `target` where there is none): prompts of one
target are no independent observations.

## Columns
{to_markdown(columns).replace(chr(92) + "`", "`")}
## Licences
{_counts(table, ["source", "licence"])}
The captions belong to whoever wrote them; what a licence says of footage, it says of footage. Prompts are strangers' text:
never use one as a path, and escape it before it is shown.

## Loading
```python
import pandas
prompts = pandas.read_parquet("{file}")
worst = prompts[prompts["rank"] <= 100]
```

## Provenance
Digest of all below: `{hash_text(text)[:16]}`

```json
{text}
```
"""


def _absent(table: pd.DataFrame) -> str:
    """List the signals that were not measured, so that nobody reads a missing signal as a low one."""
    probed = table["white_box"].notna().any()
    return "" if probed else "\n**No model was probed**: `white_box` is missing everywhere and has no part in the rank.\n"


def _counts(table: pd.DataFrame, columns: list[str], limit: int = 40) -> str:
    """Count prompts by the values of some columns. Only the largest groups are shown, with the number of the others."""
    counts = table.groupby(columns, dropna=False, sort=True).size().rename("prompts").reset_index()
    counts = counts.sort_values(["prompts", *columns], ascending=[False, *[True] * len(columns)], ignore_index=True)
    left = f"\n{len(counts) - limit} smaller groups are not shown.\n" if len(counts) > limit else ""
    shown = counts.head(limit)
    for name in columns:
        shown = shown.assign(**{name: [on_one_line(str(cell), 120) for cell in shown[name]]})
    return to_markdown(shown) + left
