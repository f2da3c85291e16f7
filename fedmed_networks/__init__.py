"""Networks: the foundations (CLIP, SAM) and what each method adds to them; nothing of rounds."""

from fedmed_networks.facmic import FACMIC
from fedmed_networks.feature_attention import FeatureAttention
from fedmed_networks.fedmsa import FedMSA
from fedmed_networks.fedsam import FedSAM

__all__ = ["FACMIC", "FeatureAttention", "FedMSA", "FedSAM"]
