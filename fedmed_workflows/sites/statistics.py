"""Statistics of the images of a site. Every patient counts once, for any number of images."""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fedmed_transforms.image_metadata import plain_tensor
from fedmed_workflows.errors import refusal
from fedmed_workflows.sites.cases import Case, CaseReader, Counts
from fedmed_workflows.sites.measures import INTENSITY, Moments, image_moments, moments_of_value, pooled_moments

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Image:
    patient: str
    counts: Counts
    moments: dict[str, Moments]


class SiteStatistics:
    """Counts and measures the images of a site.

    Each patient has one value of a quantity: the sum over the patient's images for a count (images, slices, a class),
    the mean over the images for any other quantity. The number of values is therefore the number of patients, which a
    minimum number of records protects.

    Parameters
    ----------
    cases
        The images of the site.
    read
        Reads a case: returns the image and its counts. A refused image is left out and counted in `refused`; the log
        names the image and the reason.

    Attributes
    ----------
    refused
        Number of refused images.
    quantities
        Moments of each patient, by the name of the quantity.
    """

    def __init__(self, cases: Sequence[Case], read: CaseReader) -> None:
        self._read = read
        found = [(case, self._measure(case)) for case in cases]
        self._cases = [case for case, image in found if image is not None]
        self.refused = len(cases) - len(self._cases)
        self.quantities = _by_quantity([image for _, image in found if image is not None])

    def count(self, quantity: str) -> int:
        """Returns the number of patients that have the quantity."""
        return len(self.quantities[quantity])

    def total(self, quantity: str) -> float:
        """Returns the sum of the patients' values."""
        return math.fsum(value.mean for value in self.quantities[quantity])

    def variance(self, quantity: str, mean: float, count: float) -> float:
        """Returns the sum of the patients' mean squared distances from a mean, divided by a count minus one.

        A patient has as many intensities as voxels, so that the result is the variance of the intensities, with the
        same weight for every patient.

        Parameters
        ----------
        quantity
            Name of the quantity.
        mean, count
            Mean and count of this site, or of all sites together. In the second case the sum of the sites' results is
            the variance over all sites.
        """
        squares = (value.square - 2 * mean * value.mean + mean * mean for value in self.quantities[quantity])
        return max(0.0, math.fsum(squares)) / max(1.0, count - 1)

    def deviation(self, quantity: str) -> float:
        """Returns the standard deviation at this site."""
        count = self.count(quantity)
        return math.sqrt(self.variance(quantity, self.total(quantity) / count, count))

    def range(self, quantity: str) -> tuple[float, float]:
        """Returns the smallest and the largest value, for the intensity over all voxels."""
        values = self.quantities[quantity]
        return min(value.least for value in values), max(value.greatest for value in values)

    def histogram(self, quantity: str, bins: int, low: float, high: float) -> tuple[list[float], list[float]]:
        """Returns the histogram of the patients over the values of a quantity.

        Every patient counts 1. For the intensity the images are read again, and the 1 is distributed over the bins in
        proportion to the patient's voxels.

        Parameters
        ----------
        quantity
            Name of the quantity.
        bins, low, high
            Number and range of the bins, which have equal widths.

        Returns
        -------
        tuple
            The count of each bin, and the ``bins + 1`` edges.
        """
        values = [value.mean for value in self.quantities[quantity]]
        counts, edges = np.histogram(values, bins, (low, high))
        shared = self._shares(bins, low, high) if quantity == INTENSITY else counts
        return shared.tolist(), edges.tolist()

    def _measure(self, case: Case) -> _Image | None:
        try:
            image, counts = self._read(case)
            return _Image(case.patient, counts, image_moments(image))
        except Exception as error:
            logger.warning("left out: %s", refusal(error, case.image, case.label))
            return None

    def _shares(self, bins: int, low: float, high: float) -> npt.NDArray[np.float64]:
        images = Counter(case.patient for case in self._cases)
        counts = np.zeros(bins)
        for case in self._cases:
            values = plain_tensor(self._read(case)[0]).numpy()
            counts += np.histogram(values, bins, (low, high))[0] / values.size / images[case.patient]
        return counts


def _by_quantity(images: Sequence[_Image]) -> dict[str, list[Moments]]:
    patients: dict[str, list[_Image]] = {}
    for image in images:
        patients.setdefault(image.patient, []).append(image)
    found: dict[str, list[Moments]] = {}
    for own in patients.values():
        for name, value in _of_patient(own).items():
            found.setdefault(name, []).append(value)
    return found


def _of_patient(images: Sequence[_Image]) -> dict[str, Moments]:
    totals: Counter[str] = Counter()
    for image in images:
        totals.update(image.counts)
    measures = dict.fromkeys(name for image in images for name in image.moments)
    return {
        **{name: moments_of_value(float(total)) for name, total in totals.items()},
        **{name: pooled_moments(image.moments[name] for image in images if name in image.moments) for name in measures},
    }
