"""Aggregation of the sites' updates: a pure function of {site: update} each, one a file."""

from fedmed_workflows.aggregation.fedavg import FedAvg, Update

__all__ = ["FedAvg", "Update"]
