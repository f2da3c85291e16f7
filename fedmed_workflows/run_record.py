"""What a run records of itself: versions, sites' errors, and what inference needs to know of it."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from fedmed_workflows.exchange import ManifestError
from fedmed_workflows.loss_watch import NonFiniteLossError

PACKAGES = ("fedmed", "monai", "torch", "open_clip_torch", "pytorch-ignite", "numpy")


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that a run's numbers depend on."""
    return {"python": platform.python_version(), **{package: version(package) for package in PACKAGES}}


def inference_overlay(bundle_root: str, settings: Mapping[str, Any], model: Path) -> dict[str, Any]:
    """The entries of a bundle's ``configs/inference.json`` that a run decided, as an overlay for inference.

    Parameters
    ----------
    bundle_root
        The bundle's folder.
    settings
        The run's entries of the training configuration.
    model
        The trained network's file.
    """
    file = Path(bundle_root) / "configs" / "inference.json"
    known = json.loads(file.read_text()) if file.is_file() else {}
    return {"ckpt_path": str(model.resolve()), **{name: value for name, value in settings.items() if name in known}}


def reported_error(error: Exception) -> str:
    """What of a site's error leaves the site: its other messages may name files, and files may name patients."""
    if isinstance(error, (NonFiniteLossError, ManifestError)):
        return str(error)
    return f"the site's round ended with {type(error).__name__}; the site's own log says more"
