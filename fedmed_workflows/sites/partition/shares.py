"""Patients dealt to sites by the share that each of them is to have."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from fedmed_workflows.sites.partition.pool import Pool


def assign_by_share(pool: Pool, shares: npt.NDArray[np.float64], random: np.random.RandomState) -> dict[str, int]:
    """The place of every patient's site.

    Patients are shuffled within their classes and dealt class by class, each to the site that is farthest behind its
    share of the images so far: so the sites have the classes in the same proportions, as nearly as patients allow.

    Parameters
    ----------
    pool
        The images.
    shares
        Of each site; they sum to one.
    random
        Shuffles the patients.
    """
    images, total, place_of = np.zeros(len(shares)), 0, {}
    for patients in shuffled_by_class(pool, random):
        for patient in patients:
            size = len(pool.by_patient[patient])
            total += size
            place = int(np.argmax(shares * total - images))
            images[place] += size
            place_of[patient] = place
    return place_of


def shuffled_by_class(pool: Pool, random: np.random.RandomState) -> list[list[str]]:
    """The patients of each class, in a random order that depends on their names alone."""
    classes: list[list[str]] = [[] for _ in range(max(1, len(pool.class_names)))]
    for patient in pool.by_patient:
        classes[pool.class_of[patient]].append(patient)
    return [[patients[place] for place in random.permutation(len(patients))] for patients in classes]


def dirichlet(concentrations: Sequence[float], random: np.random.RandomState) -> npt.NDArray[np.float64]:
    """Shares that sum to one.

    Taken from gamma variates by their logarithms (gamma(a) is distributed as gamma(a + 1) u^(1/a)): at the small
    concentrations of a strong skew the variates themselves are too small for a float64, and no share would be left.

    Parameters
    ----------
    concentrations
        One number above 0 a share.
    random
        NumPy's frozen generator: its draws are the same in every version.
    """
    alphas = np.asarray(concentrations, dtype=np.float64)
    gammas = random.standard_gamma(alphas + 1)
    uniform = 1 - random.random_sample(len(alphas))  # above 0
    logarithms = np.log(gammas) + np.log(uniform) / alphas
    shares = np.exp(logarithms - logarithms.max())
    return shares / shares.sum()
