"""Checkpoints: written whole or not at all, read without running code from them, and resumed only by the run that wrote them.

``last.pth`` is written after every epoch and holds all that the next epoch depends on; ``best.pth`` holds the weights of the
best epoch so far. Randomness needs no place in them: everything random in an epoch follows from (seed, epoch).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sar_cls.errors import InputError
from sar_cls.files import replacing
from sar_cls.memory import is_out_of_memory
from sar_cls.runs.folder import BEST, LAST

FORMAT = "sar_cls checkpoint 1"
# Parts of a run's identity that its first versions did not write down; an older checkpoint can still be resumed.
_LATER = ("test images", "validation images")


def write_atomically(state: dict[str, Any], path: Path) -> None:
    """Saves to a temporary name beside ``path``, flushes it to the disk and renames it."""
    with replacing(path) as temporary:
        try:
            with temporary.open("wb") as file:
                torch.save(state, file)
        except RuntimeError as error:
            # torch's writer has its own words for what the file has told it, a full disk for example.
            if isinstance(error.__context__, OSError):
                raise error.__context__ from None
            raise


class UnusableCheckpoint(InputError):
    """The file is missing, damaged, or not what it should be; one that merely cannot be read is not called so."""


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Reads a checkpoint of this project onto the CPU, whatever device wrote it.

    Raises:
        UnusableCheckpoint: the file is missing, half written, or not a checkpoint of this project. It is left as it is.
        InputError: it is there, but the system does not let us read it.
    """
    if not path.is_file():
        raise UnusableCheckpoint(
            f"no checkpoint at {path}: give the path of a run that has trained for at least one epoch"
        )
    remedy = f"move the folder {path.parent} away to start this run over"
    try:
        with path.open("rb") as file:
            file.read(1)
    except OSError as error:  # says nothing about what is in the file
        raise InputError(f"{path} cannot be read ({error.strerror}): give it the permissions to be read") from error
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # what the unpickler raises depends on where a file was cut off or overwritten
        if is_out_of_memory(error):
            raise
        raise UnusableCheckpoint(f"{path} is damaged or no checkpoint ({type(error).__name__}): {remedy}") from error
    if not isinstance(state, dict) or state.get("format") != FORMAT or not {"meta", "state_dict"} <= set(state):
        raise UnusableCheckpoint(f"{path} was not written by this project: {remedy}")
    fault = _fault(state["meta"], state["state_dict"])
    if fault:
        raise UnusableCheckpoint(f"{path} is no whole checkpoint, {fault}: {remedy}")
    return state


def _fault(meta: Any, weights: Any) -> str | None:
    """What no checkpoint of this project can have, in a few words; None where all is as it should be."""
    if not isinstance(meta, dict):
        return f"its meta is {type(meta).__name__}"
    if not isinstance(weights, dict) or not all(isinstance(value, Tensor) for value in weights.values()):
        return "its state_dict is no dict of tensors"
    # Checkpoints of version 0.1 have neither best_from nor threads, nor do later ones all have cpu_capabilities.
    counts = {"epoch": meta.get("epoch"), "iter": meta.get("iter"), "best_from": meta.get("best_from", 1)}
    for name, value in counts.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            return f"its {name} is {value!r}"
    for name in ("threads", "processes"):
        numbers = meta.get(name, [])
        if not isinstance(numbers, list) or not all(isinstance(count, int) for count in numbers):
            return f"its {name} are {numbers!r}"
    names = meta.get("cpu_capabilities", [])
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        return f"its cpu_capabilities are {names!r}"
    return None


def read_own(path: Path, identity: dict[str, str]) -> dict[str, Any]:
    """Reads ``last.pth`` or ``best.pth`` of the run that ``identity`` describes.

    Raises:
        UnusableCheckpoint: the checkpoint is damaged or incomplete, or belongs to a run with another recipe, seed or data.
        InputError: it is there, but the system does not let us read it.
    """
    state = read_checkpoint(path)
    if path.name == LAST and not {"optimizer", "param_schedulers", "history"} <= set(state):
        raise UnusableCheckpoint(
            f"{path} holds weights alone and no training to go on with: move the folder {path.parent} away to start this run over"
        )
    for name, expected in identity.items():
        if name in _LATER and name not in state["meta"]:
            continue
        found = state["meta"].get(name)
        if found != expected:
            raise UnusableCheckpoint(
                f"{path} has another {name} ({found}) than this run ({expected}): "
                "use another --work-dir, or move the old run away"
            )
    return state


def write_last(run_dir: Path, state: dict[str, Any]) -> None:
    """Writes ``last.pth``: the whole ``state`` of a run after an epoch."""
    write_atomically({"format": FORMAT, **state}, run_dir / LAST)


def write_best(run_dir: Path, state: dict[str, Any]) -> None:
    """Writes ``best.pth``: the weights of a whole ``state``, without what only going on needs."""
    weights = {key: state[key] for key in ("meta", "state_dict", "history")}
    write_atomically({"format": FORMAT, **weights}, run_dir / BEST)
