"""Settings with files that the unseen site releases for other sites: sent as bytes, stored at each site."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fedmed_transforms.whole_file import write_whole
from fedmed_workflows.errors import SiteError
from fedmed_workflows.json_file import read_entries
from fedmed_workflows.sites.datasets.target import NOBODY

TARGET, PLAIN_TARGETS = "target", (None, NOBODY)
"""The only setting that the unseen site determines for the other sites, and its values without a file of features."""


def released_files(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Splits settings into ``{"settings": plain values, "files": bytes}``, each by setting name."""
    files = {name: Path(value) for name, value in settings.items() if isinstance(value, str) and Path(value).is_file()}
    return {
        "settings": {name: value for name, value in settings.items() if name not in files},
        "files": {name: path.read_bytes() for name, path in files.items()},
    }


def stored_files(folder: Path, site: str, files: Mapping[str, bytes], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Stores released files and settings of a task; returns the settings, or the stored ones if the task has none.

    Parameters
    ----------
    folder
        Folder of the run at the site.
    site
        Name of the site.
    files, settings
        Files and settings from :func:`released_files`.

    Raises
    ------
    SiteError
        The unseen site does not determine such a setting, or the setting names a path of this site.
    """
    _check(files, settings)
    own = folder / "received" / site
    record = own / "settings.json"
    if files or settings:
        for name, content in files.items():
            write_whole(own / f"{Path(name).name}.safetensors", content)
        paths = {name: str(own / f"{Path(name).name}.safetensors") for name in files}
        write_whole(record, json.dumps({**settings, **paths}))
    known: dict[str, Any] = read_entries(record, "the settings of a site") if record.is_file() else {}
    return known


def _check(files: Mapping[str, bytes], settings: Mapping[str, Any]) -> None:
    """Refuses any setting except released features or no target, as it could name a path of this site."""
    strange = sorted({*files, *settings} - {TARGET})
    target = settings.get(TARGET)
    if target not in PLAIN_TARGETS:
        strange.append(f"{TARGET} {target!r}")
    if strange:
        raise SiteError(f"settings of the unseen site: found {strange}, expected released features or {NOBODY!r}")
