"""FedFocal's loss: by hand, and at its two ends the losses of torch."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional

from fedmed_workflows import ContrastiveLoss
from fedmed_workflows.methods.focal import SmoothedFocalLoss

LOGITS = torch.log(torch.tensor([[0.5, 0.25, 0.25], [0.1, 0.2, 0.7]]))
LABELS = torch.tensor([0, 1])


def test_by_hand() -> None:
    """gamma 1, smoothing 0.3: q = 0.8 of the label and 0.1 of the two others."""
    first = 0.8 * 0.5 * math.log(0.5) + 2 * 0.1 * 0.75 * math.log(0.25)
    second = 0.1 * 0.9 * math.log(0.1) + 0.8 * 0.8 * math.log(0.2) + 0.1 * 0.3 * math.log(0.7)
    assert SmoothedFocalLoss(1.0, 0.3)(LOGITS, LABELS).item() == pytest.approx(-(first + second) / 2, rel=1e-5)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])
def test_without_gamma_it_is_the_cross_entropy_with_smoothed_labels(smoothing: float) -> None:
    expected = functional.cross_entropy(LOGITS, LABELS, label_smoothing=smoothing)
    assert SmoothedFocalLoss(0.0, smoothing)(LOGITS, LABELS).item() == pytest.approx(expected.item(), rel=1e-5)


def test_without_smoothing_it_is_the_focal_loss() -> None:
    expected = -(0.5**2 * math.log(0.5) + 0.8**2 * math.log(0.2)) / 2
    assert SmoothedFocalLoss(2.0, 0.0)(LOGITS, LABELS).item() == pytest.approx(expected, rel=1e-5)


def test_it_takes_the_place_of_both_cross_entropies() -> None:
    random = torch.Generator().manual_seed(0)
    features, prompts = (functional.normalize(torch.randn(4, 3, generator=random), dim=1) for _ in range(2))
    logits, pairs, focal = 2.0 * features @ prompts.t(), torch.arange(4), SmoothedFocalLoss()
    expected = (focal(logits, pairs) + focal(logits.t(), pairs)) / 2
    assert torch.equal(ContrastiveLoss(focal)(features, prompts, 2.0), expected)


@pytest.mark.parametrize(
    ("gamma", "smoothing", "error_text"),
    [
        (-1.0, 0.1, "gamma: found -1.0, expected a number of at least 0"),
        (1.0, 1.0, "label_smoothing: found 1.0, expected a number of at least 0 and below 1"),
        (1.0, -0.1, "label_smoothing: found -0.1, expected a number of at least 0 and below 1"),
        (math.nan, 0.1, "gamma: found nan, expected a finite number of at least 0"),
    ],
)
def test_parameters_out_of_range_are_refused(gamma: float, smoothing: float, error_text: str) -> None:
    with pytest.raises(ValueError, match=error_text):
        SmoothedFocalLoss(gamma, smoothing)
