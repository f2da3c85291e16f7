"""A gated adapter on the features of a frozen CLIP, and the penalty on its gate."""

from gated_adapter.network import GatedAdapter
from gated_adapter.penalty import GatePenalty

__all__ = ["GatePenalty", "GatedAdapter"]
