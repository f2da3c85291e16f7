"""Networks: the foundations (CLIP, SAM) and what each method adds to them; nothing of rounds."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fedmed_networks.facmic import FACMIC
    from fedmed_networks.feature_attention import FeatureAttention
    from fedmed_networks.fedmsa import FedMSA
    from fedmed_networks.fedsam import FedSAM

__all__ = ["FACMIC", "FeatureAttention", "FedMSA", "FedSAM"]

_MODULES = {
    "FACMIC": "fedmed_networks.facmic",
    "FeatureAttention": "fedmed_networks.feature_attention",
    "FedMSA": "fedmed_networks.fedmsa",
    "FedSAM": "fedmed_networks.fedsam",
}


def __getattr__(name: str) -> Any:
    """Imports what is asked for: a server that aggregates loads no foundation, a reader of files no network."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)
