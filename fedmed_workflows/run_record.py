"""What a run records of itself: the versions that its numbers depend on."""

from __future__ import annotations

import platform
from importlib.metadata import version

PACKAGES = ("fedmed", "monai", "torch", "open_clip_torch", "pytorch-ignite", "numpy")


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that a run's numbers depend on."""
    return {"python": platform.python_version(), **{package: version(package) for package in PACKAGES}}
