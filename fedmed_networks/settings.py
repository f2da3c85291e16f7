"""Checks of settings: a number of a configuration is finite and within its range.

Networks and workflows share this check, so it stands in the package that both may import.
"""

from __future__ import annotations

import math
import operator
from typing import Any


def check_number(
    name: str,
    value: Any,
    *,
    least: float | None = None,
    above: float | None = None,
    most: float | None = None,
    below: float | None = None,
    whole: bool = False,
    optional: bool = False,
) -> None:
    """Refuses a setting that is no finite number within its range.

    A bool, a text, NaN and the infinities are never accepted.

    Parameters
    ----------
    name
        The setting's name, as the configuration has it.
    value
        The setting's value.
    least, above
        Lower end of the range: closed, or open.
    most, below
        Upper end of the range: closed, or open.
    whole
        Whether the number must be an int.
    optional
        Whether None is accepted, too.

    Raises
    ------
    ValueError
        The message names the setting, the value found and the range expected.

    Examples
    --------
    >>> check_number("momentum", 0.9, least=0, below=1)
    >>> check_number("momentum", 1.0, least=0, below=1)
    Traceback (most recent call last):
    ValueError: momentum: found 1.0, expected a number of at least 0 and below 1
    """
    if optional and value is None:
        return
    ranges = (
        ("of at least", least, operator.ge),
        ("above", above, operator.gt),
        ("of at most", most, operator.le),
        ("below", below, operator.lt),
    )
    ends = [(words, end, holds) for words, end, holds in ranges if end is not None]
    number = isinstance(value, int if whole else (int, float)) and not isinstance(value, bool)
    finite = number and -math.inf < value < math.inf
    if finite and all(holds(value, end) for _, end, holds in ends):
        return
    kind = "a whole number" if whole else "a number" if finite or not number else "a finite number"
    extent = " and".join(f" {words} {end}" for words, end, _ in ends)
    raise ValueError(f"{name}: found {value!r}, expected {kind}{extent}{' or null' if optional else ''}")
