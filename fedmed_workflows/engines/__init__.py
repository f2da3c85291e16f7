"""Engines: how a site's round is called. Nothing else of a federation depends on the engine."""

from fedmed_workflows.engines.in_process import InProcessEngine

__all__ = ["InProcessEngine"]
