"""Public names of classes in the jobs and policies of NVFlare. Files may move, public names do not change."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from typing import Any

from fedmed_transforms.whole_file import write_whole

PACKAGES = ["fedmed_workflows", "fedmed_networks", "fedmed_transforms", "fedmed_faces"]
"""Packages that are installed at server and sites. Otherwise NVFlare would copy their code into the job."""


def public_name(component: type) -> str:
    """Returns the name of a class in a job: its shortest public name, or its path for a class of another package.

    Parameters
    ----------
    component
        The class, for example ``SiteExecutor`` with the public name ``fedmed_workflows.SiteExecutor``.
    """
    name, parts = component.__name__, component.__module__.split(".")
    for end in range(1, len(parts) if parts[0] in PACKAGES else 0):
        package = ".".join(parts[:end])
        if name in getattr(import_module(package), "__all__", ()):
            return f"{package}.{name}"
    return f"{component.__module__}.{name}"


def name_publicly(job: Path) -> None:
    """Replaces the paths of this project's classes by public names, in the configurations that NVFlare wrote."""
    for file in job.rglob("config_fed_*.json"):
        content = _named(json.loads(file.read_text()))
        write_whole(file, json.dumps(content, indent=4))


def _named(content: Any) -> Any:
    if isinstance(content, list):
        return [_named(entry) for entry in content]
    if not isinstance(content, dict):
        return content
    path = content.get("path")
    if isinstance(path, str) and path.partition(".")[0] in PACKAGES:
        module, _, name = path.rpartition(".")
        content = {**content, "path": public_name(getattr(import_module(module), name))}
    return {name: _named(entry) for name, entry in content.items()}
