"""Divides patients into similar sites at random: the same number of images and the same classes at each site."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from fedmed_workflows.sites.partition.division import Division, draw_until_valid
from fedmed_workflows.sites.partition.pool import Pool
from fedmed_workflows.sites.partition.shares import assign_by_share


@dataclass(frozen=True)
class ByPatient:
    """Assigns patients to sites at random, class by class, without skew. No patient is at two sites.

    Attributes
    ----------
    sites
        Number of sites.
    min_images
        Minimum number of images of a site.
    """

    name: ClassVar[str] = "patient"

    sites: int
    min_images: int = 1

    def divide(self, pool: Pool, seed: int) -> Division:
        """Divides a pool, see :meth:`fedmed_workflows.sites.partition.division.Scheme.divide`."""
        return draw_until_valid(
            pool, seed, self.sites, self.min_images,
            lambda random: assign_by_share(pool, np.full(self.sites, 1 / self.sites), random),
        )  # fmt: skip
