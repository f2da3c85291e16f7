"""What a run records of itself: versions, and what inference needs to know of it."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from fedmed_workflows.engines.engine import Trained

PACKAGES = ("fedmed", "monai", "torch", "open_clip_torch", "pytorch-ignite", "numpy")


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that a run's numbers depend on."""
    return {"python": platform.python_version(), **{package: version(package) for package in PACKAGES}}


OF_A_PLACE = ("bundle_root", "dataset_dir", "output_dir", "ckpt_path", "device", "batch_size")
"""Entries of a configuration that say where and how it runs, not what was trained."""


def inference_overlay(bundle_root: str, settings: Mapping[str, Any], trained: Trained, model: Path) -> dict[str, Any]:
    """The entries of a bundle's ``configs/inference.json`` that a run decided, as an overlay for inference.

    Parameters
    ----------
    bundle_root
        The bundle's folder.
    settings
        The run's entries of the training configuration.
    trained
        The run's network: what the training configuration made of the plain entries that inference has too.
    model
        The trained network's file.
    """
    file = Path(bundle_root) / "configs" / "inference.json"
    known = json.loads(file.read_text()) if file.is_file() else {}
    plain = [name for name, value in known.items() if _is_plain(value)]
    shared = {name: trained.setting(name) for name in plain if trained.has_setting(name)}
    decided = {**shared, **{name: value for name, value in settings.items() if name in known}}
    kept = {name: value for name, value in decided.items() if name not in OF_A_PLACE}
    return {"ckpt_path": str(model.resolve()), **kept}


def _is_plain(value: Any) -> bool:
    """Whether an entry of a configuration is a value, and neither code nor a component."""
    text = json.dumps(value)
    return not any(mark in text for mark in ('"$', '"@', "_target_"))
