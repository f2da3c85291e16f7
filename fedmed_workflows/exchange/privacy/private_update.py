"""The last step before an update leaves its site: the update is made private, and the site counts its answers."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from monai.fl.utils.exchange_object import ExchangeObject
from monai.fl.utils.filters import Filter
from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from fedmed_networks.weights import tensor_digest
from fedmed_transforms.whole_file import write_whole
from fedmed_workflows.exchange.privacy.gaussian_update import GaussianUpdate
from fedmed_workflows.exchange.privacy.noise_secret import NoiseSecret
from fedmed_workflows.exchange.trainable import exchanged_tensors

RECEIVED, ROUND = "received_weights", "round"
"""Keys of MONAI's ``extra``: the tensors that the site received, and the number of the round."""


class PrivateUpdate(Filter):
    """Makes the weights that a site sends private; a filter of MONAI (``post_weight_filters``).

    Exchanged normalisations keep the statistics that they received: they normalise with these statistics also in
    training, instead of with those of the batch, and the statistics are sent back as received. New statistics would be
    means and variances of patients' features. With noise as on parameters they would take most of the norm that
    clipping leaves, and a variance could become negative.

    Parameters
    ----------
    privacy
        The mechanism.
    network
        The site's network; its normalisations keep their statistics from now on.
    folder
        The site's own folder. The filter writes ``noise.secret`` and ``answers.txt``, a line for each different answer.
    begun
        Whether the site has answered before.

    Raises
    ------
    ValueError
        The site's secret is refused; see :class:`fedmed_workflows.exchange.privacy.noise_secret.NoiseSecret`.
    """

    def __init__(self, privacy: GaussianUpdate, network: nn.Module, folder: Path, begun: bool) -> None:
        self.privacy = privacy
        exchanged = exchanged_tensors(network)
        self.parameters = [name for name, value in exchanged.items() if isinstance(value, nn.Parameter)]
        hold_statistics(network)
        self.secret = NoiseSecret(folder / "noise.secret", begun)
        self.file = folder / "answers.txt"

    def __call__(self, data: ExchangeObject, extra: dict[str, Any] | None = None) -> ExchangeObject:
        """Replaces the weights of the object by private ones, in the type of the received ones."""
        assert extra is not None
        received = {name: torch.as_tensor(value) for name, value in extra[RECEIVED].items()}
        trained = {name: data.weights[name] for name in self.parameters}
        asked = _digest(extra[ROUND], received, trained)
        self._count(asked)
        data.weights = self.privacy.answer(
            trained, received, lambda name, count: self.secret.normal(f"{asked} {name}", count)
        )
        return data

    @property
    def answers(self) -> int:
        """Number of different answers of the site; a repeated answer reveals nothing new and does not count."""
        return len(self._given())

    def _given(self) -> list[str]:
        return self.file.read_text().split() if self.file.is_file() else []

    def _count(self, asked: str) -> None:
        given = self._given()
        if asked not in given:
            write_whole(self.file, "".join(f"{line}\n" for line in [*given, asked]))


def hold_statistics(network: nn.Module) -> None:
    """Keeps normalisations with exchanged statistics in evaluation mode: the statistics are used and not changed."""
    exchanged = {id(value) for value in exchanged_tensors(network).values()}
    for module in network.modules():
        if isinstance(module, _NormBase) and id(module.running_mean) in exchanged:
            module.register_forward_pre_hook(_evaluate)


def _evaluate(module: nn.Module, _: Any) -> None:
    module.eval()


def _digest(round_number: int, received: Mapping[str, torch.Tensor], trained: Mapping[str, torch.Tensor]) -> str:
    """Computes the digest of everything, besides the secret, on which an answer depends."""
    digest = hashlib.sha256(f"round {round_number}".encode())
    for tensors in (received, trained):
        for name in sorted(tensors):
            digest.update(f" {name} {tensor_digest(tensors[name])}".encode())
    return digest.hexdigest()
