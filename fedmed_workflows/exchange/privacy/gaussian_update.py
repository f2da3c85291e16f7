"""The Gaussian mechanism on updates: the update of a site is clipped as one vector and gets noise."""

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
"""A function ``(name of a tensor, number of values) ->`` that many standard normal values."""


def gaussian_epsilon(noise_multiplier: float, answers: int, delta: float) -> float:
    """Computes epsilon of a number of Gaussian answers, each of sensitivity 1 and noise of this standard deviation.

    Gaussian mechanisms compose to one of noise_multiplier / sqrt(answers), also if an answer depends on earlier ones.
    The result is the exact epsilon of this mechanism, not an upper bound.

    Parameters
    ----------
    noise_multiplier
        Standard deviation over sensitivity; 0 gives infinity.
    answers
        Number of answers, at least 1.
    delta
        Probability that epsilon leaves out, between 0 and 1.

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
    """Applies the Gaussian mechanism to the update of a site: received + clip(trained - received) + noise.

    All exchanged parameters form one vector. The other exchanged tensors, the statistics of normalisations, are sent
    back as received and reveal nothing; see :class:`fedmed_workflows.exchange.privacy.private_update.PrivateUpdate`.

    Parameters
    ----------
    clip_norm
        Largest L2 norm of an update, above 0; a longer update is scaled down to it.
    noise_multiplier
        Standard deviation of the noise on every value, divided by `clip_norm`, at least 0. With 0 updates are only
        clipped, and nothing is guaranteed.
    delta
        Probability that epsilon leaves out, between 0 and 1; it should be well below 1 over the number of patients.

    Raises
    ------
    ValueError
        A value is out of range.

    Notes
    -----
    The unit of privacy is a site: an answer differs by at most `clip_norm` from the answer of a zero update. It differs
    by at most twice `clip_norm` if the training images of one patient, or of all, are replaced: this is the guarantee
    of half the noise multiplier. No amplification by subsampling is claimed.

    Source: Dwork and Roth, "The Algorithmic Foundations of Differential Privacy", appendix A; on updates: McMahan et
    al., "Learning Differentially Private Recurrent Language Models", arXiv 1710.06963. Here every site adds the noise
    itself, so that no server has to be trusted with an update.

    Examples
    --------
    >>> from fedmed_workflows import GaussianUpdate
    >>> GaussianUpdate(clip_norm=1.0, noise_multiplier=0.0, delta=1e-5).epsilon(answers=10)  # without noise
    inf
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
        """Computes epsilon after a number of answers of a site; it is infinite without noise.

        Raises
        ------
        ValueError
            The accountant is not installed.
        """
        return gaussian_epsilon(self.noise_multiplier, answers, self.delta)

    def answer(
        self, trained: Mapping[str, torch.Tensor], received: Mapping[str, torch.Tensor], noise: Noise
    ) -> Weights:
        """Computes the private tensors that a site sends in place of its trained ones.

        Parameters
        ----------
        trained
            The parameters after training, in the type in which they trained.
        received
            All exchanged tensors before training, in the type in which they are sent. A tensor that is not in `trained`
            is sent back as a copy.
        noise
            Source of standard normal values.

        Returns
        -------
        dict
            Tensors with the names, shapes and types of `received`. They are computed in float64, then cast.
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
    """Returns the values as a vector. NumPy sums in one order, for any number of threads."""
    values: NDArray[np.float64] = tensor.detach().cpu().double().numpy().reshape(-1)
    return values
