"""The identity of a run, by which a folder is resumed or refused, and the versions of the packages of a run."""

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
from fedmed_workflows.federation.bundle.overlays import check_named
from fedmed_workflows.federation.bundle.trained_metadata import method_metadata
from fedmed_workflows.federation.settings import FederationSettings
from fedmed_workflows.sites.federation_sites import ALL

PACKAGES = ("fedmed", "monai", "torch", "open_clip_torch", "pytorch-ignite", "numpy")
"""Packages whose versions affect the numbers of a run."""


def run_identity(settings: FederationSettings) -> dict[str, Any]:
    """Returns bundle, configuration, sites, data and settings of a federation as plain data.

    A folder is resumed only by a run with the same identity.

    Raises
    ------
    ValueError
        A setting is no plain value, or a training overlay or the metadata of the method do not fit the bundle.
    """
    sites = settings.sites
    named, files = settings.train_config, config_files(settings.bundle_root, settings.train_config)
    bundle = Path(settings.bundle_root).resolve().name
    check_named(files, bundle, settings.method)
    method_metadata(settings.bundle_root, settings.method, settings.method_metadata)  # refused now, not after training
    return {
        "bundle": bundle,
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
    """Returns the name of a bundle's file as it is; of any other file only the last part, as the file may be moved."""
    return Path(name).name if Path(name).is_absolute() else name


def _plain(settings: Mapping[str, Any]) -> dict[str, Any]:
    try:
        plain: dict[str, Any] = json.loads(json.dumps(settings))
        return plain
    except TypeError as error:
        raise ValueError(
            f"settings: expected plain values, found: {error}; define components in an overlay (train_config)"
        ) from error


def versions() -> dict[str, str]:
    """Returns the versions of Python and of the packages that affect the numbers of a run."""
    return {"python": platform.python_version(), **{package: version(package) for package in PACKAGES}}
