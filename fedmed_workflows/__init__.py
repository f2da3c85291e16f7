"""Workflows: what happens in a round of a federation. Losses, the site, exchange, aggregation, engines, evaluation."""

from fedmed_workflows.contrastive import ContrastiveLoss
from fedmed_workflows.facmic import FACMICLoss
from fedmed_workflows.federation import Federation
from fedmed_workflows.lmmd import LMMDLoss
from fedmed_workflows.site_algo import SiteAlgo

__all__ = ["ContrastiveLoss", "FACMICLoss", "Federation", "LMMDLoss", "SiteAlgo"]
