"""Sites alike: patients at random, the same number of images and the same classes everywhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from fedmed_workflows.sites.partition.division import Division, draw_until_valid
from fedmed_workflows.sites.partition.pool import Pool
from fedmed_workflows.sites.partition.shares import assign_by_share


@dataclass(frozen=True)
class ByPatient:
    """Patients dealt to sites at random, class by class: what no skew looks like, never one patient at two sites.

    Attributes
    ----------
    sites
        How many.
    min_images
        Fewest images of a site.
    """

    name: ClassVar[str] = "patient"

    sites: int
    min_images: int = 1

    def divide(self, pool: Pool, seed: int) -> Division:
        """As :meth:`fedmed_workflows.sites.partition.division.Scheme.divide`."""
        return draw_until_valid(
            pool, seed, self.sites, self.min_images,
            lambda random: assign_by_share(pool, np.full(self.sites, 1 / self.sites), random),
        )  # fmt: skip
