"""Values of settings: ``none`` unsets a setting, and a number lies in its range before anything is read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fedmed_networks.settings import check_number
from fedmed_workflows.federation.bundle.plain_values import EVALUATED

UNSET = ("none", "null")
"""Texts that unset a setting: the command line and a later file may write them."""

RANGES: dict[str, dict[str, Any]] = {
    "rounds": {"least": 0, "whole": True},
    "epochs": {"least": 1, "whole": True},
    "local_epochs": {"least": 1, "whole": True},
    "val_interval": {"least": 1, "whole": True},
    "seed": {"least": 0, "whole": True},
    "min_sites": {"least": 1, "whole": True, "optional": True},
    "round_seconds": {"above": 0, "optional": True},
    "statistics_min_count": {"least": 1, "whole": True},
    "learning_rate": {"above": 0},
    "batch_size": {"least": 1, "whole": True},
    "image_size": {"least": 1, "whole": True},
    "settle_seconds": {"least": 0},
    "poll_seconds": {"least": 0},
}
"""The range of each setting that is a number, by the name that it has in every configuration and group."""


def without_none(content: dict[str, Any], groups: Sequence[str]) -> bool:
    """Sets the settings with the text ``none`` to None, in place; returns whether there are any.

    Parameters
    ----------
    content
        The configuration.
    groups
        Names of its entries that hold settings of the sites' training.
    """
    holders = (content, *(content[group] for group in groups))
    unset = [(holder, name) for holder in holders for name, value in holder.items() if is_unset(value)]
    for holder, name in unset:
        holder[name] = None
    return bool(unset)


def is_unset(value: Any) -> bool:
    """Checks whether a value is the text that unsets a setting."""
    return isinstance(value, str) and value.lower() in UNSET


def check_values(content: Mapping[str, Any], groups: Sequence[str]) -> None:
    """Refuses a setting that is no number in its range.

    Raises
    ------
    ValueError
        The message names the setting, the value found and the range expected.
    """
    for id_, name, value in _settings(content, groups):
        if name not in RANGES or (isinstance(value, str) and value.startswith(EVALUATED)):
            continue
        try:
            check_number(id_, value, **RANGES[name])
        except ValueError as error:
            raise ValueError(f"{error}{_number_hint(value)}") from None


def _settings(content: Mapping[str, Any], groups: Sequence[str]) -> Iterator[tuple[str, str, Any]]:
    """Yields the id, the name and the value of each setting."""
    yield from ((name, name, value) for name, value in content.items())
    for group in groups:
        yield from ((f"{group}#{name}", name, value) for name, value in content[group].items())


def _number_hint(value: Any) -> str:
    """Says how YAML writes a number that was read as a text."""
    try:
        number = float(value) if isinstance(value, str) else None
    except ValueError:
        return ""
    return "" if number is None else f"; this is a text: YAML reads a number with a point, for example {number:.1e}"
