"""Settings: numbers within their range are accepted, all else is refused by name."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest

from fedmed_networks.settings import check_number


@pytest.mark.parametrize(
    ("value", "limits"),
    [
        (0, {"least": 0}),
        (0.5, {"above": 0, "below": 1}),
        (1, {"least": 0, "most": 1}),
        (10**400, {"above": 0}),
        (-3.5, {}),
        (2**32 - 1, {"least": 0, "below": 2**32, "whole": True}),
        (None, {"above": 0, "optional": True}),
    ],
)
def test_numbers_within_their_range_are_accepted(value: Any, limits: dict[str, Any]) -> None:
    check_number("rate", value, **limits)


@pytest.mark.parametrize(
    ("value", "limits", "expected"),
    [
        (0, {"above": 0}, "a number above 0"),
        (-1, {"least": 0}, "a number of at least 0"),
        (1.0, {"least": 0, "below": 1}, "a number of at least 0 and below 1"),
        (1.5, {"least": 0, "most": 1}, "a number of at least 0 and of at most 1"),
        (math.nan, {"least": 0}, "a finite number of at least 0"),
        (math.inf, {"above": 0}, "a finite number above 0"),
        (-math.inf, {"below": 0}, "a finite number below 0"),
        (True, {"least": 0}, "a number of at least 0"),
        ("1", {"least": 0}, "a number of at least 0"),
        (None, {"least": 0}, "a number of at least 0"),
        ("1", {"above": 0, "optional": True}, "a number above 0 or null"),
        (1.0, {"least": 1, "whole": True}, "a whole number of at least 1"),
        (True, {"least": 1, "whole": True}, "a whole number of at least 1"),
        (0, {"least": 1, "whole": True}, "a whole number of at least 1"),
    ],
)
def test_all_else_is_refused(value: Any, limits: dict[str, Any], expected: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(f'rate: found {value!r}, expected {expected}')}$"):
        check_number("rate", value, **limits)
