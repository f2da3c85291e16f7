"""The settings of a site from environment variables: folders of bundles, images and state, weights, device, privacy."""

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
"""Default of the minimum number of patients of a statistic."""


@dataclass(frozen=True)
class SiteEnvironment:
    """The settings of a site, which no job can change.

    Attributes
    ----------
    bundles
        ``FEDMED_BUNDLES``: folder of the installed bundles.
    dataset_dir
        ``FEDMED_DATASET_DIR``: folder with the folder or the datalist of the site, under the name of the site.
    state_dir
        ``FEDMED_STATE_DIR``: folder for the site's state between rounds and restarts, with one folder for each run.
    weights
        ``FEDMED_WEIGHTS``: weights of the foundation, or None. The federation compares their digest.
    device
        ``FEDMED_DEVICE``: device, for example ``cuda:0``; None for the device of the bundle.
    releases_features
        ``FEDMED_RELEASE_FEATURES``: ``yes`` allows the site, as the unseen site, to send features of its images.
    min_count
        ``FEDMED_MIN_COUNT``: minimum number of patients of a statistic that leaves the site; 10 if not set.
    min_noise
        ``FEDMED_MIN_NOISE``: minimum noise multiplier of a federation's privacy; 0 allows any.
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
        """Reads the settings from environment variables.

        Raises
        ------
        SiteError
            A folder is not set or does not exist, or a number is invalid. The message names the variable but no folder.
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
