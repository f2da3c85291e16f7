"""Tests wait for events. The end of a wait only stops a test that hangs: no test asserts how long a machine takes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

END_SECONDS = 1800.0
"""Seconds after which a wait for an event ends with an error."""


def until(condition: Callable[[], Any], pause: float = 0.05, failure: Callable[[], str] = lambda: "") -> None:
    """Waits until a condition holds.

    Parameters
    ----------
    condition
        Called again and again.
    pause
        Seconds between two calls.
    failure
        Gives the text of the error if the condition does not hold within `END_SECONDS`.

    Raises
    ------
    TimeoutError
        The condition did not hold in time.
    """
    end = time.monotonic() + END_SECONDS
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"the condition did not hold within {END_SECONDS:.0f} s {failure()}")
        time.sleep(pause)
