"""Read a published checkpoint and rename its weights from the names of the model's authors to the names of our networks.

Every official name must match a rule, and every weight of our network must get a tensor of the right shape. A half-filled
model that loads without an error would generate noise, and an audit of noise finds no memorization.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from pickle import UnpicklingError  # only the error class is imported: this module unpickles nothing
from typing import TypeVar

import torch

from ...base.logs import LOGGER
from ...base.store import check_hash
from ...errors import VidmemError


class Stub:
    """Placeholder for a class of the training code that a checkpoint refers to. It does nothing."""

    def __init__(self, *given: object, **named: object) -> None:
        """Accept any arguments, as the real class might."""


TRAINERS = [(Stub, f"{package}.callbacks.{name}") for package in ("pytorch_lightning", "lightning.pytorch") for name in
            ("model_checkpoint.ModelCheckpoint", "early_stopping.EarlyStopping", "lr_monitor.LearningRateMonitor")]  # fmt: skip
"""Names of Lightning classes that stand in checkpoints with the state of callbacks. None of their code is imported or run."""
Weights = dict[str, torch.Tensor]
Module = TypeVar("Module", bound=torch.nn.Module)
CONTAINERS = {"module": "_forward_module.", "ema": "", "state_dict": ""}
"""Keys under which trainers store the weights beside other data -> prefix of the weights' names there. The first key that a
checkpoint has is used, as in the official loaders. They are keys of DeepSpeed under Lightning, of LaVie, and of Lightning."""
REFUSED = re.compile(r"WeightsUnpickler error: (.*?)(?: was not an allowed| Check the documentation|$)")
"""The part of an error of torch.load that names what it refused; the rest is advice to load it all the same."""
SHOWN = 5
"""Most names that an error message lists."""


@dataclass(frozen=True)
class Renaming:
    """Rule that turns the official names that match a pattern into names of our network.

    Attributes:
        pattern: regular expression that must match the whole official name.
        names: our names, as templates for re.Match.expand; empty for weights that are known but not needed.
        change: function that turns the official tensor into one tensor for every name in `names`.
    """

    pattern: str
    names: tuple[str, ...] = ()
    change: Callable[[torch.Tensor], Sequence[torch.Tensor]] = lambda values: (values,)


AS_THEY_ARE = Renaming(r"(.+)", (r"\1",))
"""Rule for our networks that keep the official names."""


def read_checkpoint(path: Path, sha256: str) -> Weights:
    """Read the weights of a published checkpoint. Only tensors are loaded from it, and none of its code is run.

    Args:
        path: file in safetensors format or written by torch.save.
        sha256: SHA-256 digest of the file, 64 hexadecimal digits.

    Raises:
        VidmemError: the file is missing, has another digest, or holds anything but tensors.
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
    """Take the weights out of the object that a trainer saved.

    Raises:
        VidmemError: the object holds no tensors by name, or a name lacks the prefix that CONTAINERS states.
    """
    saved = held if isinstance(held, Mapping) else {}
    name = next((name for name in CONTAINERS if isinstance(saved.get(name), Mapping)), None)
    weights = held if name is None else saved[name]
    if not isinstance(weights, Mapping) or not all(isinstance(value, torch.Tensor) for value in weights.values()):
        types = sorted({type(value).__name__ for value in weights.values()}) if isinstance(weights, Mapping) else [type(held)]
        inner = [str(key) for key, value in saved.items() if isinstance(value, Mapping)]
        hint = f"the weights may lie under {_some(inner)}: save that part alone as safetensors" if inner else ""
        raise VidmemError("tensors by name", f"values of type {types}", str(path), hint)
    if name is not None:
        LOGGER.info("%s: weights under %r; not taken: %s", path, name, sorted(set(saved) - {name}))
    start = CONTAINERS[name] if name is not None else ""
    if others := [key for key in weights if not key.startswith(start)]:
        raise VidmemError(f"names that begin with {start}", _some(others), str(path))
    return {key.removeprefix(start): values for key, values in weights.items()}


def renamed(weights: Weights, renamings: Sequence[Renaming], where: str) -> Weights:
    """Rename official weights to our names. The first rule whose pattern matches an official name is used.

    Raises:
        VidmemError: no rule matches an official name, or two official names become the same name.
    """
    ours: Weights = {}
    unknown = []
    for name, values in weights.items():
        matches = ((rule, re.fullmatch(rule.pattern, name)) for rule in renamings)
        first = next(((rule, match) for rule, match in matches if match), None)
        if first is None:
            unknown.append(name)
            continue
        rule, match = first
        for template, part in zip(rule.names, rule.change(values) if rule.names else (), strict=True):
            target = match.expand(template)
            if target in ours:
                raise VidmemError(f"one official weight for {target}", f"another: {name}", where)
            ours[target] = part
    if unknown:
        start = unknown[0].partition(".")[0]
        common = len(unknown) == len(weights) and all(name.startswith(f"{start}.") for name in unknown)
        hint = f"all names begin with {start}.: save them without it" if common else "another model, or another version of it?"
        raise VidmemError("official names of this layout", f"unexpected: {_some(unknown)}", where, hint)
    return ours


def fill(module: torch.nn.Module, weights: Weights, where: str) -> None:
    """Load weights into a network. The names must be exactly the names of the network's parameters and buffers.

    Args:
        module: network, which may be on the meta device. It takes over the given tensors without copying them.

    Raises:
        VidmemError: names are missing or unexpected, or a tensor has another shape.
    """
    wanted = {name: tuple(value.shape) for name, value in module.state_dict().items()}
    missing, unexpected = sorted(set(wanted) - set(weights)), sorted(set(weights) - set(wanted))
    expected = f"the {len(wanted)} weights of {type(module).__name__}"
    if missing or unexpected:
        amiss = {"missing": missing, "unexpected": unexpected}
        got = "; ".join(f"{what}: {_some(names)}" for what, names in amiss.items() if names)
        raise VidmemError(expected, got, where, "another model, or another variant of it?")
    shapes = {name: tuple(weights[name].shape) for name in wanted}
    other = [f"{name} {shapes[name]} for {wanted[name]}" for name in sorted(wanted) if shapes[name] != wanted[name]]
    if other:
        raise VidmemError(f"{expected} in their shapes", f"other shapes: {_some(other)}", where, "another variant of it?")
    module.load_state_dict(weights, strict=True, assign=True)


def filled(cls: Callable[..., Module], network: dict, weights: Weights, where: str) -> Module:
    """Make a network of a class from a configuration and weights. No random initial weights are drawn for it.

    Raises:
        VidmemError: `network` has a key that the class does not accept, or the weights do not fit (see fill).
    """
    known = set(signature(cls).parameters)
    unknown = sorted(set(network) - known)
    if unknown:
        raise VidmemError(f"keys of {sorted(known)}", unknown, "checkpoint.network")
    with torch.device("meta"):
        module = cls(**network)
    fill(module, weights, where)
    return module.eval()


def _some(names: Sequence[str]) -> str:
    more = f", and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
