"""Sites with different classes: Dirichlet label skew (Hsu et al. 2019, arXiv 1909.06335, section 3.1)."""

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
    """Sites of the same size, the classes of each drawn from Dir(alpha p), p the classes' shares of all images.

    The sites take patients in turn, the one with the fewest images next, each of a class drawn from its own
    distribution; a class that is used up is drawn no more. So every image is at one site.

    Attributes
    ----------
    sites
        How many.
    alpha
        Concentration: the smaller, the fewer classes a site has; the larger, the more its classes are those of all.
    min_images
        Fewest images of a site; a draw with a smaller one is repeated.

    Raises
    ------
    ValueError
        The concentration is not above 0.
    """

    name: ClassVar[str] = "label_skew"

    sites: int
    alpha: float
    min_images: int = 1

    def __post_init__(self) -> None:
        check_number("alpha", self.alpha, above=0)

    def divide(self, pool: Pool, seed: int) -> Division:
        """As :meth:`fedmed_workflows.sites.partition.division.Scheme.divide`; a segmentation has no classes to skew."""
        if len(pool.class_names) < 2:
            found = pool.class_names or "a segmentation"
            raise ValueError(f"{pool.source}: label_skew: found {found}, expected images of two classes or more")
        return draw_until_valid(pool, seed, self.sites, self.min_images, lambda random: self._draw(pool, random))

    def _draw(self, pool: Pool, random: np.random.RandomState) -> dict[str, int]:
        count = Counter(sample.label for sample in pool.samples)
        prior = np.array([count[name] for name in pool.class_names]) / len(pool.samples)
        preferred = [dirichlet(self.alpha * prior, random) for _ in range(self.sites)]
        waiting, images, place_of = shuffled_by_class(pool, random), [0] * self.sites, {}
        for _ in pool.by_patient:
            place = images.index(min(images))
            patient = waiting[_class(preferred[place], waiting, random)].pop()
            place_of[patient] = place
            images[place] += len(pool.by_patient[patient])
        return place_of


def _class(
    preferred: npt.NDArray[np.float64], waiting: list[list[str]], random: np.random.RandomState
) -> int:
    """A class of which patients are left, by a site's preference; by what is left where it prefers none of them."""
    left = np.array([len(patients) for patients in waiting], dtype=np.float64)
    weights = preferred * (left > 0)
    if not weights.sum() > 0:
        weights = left
    return int(random.choice(len(waiting), p=weights / weights.sum()))
