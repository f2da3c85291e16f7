"""Local maximum mean discrepancy: the distance between source and target features, class by class."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

KERNELS = 5
"""Number of Gaussians in the kernel; their bandwidths are b * 2^i / 4 for i = 0..4."""


class LMMDLoss(nn.Module):
    """Computes the local maximum mean discrepancy of labelled source and unlabelled target features.

    A class c is shared if it is among the source's labels and among the target's most probable classes. For every
    shared class, the source sample i has the weight [y_i = c] / #{y = c} and the target sample j has the weight
    p_jc / sum_j p_jc. v are the weights of the source, followed by the negative weights of the target. The loss is the
    mean over the shared classes of v^t K v: the published sum(W_ss * K_ss + W_tt * K_tt - 2 W_st * K_st), without its
    three weight matrices. K is a sum of five Gaussians on squared distances; their bandwidth has no gradient.

    Notes
    -----
    Source: Wu et al., arXiv 2410.14707, equations 3 to 5; Zhu et al., "Deep Subdomain Adaptation Network for Image
    Classification", arXiv 2106.09388, equation 7.

    Examples
    --------
    >>> import torch
    >>> from fedmed_workflows import LMMDLoss
    >>> features, labels = torch.eye(4), torch.tensor([0, 0, 1, 1])
    >>> LMMDLoss()(features, features, labels, torch.eye(2)[labels]).abs() < 1e-6  # source and target are the same
    tensor(True)
    """

    def forward(
        self, source: torch.Tensor, target: torch.Tensor, labels: torch.Tensor, target_probabilities: torch.Tensor
    ) -> torch.Tensor:
        """Computes the loss of a source batch and a target batch, on the device of the tensors.

        Parameters
        ----------
        source
            (B, D) features of labelled images.
        target
            (T, D) features of images whose labels are unknown.
        labels
            (B,) integer classes of the source.
        target_probabilities
            (T, C) class probabilities of the target; they get no gradient.

        Returns
        -------
        torch.Tensor
            A scalar; zero if no class is shared, or if the kernel is not a number because all features are equal.
        """
        weights, shared = _signed_weights(labels, target_probabilities.detach())
        kernel = _kernel(torch.cat([source, target]))  # (B + T, B + T)
        if not bool(shared.any()) or bool(torch.isnan(kernel).any()):
            return (source * 0).sum() + (target * 0).sum()
        weights = weights * shared
        return (weights * (kernel @ weights)).sum() / shared.sum()


def _signed_weights(labels: torch.Tensor, probabilities: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns the weights (B + T, C), negative for the target, and a mask (C,) of the shared classes."""
    classes = probabilities.shape[1]
    of_source = functional.one_hot(labels, classes).to(probabilities)  # (B, C)
    of_target = functional.one_hot(probabilities.argmax(dim=1), classes)  # (T, C)
    shared = (of_source.sum(dim=0) > 0) & (of_target.sum(dim=0) > 0)
    weights = torch.cat(
        [
            of_source / of_source.sum(dim=0).clamp_min(1),
            -probabilities / probabilities.sum(dim=0).clamp_min(torch.finfo(probabilities.dtype).tiny),
        ]
    )
    return weights, shared


def _kernel(features: torch.Tensor) -> torch.Tensor:
    """Sums the Gaussians of all pairs, (N, D) -> (N, N); the Gram matrix avoids an array (N, N, D)."""
    features = features - features[:1].detach()  # same distances; equal features become exact zeros
    squares = features.square().sum(dim=1)  # (N,)
    distances = (squares[:, None] + squares[None, :] - 2 * features @ features.t()).clamp_min(0)
    bandwidth = distances.detach().sum() / (len(features) ** 2 - len(features))
    gaussians = [torch.exp(-distances / (bandwidth * 2**i / 4)) for i in range(KERNELS)]
    return torch.stack(gaussians).sum(dim=0)
