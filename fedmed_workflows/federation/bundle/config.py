"""The training configuration of a site: its files, replaced entries and left-out handlers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser, ConfigWorkflow
from monai.bundle.utils import ID_REF_KEY, MACRO_KEY

from fedmed_workflows.federation.bundle.overlays import check_overlays

TRAIN_CONFIG = "configs/train.json"

SINGLE_SITE_HANDLERS = (
    "LossWatch",
    "CheckpointSaver",
    "CheckpointLoader",
    "StatsHandler",
    "TensorBoard",
    "ValidationHandler",
)
"""Handlers of a bundle's training that a federation leaves out: it saves, logs and validates the aggregate itself."""


def config_files(bundle_root: str, names: Sequence[str]) -> list[str]:
    """Finds the training configuration and its overlays, and checks that the overlays fit.

    Raises
    ------
    FileNotFoundError
        As :func:`existing_files`.
    ValueError
        An overlay does not fit, see :func:`fedmed_workflows.federation.bundle.overlays.check_overlays`.
    """
    files = existing_files(bundle_root, names)
    check_overlays(files)
    return files


def existing_files(bundle_root: str, names: Sequence[str]) -> list[str]:
    """Finds configuration files, each by its name in a bundle's folder or by a path.

    Raises
    ------
    FileNotFoundError
        A file is in neither place; the message lists the files of this name in the bundle.
    """
    files = [next((path for path in (Path(bundle_root) / name, Path(name)) if path.is_file()), None) for name in names]
    for name, file in zip(names, files, strict=True):
        if file is None:
            same = Path(bundle_root).rglob(Path(name).name)
            found = sorted(path.relative_to(bundle_root).as_posix() for path in same)
            places = f"neither in {bundle_root} nor in {Path.cwd()}"
            raise FileNotFoundError(f"{Path(bundle_root) / name}: no such file, {places}; found {found} in the bundle")
    return [str(file) for file in files]


def site_workflow(files: list[str], overrides: Mapping[str, Any]) -> ConfigWorkflow:
    """Builds a bundle's training as a site of a federation runs it.

    Parameters
    ----------
    files
        The training configuration and its overlays.
    overrides
        Entries to replace, by id.

    Raises
    ------
    ValueError
        An entry to replace is not in the configuration, or is a component that a plain value would replace.
    """
    workflow = ConfigWorkflow(config_file=files, logging_file=False, workflow_type="train")
    for id_, value in overrides.items():
        if id_ not in workflow.parser:
            raise ValueError(f"setting {id_!r}: {files[0]} has no such entry; it has {sorted(workflow.parser.get())}")
        before = workflow.parser[id_]
        if isinstance(before, Mapping) and "_target_" in before and isinstance(value, (int, float, str, list)):
            raise ValueError(
                f"setting {id_!r}: found {value!r}, and {files[0]} has a component of this name; expected another name"
            )
        workflow.parser[id_] = value
    for id_ in ("train#handlers", "validate#handlers"):
        if id_ in workflow.parser:
            handlers = workflow.parser[id_]
            workflow.parser[id_] = [handler for handler in handlers if not _is_of_one_site(handler, workflow.parser)]
    return workflow


def component(entry: Any, parser: ConfigParser) -> Mapping[str, Any]:
    """Returns the component that an element of a list is or refers to, as ``@loss_watch`` or ``%loss_watch``.

    Parameters
    ----------
    entry
        Element of a list in the configuration, for example of the handlers.
    parser
        The configuration.

    Returns
    -------
    Mapping
        The component's entries, not parsed. Empty for an expression, and for a name that the configuration lacks.
    """
    if isinstance(entry, str) and entry.startswith((ID_REF_KEY, MACRO_KEY)):
        return component(parser.get(entry[1:]), parser)
    return entry if isinstance(entry, Mapping) else {}


def _is_of_one_site(handler: Any, parser: ConfigParser) -> bool:
    return any(name in str(component(handler, parser).get("_target_")) for name in SINGLE_SITE_HANDLERS)
