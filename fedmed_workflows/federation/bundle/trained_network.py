"""The network of a trained bundle, where the overlays of a method replaced the bundle's own."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

NETWORK = "network_def"
"""Entry of a configuration: the network, as MONAI's commands look for it."""


def trained_network(
    inference: Mapping[str, Any], before: Mapping[str, Any], after: Mapping[str, Any], value_of: Callable[[str], Any]
) -> dict[str, Any]:
    """The network of a method, as an inference configuration builds it.

    Arguments that the method left as they were are inference's own, for example where it takes the class names from;
    those that inference does without, for example where the foundation's weights lie, it does without here too.

    Parameters
    ----------
    inference, before, after
        ``network_def`` of the bundle's inference, of its training, and of its training with the method's overlays.
    value_of
        The run's value of an entry of the training configuration, by its id.

    Raises
    ------
    ValueError
        A new argument is no plain value.
    """
    same = {name for name, value in after.items() if name in before and before[name] == value}
    kept = [name for name in after if name in inference or name not in same]
    return {
        name: inference[name] if name in same and name in inference else _value(name, after[name], value_of)
        for name in kept
    }


def _value(name: str, value: Any, value_of: Callable[[str], Any]) -> Any:
    if "@" not in json.dumps(value):
        return value
    found = value_of(f"{NETWORK}#{name}")
    try:
        return json.loads(json.dumps(found))
    except TypeError as error:
        raise ValueError(f"{NETWORK}#{name}: expected a plain value, found {type(found).__qualname__}") from error
