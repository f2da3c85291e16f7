"""The draws of a partition: what a Dirichlet distribution has to be, and what the sites become of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from fedmed_workflows.sites.partition.by_patient import ByPatient
from fedmed_workflows.sites.partition.division import Scheme
from fedmed_workflows.sites.partition.label_skew import LabelSkew
from fedmed_workflows.sites.partition.pool import Pool, Sample
from fedmed_workflows.sites.partition.quantity_skew import QuantitySkew
from fedmed_workflows.sites.partition.shares import dirichlet

CLASSES = ["a", "b", "c", "d"]


def pool_of(*patients: int, images: int = 1) -> Pool:
    """Patients by class, with as many images each."""
    samples = [
        Sample(f"{name}{patient:03}_{image}", "training", name, f"patient {name}{patient:03}", None)
        for name, count in zip(CLASSES, patients, strict=False)
        for patient in range(count)
        for image in range(images)
    ]
    return Pool(Path("source"), samples, CLASSES[: len(patients)])


def table(pool: Pool, scheme: Scheme, seed: int) -> npt.NDArray[np.int64]:
    """Images by site and class."""
    sites = scheme.divide(pool, seed).sites.values()
    return np.array([[sum(sample.label == name for sample in site) for name in pool.class_names] for site in sites])


@pytest.mark.parametrize("concentrations", [[0.5, 1.0, 2.5], [0.05, 0.1, 0.2], [40.0, 40.0, 40.0]])
def test_shares_have_the_moments_of_a_dirichlet_distribution(concentrations: list[float]) -> None:
    random, total = np.random.RandomState(0), sum(concentrations)
    draws = np.stack([dirichlet(concentrations, random) for _ in range(4000)])
    mean = np.array(concentrations) / total
    np.testing.assert_allclose(draws.sum(axis=1), 1, rtol=1e-12)
    np.testing.assert_allclose(draws.mean(axis=0), mean, atol=0.03)
    np.testing.assert_allclose(draws.var(axis=0), mean * (1 - mean) / (total + 1), rtol=0.1)


def test_the_smallest_concentrations_leave_one_share() -> None:
    draws = np.stack([dirichlet([1e-6] * 4, np.random.RandomState(seed)) for seed in range(400)])
    np.testing.assert_allclose(draws.max(axis=1), 1)
    assert (np.bincount(draws.argmax(axis=1)) > 70).all()  # of 100 expected for each


def test_label_skew_goes_from_one_class_a_site_to_those_of_all() -> None:
    pool = pool_of(60, 60, 60, 60)
    shares = {}
    for alpha in (0.01, 1.0, 1000.0):
        tables = [table(pool, LabelSkew(4, alpha), seed) for seed in range(8)]
        assert all((found.sum(axis=1) == 60).all() and (found.sum(axis=0) == 60).all() for found in tables)
        shares[alpha] = np.mean([found.max(axis=1) / 60 for found in tables])
    assert shares[0.01] > 0.7 > shares[1.0] > 0.45 > 0.4 > shares[1000.0] > 0.25


def test_a_large_concentration_keeps_the_proportions_of_the_classes() -> None:
    found = table(pool_of(200, 100), LabelSkew(3, 1e6), 0)
    np.testing.assert_allclose(found, [[66.7, 33.3]] * 3, atol=15)  # three standard deviations of 100 draws


def test_quantity_skew_takes_the_shares_that_it_draws_and_the_classes_of_all() -> None:
    pool, scheme = pool_of(160, 80, 40), QuantitySkew(4, 0.7)
    for seed in range(5):
        division = scheme.divide(pool, seed)
        shares = dirichlet([0.7] * 4, np.random.RandomState([seed, division.details["draw"]]))
        found = table(pool, scheme, seed)
        np.testing.assert_allclose(found.sum(axis=1), 280 * shares, atol=2)
        np.testing.assert_allclose(found, np.outer(shares, [160, 80, 40]), atol=2.5)
    assert len({tuple(table(pool, scheme, seed).sum(axis=1)) for seed in range(5)}) == 5


def test_patients_are_dealt_alike() -> None:
    pool = pool_of(31, 20, 9, images=2)
    found = table(pool, ByPatient(3), 0)
    np.testing.assert_allclose(found, np.outer([1 / 3] * 3, [62, 40, 18]), atol=2)
    other = ByPatient(3).divide(pool, 1).sites
    assert {sample.patient for sample in other["site_1"]} != {
        sample.patient for sample in ByPatient(3).divide(pool, 0).sites["site_1"]
    }


def test_draws_are_repeated_until_every_site_is_large_enough() -> None:
    pool = pool_of(60, 60)
    draws = [QuantitySkew(3, 0.3, 15).divide(pool, seed) for seed in range(10)]
    assert max(draw.details["draw"] for draw in draws) > 1
    assert min(len(site) for draw in draws for site in draw.sites.values()) >= 15


@pytest.mark.parametrize(
    ("scheme", "expected"),
    [
        (LabelSkew(3, 0.5), ["a0 a7 a9 a11 b1 b5", "a3 a6 a8 a10 b0 b4", "a1 a2 a4 a5 b2 b3"]),
        (QuantitySkew(3, 2.0), ["a0 a1 a2 a3 a7 a9 b1 b2", "a5 a10 a11 b0 b4", "a4 a6 a8 b3 b5"]),
        (ByPatient(3), ["a6 a7 a10 a11 b3 b5", "a0 a2 a5 a9 b0 b4", "a1 a3 a4 a8 b1 b2"]),
    ],
    ids=lambda it: getattr(it, "name", ""),
)
def test_the_sites_are_those_of_every_machine_and_version(scheme: Scheme, expected: list[str]) -> None:
    """The seeds draw the sites written here, by a generator of NumPy's that stays as it is."""
    sites = scheme.divide(pool_of(12, 6), 5).sites.values()
    assert [" ".join(f"{sample.image[0]}{int(sample.image[1:4])}" for sample in site) for site in sites] == expected
