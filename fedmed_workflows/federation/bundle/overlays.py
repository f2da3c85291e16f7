"""The training configuration of a bundle with its overlays: whether they fit it, and what they make of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser
from monai.bundle.reference_resolver import ReferenceResolver
from monai.bundle.utils import ID_SEP_KEY, MERGE_KEY

METHOD = "configs/methods/{}.json"
"""A bundle's overlay of a method besides its own, by the method's name."""


def merged(files: Sequence[str]) -> dict[str, Any]:
    """A training configuration with its overlays, later files over earlier ones, as MONAI merges them."""
    content: dict[str, Any] = ConfigParser.load_config_files(list(files))
    return content


def check_overlays(files: Sequence[str]) -> None:
    """Refuses an overlay that was written for another training configuration.

    Parameters
    ----------
    files
        The training configuration, then its overlays.

    Raises
    ------
    ValueError
        An overlay merges into (``+``) or goes down to (``#``) an entry that is not there, adds an entry that nothing
        refers to, or refers to one that does not exist; the message names the overlay, the entry and the files before.
    """
    for number, file in enumerate(files[1:], start=1):
        before, overlay = ConfigParser(merged(files[:number])), ConfigParser.load_config_file(file)
        misfits = sorted(_absent(overlay, before))
        whole = merged(files) if not misfits else {}
        misfits = misfits or sorted(_unused(overlay, before, whole) | _dangling(overlay, ConfigParser(whole)))
        if misfits:
            raise ValueError(f"{file}: this overlay does not fit {', '.join(files[:number])}: {'; '.join(misfits)}")


def check_single_method(bundle_root: str, names: Sequence[str], method: str) -> None:
    """Refuses the overlays of two methods: the second's settings would stand in the place of the first's, silently.

    Parameters
    ----------
    bundle_root
        Folder of the bundle, whose ``configs/methods/NAME.json`` name each method's overlays in ``+train_config``.
    names
        The training configuration and its overlays, by their names in that folder, or others by paths.
    method
        Name of the method that they are said to be.

    Raises
    ------
    ValueError
        Those of them that belong to methods of the bundle are more than one method's, or another's.
    """
    files = sorted(Path(bundle_root).glob(METHOD.format("*")))
    methods = {file.stem: ConfigParser.load_config_file(file).get("+train_config", []) for file in files}
    theirs = {name for overlays in methods.values() for name in overlays}
    found = [name for name in names if name in theirs]
    if found and (found not in methods.values() or found != methods.get(method, found)):
        expected = f"expected the overlays of one method, of {sorted(methods)}"
        raise ValueError(f"method {method!r}: train_config: found {found}, {expected}")


def _absent(overlay: Mapping[str, Any], before: ConfigParser) -> set[str]:
    """Entries to change that are not there; MONAI would add them, and nothing would use them."""
    changed = {id_.removeprefix(MERGE_KEY): id_ for id_ in overlay if _nested(id_) or id_.startswith(MERGE_KEY)}
    return {f"it changes {id_!r}, which is no entry there" for name, id_ in changed.items() if name not in before}


def _unused(overlay: Mapping[str, Any], before: ConfigParser, whole: Mapping[str, Any]) -> set[str]:
    added = {id_ for id_ in overlay if id_ not in before and not _nested(id_) and not id_.startswith(MERGE_KEY)}
    used = {reference.split(ID_SEP_KEY)[0] for reference in _references(whole)}
    return {f"it adds {id_!r}, which nothing refers to" for id_ in added - used}


def _dangling(overlay: Mapping[str, Any], whole: ConfigParser) -> set[str]:
    missing = {reference for reference in _references(overlay) if reference not in whole}
    return {f"it refers to '@{reference}', which is no entry" for reference in missing}


def _references(content: Any) -> Iterator[str]:
    """Ids that a configuration refers to; those relative to the entry itself are left out."""
    if isinstance(content, str):
        found = ReferenceResolver.match_refs_pattern(content)
        yield from (id_ for id_ in found if id_ and not id_.startswith(ID_SEP_KEY))
    elif isinstance(content, (Mapping, list)):
        for inner in content.values() if isinstance(content, Mapping) else content:
            yield from _references(inner)


def _nested(id_: str) -> bool:
    return len(ReferenceResolver.split_id(id_)) > 1
