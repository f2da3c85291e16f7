"""The last step before a site's update leaves it: made private, and counted by the site itself."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from monai.fl.utils.exchange_object import ExchangeObject
from monai.fl.utils.filters import Filter

from fedmed_networks.weights import tensor_digest
from fedmed_workflows.noise_secret import NoiseSecret
from fedmed_workflows.run_folder import write_whole
from fedmed_workflows.update_privacy import GaussianUpdate

logger = logging.getLogger(__name__)

RECEIVED, ROUND = "received_weights", "round"
"""What the filter finds in MONAI's ``extra``: the tensors that the site received, and the number of the round."""


class PrivateUpdate(Filter):
    """A filter of MONAI on the weights that a site sends (``post_weight_filters``).

    Parameters
    ----------
    privacy
        The mechanism.
    folder
        The site's own folder: gets ``noise.secret`` and ``answers.txt``, a line for every answer that differs.
    begun
        Whether the site has answered before.

    Raises
    ------
    ValueError
        The site's secret is refused; see :class:`fedmed_workflows.noise_secret.NoiseSecret`.
    """

    def __init__(self, privacy: GaussianUpdate, folder: Path, begun: bool) -> None:
        self.privacy = privacy
        self.secret = NoiseSecret(folder / "noise.secret", begun)
        self.file = folder / "answers.txt"

    def __call__(self, data: ExchangeObject, extra: dict[str, Any] | None = None) -> ExchangeObject:
        """The same object with private weights, in the type of the received ones."""
        assert extra is not None
        received = {name: torch.as_tensor(value) for name, value in extra[RECEIVED].items()}
        asked = _digest(extra[ROUND], received, data.weights)
        self._count(asked)
        data.weights = self.privacy.answer(
            data.weights, received, lambda name, count: self.secret.normal(f"{asked} {name}", count)
        )
        return data

    @property
    def answers(self) -> int:
        """How many different answers the site has given; the same one given again tells nothing new."""
        return len(self._given())

    def _given(self) -> list[str]:
        return self.file.read_text().split() if self.file.is_file() else []

    def _count(self, asked: str) -> None:
        given = self._given()
        if asked not in given:
            write_whole(self.file, "".join(f"{line}\n" for line in [*given, asked]))


def _digest(round_number: int, received: Mapping[str, torch.Tensor], trained: Mapping[str, torch.Tensor]) -> str:
    """Of all that an answer depends on besides the secret."""
    digest = hashlib.sha256(f"round {round_number}".encode())
    for tensors in (received, trained):
        for name in sorted(tensors):
            digest.update(f" {name} {tensor_digest(tensors[name])}".encode())
    return digest.hexdigest()
