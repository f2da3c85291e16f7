"""Settings whose values are files that one site made for the others: on their way as bytes, kept at each site."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fedmed_transforms.whole_file import write_whole
from fedmed_workflows.errors import SiteError
from fedmed_workflows.sites.datasets.target import NOBODY

TARGET, PLAIN_TARGETS = "target", (None, NOBODY)
"""The one setting that the unseen site decides for the others, and its values that are no file of features."""


def released_files(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as ``{"settings": plain values, "files": bytes}``, each by the setting's name."""
    files = {name: Path(value) for name, value in settings.items() if isinstance(value, str) and Path(value).is_file()}
    return {
        "settings": {name: value for name, value in settings.items() if name not in files},
        "files": {name: path.read_bytes() for name, path in files.items()},
    }


def stored_files(folder: Path, site: str, files: Mapping[str, bytes], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Keeps what came with a task and returns the settings; those kept before, if nothing came.

    Parameters
    ----------
    folder
        Of the run, at the site.
    site
        Its name.
    files, settings
        As :func:`released_files` makes them.

    Raises
    ------
    SiteError
        A setting is none that one site decides for the others, or names a path of this site.
    """
    _check(files, settings)
    own = folder / "received" / site
    record = own / "settings.json"
    if files or settings:
        for name, content in files.items():
            write_whole(own / f"{Path(name).name}.safetensors", content)
        paths = {name: str(own / f"{Path(name).name}.safetensors") for name in files}
        write_whole(record, json.dumps({**settings, **paths}))
    known: dict[str, Any] = json.loads(record.read_text()) if record.is_file() else {}
    return known


def _check(files: Mapping[str, bytes], settings: Mapping[str, Any]) -> None:
    """Nobody's features, or those that came along: any other value would name a folder or a file of this site."""
    strange = sorted({*files, *settings} - {TARGET})
    target = settings.get(TARGET)
    if target not in PLAIN_TARGETS:
        strange.append(f"{TARGET} {target!r}")
    if strange:
        raise SiteError(f"settings of the unseen site: found {strange}, expected released features or {NOBODY!r}")
