"""The division of a pool into sites, the protocol of a scheme, and draws repeated until every site is valid."""

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
"""Maximum number of draws."""

LEAST_PATIENTS = 3
"""Number of patients of one class that a site needs: one each for training, validation and test."""


@dataclass(frozen=True)
class Division:
    """The images of each site.

    Attributes
    ----------
    sites
        Images of each site, by site name, in the order of the pool.
    details
        How the sites were drawn, in addition to the settings of the scheme, as plain values.
    """

    sites: dict[str, list[Sample]]
    details: dict[str, Any] = field(default_factory=dict)


class Scheme(Protocol):
    """A scheme that divides a pool into sites. The attributes of the scheme are its settings."""

    name: ClassVar[str]

    def divide(self, pool: Pool, seed: int) -> Division:
        """Divides a pool into sites. The result is the same for the same images and seed.

        Raises
        ------
        ValueError
            The images cannot be divided into such sites. The message names the source or an image.
        """


def check_sites(pool: Pool, sites: int) -> None:
    """Refuses a number of sites below 2 or above the number of patients.

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
    """Returns the first draw in which every site can be trained on.

    Parameters
    ----------
    pool
        The images.
    seed
        Seed of all draws.
    sites
        Number of sites. Their names are ``site_1``, ``site_2`` and so on.
    min_images
        Minimum number of images of a site.
    draw
        Draws from NumPy's frozen generator; returns the index of the site of each patient.

    Raises
    ------
    ValueError
        No draw has valid sites, or `min_images` is below 1.
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
    """Returns whether a site has images in every section, both of the source and of the later split by patients."""
    if {sample.section for sample in part} != pool.sections:
        return False
    if pool.sections == set(SECTIONS):
        return True
    split = {sample.patient for sample in part if sample.section == SECTIONS[0]}
    classes = Counter(pool.class_of[patient] for patient in split)
    return max(classes.values(), default=0) >= LEAST_PATIENTS
