"""Local maximum mean discrepancy: the distance between source and target features, class by class."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

KERNELS = 5
"""Number of Gaussians in the kernel, with bandwidths b * 2^i / 4 for i = 0..4."""


class LMMDLoss(nn.Module):
    """Local maximum mean discrepancy of labelled source and unlabelled target features.

    For every class c that is both among the source's labels and among the target's most probable classes, the source
    sample i weighs [y_i = c] / #{y = c} and the target sample j weighs p_jc / sum_j p_jc. The loss is the mean over
    these classes of v^t K v, where v are the source's weights followed by the negative weights of the target: the
    published sum(W_ss * K_ss + W_tt * K_tt - 2 W_st * K_st), without its three weight matrices. K is a sum of five
    Gaussians on squared distances; their bandwidth carries no gradient.

    Notes
    -----
    Source: Wu et al., arXiv 2410.14707, equations 3 to 5; Zhu et al., "Deep Subdomain Adaptation Network for Image
    Classification", arXiv 2106.09388, equation 7.
    """

    def forward(
        self, source: torch.Tensor, target: torch.Tensor, labels: torch.Tensor, target_probabilities: torch.Tensor
    ) -> torch.Tensor:
        """The loss of a source batch and a target batch, on the tensors' device.

        Parameters
        ----------
        source
            (B, D) features of labelled images.
        target
            (T, D) features of images whose labels are unknown.
        labels
            (B,) integer classes of the source.
        target_probabilities
            (T, C) class probabilities of the target; no gradient flows through them.

        Returns
        -------
        torch.Tensor
            A scalar; zero where no class is shared, or where the kernel is not a number (all features alike).
        """
        weights, shared = _signed_weights(labels, target_probabilities.detach())
        kernel = _kernel(torch.cat([source, target]))
        if not bool(shared.any()) or bool(torch.isnan(kernel).any()):
            return (source * 0).sum() + (target * 0).sum()
        weights = weights * shared
        return (weights * (kernel @ weights)).sum() / shared.sum()


def _signed_weights(labels: torch.Tensor, probabilities: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Weights (B + T, C), the target's negative, and which classes (C,) both sides have."""
    classes = probabilities.shape[1]
    of_source = functional.one_hot(labels, classes).to(probabilities)
    of_target = functional.one_hot(probabilities.argmax(dim=1), classes)
    shared = (of_source.sum(dim=0) > 0) & (of_target.sum(dim=0) > 0)
    weights = torch.cat(
        [
            of_source / of_source.sum(dim=0).clamp_min(1),
            -probabilities / probabilities.sum(dim=0).clamp_min(torch.finfo(probabilities.dtype).tiny),
        ]
    )
    return weights, shared


def _kernel(features: torch.Tensor) -> torch.Tensor:
    """Sum of Gaussians over all pairs, (N, D) -> (N, N), from the Gram matrix: no (N, N, D) array is made."""
    features = features - features[:1].detach()  # distances stay; equal features become zeros, without rounding
    squares = features.square().sum(dim=1)
    distances = (squares[:, None] + squares[None, :] - 2 * features @ features.t()).clamp_min(0)
    bandwidth = distances.detach().sum() / (len(features) ** 2 - len(features))
    gaussians = [torch.exp(-distances / (bandwidth * 2**i / 4)) for i in range(KERNELS)]
    return torch.stack(gaussians).sum(dim=0)
