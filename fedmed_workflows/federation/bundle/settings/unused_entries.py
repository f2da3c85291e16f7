"""Refuses entries of a configuration that nothing uses, before anything is read: most of them are misspelt settings."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser, ConfigWorkflow
from monai.bundle.config_item import ConfigComponent, ConfigExpression
from monai.bundle.reference_resolver import ReferenceResolver
from monai.bundle.utils import ID_SEP_KEY

from fedmed_workflows.configuration_file import read_configuration
from fedmed_workflows.errors import end_with_cause
from fedmed_workflows.federation.bundle.config import config_files
from fedmed_workflows.federation.bundle.settings.setting_values import check_values, without_none

STANDARD = {"initialize", "run", "finalize", "evaluate", "train", "validate", "test", "imports", "_meta_"}
"""Entries that MONAI or an inference server asks for by name."""

SETTINGS, TRAIN_CONFIG, ROOT = f"federation{ID_SEP_KEY}settings", "train_config", "bundle_root"
"""Entries of a federation: the settings of the sites' training, its configuration files, and the bundle's folder."""

SHOWN = "#"
"""Separator of ids as users write it; MONAI reads this one and its own."""

NEAREST = 3


def check_settings(configuration: str = "") -> None:
    """Refuses a configuration with an entry that nothing uses, or with a setting outside its range.

    A configuration calls this function first in its entry ``initialize``. The function finds the workflow that runs the
    configuration, and looks at all its entries: those of the files and those of the command line. Without a running
    workflow, the function does nothing.

    Parameters
    ----------
    configuration
        Name of the file that calls the function. An overlay may leave an entry of this file without use.

    Raises
    ------
    ValueError
        The message names every such entry, and the settings with similar names.

    Examples
    --------
    >>> from monai.bundle import ConfigWorkflow
    >>> from fedmed_workflows import check_settings
    >>> check_settings()
    """
    workflow = _running_workflow()
    if workflow is None:
        return
    end_with_cause()
    _check_command_line(sys.argv)
    own = entries_of(Path(workflow.config_root_path) / configuration)
    check_entries(workflow.parser, [*own, workflow.init_id, workflow.run_id, workflow.final_id])


def check_entries(parser: ConfigParser, known: Sequence[str]) -> None:
    """Refuses entries that nothing uses and settings out of range; sets settings of the text ``none`` to None.

    Parameters
    ----------
    parser
        The configuration, parsed.
    known
        Names of entries that are no mistake, although nothing may refer to them.

    Raises
    ------
    ValueError
        The message names the entries, and settings with similar names; or the setting and its range.
    """
    content = parser.get()
    groups = _groups(content)
    _check_names(content, groups, known)
    if without_none(content, groups):
        parser.parse(reset=True)
    check_values(content, groups)


def _check_names(content: Mapping[str, Any], groups: Sequence[str], own: Sequence[str]) -> None:
    known = _training_entries(content) if groups else {}
    unknown = [f"{group}{SHOWN}{name}" for group in groups if known for name in content[group] if name not in known]
    unknown += unused_entries(content, own)
    if unknown:
        names = {name for name, value in content.items() if _is_setting(value)}
        names |= {f"{group}{SHOWN}{name}" for group in groups for name in known if _is_setting(known[name])}
        raise ValueError("; ".join(_refusal(entry, names - {*unknown}) for entry in unknown))


def unused_entries(content: Mapping[str, Any], known: Sequence[str]) -> list[str]:
    """Lists the entries of a configuration that no other entry refers to, and that nobody runs.

    Parameters
    ----------
    content
        The configuration, with its macros (``%``) replaced.
    known
        Names of further entries that are no mistake.
    """
    used = {id_.split(ID_SEP_KEY)[0] for id_ in _references(content)}
    free = [id_ for id_ in content if id_ not in used and id_ not in {*STANDARD, *known}]
    return [id_ for id_ in free if not _is_run(content[id_]) and not _is_copied(id_, content)]


def entries_of(file: Path) -> list[str]:
    """Lists the entries of a configuration file; none where there is no file."""
    return [*read_configuration(file)] if file.is_file() else []


def _running_workflow() -> ConfigWorkflow | None:
    """Finds the workflow whose ``initialize`` is running: MONAI passes it to no component."""
    for frame, _ in traceback.walk_stack(None):
        if isinstance(workflow := frame.f_locals.get("self"), ConfigWorkflow):
            return workflow
    return None


def _is_run(value: Any) -> bool:
    """Checks whether an entry is a list of expressions, which ``run ENTRY`` of the command line runs."""
    return isinstance(value, list) and bool(value) and all(ConfigExpression.is_expression(item) for item in value)


def _is_setting(value: Any) -> bool:
    """Checks whether a user sets an entry: it is no component and nothing to run, but may be a group of settings."""
    return not _is_run(value) and not ConfigComponent.is_instantiable(value)


def _is_copied(id_: str, content: Mapping[str, Any]) -> bool:
    """Checks whether another entry has a copy of a component, by the macro ``%id``."""
    value = content[id_]
    others = [inner for other, inner in content.items() if other != id_]
    return ConfigComponent.is_instantiable(value) and any(value == inner for inner in _inner(others))


def _inner(content: Any) -> Iterator[Any]:
    if isinstance(content, (Mapping, list)):
        for inner in content.values() if isinstance(content, Mapping) else content:
            yield inner
            yield from _inner(inner)


def _references(content: Any) -> Iterator[str]:
    for text in [content, *_inner(content)]:
        if isinstance(text, str):
            yield from ReferenceResolver.match_refs_pattern(text)


def _groups(content: Mapping[str, Any]) -> list[str]:
    """Lists the entries that hold settings of the sites' training, for example ``recipe`` and ``fedmsa``."""
    entry = ConfigParser(dict(content)).get(SETTINGS)
    found = ReferenceResolver.match_refs_pattern(entry) if isinstance(entry, str) else {}
    return [id_ for id_ in found if isinstance(content.get(id_), Mapping)]


def _training_entries(content: Mapping[str, Any]) -> Mapping[str, Any]:
    """Reads the sites' training configuration with its overlays; the federation refuses files that do not fit."""
    try:
        files = config_files(content[ROOT], content[TRAIN_CONFIG])
        entries: Mapping[str, Any] = ConfigParser.load_config_files(files)
    except (OSError, ValueError):
        return {}
    return entries


def _refusal(entry: str, names: set[str]) -> str:
    near = nearest(entry, names)
    mend = f"did you mean {' or '.join(repr(name) for name in near)}?" if near else "expected an entry that is used"
    return f"setting {entry!r}: nothing uses an entry of this name; {mend}"


def nearest(entry: str, names: set[str]) -> list[str]:
    """Finds the settings of the same name in a group, or else those with a similar name."""
    last = entry.split(SHOWN)[-1]
    of_name: dict[str, list[str]] = {}
    for name in sorted(names):
        of_name.setdefault(name.split(SHOWN)[-1], []).append(name)
    close = [last] if last in of_name else get_close_matches(last, [*of_name], NEAREST)
    return [name for key in close for name in of_name[key]][:NEAREST]


def _check_command_line(arguments: Sequence[str]) -> None:
    """Refuses ``--setting None``, which MONAI's command leaves out without a word."""
    if Path(arguments[0]).parts[-2:] != ("bundle", "__main__.py"):
        return
    pairs = zip(arguments, [*arguments[1:], ""], strict=True)
    left_out = [name.lstrip("-") for name, value in pairs if name.startswith("--") and value == "None"]
    left_out += [name.lstrip("-").removesuffix("=None") for name in arguments if name.endswith("=None")]
    if left_out:
        raise ValueError(f"setting {left_out[0]!r}: found None, which MONAI's command ignores; expected none")
