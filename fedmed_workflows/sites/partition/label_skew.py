"""Divides images into sites with different classes: Dirichlet label skew (Hsu et al. 2019, arXiv 1909.06335)."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from fedmed_networks.settings import check_number
from fedmed_workflows.sites.partition.division import Division, draw_until_valid
from fedmed_workflows.sites.partition.pool import Pool
from fedmed_workflows.sites.partition.shares import dirichlet, shuffled_by_class


@dataclass(frozen=True)
class LabelSkew:
    """Makes sites of the same size. The classes of each site are drawn from Dir(alpha p).

    The vector p has the shares of the classes among all images. The site with the fewest images takes the next patient,
    of a class drawn from the site's own distribution. A class without remaining patients is not drawn again. Every
    image is at one site.

    Attributes
    ----------
    sites
        Number of sites.
    alpha
        Concentration. A small value gives a site few classes; a large value gives it the classes of all images.
    min_images
        Minimum number of images of a site; a draw with a smaller site is repeated.

    Raises
    ------
    ValueError
        The concentration is not a finite number above 0.

    Notes
    -----
    Source: Hsu et al. 2019, arXiv 1909.06335, section 3.1.
    """

    name: ClassVar[str] = "label_skew"

    sites: int
    alpha: float
    min_images: int = 1

    def __post_init__(self) -> None:
        check_number("alpha", self.alpha, above=0)

    def divide(self, pool: Pool, seed: int) -> Division:
        """Divides a pool with several classes, see :meth:`fedmed_workflows.sites.partition.division.Scheme.divide`."""
        if len(pool.class_names) < 2:
            found = pool.class_names or "a segmentation"
            raise ValueError(f"{pool.source}: label_skew: found {found}, expected images of two classes or more")
        return draw_until_valid(pool, seed, self.sites, self.min_images, lambda random: self._draw(pool, random))

    def _draw(self, pool: Pool, random: np.random.RandomState) -> dict[str, int]:
        count = Counter(sample.label for sample in pool.samples)
        prior = np.array([count[name] for name in pool.class_names]) / len(pool.samples)
        probabilities = [dirichlet(self.alpha * prior, random) for _ in range(self.sites)]
        waiting, images, place_of = shuffled_by_class(pool, random), [0] * self.sites, {}
        for _ in pool.by_patient:
            place = images.index(min(images))
            patient = waiting[_class(probabilities[place], waiting, random)].pop()
            place_of[patient] = place
            images[place] += len(pool.by_patient[patient])
        return place_of


def _class(
    probabilities: npt.NDArray[np.float64], waiting: list[list[str]], random: np.random.RandomState
) -> int:
    """Draws a class with remaining patients by a site's distribution, or by the remaining patients if that is zero."""
    left = np.array([len(patients) for patients in waiting], dtype=np.float64)
    weights = probabilities * (left > 0)
    if not weights.sum() > 0:
        weights = left
    return int(random.choice(len(waiting), p=weights / weights.sum()))
