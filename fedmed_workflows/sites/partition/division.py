"""What a scheme makes of a pool, and draws that are repeated until every site can take part."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

import numpy as np

from fedmed_networks.settings import check_number
from fedmed_workflows.sites.datalist import SECTIONS
from fedmed_workflows.sites.partition.pool import Pool, Sample

DRAWS = 1000
"""Draws after which no further one is tried."""

LEAST_PATIENTS = 3
"""Patients of one class that a site needs: one to train on, one to validate and one to test by."""


@dataclass(frozen=True)
class Division:
    """Images by site.

    Attributes
    ----------
    sites
        By name, the images of the site, in the order of the pool.
    details
        What there is to know of how they came to be, besides the scheme's settings; plain values.
    """

    sites: dict[str, list[Sample]]
    details: dict[str, Any] = field(default_factory=dict)


class Scheme(Protocol):
    """A way to divide a pool; its attributes are its settings."""

    name: ClassVar[str]

    def divide(self, pool: Pool, seed: int) -> Division:
        """The sites of a pool, the same for the same images and seed.

        Raises
        ------
        ValueError
            The images do not make such sites; the message names the source or an image.
        """


def check_sites(pool: Pool, sites: int) -> None:
    """Refuses a number of sites that the patients do not make.

    Raises
    ------
    ValueError
        The message names the source.
    """
    check_number("sites", sites, least=2, whole=True)
    if len(pool.by_patient) < sites:
        raise ValueError(
            f"{pool.source}: found {len(pool.by_patient)} patients with {len(pool.samples)} images, expected one for "
            f"each of {sites} sites"
        )


def draw_until_valid(
    pool: Pool, seed: int, sites: int, min_images: int, draw: Callable[[np.random.RandomState], dict[str, int]]
) -> Division:
    """The first draw after which every site can be trained on.

    Parameters
    ----------
    pool
        The images.
    seed
        Of all draws.
    sites
        How many there are; they are named ``site_1``, ``site_2`` and so on.
    min_images
        Fewest images of a site.
    draw
        From NumPy's frozen generator to the place of every patient's site.

    Raises
    ------
    ValueError
        No draw had such sites, or the fewest images are less than one.
    """
    check_sites(pool, sites)
    check_number("min_images", min_images, least=1, whole=True)
    width = len(str(sites))
    for number in range(1, DRAWS + 1):
        place_of = draw(np.random.RandomState([seed, number]))
        parts: list[list[Sample]] = [[] for _ in range(sites)]
        for sample in pool.samples:
            parts[place_of[sample.patient]].append(sample)
        if all(len(part) >= min_images and _can_take_part(pool, part) for part in parts):
            names = [f"site_{place:0{width}}" for place in range(1, sites + 1)]
            return Division(dict(zip(names, parts, strict=True)), {"draw": number})
    raise ValueError(
        f"{pool.source}: found no sites with at least {min_images} images and {LEAST_PATIENTS} patients of one class "
        f"each (or an image in every section of the datalist) in {DRAWS} draws of {len(pool.by_patient)} patients, "
        "expected fewer sites, a larger alpha or fewer images a site"
    )


def _can_take_part(pool: Pool, part: list[Sample]) -> bool:
    """Whether a site has something in every section, the source's own and those that its patients are split into."""
    if {sample.section for sample in part} != pool.sections:
        return False
    if pool.sections == set(SECTIONS):
        return True
    split = {sample.patient for sample in part if sample.section == SECTIONS[0]}
    classes = Counter(pool.class_of[patient] for patient in split)
    return max(classes.values(), default=0) >= LEAST_PATIENTS
