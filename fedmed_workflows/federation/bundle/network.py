"""The network of a bundle without data of a site: for the first weights and for the result of a federation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from monai.utils import set_determinism

from fedmed_workflows.exchange.local_normalization import keep_normalizations_local
from fedmed_workflows.exchange.manifest import Manifest
from fedmed_workflows.exchange.weights import FULL, Weights, get_weights, set_weights
from fedmed_workflows.federation.bundle.checkpoint import save_network
from fedmed_workflows.federation.bundle.config import TRAIN_CONFIG, config_files, site_workflow


class BundleNetwork:
    """The network that every site of a federation builds from bundle, settings and seed.

    Parameters
    ----------
    bundle_root
        The bundle's folder.
    settings
        Entries of the training configuration to replace, by id.
    decided
        Values by name that the training configuration reads from its ``site``; here no site exists.
    seed
        Seed of the federation.
    train_config
        The training configuration and its overlays.
    exchange_dtype
        Type of real numbers in an update.
    local_normalization
        Whether the normalisations that train stay at their sites. This network keeps its initial ones.

    Attributes
    ----------
    network
        The initial network, on the CPU.
    manifest
        The tensors that its sites exchange.

    Raises
    ------
    ValueError
        A setting is no entry of the training configuration, or normalisations must stay and none trains.
    """

    def __init__(
        self,
        bundle_root: str,
        settings: Mapping[str, Any],
        decided: Mapping[str, Any],
        seed: int = 0,
        train_config: Sequence[str] = (TRAIN_CONFIG,),
        exchange_dtype: str = FULL,
        local_normalization: bool = False,
    ) -> None:
        overrides = {**settings, "bundle_root": bundle_root, "seed": seed, "device": torch.device("cpu")}
        self.workflow = site_workflow(config_files(bundle_root, train_config), overrides)
        self.workflow.parser["site"] = {"_target_": "types.SimpleNamespace", "checkpoint": None, **decided}
        self.exchange_dtype = exchange_dtype
        set_determinism(seed)
        self.network = self.setting("network")
        if local_normalization:
            keep_normalizations_local(self.network)
        self.manifest = Manifest.of(self.network, exchange_dtype)

    def initial_weights(self) -> Weights:
        """Copies the exchanged tensors of the initial network; they are the same at every site."""
        return get_weights(self.network, self.exchange_dtype)

    def save_model(self, weights: Mapping[str, torch.Tensor], path: Path) -> Path:
        """Saves the state of the whole network with the given weights."""
        self.manifest.check(weights, "the federation's result")
        set_weights(self.network, weights)
        return save_network(self.network, path)

    def has_setting(self, name: str) -> bool:
        """Returns whether the training configuration has an entry of this name."""
        return name in self.workflow.parser

    def setting(self, name: str) -> Any:
        """The value of an entry of the training configuration."""
        return self.workflow.parser.get_parsed_content(name)
