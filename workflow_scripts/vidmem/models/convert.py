"""From the names that a model's authors gave their weights to ours: reading a published checkpoint, and renaming it.

Every official name has to fit a rule and every weight of ours has to be filled with the right shape. Half a model that loads
without a complaint would generate noise, and an audit of noise finds no memorization.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from pickle import UnpicklingError  # the error alone: nothing here unpickles

import torch

from ..errors import VidmemError
from ..fetch import check_hash
from ..logs import LOGGER


class Stub:
    """Stands for a class of the trainer that a checkpoint names, and does nothing."""

    def __init__(self, *given, **named):
        """Take what the class would be made of."""


TRAINERS = [(Stub, f"{package}.callbacks.{name}") for package in ("pytorch_lightning", "lightning.pytorch") for name in
            ("model_checkpoint.ModelCheckpoint", "early_stopping.EarlyStopping", "lr_monitor.LearningRateMonitor")]  # fmt: skip
"""Classes under whose names Lightning keeps the state of its callbacks: none of their code is imported or run."""
Weights = dict[str, torch.Tensor]
CONTAINERS = {"state_dict": "", "ema": "", "module": "_forward_module."}
"""Names under which trainers keep the weights beside other things, of several the first that is there, and what the names of
the weights then begin with: Lightning, LaVie's own, DeepSpeed under Lightning."""
REFUSED = re.compile(r"WeightsUnpickler error: (.*?)(?: was not an allowed| Check the documentation|$)")
"""What torch.load says of the thing it would not load, among advice to load it all the same."""
SHOWN = 5
"""Names that an error lists."""


@dataclass(frozen=True)
class Renaming:
    """What becomes of the official names that a pattern fits.

    Attributes:
        pattern: regular expression of the whole name.
        names: ours, templates of re.Match.expand; none for names that are known and not needed.
        change: from the official tensor to one tensor a name.
    """

    pattern: str
    names: tuple[str, ...] = ()
    change: Callable[[torch.Tensor], Sequence[torch.Tensor]] = lambda values: (values,)


AS_THEY_ARE = Renaming(r"(.+)", (r"\1",))
"""For networks of ours that keep the official names."""


def read_checkpoint(path: Path, sha256: str) -> Weights:
    """Weights of a published checkpoint; nothing but tensors is loaded from it, and no code is run.

    Args:
        path: safetensors, or a file of torch.save.
        sha256: its digest, 64 digits.

    Raises:
        VidmemError: no file, another digest, or anything else in it than tensors.
    """
    if not path.is_file():
        raise VidmemError("an official checkpoint", "nothing there", str(path), "docs/models-not-in-diffusers.md: where it is")
    check_hash(path, sha256)
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(path)
    try:
        with torch.serialization.safe_globals(TRAINERS):
            held = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except (UnpicklingError, RuntimeError, EOFError) as error:
        told = " ".join(str(error).split())
        found = REFUSED.search(told)
        got = (found.group(1) if found else told)[:200]
        hint = "save its state dict as safetensors on a machine where its code may run"
        raise VidmemError("a checkpoint of tensors alone", got, str(path), hint) from error
    return _unpacked(held, path)


def _unpacked(held: object, path: Path) -> Weights:
    """Weights of what a trainer saved."""
    name = next((name for name in CONTAINERS if isinstance(held, Mapping) and isinstance(held.get(name), Mapping)), None)
    weights = held if name is None else held[name]
    if not isinstance(weights, Mapping) or not all(isinstance(value, torch.Tensor) for value in weights.values()):
        kinds = sorted({type(value).__name__ for value in weights.values()} if isinstance(weights, Mapping) else {type(held)})
        raise VidmemError("tensors by name", f"values of type {kinds}", str(path))
    if name is not None:
        LOGGER.info("%s: weights under %r; not taken: %s", path, name, sorted(set(held) - {name}))
    start = CONTAINERS.get(name, "")
    if others := [key for key in weights if not key.startswith(start)]:
        raise VidmemError(f"names that begin with {start}", _some(others), str(path))
    return {key.removeprefix(start): values for key, values in weights.items()}


def renamed(weights: Weights, renamings: Sequence[Renaming], where: str) -> Weights:
    """Weights under our names. Every official name goes by the first rule that fits it.

    Raises:
        VidmemError: names that no rule fits, or two that become one.
    """
    ours: Weights = {}
    unknown = []
    for name, values in weights.items():
        fitting = ((rule, re.fullmatch(rule.pattern, name)) for rule in renamings)
        rule, match = next(((rule, match) for rule, match in fitting if match), (None, None))
        if rule is None:
            unknown.append(name)
            continue
        for template, part in zip(rule.names, rule.change(values) if rule.names else (), strict=True):
            target = match.expand(template)
            if target in ours:
                raise VidmemError(f"one official weight for {target}", f"another: {name}", where)
            ours[target] = part
    if unknown:
        hint = "another model, or another version of it?"
        raise VidmemError("official names of this layout", f"unexpected: {_some(unknown)}", where, hint)
    return ours


def fill(module: torch.nn.Module, weights: Weights, where: str) -> None:
    """Give a network its weights, all of them and no others.

    Args:
        module: may be on the meta device: the tensors become its own.

    Raises:
        VidmemError: missing or unexpected names, or other shapes.
    """
    wanted = {name: tuple(value.shape) for name, value in module.state_dict().items()}
    missing, unexpected = sorted(set(wanted) - set(weights)), sorted(set(weights) - set(wanted))
    expected = f"the {len(wanted)} weights of {type(module).__name__}"
    if missing or unexpected:
        amiss = {"missing": missing, "unexpected": unexpected}
        got = "; ".join(f"{kind}: {_some(names)}" for kind, names in amiss.items() if names)
        raise VidmemError(expected, got, where, "another model, or another variant of it?")
    shapes = {name: tuple(weights[name].shape) for name in wanted}
    other = [f"{name} {shapes[name]} for {wanted[name]}" for name in sorted(wanted) if shapes[name] != wanted[name]]
    if other:
        raise VidmemError(f"{expected} in their shapes", f"other shapes: {_some(other)}", where, "another variant of it?")
    module.load_state_dict(weights, strict=True, assign=True)


def filled(kind: type, network: dict, weights: Weights, where: str) -> torch.nn.Module:
    """A network of a class with a configuration and weights; its own random ones are never made.

    Raises:
        VidmemError: keys that the configuration of the class has not, or as fill.
    """
    known = set(signature(kind.__init__).parameters) - {"self"}
    unknown = sorted(set(network) - known)
    if unknown:
        raise VidmemError(f"keys of {sorted(known)}", unknown, "checkpoint.network")
    with torch.device("meta"):
        module = kind(**network)
    fill(module, weights, where)
    return module.eval()


def _some(names: Sequence[str]) -> str:
    more = f", and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
