"""Random shares of sites (Dirichlet), and the assignment of patients to sites by these shares."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from fedmed_workflows.sites.partition.pool import Pool


def assign_by_share(pool: Pool, shares: npt.NDArray[np.float64], random: np.random.RandomState) -> dict[str, int]:
    """Assigns patients to sites; returns the index of the site of each patient.

    Patients are shuffled within their classes and assigned class by class. Each patient goes to the site that has the
    largest deficit to its share of the images so far. The classes therefore have the same proportions at all sites, as
    far as the patients allow.

    Parameters
    ----------
    pool
        The images.
    shares
        Share of each site; the shares sum to one.
    random
        Generator that shuffles the patients.
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
    """Returns the patients of each class, in a random order that depends only on the patients' names."""
    classes: list[list[str]] = [[] for _ in range(max(1, len(pool.class_names)))]
    for patient in pool.by_patient:
        classes[pool.class_of[patient]].append(patient)
    return [[patients[place] for place in random.permutation(len(patients))] for patients in classes]


def dirichlet(concentrations: Sequence[float], random: np.random.RandomState) -> npt.NDArray[np.float64]:
    """Draws shares that sum to one from a Dirichlet distribution.

    The shares are computed from the logarithms of gamma variates (gamma(a) is distributed as gamma(a + 1) u^(1/a)).
    At the small concentrations of a strong skew the variates themselves are too small for a float64.

    Parameters
    ----------
    concentrations
        One number above 0 for each share.
    random
        NumPy's frozen generator, whose draws are the same in every version.
    """
    alphas = np.asarray(concentrations, dtype=np.float64)
    gammas = random.standard_gamma(alphas + 1)
    uniform = 1 - random.random_sample(len(alphas))  # above 0
    logarithms = np.log(gammas) + np.log(uniform) / alphas
    shares = np.exp(logarithms - logarithms.max())
    return shares / shares.sum()
