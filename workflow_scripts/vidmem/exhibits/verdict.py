"""The verdict of an audit: shares with intervals, thresholds and worst matches of every model, and the provenance."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from .. import __version__
from ..audit import CALIBRATED, is_prompted
from ..base.clip_table import REFERENCE_SPLITS
from ..base.code_digest import code_commit
from ..base.store import hash_text, load_table
from ..errors import VidmemError
from ..features.statistics import Interval
from ..generation.elsewhere import file_of
from ..scoring.scores import VerdictRule, prompt_verdicts
from .answers import Answer, AnswerRule, answer_of, floor_of_prompts, lacking_parts, summary_of
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
    for name, path, own in zip(config["models"], scores, clips, strict=True):
        files = json.loads(Path(fingerprints[name]).read_text()) if name in fingerprints else None
        own_scores, members = load_table(path), training[training["set"] == f"corpus-{config['models'][name]['corpus']}"]
        models[name] = _model_verdict(name, shares, own_scores, own, members.set_index("clip_id"), config, files)
        computed_by |= set(own_scores["preset"])
    return {
        "format": 1,
        "run": config["run"],
        "summary": [summary_of(model, model["label"]) for model in models.values()],
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


def _model_verdict(
    name: str,
    shares: pd.DataFrame,
    scores: pd.DataFrame,
    clips: pd.DataFrame,
    training: pd.DataFrame,
    config: dict,
    files: dict | None,
) -> dict:
    rows = shares[(shares["model"] == name) & (shares["kind"] == "all")].iloc[0]
    real = shares[(shares["kind"] == "heldout") & (shares["model"] == HELD_OUT) & (shares["corpus"] == rows["corpus"])]
    statuses = training.loc[training["split"].isin(REFERENCE_SPLITS), "status"].value_counts().sort_index()
    counts = {str(status): int(count) for status, count in statuses.items()}
    prompts, failed = int(rows["n_prompts"]), int(rows["n_failed"])
    lacking = lacking_parts(counts, failed, prompts, AnswerRule(**config["answer"]))
    return {
        "label": config["models"][name].get("label", name),
        "prompted": is_prompted(config["models"][name]),
        "prompts": sorted(set(clips["prompt_id"])),
        "replayed": {kind: _replayed(config[kind], clips, scores) for kind in ("content", "motion")},
        "n_prompts": prompts,
        "n_ok": int(rows["n_ok"]),
        "n_failed": failed,
        "training": {
            "n_clips": sum(counts.values()),
            "n_compared": counts.get("ok", 0),
            "absent": {status: count for status, count in counts.items() if status != "ok"},
        },
        **{
            kind: _kind_verdict(kind, rows, real, scores, config[kind]["metric"], clips, training, config, lacking)
            for kind in ("content", "motion")
        },
        "generated_sha256": _digest(clips),
        "model": files or {"path": config["models"][name]["path"], "revision": None, "files": {}},
    }


def _kind_verdict(
    kind: str,
    row: pd.Series,
    real: pd.DataFrame,
    scores: pd.DataFrame,
    metric: str,
    clips: pd.DataFrame,
    training: pd.DataFrame,
    config: dict,
    lacking: Sequence[str],
) -> dict:
    definition = config[kind]
    worst = scores[(scores["metric"] == metric) & scores["value"].notna()]
    worst = worst.sort_values(["value", "clip_id"], ascending=[False, True]).head(WORST)
    made = clips.set_index("clip_id")
    files = made["provenance"].map(file_of)
    if definition.get("threshold") == CALIBRATED:
        in_force = sorted(set(scores.loc[scores["metric"] == metric, "threshold"]))
        rate = config["calibration"]["false_positive_rate"]
        definition = {**definition, "threshold": in_force[0] if in_force else None, "false_positive_rate": rate}
    answer = _answer(kind, row, real, clips, config, lacking)
    return {
        "definition": definition,
        "answer": answer.answer,
        "reason": answer.reason,
        "difference": None if answer.difference is None else {
            part: _number(value) for part, value in answer.difference._asdict().items()
        },
        "share": _number(row[f"{kind}_share"]),
        "low": _number(row[f"{kind}_low"]),
        "high": _number(row[f"{kind}_high"]),
        "held_out": _held_out(kind, real),
        "worst": [
            {
                "generated": match.clip_id, "training": match.match, "score": _number(match.value),
                "generated_frame": int(match.query_frame), "training_frame": int(match.reference_frame),
                "prompt": made.loc[match.clip_id, "caption"], "caption": training.loc[match.match, "caption"],
                "copies": int(training.loc[match.match, "copies"]), "memorised": bool(match.verdict),
                "preset": match.preset, "search": match.search, "view": match.view,
                **({"generated_file": files[match.clip_id]} if files[match.clip_id] else {}),
            }
            for match in worst.itertuples()
        ],
    }  # fmt: skip


def _replayed(section: dict, clips: pd.DataFrame, scores: pd.DataFrame) -> list[str]:
    """Ids of the prompts that replay training clips, sorted."""
    rule = VerdictRule.of(section)
    verdicts = prompt_verdicts(clips, scores, rule.metric, rule.samples)
    return sorted(verdicts.loc[verdicts["memorised"].astype(bool), "prompt_id"])


def _answer(kind: str, row: pd.Series, real: pd.DataFrame, clips: pd.DataFrame, config: dict, lacking: Sequence[str]) -> Answer:
    """The share of a kind, read against that of real clips: of as many as a prompt has samples, if any of them counts."""
    share, floor = _interval(kind, row), None if real.empty else _interval(kind, real.iloc[0])
    if floor is not None and config[kind]["samples"] == "any":
        floor = floor_of_prompts(floor, int(clips.groupby("prompt_id").size().max()) if len(clips) else 1)
    return answer_of(share, floor, lacking, AnswerRule(**config["answer"]))


def _interval(kind: str, row: pd.Series) -> Interval | None:
    """The share of a row of table 2, with its interval; None if it is not defined."""
    ends = [float(row[f"{kind}_{part}"]) for part in ("share", "low", "high")]
    return None if np.isnan(ends[0]) else Interval(*ends)


def _held_out(kind: str, real: pd.DataFrame) -> dict | None:
    """Share of real held-out clips that are memorised by the threshold of the audit; None without such clips."""
    if real.empty or not real.iloc[0]["n_prompts"]:
        return None
    floor = real.iloc[0]
    shares = {part: _number(floor[f"{kind}_{part}"]) for part in ("share", "low", "high")}
    return {"n": int(floor["n_prompts"])} | shares


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
