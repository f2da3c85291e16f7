"""A site's update as filters of NVFlare take it, differences in arrays, and back to the tensors of the manifest."""

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
    """Trained minus received, of the parameters that travel and of nothing else.

    The statistics of normalisations stay at the site: a filter that cuts or noises a variance can make it zero or
    negative.

    Parameters
    ----------
    network
        The site's.
    trained, received
        The exchanged tensors after and before a round.
    """
    names = [name for name, value in exchanged_tensors(network).items() if isinstance(value, nn.Parameter)]
    return {name: (trained[name].double() - received[name].double()).float().numpy() for name in names}


class FilteredWeights(Mapping[str, torch.Tensor]):
    """The tensors that a filtered difference stands for: the received ones, plus what a site sent of the difference.

    A tensor of which nothing was sent, because a filter took it out or it is a statistic, is as it was received. Each
    is computed when it is asked for, in float64, and has the received one's type.

    Parameters
    ----------
    received
        The aggregate that the site trained from.
    sent
        Arrays by name.
    sender
        Whose they are, for messages.

    Raises
    ------
    ManifestError
        Nothing was sent, or a name is unknown, or something has another shape than the received tensor, or is no array
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
