"""Tests a refusal's message for errors that wrap one another."""

from __future__ import annotations

import pytest

from fedmed_workflows.errors import refusal


def wrapped(*errors: Exception) -> Exception:
    """The first of them, each caused by the next."""
    for error, cause in zip(errors, errors[1:], strict=False):
        error.__cause__ = cause
    return errors[0]


@pytest.mark.parametrize(
    ("error", "names", "said"),
    [
        (RuntimeError("no"), (), "no"),
        (wrapped(RuntimeError("in a"), ValueError("a: 3 is no size"), KeyError("b")), (), "a: 3 is no size"),
        (wrapped(RuntimeError("in a"), TypeError("'str' and 'int'")), (), "in a: TypeError: 'str' and 'int'"),
        (wrapped(RuntimeError("in a"), ValueError("x.png: no size")), ("x.png",), "x.png: no size"),
        (wrapped(RuntimeError("in a"), ValueError("no size")), ("x.png",), "x.png: ValueError: no size"),
        (RuntimeError("no"), ("x.png", "y.png"), "x.png: RuntimeError: no"),
    ],
)
def test_the_cause_that_names_the_input_is_told(error: Exception, names: tuple[str, ...], said: str) -> None:
    assert refusal(error, *names) == said
