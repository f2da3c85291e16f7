"""Settings that come from elsewhere: values only, never code."""

from __future__ import annotations

from typing import Any

from monai.bundle import ConfigComponent

from fedmed_workflows.site_error import SiteError

EVALUATED = ("$", "@", "%")
"""First characters of the texts that MONAI evaluates, resolves or replaces."""


def check_plain(value: Any, name: str) -> None:
    """Refuses a value that a configuration would evaluate, instantiate, or replace by something else.

    A bundle's configuration runs what starts with ``$``, builds what has a ``_target_``, and looks up what starts with
    ``@`` or ``%``. All of this belongs to the bundle that is installed at a site, and never to a message.

    Parameters
    ----------
    value
        Texts, numbers, truth values and None, in lists and dictionaries.
    name
        Of the setting, for the message.

    Raises
    ------
    SiteError
        The message names the setting and what was found.
    """
    if isinstance(value, dict):
        for key, inner in value.items():
            _check_key(key, name)
            check_plain(inner, f"{name}#{key}")
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            check_plain(inner, f"{name}#{index}")
    elif isinstance(value, str):
        _check_text(value, name)
    elif value is not None and not isinstance(value, (bool, int, float)):
        raise SiteError(f"setting {name!r}: expected a plain value, found {type(value).__name__}")


def _check_key(key: Any, name: str) -> None:
    if not isinstance(key, str) or key in ConfigComponent.non_arg_keys:
        raise SiteError(f"setting {name!r}: expected plain values, found the key {key!r}")
    _check_text(key, name)


def _check_text(text: str, name: str) -> None:
    if text.lstrip().startswith(EVALUATED):
        raise SiteError(f"setting {name!r}: expected a plain value, found {text!r}, which a configuration evaluates")
