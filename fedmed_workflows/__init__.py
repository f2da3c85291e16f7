"""Workflows: what happens in a round of a federation. Losses, the site, exchange, aggregation, engines, evaluation."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fedmed_workflows.contrastive import ContrastiveLoss
    from fedmed_workflows.facmic import FACMICLoss
    from fedmed_workflows.federation import Federation
    from fedmed_workflows.lmmd import LMMDLoss
    from fedmed_workflows.site_algo import SiteAlgo

__all__ = ["ContrastiveLoss", "FACMICLoss", "Federation", "LMMDLoss", "SiteAlgo"]

_MODULES = {
    "ContrastiveLoss": "fedmed_workflows.contrastive",
    "FACMICLoss": "fedmed_workflows.facmic",
    "Federation": "fedmed_workflows.federation",
    "LMMDLoss": "fedmed_workflows.lmmd",
    "SiteAlgo": "fedmed_workflows.site_algo",
}


def __getattr__(name: str) -> Any:
    """Imports what is asked for: a server that aggregates loads no foundation, a reader of files no network."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)
