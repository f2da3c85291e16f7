"""Gaussian differential privacy on a site's update of a round: clipped as one vector, and noised."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from fedmed_networks.settings import check_number
from fedmed_workflows.exchange.weights import Weights

Noise = Callable[[str, int], NDArray[np.float64]]
"""``(name of a tensor, number of values) ->`` so many standard normal values."""


def gaussian_epsilon(noise_multiplier: float, answers: int, delta: float) -> float:
    """Epsilon of a number of Gaussian answers, each of sensitivity 1 and noise of this standard deviation.

    Gaussian mechanisms compose to one of noise_multiplier / sqrt(answers), also where an answer depends on those
    before; epsilon is its exact value, no bound.

    Parameters
    ----------
    noise_multiplier
        Standard deviation over sensitivity; 0 gives infinity.
    answers
        At least 1.
    delta
        Between 0 and 1.

    Raises
    ------
    ValueError
        The accountant, Google's dp-accounting, is not installed.

    Notes
    -----
    Source: Balle and Wang, "Improving the Gaussian Mechanism for Differential Privacy", arXiv 1805.06530, theorem 8;
    composition: Dong et al., "Gaussian Differential Privacy", arXiv 1905.02383, section 3.
    """
    if noise_multiplier == 0:
        return math.inf
    try:
        from dp_accounting import get_epsilon_gaussian
    except ImportError as error:
        raise ValueError(
            "privacy: epsilon needs the package dp-accounting, found none; expected pip install 'fedmed[privacy]'"
        ) from error
    return float(get_epsilon_gaussian(noise_multiplier / math.sqrt(answers), delta))


@dataclass(frozen=True)
class GaussianUpdate:
    """The Gaussian mechanism on what a site sends: received + clip(trained - received) + noise.

    All parameters that travel are one vector. What else travels, the statistics of normalisations, goes back as
    received and tells nothing; see :class:`fedmed_workflows.exchange.privacy.private_update.PrivateUpdate`.

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
        check_number("privacy: clip_norm", self.clip_norm, above=0)
        check_number("privacy: noise_multiplier", self.noise_multiplier, least=0)
        check_number("privacy: delta", self.delta, above=0, below=1)

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
            The parameters after training, in the type they trained in.
        received
            All exchanged tensors before training, in the type they are sent in; a copy of what is not in `trained` is
            sent.
        noise
            Standard normal values.

        Returns
        -------
        dict
            Names, shapes and types of `received`. The arithmetic is in float64, before the cast.
        """
        norm = math.sqrt(sum(float(np.square(_update(trained[name], received[name])).sum()) for name in trained))
        scale = min(1.0, self.clip_norm / norm) if norm else 1.0
        sent = {name: value.clone() for name, value in received.items() if name not in trained}
        for name in trained:
            values = _float64(received[name]) + scale * _update(trained[name], received[name])
            if self.noise_multiplier:
                values += self.noise_multiplier * self.clip_norm * noise(name, values.size)
            sent[name] = torch.from_numpy(values).reshape(received[name].shape).to(received[name].dtype)
        return {name: sent[name] for name in received}


def _update(trained: torch.Tensor, received: torch.Tensor) -> NDArray[np.float64]:
    return _float64(trained) - _float64(received)


def _float64(tensor: torch.Tensor) -> NDArray[np.float64]:
    """The values as a vector. NumPy sums in one order, however many threads there are."""
    values: NDArray[np.float64] = tensor.detach().cpu().double().numpy().reshape(-1)
    return values
