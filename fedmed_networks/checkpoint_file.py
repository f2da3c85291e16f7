"""Reads the tensors of a checkpoint, in the layouts in which programs keep them, without running its code."""

from __future__ import annotations

import pickle
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch.serialization import get_unsafe_globals_in_checkpoint, safe_globals

State = dict[str, torch.Tensor]

ENTRIES = ("state_dict", "model_state_dict", "model", "network", "net", "module")
"""Entries under which programs keep the state of a network, beside an optimizer's state, settings or counters."""

SAVE_STATE = "save its state_dict(): torch.save(network.state_dict(), file)"

UNREADABLE = (RuntimeError, OSError, EOFError, ValueError, KeyError, pickle.UnpicklingError, SafetensorError)


class Checkpoint(NamedTuple):
    """The state of a checkpoint, the names of the entries that led to it, and whether it has objects left unread."""

    state: State
    entries: tuple[str, ...] = ()
    unread: bool = False


class _Unread(dict[Any, Any]):
    """Stands for an object of a class that is not imported, so that no code of a checkpoint runs."""

    def __new__(cls, *_: Any, **__: Any) -> _Unread:
        return super().__new__(cls)

    def __init__(self, *_: Any, **__: Any) -> None:
        super().__init__()

    def __setstate__(self, state: Any) -> None:
        """Drops the content of the object."""


def read_state(path: Path) -> State:
    """Reads the state of a network from a checkpoint, see :func:`read_checkpoint`."""
    return read_checkpoint(path).state


def read_checkpoint(path: Path, values: bool = True) -> Checkpoint:
    """Reads the state of a network from a checkpoint: a file of torch, or one in safetensors.

    Parameters
    ----------
    path
        A plain state, or a state under one of :data:`ENTRIES`, as trainers and Lightning keep it. Objects of other
        classes beside it are not created.
    values
        Whether the values are checked; without the check they are read from the file only where they are used.

    Raises
    ------
    ValueError
        The file does not exist, holds no state, more than one, or a pickled network, or a value is not finite. The
        message starts with the file.
    """
    if not path.is_file():
        raise ValueError(f"weights {str(path)!r}: no such file; expected a checkpoint")
    try:
        content, unread = (load_file(path), False) if path.suffix == ".safetensors" else _content(path, not values)
    except UNREADABLE as error:
        raise ValueError(f"{path}: not a checkpoint: {_first_line(error)}") from error
    found = list(_states(content, path, ()))
    if len(found) != 1:
        listed = " and ".join(" > ".join(part.entries) for part in found) or _described(content)
        raise ValueError(f"{path}: not a checkpoint: expected the tensors of one network by name, found {listed}")
    if values:
        check_finite(found[0].state, path)
    return found[0]._replace(unread=unread)


def check_finite(state: Mapping[str, torch.Tensor], path: str | Path) -> None:
    """Refuses weights that are not numbers (NaN) or infinite; a mask may hold infinities.

    Raises
    ------
    ValueError
        The message starts with the file and names the first tensors.
    """
    wrong = [name for name, value in state.items() if value.is_floating_point() and not _is_finite(name, value)]
    if wrong:
        raise ValueError(
            f"{path}: weights that are no finite numbers in {wrong[:3]} ({len(wrong)} tensors in all); "
            "expected finite weights: the training diverged, or the file is damaged"
        )


def own_names(state: State, expected: Iterable[str]) -> State:
    """Removes a prefix that wrappers set before the names of a network, such as ``module.`` or ``sam.``.

    Parameters
    ----------
    state
        The tensors by name.
    expected
        The names of the network.

    Returns
    -------
    dict
        The tensors, without the prefix that most names of the network have in `state`. The state is unchanged if most
        have none, or if two prefixes are equally frequent, as those of a teacher and a student. Names without the
        prefix stay, so that the network refuses them.
    """
    known = set(expected)
    prefixes = Counter(prefix for name in state for prefix in _prefixes(name) if name.removeprefix(prefix) in known)
    most = prefixes.most_common(2)
    if not most or (len(most) > 1 and most[0][1] == most[1][1]):
        return state
    prefix = most[0][0]
    named = {name.removeprefix(prefix): value for name, value in state.items()}
    return named if len(named) == len(state) else state


def _prefixes(name: str) -> Iterator[str]:
    parts = name.split(".")
    return ("".join(f"{part}." for part in parts[:count]) for count in range(len(parts)))


def _content(path: Path, mapped: bool) -> tuple[Any, bool]:
    """Reads a file of torch. Objects of classes that torch does not allow are left unread, which is returned, too."""
    options: dict[str, Any] = {"map_location": "cpu", "weights_only": True}
    try:
        return torch.load(path, mmap=mapped, **options), False
    except pickle.UnpicklingError:
        unknown = get_unsafe_globals_in_checkpoint(path)
        if not unknown:
            raise
    with safe_globals([(type(name, (_Unread,), {}), name) for name in unknown]):
        return torch.load(path, **options), True


def _states(content: Any, path: Path, entries: tuple[str, ...]) -> Iterator[Checkpoint]:
    """Finds the states in a checkpoint: the content itself, or those of its entries."""
    if isinstance(content, _Unread):
        raise ValueError(
            f"{path}: not a checkpoint: expected tensors by name, found a pickled object of "
            f"{type(content).__name__}, which is not loaded; {SAVE_STATE}"
        )
    if not isinstance(content, dict) or not content:
        return
    if all(isinstance(value, torch.Tensor) for value in content.values()):
        yield Checkpoint({str(name): value for name, value in content.items()}, entries)
        return
    for name in (name for name in ENTRIES if name in content):
        yield from _states(content[name], path, (*entries, name))


def _is_finite(name: str, value: torch.Tensor) -> bool:
    wrong = value.isnan() if name.endswith("mask") else ~value.isfinite()
    return not bool(wrong.any())


def _described(content: Any) -> str:
    if not isinstance(content, dict):
        return type(content).__qualname__
    return f"no tensors under the names {sorted(map(str, content))[:5]}" if content else "no tensors"


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
