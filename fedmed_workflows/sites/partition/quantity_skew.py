"""Sites of different sizes: a Dirichlet distribution over the sites (Li et al. 2022, arXiv 2102.02079, section 4.3)."""

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
    """Shares of the images drawn from Dir(alpha) over the sites; the classes are in the same proportions everywhere.

    Attributes
    ----------
    sites
        How many.
    alpha
        Concentration: the smaller, the more the sizes differ.
    min_images
        Fewest images of a site; a draw with a smaller one is repeated.

    Raises
    ------
    ValueError
        The concentration is not above 0.
    """

    name: ClassVar[str] = "quantity_skew"

    sites: int
    alpha: float
    min_images: int = 1

    def __post_init__(self) -> None:
        check_number("alpha", self.alpha, above=0)

    def divide(self, pool: Pool, seed: int) -> Division:
        """As :meth:`fedmed_workflows.sites.partition.division.Scheme.divide`."""
        alphas = [self.alpha] * self.sites

        def draw(random: np.random.RandomState) -> dict[str, int]:
            return assign_by_share(pool, dirichlet(alphas, random), random)

        return draw_until_valid(pool, seed, self.sites, self.min_images, draw)
