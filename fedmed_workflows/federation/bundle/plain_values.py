"""Checks of settings that a job brings: plain values only, never code."""

from __future__ import annotations

from typing import Any

from monai.bundle import ConfigComponent

from fedmed_workflows.errors import SiteError

EVALUATED = ("$", "@", "%")
"""First characters of texts that MONAI evaluates, resolves or replaces."""

FETCHED, FETCHING_KEYS = ("hf-hub:", "hf_hub:", "local-dir:"), ("hf_", "tokenizer_kwargs")
"""First characters of texts and of keys that make open_clip and timm load models from elsewhere."""

IN_THE_BUNDLE = "which only the bundle installed at a site may ask for"


def check_plain(value: Any, name: str) -> None:
    """Refuses a value that a configuration would evaluate, instantiate, or replace by something else.

    A configuration evaluates texts that start with ``$``, builds entries with a ``_target_``, and looks up texts that
    start with ``@`` or ``%``. Only the bundle that is installed at a site may do this, never a message.

    Parameters
    ----------
    value
        Texts, numbers, truth values and None, in lists and dictionaries.
    name
        Name of the setting, for the message.

    Raises
    ------
    SiteError
        The value is not plain; the message names the setting and the value.
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


def check_nothing_fetched(value: Any, name: str) -> None:
    """Refuses a value that makes a library load a model's description from elsewhere: it may name other code.

    open_clip and timm accept names with a scheme (a hub, a folder of this machine), and descriptions that name
    tokenizers and text encoders of a hub.

    Raises
    ------
    SiteError
        A text or a key asks for such a load; the message names the setting and the value.
    """
    if isinstance(value, dict):
        for key, inner in value.items():
            if key.startswith(FETCHING_KEYS):
                raise SiteError(f"setting {name!r}: {key!r} has it fetched elsewhere, {IN_THE_BUNDLE}")
            check_nothing_fetched(inner, f"{name}#{key}")
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            check_nothing_fetched(inner, f"{name}#{index}")
    elif isinstance(value, str) and value.strip().lower().startswith(FETCHED):
        raise SiteError(f"setting {name!r}: {value!r} is fetched elsewhere, {IN_THE_BUNDLE}")


def _check_key(key: Any, name: str) -> None:
    if not isinstance(key, str) or key in ConfigComponent.non_arg_keys:
        raise SiteError(f"setting {name!r}: expected plain values, found the key {key!r}")
    _check_text(key, name)


def _check_text(text: str, name: str) -> None:
    if text.lstrip().startswith(EVALUATED):
        raise SiteError(f"setting {name!r}: expected a plain value, found {text!r}, which a configuration evaluates")
