"""Loading of saved components. Either all weights are there and fit, or an error says what is missing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError

from ...errors import VidmemError

Loaded = TypeVar("Loaded")
AGAIN = "damaged or of another version: fetch or copy the files again"
OWN_CODE = "it brings code of its own: read it, then set trust_remote_code: true"
HINTS = {
    "ignore_mismatched_sizes": "the weights are of another class, or of another configuration than their config.json says",
    "trust_remote_code": OWN_CODE,
    "keep_in_fp32_modules": "pip install accelerate",
    "variant": "variant: null loads the files without one",
    "no file named": "fetch or copy the files again; pickles (.bin, .ckpt) are not loaded: save_pretrained, where trusted",
    "Unable to load weights": AGAIN,
    "deserializing": AGAIN,
    "not a valid JSON": AGAIN,
    "tiktoken": AGAIN,  # transformers mistakes a damaged spiece.model for a tiktoken file
}
"""Words in an error of diffusers, transformers or safetensors -> hint for the user. The first match counts."""
SHOWN = 5  # most names in an error message


def load_whole(load: Callable[[str], Loaded], folder: Path | str, expected: str, path: str = "") -> Loaded:
    """Load a folder with from_pretrained. Raise an error with a hint if files are damaged or weights are missing.

    Args:
        load: from_pretrained with its options, a function of the folder.
        expected: what the folder should hold, in words for the error.
        path: name of the folder in the configuration, for the error; '' to use `folder`.

    Raises:
        VidmemError: files are missing, do not fit or do not hold every parameter.
    """
    where = path or str(folder)
    try:
        with loading_reports() as reports:
            found = load(str(folder))
    except (torch.OutOfMemoryError, MemoryError):
        raise
    except (OSError, ValueError, RuntimeError, ImportError, AttributeError, SafetensorError) as error:
        text = " ".join(str(error).split())
        hint = next((hint for word, hint in HINTS.items() if word in text), "")
        raise VidmemError(expected, f"{type(error).__name__}: {text[:400]}", where, hint) from error
    for name, missing in reports:
        if missing:
            got = f"{name} without {', '.join(missing[:SHOWN])}" + f" and {len(missing) - SHOWN} more" * (len(missing) > SHOWN)
            hint = "diffusers would draw them at random: fetch the files again, or name the class they were saved from"
            raise VidmemError(f"{expected}, every parameter in its files", got, where, hint)
    return found


@contextmanager
def loading_reports() -> Iterator[list[tuple[str, list[str]]]]:
    """List class name and missing parameters of every model that diffusers or transformers loads inside this context.

    If a file lacks weights, both libraries initialise them at random and only write a line in a log. from_pretrained of a
    single model reports missing weights on request (output_loading_info). A pipeline does not request the report for its
    components, so this context adds the request to every call.
    """
    import diffusers
    import transformers

    reports: list[tuple[str, list[str]]] = []
    bases = (diffusers.ModelMixin, transformers.PreTrainedModel)
    originals = [base.__dict__["from_pretrained"] for base in bases]
    for base, original in zip(bases, originals):
        base.from_pretrained = _reporting(original.__func__, reports)
    try:
        yield reports
    finally:
        for base, original in zip(bases, originals):
            base.from_pretrained = original


def _reporting(original: Callable, reports: list[tuple[str, list[str]]]) -> classmethod:
    """Wrap a from_pretrained so that it adds an entry to `reports` for every model it loads."""

    def load(cls: type, *given: Any, **named: Any) -> Any:
        model, report = original(cls, *given, **named | {"output_loading_info": True})
        reports.append((cls.__name__, sorted(report["missing_keys"])))
        return (model, report) if named.get("output_loading_info") else model

    return classmethod(load)
