"""Updates for filters of NVFlare: arrays of differences, and from them the tensors of the manifest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from fedmed_workflows.errors import ManifestError
from fedmed_workflows.exchange.trainable import exchanged_tensors


def difference(
    network: nn.Module, trained: Mapping[str, torch.Tensor], received: Mapping[str, torch.Tensor]
) -> dict[str, NDArray[np.float32]]:
    """Subtracts the received from the trained values of all exchanged parameters.

    The statistics of normalisations are left out: a filter that clips a variance or adds noise to it can make it zero
    or negative.

    Parameters
    ----------
    network
        The network of the site.
    trained, received
        The exchanged tensors after and before the training of a round.
    """
    names = [name for name, value in exchanged_tensors(network).items() if isinstance(value, nn.Parameter)]
    return {name: (trained[name].double() - received[name].double()).float().numpy() for name in names}


class FilteredWeights(Mapping[str, torch.Tensor]):
    """Exchanged tensors of a filtered update: the received tensors plus the differences that the site sent.

    A tensor without a difference, because a filter removed it or it is a statistic, is the received one. Each tensor
    is computed when it is used, in float64, and has the type of the received one.

    Parameters
    ----------
    received
        The aggregate that the site trained from.
    sent
        Arrays of differences by name.
    sender
        Name of the site, for messages.

    Raises
    ------
    ManifestError
        Nothing was sent, a name is unknown, an array has another shape than the received tensor, or a value is no array
        of real numbers.
    """

    def __init__(self, received: Mapping[str, torch.Tensor], sent: Mapping[str, Any], sender: str) -> None:
        if not sent:
            raise ManifestError(f"{sender}: its filtered update holds no tensors")
        unknown = sorted(set(sent) - set(received))
        if unknown:
            raise ManifestError(f"{sender}: its filtered update does not match the manifest: unknown {unknown}")
        for name, value in sent.items():
            _check(name, value, received[name], sender)
        self._received, self._sent = received, sent

    def __getitem__(self, name: str) -> torch.Tensor:
        received = self._received[name]
        if name not in self._sent:
            return received
        return (received.double() + torch.from_numpy(self._sent[name]).double()).to(received.dtype)

    def __iter__(self) -> Iterator[str]:
        return iter(self._received)

    def __len__(self) -> int:
        return len(self._received)


def _check(name: str, value: Any, received: torch.Tensor, sender: str) -> None:
    if not isinstance(value, np.ndarray) or value.dtype not in (np.float32, np.float64):
        found = value.dtype if isinstance(value, np.ndarray) else type(value).__name__
        raise ManifestError(f"{sender}: tensor {name}: found {found}, expected an array of float32 or float64")
    if value.shape != tuple(received.shape):
        raise ManifestError(
            f"{sender}: tensor {name}: found shape {list(value.shape)}, expected {list(received.shape)}"
        )
