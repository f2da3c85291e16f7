"""The network of a trained bundle, if the overlays of a method replaced the bundle's own."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

NETWORK = "network_def"
"""Entry of the network in a configuration, by the name that MONAI's commands use."""

REQUIRES = "_requires_"
"""Entry of a component in a configuration: the checks that run before the component is built."""


def trained_network(
    inference: Mapping[str, Any], before: Mapping[str, Any], after: Mapping[str, Any], value_of: Callable[[str], Any]
) -> dict[str, Any]:
    """Builds the network's entry of an inference configuration for a method.

    Arguments that the method did not change keep the inference's own value, for example the class names. Arguments that
    the inference does not have, for example the file of the foundation's weights, are left out again.

    Parameters
    ----------
    inference, before, after
        The entry ``network_def`` of the bundle's inference, of its training, and of its training with the method's
        overlays.
    value_of
        Gives the run's value of an entry of the training configuration, by the entry's id.

    Raises
    ------
    ValueError
        A new argument is no plain value.
    """
    same = {name for name, value in after.items() if name in before and before[name] == value}
    kept = [name for name in after if name in inference or name not in same]
    checked = {name: inference[name] for name in (REQUIRES,) if name in inference}
    return checked | {
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
