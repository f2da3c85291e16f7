"""What makes a run this run and no other: what a folder is taken up by, or refused."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedmed_networks.weights import file_digest
from fedmed_workflows.federation_sites import ALL
from fedmed_workflows.site_workflow import config_files

if TYPE_CHECKING:
    from fedmed_workflows.federation import Federation


def run_identity(federation: Federation) -> dict[str, Any]:
    """Bundle, configuration, sites, data and settings of a federation, as plain data.

    Raises
    ------
    ValueError
        A setting is no plain value.
    """
    sites = federation.sites
    named, files = federation.train_config, config_files(federation.bundle_root, federation.train_config)
    return {
        "bundle": Path(federation.bundle_root).resolve().name,
        "method": federation.method,
        "training": federation.training,
        "train_config": [
            f"{_short(name)} {file_digest(Path(file))}" for name, file in zip(named, files, strict=True)
        ],
        "settings": _plain(federation.settings),
        "sites": sorted(sites.folders),
        "unseen_site": ALL if sites.in_turn else sites.unseen[0] if sites.unseen else None,
        "data": sites.digest,
        "shifts": _plain(sites.shifts),
        "rounds": federation.rounds,
        "local_epochs": federation.local_epochs,
        "seed": federation.seed,
        "aggregation": f"{type(federation.aggregation).__name__} {sorted(vars(federation.aggregation).items())}",
        "device": federation.device.type,
        "exchange_dtype": federation.exchange_dtype,
        "privacy": None if federation.privacy is None else asdict(federation.privacy),
        "filters": federation.filters,
    }


def _short(name: str) -> str:
    """A file's name in the bundle; of one that lies elsewhere its last part, as it may be moved."""
    return Path(name).name if Path(name).is_absolute() else name


def _plain(settings: Mapping[str, Any]) -> dict[str, Any]:
    try:
        plain: dict[str, Any] = json.loads(json.dumps(settings))
        return plain
    except TypeError as error:
        raise ValueError(
            f"settings: expected plain values, found: {error}; a component belongs into an overlay (train_config)"
        ) from error


PACKAGES = ("fedmed", "monai", "torch", "open_clip_torch", "pytorch-ignite", "numpy")


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that a run's numbers depend on."""
    return {"python": platform.python_version(), **{package: version(package) for package in PACKAGES}}
