"""The verdict of an audit: shares with intervals, thresholds and worst matches of every model, and the provenance."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from .. import __version__
from ..audit import CALIBRATED, is_prompted
from ..base.clip_table import REFERENCE_SPLITS
from ..base.code_digest import code_commit
from ..base.store import hash_text, load_table
from ..errors import VidmemError
from ..features.metrics import KINDS
from ..features.statistics import Interval
from ..generation.elsewhere import file_of
from ..scoring.scores import VerdictRule, prompt_verdicts
from .answers import Answer, AnswerRule, Floor, answer_of, comparison_of, lacking_parts, summary_of
from .gate import FORMAT
from .tables import HELD_OUT

WORST = 10


def audit_verdict(
    table: Path | str,
    fingerprints: Mapping[str, str],
    scores: Sequence[str],
    clips: Sequence[pd.DataFrame],
    training: pd.DataFrame,
    config: dict,
    not_done: Path | str,
) -> dict:
    """Assemble the verdict.

    Args:
        table: table 2 as CSV.
        fingerprints: model -> file with the hashes of its files.
        scores: files of score tables, one for every model in the order of the configuration.
        clips: clip tables, one for every model in the order of the configuration.
        training: clip table of all corpora.
        config: completed configuration.
        not_done: table of the parts of the audit that were left out, as CSV.
    """
    shares = pd.read_csv(table)
    models = {}
    computed_by: set[str] = set()
    level = config["interval"]["level"]
    for name, path, own in zip(config["models"], scores, clips, strict=True):
        files = json.loads(Path(fingerprints[name]).read_text()) if name in fingerprints else None
        evidence = _evidence(name, shares, load_table(path), own, training, config)
        models[name] = _model_verdict(name, evidence, files)
        computed_by |= set(evidence.scores["preset"])
    return {
        "format": FORMAT,
        "run": config["run"],
        "summary": [
            *comparison_of(list(models.values()), level),
            *(summary_of(model, model["label"], level) for model in models.values()),
        ],
        "answer": config["answer"],
        "models": models,
        "not_done": pd.read_csv(not_done, keep_default_na=False).to_dict("records"),
        "provenance": {
            "vidmem": __version__,
            "commit": code_commit(Path(__file__).parent),
            "seed": config["seed"],
            "config_sha256": hash_text(json.dumps(config, sort_keys=True)),
            "corpus_sha256": _digest(training),
            "computed_by": sorted(computed_by - {""}),
        },
    }


@dataclass(frozen=True)
class _Evidence:
    """What the verdict on a model is made of.

    Attributes:
        row: row of table 2 on all its prompts.
        floor: row of table 2 on real clips that it never saw; None if there are none.
        scores: its table of scores.
        clips: its clip table.
        training: clip table of its corpus, by clip id.
        config: completed configuration.
    """

    row: pd.Series
    floor: pd.Series | None
    scores: pd.DataFrame
    clips: pd.DataFrame
    training: pd.DataFrame
    config: Mapping[str, Any]

    def training_counts(self) -> dict[str, int]:
        """Number of training clips by status."""
        chosen = self.training.loc[self.training["split"].isin(REFERENCE_SPLITS), "status"]
        return {str(status): int(count) for status, count in chosen.value_counts().sort_index().items()}

    def tries(self, kind: str) -> int:
        """Clips of a prompt of which any counts; 1 where all of them must."""
        if self.config[kind]["samples"] != "any" or not len(self.clips):
            return 1
        return int(self.clips.groupby("prompt_id").size().max())

    def lacking(self) -> list[str]:
        """What is missing from the audit of the model, see lacking_parts."""
        failed, prompts = int(self.row["n_failed"]), int(self.row["n_prompts"])
        return lacking_parts(self.training_counts(), failed, prompts, AnswerRule(**self.config["answer"]))


def _evidence(
    name: str, shares: pd.DataFrame, scores: pd.DataFrame, clips: pd.DataFrame, training: pd.DataFrame, config: dict
) -> _Evidence:
    row = shares[(shares["model"] == name) & (shares["kind"] == "all")].iloc[0]
    real = shares[(shares["kind"] == "heldout") & (shares["model"] == HELD_OUT) & (shares["corpus"] == row["corpus"])]
    floor = real.iloc[0] if len(real) and real.iloc[0]["n_prompts"] else None
    own = training[training["set"] == f"corpus-{config['models'][name]['corpus']}"].set_index("clip_id")
    return _Evidence(row, floor, scores, clips, own, config)


def _model_verdict(name: str, own: _Evidence, files: dict | None) -> dict:
    settings, counts = own.config["models"][name], own.training_counts()
    return {
        "label": settings.get("label", name),
        "corpus": settings["corpus"],
        "prompted": is_prompted(settings),
        "prompts": sorted(set(own.clips["prompt_id"])),
        "replayed": {kind: _replayed(own.config[kind], own.clips, own.scores) for kind in KINDS},
        "n_prompts": int(own.row["n_prompts"]),
        "n_ok": int(own.row["n_ok"]),
        "n_failed": int(own.row["n_failed"]),
        "training": {
            "n_clips": sum(counts.values()),
            "n_compared": counts.get("ok", 0),
            "absent": {status: count for status, count in counts.items() if status != "ok"},
        },
        **{kind: _kind_verdict(kind, own) for kind in KINDS},
        "generated_sha256": _digest(own.clips),
        "model": files or {"path": settings["path"], "revision": None, "files": {}},
    }


def _kind_verdict(kind: str, own: _Evidence) -> dict:
    answer = _answer(kind, own)
    difference = answer.difference and {part: _number(value) for part, value in answer.difference._asdict().items()}
    return {
        "definition": _definition(kind, own),
        "answer": answer.answer,
        "reason": answer.reason,
        "difference": difference,
        "tries": own.tries(kind),
        "n_scored": int(own.row[f"{kind}_scored"]),
        **_shares(kind, own.row),
        "held_out": None if own.floor is None else {
            "n": int(own.floor["n_prompts"]), "n_scored": int(own.floor[f"{kind}_scored"]), **_shares(kind, own.floor),
        },
        "worst": _worst(own.config[kind]["metric"], own),
    }  # fmt: skip


def _definition(kind: str, own: _Evidence) -> dict:
    """What counts as memorised. The threshold is the number in force, where the calibration chose it, too."""
    definition = own.config[kind]
    if definition.get("threshold") != CALIBRATED:
        return definition
    in_force = sorted(set(own.scores.loc[own.scores["metric"] == definition["metric"], "threshold"]))
    rate = own.config["calibration"]["false_positive_rate"]
    return {**definition, "threshold": in_force[0] if in_force else None, "false_positive_rate": rate}


def _worst(metric: str, own: _Evidence) -> list[dict]:
    """The best matches of the model by a metric, strongest first."""
    worst = own.scores[(own.scores["metric"] == metric) & own.scores["value"].notna()]
    worst = worst.sort_values(["value", "clip_id"], ascending=[False, True]).head(WORST)
    made, training = own.clips.set_index("clip_id"), own.training
    files = made["provenance"].map(file_of)
    return [
        {
            "generated": match.clip_id, "training": match.match, "score": _number(match.value),
            "generated_frame": int(match.query_frame), "training_frame": int(match.reference_frame),
            "prompt": made.loc[match.clip_id, "caption"], "caption": training.loc[match.match, "caption"],
            "copies": int(training.loc[match.match, "copies"]), "memorised": bool(match.verdict),
            "preset": match.preset, "search": match.search, "view": match.view,
            **({"generated_file": files[match.clip_id]} if files[match.clip_id] else {}),
        }
        for match in worst.itertuples()
    ]  # fmt: skip


def _replayed(section: dict, clips: pd.DataFrame, scores: pd.DataFrame) -> list[str]:
    """Ids of the prompts that replay training clips, sorted."""
    rule = VerdictRule.of(section)
    verdicts = prompt_verdicts(clips, scores, rule.metric, rule.samples)
    return sorted(verdicts.loc[verdicts["memorised"].astype(bool), "prompt_id"])


def _answer(kind: str, own: _Evidence) -> Answer:
    """The share of a kind, read against that of real clips."""
    one = None if own.floor is None else _interval(kind, own.floor)
    floor = None if one is None else Floor(one, own.tries(kind))
    return answer_of(_interval(kind, own.row), floor, own.lacking(), AnswerRule(**own.config["answer"]))


def _interval(kind: str, row: pd.Series) -> Interval | None:
    """The share of a row of table 2, with its interval; None if it is not defined."""
    ends = [float(row[f"{kind}_{part}"]) for part in ("share", "low", "high")]
    return None if np.isnan(ends[0]) else Interval(*ends)


def _shares(kind: str, row: pd.Series) -> dict:
    """The share of a row of table 2 that is memorised, with its interval."""
    return {part: _number(row[f"{kind}_{part}"]) for part in ("share", "low", "high")}


def _digest(clips: pd.DataFrame) -> str:
    """Digest of the columns of a clip table that affect the audit, pixels included. It does not depend on the shards."""
    columns = ["set", "clip_id", "caption", "split", "copies", "count", "pixels", "information", "status"]
    return hash_text(*sorted("\x1e".join(map(str, row)) for row in clips[columns].itertuples(index=False)))


def _number(value: float) -> float | None:
    return None if value is None or math.isnan(value) else round(float(value), 6)


def check_verdict(verdict: dict, schema: Path | str) -> None:
    """Raise VidmemError if the verdict does not fit its JSON Schema."""
    from jsonschema import Draft202012Validator

    for error in Draft202012Validator(yaml.safe_load(Path(schema).read_text(encoding="utf-8"))).iter_errors(verdict):
        raise VidmemError(error.message, error.instance, "verdict." + ".".join(map(str, error.absolute_path)))
