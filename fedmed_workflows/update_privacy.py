"""Gaussian differential privacy on a site's update of a round: clipped as one vector, and noised."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from fedmed_workflows.exchange import Weights
from fedmed_workflows.privacy_accounting import gaussian_epsilon

Array = NDArray[np.float64]

Noise = Callable[[str, int], Array]
"""``(name of a tensor, number of values) ->`` so many standard normal values."""

LEAST_VARIANCE = 1e-3
"""What a normalisation's noised variance is raised to: noise may have made it negative, and networks divide by it."""


@dataclass(frozen=True)
class GaussianUpdate:
    """The Gaussian mechanism on what a site sends: received + clip(trained - received) + noise.

    All real tensors that travel are one vector, statistics of normalisations with them: these are means and variances
    of patients' features, and tell as much as parameters do. A running variance is raised to :data:`LEAST_VARIANCE`
    after the noise, which costs no privacy. Whole numbers (a normalisation's count of batches) go back as received,
    since nothing depends on them.

    Parameters
    ----------
    clip_norm
        Largest L2 norm of an update, above 0; longer ones are scaled down to it.
    noise_multiplier
        Standard deviation of the noise on every value over `clip_norm`, at least 0; 0 clips and guarantees nothing.
    delta
        Probability, between 0 and 1, that epsilon leaves out; well below 1 over the number of patients.

    Raises
    ------
    ValueError
        A value is out of range.

    Notes
    -----
    The unit of privacy is a site: with a zero update in the place of its own, an answer differs by at most `clip_norm`.
    With other training images it differs by at most twice that, whether one patient's are others or all of them: this
    is the guarantee of half the noise multiplier. No amplification by subsampling is claimed.

    Source: Dwork and Roth, "The Algorithmic Foundations of Differential Privacy", appendix A; on updates: McMahan et
    al., "Learning Differentially Private Recurrent Language Models", arXiv 1710.06963, though noise is added at each
    site here, so that no server has to be trusted with an update.
    """

    clip_norm: float
    noise_multiplier: float
    delta: float

    def __post_init__(self) -> None:
        """Refuses values out of range."""
        ranges: dict[str, tuple[Callable[[float], bool], str]] = {
            "clip_norm": (lambda value: 0 < value < math.inf, "a number above 0"),
            "noise_multiplier": (lambda value: 0 <= value < math.inf, "a number of at least 0"),
            "delta": (lambda value: 0 < value < 1, "a number between 0 and 1"),
        }
        for name, (inside, expected) in ranges.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not inside(value):
                raise ValueError(f"privacy: {name}: found {value!r}, expected {expected}")

    def epsilon(self, answers: int) -> float:
        """Epsilon after so many answers of a site; infinite without noise.

        Raises
        ------
        ValueError
            The accountant is not installed.
        """
        return gaussian_epsilon(self.noise_multiplier, answers, self.delta)

    def answer(
        self, trained: Mapping[str, torch.Tensor], received: Mapping[str, torch.Tensor], noise: Noise
    ) -> Weights:
        """What a site sends in place of its trained tensors.

        Parameters
        ----------
        trained
            The exchanged tensors after training, in the type they trained in.
        received
            The same tensors before training, in the type they are sent in.
        noise
            Standard normal values.

        Returns
        -------
        dict
            Names, shapes and types of `received`. The arithmetic is in float64, before the cast.
        """
        updates = {name: value for name, value in received.items() if value.is_floating_point()}
        norm = math.sqrt(sum(float(np.square(_update(trained[name], value)).sum()) for name, value in updates.items()))
        scale = min(1.0, self.clip_norm / norm) if norm else 1.0
        return {name: self._sent(name, trained[name], value, scale, noise) for name, value in received.items()}

    def _sent(
        self, name: str, trained: torch.Tensor, received: torch.Tensor, scale: float, noise: Noise
    ) -> torch.Tensor:
        if not received.is_floating_point():
            return received.clone()
        values = _float64(received) + scale * _update(trained, received)
        if self.noise_multiplier:
            values += self.noise_multiplier * self.clip_norm * noise(name, values.size)
        if name.endswith("running_var"):  # as torch names it, in every normalisation
            values = np.maximum(values, LEAST_VARIANCE)
        return torch.from_numpy(values).reshape(received.shape).to(received.dtype)


def _update(trained: torch.Tensor, received: torch.Tensor) -> Array:
    return _float64(trained) - _float64(received)


def _float64(tensor: torch.Tensor) -> Array:
    """The values as a vector. NumPy sums in one order, however many threads there are."""
    values: Array = tensor.detach().cpu().double().numpy().reshape(-1)
    return values
