"""What makes a run this run and no other: what a folder is taken up by, or refused."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from fedmed_networks.weights import file_digest
from fedmed_workflows.federation.bundle.config import config_files
from fedmed_workflows.federation.settings import FederationSettings
from fedmed_workflows.sites.federation_sites import ALL


def run_identity(settings: FederationSettings) -> dict[str, Any]:
    """Bundle, configuration, sites, data and settings of a federation, as plain data.

    Raises
    ------
    ValueError
        A setting is no plain value.
    """
    sites = settings.sites
    named, files = settings.train_config, config_files(settings.bundle_root, settings.train_config)
    return {
        "bundle": Path(settings.bundle_root).resolve().name,
        "method": settings.method,
        "training": settings.training,
        "train_config": [
            f"{_short(name)} {file_digest(Path(file))}" for name, file in zip(named, files, strict=True)
        ],
        "settings": _plain(settings.settings),
        "sites": sorted(sites.folders),
        "unseen_site": ALL if sites.in_turn else sites.unseen[0] if sites.unseen else None,
        "data": sites.digest,
        "shifts": _plain(sites.shifts),
        "rounds": settings.rounds,
        "local_epochs": settings.local_epochs,
        "seed": settings.seed,
        "aggregation": f"{type(settings.aggregation).__name__} {sorted(vars(settings.aggregation).items())}",
        "device": settings.device.type,
        "exchange_dtype": settings.exchange_dtype,
        "privacy": None if settings.privacy is None else asdict(settings.privacy),
        "filters": settings.filters,
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
