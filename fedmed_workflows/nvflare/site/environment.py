"""What a site's own people set, in the environment of its process: where its bundles, images and weights lie."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fedmed_workflows.errors import SiteError

BUNDLES, DATA, STATE = "FEDMED_BUNDLES", "FEDMED_DATASET_DIR", "FEDMED_STATE_DIR"
WEIGHTS, DEVICE, RELEASE = "FEDMED_WEIGHTS", "FEDMED_DEVICE", "FEDMED_RELEASE_FEATURES"
MIN_COUNT, MIN_NOISE = "FEDMED_MIN_COUNT", "FEDMED_MIN_NOISE"

LEAST = 10
"""Patients that a statistic must be of, where the site's people say nothing."""


@dataclass(frozen=True)
class SiteEnvironment:
    """Where things lie at a site. No job can say it.

    Attributes
    ----------
    bundles
        ``FEDMED_BUNDLES``: the folder that holds the installed bundles.
    dataset_dir
        ``FEDMED_DATASET_DIR``: the folder that holds the site's own folder or datalist, under the site's name.
    state_dir
        ``FEDMED_STATE_DIR``: where the site keeps its state between rounds and restarts, a folder a run.
    weights
        ``FEDMED_WEIGHTS``: the foundation's weights, or None. The federation compares their digest.
    device
        ``FEDMED_DEVICE``, for example ``cuda:0``; None for what the bundle says.
    releases_features
        ``FEDMED_RELEASE_FEATURES`` is ``yes``: as the unseen site, it may send features of its images.
    min_count
        ``FEDMED_MIN_COUNT``: patients that a statistic must be of to leave the site; 10 where it is not set.
    min_noise
        ``FEDMED_MIN_NOISE``: the noise multiplier that a federation's privacy must have here; 0 for any.
    """

    bundles: Path
    dataset_dir: Path
    state_dir: Path
    weights: str | None
    device: str | None
    releases_features: bool
    min_count: int = LEAST
    min_noise: float = 0.0

    @classmethod
    def read(cls, environment: Mapping[str, str] = os.environ) -> SiteEnvironment:
        """From the variables of a process.

        Raises
        ------
        SiteError
            A folder is not set, or is none, or a number is none; the message names the variable and no folder.
        """
        folders = {name: environment.get(name, "") for name in (BUNDLES, DATA, STATE)}
        for name, folder in folders.items():
            if not folder:
                raise SiteError(f"{name} is not set in the site's environment, expected a folder")
            if name != STATE and not Path(folder).is_dir():
                raise SiteError(f"{name} in the site's environment names no folder")
        return cls(
            Path(folders[BUNDLES]), Path(folders[DATA]), Path(folders[STATE]),
            environment.get(WEIGHTS) or None, environment.get(DEVICE) or None, environment.get(RELEASE) == "yes",
            _min_count(environment.get(MIN_COUNT) or str(LEAST)), _min_noise(environment.get(MIN_NOISE) or "0"),
        )  # fmt: skip


def _min_count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise SiteError(f"{MIN_COUNT} in the site's environment: found {text!r}, expected a whole number of at least 1")
    return int(text)


def _min_noise(text: str) -> float:
    try:
        found = float(text)
    except ValueError:
        found = -1.0
    if not 0 <= found < math.inf:
        raise SiteError(f"{MIN_NOISE} in the site's environment: found {text!r}, expected a number of at least 0")
    return found
