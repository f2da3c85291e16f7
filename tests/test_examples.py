"""Every public name has an example in its docstring; pytest runs it (``--doctest-modules`` in setup.cfg)."""

from __future__ import annotations

from importlib import import_module
from inspect import getdoc

import pytest

FACES = ("fedmed_networks", "fedmed_transforms", "fedmed_workflows", "fedmed_workflows.aggregation")

WITHOUT_EXAMPLE = """
fedmed_networks.FACMIC
fedmed_networks.FeatureAttention
fedmed_networks.FedCLIP
fedmed_networks.FedMSA
fedmed_networks.FedSAM
fedmed_networks.FedUNet
fedmed_networks.FineTunedCLIP
fedmed_networks.LinearHeadCLIP
fedmed_networks.LoraCLIP
fedmed_networks.LoraSAM
fedmed_networks.OnnxNetwork
fedmed_networks.TorchScriptNetwork
fedmed_networks.ZeroShotCLIP
fedmed_networks.checkpoint_class_names
fedmed_workflows.AdaptationInferer
fedmed_workflows.AdversarialInferer
fedmed_workflows.ClassificationFiles
fedmed_workflows.Comparison
fedmed_workflows.ContrastiveLoss
fedmed_workflows.EncryptedAggregate
fedmed_workflows.EncryptedSite
fedmed_workflows.FAACLIPLoss
fedmed_workflows.FACMICLoss
fedmed_workflows.FeatureInferer
fedmed_workflows.FedProx
fedmed_workflows.Federation
fedmed_workflows.FederationController
fedmed_workflows.GaussianUpdate
fedmed_workflows.ImageStatistics
fedmed_workflows.LMMDLoss
fedmed_workflows.LastAggregate
fedmed_workflows.MOON
fedmed_workflows.NamedCheckpointLoader
fedmed_workflows.PairInferer
fedmed_workflows.PairLoss
fedmed_workflows.Production
fedmed_workflows.ProductionStatistics
fedmed_workflows.RefusedStudies
fedmed_workflows.RejoiningSites
fedmed_workflows.RestartingLauncher
fedmed_workflows.SegmentationFiles
fedmed_workflows.SimulatedStatistics
fedmed_workflows.SiteAlgo
fedmed_workflows.SiteExecutor
fedmed_workflows.SiteStatisticsExecutor
fedmed_workflows.SmoothedFocalLoss
fedmed_workflows.StageSeconds
fedmed_workflows.StoredResults
fedmed_workflows.StudyDataset
fedmed_workflows.StudyEvaluator
fedmed_workflows.StudyEvents
fedmed_workflows.StudyLedger
fedmed_workflows.Update
fedmed_workflows.Watch
fedmed_workflows.WatchEvaluator
fedmed_workflows.continued_network
fedmed_workflows.trainable_parameters
fedmed_workflows.watch_source
fedmed_workflows.aggregation.Aggregated
fedmed_workflows.aggregation.Aggregation
fedmed_workflows.aggregation.Before
fedmed_workflows.aggregation.FedAdam
fedmed_workflows.aggregation.FedAvg
fedmed_workflows.aggregation.FedAvgM
fedmed_workflows.aggregation.FedBN
fedmed_workflows.aggregation.FedYogi
fedmed_workflows.aggregation.Krum
fedmed_workflows.aggregation.Median
fedmed_workflows.aggregation.TrimmedMean
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
