"""LMMD as this project computes it beside the literal formula on expanded n x n x D arrays.

    python benchmarks/lmmd.py

Forward and backward, B = 256 source and target features of length D = 512, 9 classes, median of several passes of each
in one run. The last line is a JSON object.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable

import torch

from fedmed_workflows import LMMDLoss

BATCH, LENGTH, CLASSES = 256, 512, 9
PASSES = {"literal": 5, "ours": 50}


def literal(
    source: torch.Tensor, target: torch.Tensor, labels: torch.Tensor, probabilities: torch.Tensor
) -> torch.Tensor:
    """The formula as the paper writes it: every pair's difference, one weight matrix a class and pair of domains."""
    total = torch.cat([source, target])
    n = len(total)
    expanded = (n, n, total.shape[1])
    distances = ((total.unsqueeze(0).expand(expanded) - total.unsqueeze(1).expand(expanded)) ** 2).sum(dim=2)
    bandwidth = distances.detach().sum() / (n * n - n) / 4
    kernel = torch.stack([torch.exp(-distances / (bandwidth * 2**i)) for i in range(5)]).sum(dim=0)
    shared = sorted(set(labels.tolist()) & set(probabilities.argmax(dim=1).tolist()))
    size = len(source)
    weights = [torch.zeros(size, size) for _ in range(3)]
    for c in shared:
        of_source = (labels == c).float() / (labels == c).sum()
        of_target = probabilities[:, c] / probabilities[:, c].sum()
        for total_weight, (one, other) in zip(
            weights, ((of_source, of_source), (of_target, of_target), (of_source, of_target)), strict=True
        ):
            total_weight += torch.outer(one, other) / len(shared)
    blocks = kernel[:size, :size], kernel[size:, size:], kernel[:size, size:]
    return sum(factor * (w * k).sum() for factor, w, k in zip((1, 1, -2), weights, blocks, strict=True))


def measure(loss: Callable[..., torch.Tensor], passes: int) -> tuple[float, float, torch.Tensor]:
    """Median seconds of a forward and backward pass, the loss, and the gradient of the source."""
    random = torch.Generator().manual_seed(0)
    source = torch.randn(BATCH, LENGTH, generator=random).requires_grad_()
    target = torch.randn(BATCH, LENGTH, generator=random)
    labels = torch.randint(0, CLASSES, (BATCH,), generator=random)
    probabilities = torch.randn(BATCH, CLASSES, generator=random).softmax(dim=1)
    seconds = []
    for _ in range(passes + 1):
        source.grad = None
        start = time.perf_counter()
        value = loss(source, target, labels, probabilities)
        value.backward()
        seconds.append(time.perf_counter() - start)
    assert source.grad is not None
    return statistics.median(seconds[1:]), value.item(), source.grad


def main() -> None:
    slow, slow_loss, slow_gradient = measure(literal, PASSES["literal"])
    fast, fast_loss, fast_gradient = measure(LMMDLoss(), PASSES["ours"])
    largest = float(slow_gradient.abs().max())
    print(
        json.dumps(
            {
                "literal_seconds": round(slow, 4),
                "ours_seconds": round(fast, 5),
                "times_faster": round(slow / fast, 1),
                "loss_difference": abs(slow_loss - fast_loss),
                "gradient_difference_relative": float((slow_gradient - fast_gradient).abs().max()) / largest,
            }
        )
    )


if __name__ == "__main__":
    main()
