"""Networks: the foundations (CLIP) and what each method adds to them; nothing of rounds."""

from fedmed_networks.facmic import FACMIC
from fedmed_networks.feature_attention import FeatureAttention

__all__ = ["FACMIC", "FeatureAttention"]
