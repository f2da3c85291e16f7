"""Overlays of a bundle's configurations: merging, and refusals of overlays that do not fit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser
from monai.bundle.reference_resolver import ReferenceResolver
from monai.bundle.utils import ID_SEP_KEY, MERGE_KEY

from fedmed_workflows.configuration_file import read_configuration
from fedmed_workflows.federation.bundle.needed_packages import targets_of
from fedmed_workflows.federation.bundle.plain_values import EVALUATED

METHOD = "configs/methods/{}.json"
"""The overlay of a method in a bundle's folder, by the method's name."""


def merged(files: Sequence[str]) -> dict[str, Any]:
    """Merges a configuration with its overlays, as MONAI does: a later file replaces entries of an earlier one."""
    try:
        content: dict[str, Any] = ConfigParser.load_config_files(list(files))
    except Exception:
        for file in files:
            read_configuration(file)  # names the file that cannot be read
        raise
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
        refers to, refers to one that does not exist, or leaves it to a setting or an expression which class a component
        has; the message names the overlay, the entry and the files before.
    """
    for number, file in enumerate(files[1:], start=1):
        before, overlay = ConfigParser(merged(files[:number])), read_configuration(file)
        misfits = sorted(_absent(overlay, before))
        whole = merged(files) if not misfits else {}
        misfits = misfits or sorted(
            _unused(overlay, before, whole) | _dangling(overlay, ConfigParser(whole)) | _computed_targets(overlay)
        )
        if misfits:
            raise ValueError(f"{file}: this overlay does not fit {', '.join(files[:number])}: {'; '.join(misfits)}")


def check_targets(file: str) -> None:
    """Refuses a configuration that leaves it to a setting or an expression which class a component has.

    Raises
    ------
    ValueError
        The message names the file and the entry's value.
    """
    computed = sorted(_computed_targets(read_configuration(file)))
    if computed:
        raise ValueError(f"{file}: {'; '.join(computed)}")


def check_single_method(bundle_root: str, names: Sequence[str], method: str) -> None:
    """Refuses the overlays of two methods: the second would silently replace settings of the first.

    Parameters
    ----------
    bundle_root
        The bundle's folder. Its ``configs/methods/NAME.json`` list each method's overlays in ``+train_config``.
    names
        The training configuration and its overlays, by their names in that folder, or others by paths.
    method
        Name of the method that the overlays must belong to.

    Raises
    ------
    ValueError
        The files hold overlays of the bundle's methods that are not those of one method, or of another method; or the
        method is one of the bundle's and its overlays are missing.
    """
    files = sorted(Path(bundle_root).glob(METHOD.format("*")))
    methods = {file.stem: read_configuration(file).get("+train_config", []) for file in files}
    theirs = {name for overlays in methods.values() for name in overlays}
    found = [name for name in names if name in theirs]
    if found != methods.get(method, found) or (found and found not in methods.values()):
        expected = f"expected the overlays of one method, of {sorted(methods)}; a method of your own has another name"
        raise ValueError(f"method {method!r}: train_config: found {found}, {expected}")


def check_named(files: Sequence[str], bundle: str, method: str) -> None:
    """Refuses overlays that train another method under the name of the bundle's own.

    Parameters
    ----------
    files
        The training configuration, then its overlays.
    bundle, method
        Name of the bundle's folder, which names its own method, and the method of the run.

    Raises
    ------
    ValueError
        The overlays replace the network or the loss, and the method has no name.
    """
    before, after = merged(files[:1]), merged(files)
    replaced = [entry for entry in ("network_def", "loss") if before.get(entry) != after.get(entry)]
    if method == bundle and replaced:
        raise ValueError(
            f"method: {list(files[1:])} replace {replaced} of {bundle!r}, found no name of the method, expected one: "
            "the entry 'method' of the overlay, or --method NAME"
        )


def _absent(overlay: Mapping[str, Any], before: ConfigParser) -> set[str]:
    """Finds entries to change that do not exist; MONAI would add them, and nothing would use them."""
    changed = {id_.removeprefix(MERGE_KEY): id_ for id_ in overlay if _nested(id_) or id_.startswith(MERGE_KEY)}
    return {f"it changes {id_!r}, which is no entry there" for name, id_ in changed.items() if name not in before}


def _unused(overlay: Mapping[str, Any], before: ConfigParser, whole: Mapping[str, Any]) -> set[str]:
    """Finds added entries that nothing refers to."""
    added = {id_ for id_ in overlay if id_ not in before and not _nested(id_) and not id_.startswith(MERGE_KEY)}
    used = {reference.split(ID_SEP_KEY)[0] for reference in _references(whole)}
    return {f"it adds {id_!r}, which nothing refers to" for id_ in added - used}


def _dangling(overlay: Mapping[str, Any], whole: ConfigParser) -> set[str]:
    """Finds references to entries that do not exist."""
    missing = {reference for reference in _references(overlay) if reference not in whole}
    return {f"it refers to '@{reference}', which is no entry" for reference in missing}


def _computed_targets(content: Any) -> set[str]:
    computed = {target for target in targets_of(content) if target.startswith(EVALUATED)}
    return {f"it has the '_target_' {target!r}, expected the path of a class as plain text" for target in computed}


def _references(content: Any) -> Iterator[str]:
    """Yields the ids that a configuration refers to, without those relative to the entry itself."""
    if isinstance(content, str):
        found = ReferenceResolver.match_refs_pattern(content)
        yield from (id_ for id_ in found if id_ and not id_.startswith(ID_SEP_KEY))
    elif isinstance(content, (Mapping, list)):
        for inner in content.values() if isinstance(content, Mapping) else content:
            yield from _references(inner)


def _nested(id_: str) -> bool:
    return len(ReferenceResolver.split_id(id_)) > 1
