"""Divides images into sites of different sizes: Dirichlet quantity skew (Li et al. 2022, arXiv 2102.02079)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from fedmed_networks.settings import check_number
from fedmed_workflows.sites.partition.division import Division, draw_until_valid
from fedmed_workflows.sites.partition.pool import Pool
from fedmed_workflows.sites.partition.shares import assign_by_share, dirichlet


@dataclass(frozen=True)
class QuantitySkew:
    """Makes sites whose shares of the images are drawn from Dir(alpha). The classes have the same proportions.

    Attributes
    ----------
    sites
        Number of sites.
    alpha
        Concentration. The smaller the value, the more the sizes differ.
    min_images
        Minimum number of images of a site; a draw with a smaller site is repeated.

    Raises
    ------
    ValueError
        The concentration is not a finite number above 0.

    Notes
    -----
    Source: Li et al. 2022, arXiv 2102.02079, section 4.3.
    """

    name: ClassVar[str] = "quantity_skew"

    sites: int
    alpha: float
    min_images: int = 1

    def __post_init__(self) -> None:
        check_number("alpha", self.alpha, above=0)

    def divide(self, pool: Pool, seed: int) -> Division:
        """Divides a pool, see :meth:`fedmed_workflows.sites.partition.division.Scheme.divide`."""
        alphas = [self.alpha] * self.sites

        def draw(random: np.random.RandomState) -> dict[str, int]:
            return assign_by_share(pool, dirichlet(alphas, random), random)

        return draw_until_valid(pool, seed, self.sites, self.min_images, draw)
