"""Aggregation of the sites' updates: a pure function of {site: update} each, one a file."""

from fedmed_workflows.aggregation.aggregation import Aggregated, Aggregation, Before
from fedmed_workflows.aggregation.fedadam import FedAdam
from fedmed_workflows.aggregation.fedavg import FedAvg
from fedmed_workflows.aggregation.fedavgm import FedAvgM
from fedmed_workflows.aggregation.fedbn import FedBN
from fedmed_workflows.aggregation.fedyogi import FedYogi
from fedmed_workflows.aggregation.krum import Krum
from fedmed_workflows.aggregation.median import Median
from fedmed_workflows.aggregation.trimmed_mean import TrimmedMean
from fedmed_workflows.exchange import Update

__all__ = [
    "Aggregated", "Aggregation", "Before", "FedAdam", "FedAvg", "FedAvgM", "FedBN", "FedYogi", "Krum", "Median",
    "TrimmedMean", "Update",
]  # fmt: skip
