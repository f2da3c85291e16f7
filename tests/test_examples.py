"""Every public name has an example in its docstring; pytest runs it (``--doctest-modules`` in setup.cfg)."""

from __future__ import annotations

from importlib import import_module
from inspect import getdoc

import pytest

FACES = ("fedmed_networks", "fedmed_transforms", "fedmed_workflows", "fedmed_workflows.aggregation")

WITHOUT_EXAMPLE = """
fedmed_networks.OnnxNetwork
fedmed_workflows.Comparison
fedmed_workflows.EncryptedAggregate
fedmed_workflows.EncryptedSite
fedmed_workflows.Federation
fedmed_workflows.FederationController
fedmed_workflows.ImageStatistics
fedmed_workflows.LastAggregate
fedmed_workflows.NamedCheckpointLoader
fedmed_workflows.Production
fedmed_workflows.ProductionStatistics
fedmed_workflows.RejoiningSites
fedmed_workflows.RestartingLauncher
fedmed_workflows.SimulatedStatistics
fedmed_workflows.SiteAlgo
fedmed_workflows.SiteExecutor
fedmed_workflows.SiteStatisticsExecutor
fedmed_workflows.StoredResults
fedmed_workflows.StudyEvaluator
fedmed_workflows.WatchEvaluator
fedmed_workflows.continued_network
fedmed_workflows.aggregation.Aggregated
fedmed_workflows.aggregation.Aggregation
fedmed_workflows.aggregation.Before
""".split()
"""Names without an example: classes that need a server or a run."""

PUBLIC_NAMES = [f"{face}.{name}" for face in FACES for name in import_module(face).__all__]


def has_example(name: str) -> bool:
    face, _, own = name.rpartition(".")
    return "\nExamples\n--------\n>>> " in (getdoc(getattr(import_module(face), own)) or "")


@pytest.mark.parametrize("name", [name for name in PUBLIC_NAMES if name not in WITHOUT_EXAMPLE])
def test_a_public_name_has_an_example(name: str) -> None:
    assert has_example(name), f"{name}: expected a section Examples in its docstring"


def test_an_exception_is_a_public_name_without_an_example() -> None:
    assert [name for name in WITHOUT_EXAMPLE if name not in PUBLIC_NAMES or has_example(name)] == []
