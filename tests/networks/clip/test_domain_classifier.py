"""The domain classifier by hand, and the gradient that is reversed before it."""

from __future__ import annotations

import numpy as np
import torch

from fedmed_networks.clip.domain_classifier import DomainClassifier, reverse_gradient


def test_the_gradient_changes_its_sign_and_nothing_else() -> None:
    features = torch.tensor([[1.0, -2, 3], [0, 4, -5]], requires_grad=True)
    passed = reverse_gradient(features)
    assert torch.equal(passed, features)
    (passed * torch.tensor([[1.0, 2, 3], [4, 5, 6]])).sum().backward()
    assert torch.equal(features.grad, torch.tensor([[-1.0, -2, -3], [-4, -5, -6]]))


@torch.no_grad()
def test_the_classifier_by_hand() -> None:
    torch.manual_seed(0)
    classifier = DomainClassifier(6)
    rows = torch.randn(5, 6)
    state = {name: value.double().numpy() for name, value in classifier.state_dict().items()}

    def hidden(values: np.ndarray, layer: int) -> np.ndarray:
        values = values @ state[f"{layer}.weight"].T + state[f"{layer}.bias"]
        values = (values - values.mean(axis=0)) / np.sqrt(values.var(axis=0) + 1e-5)
        return np.maximum(values, 0)  # the normalisation's own scale and shift begin at one and zero

    expected = hidden(hidden(rows.double().numpy(), 0), 3) @ state["6.weight"].T + state["6.bias"]
    np.testing.assert_allclose(classifier.train()(rows), expected[:, 0], rtol=1e-3, atol=1e-4)


def test_its_layers_are_as_published() -> None:
    shapes = {name: tuple(value.shape) for name, value in DomainClassifier(512).named_parameters()}
    assert shapes["0.weight"] == shapes["3.weight"] == (512, 512) and shapes["6.weight"] == (1, 512)
    assert sum(np.prod(shape) for shape in shapes.values()) == 2 * (512 * 512 + 3 * 512) + 513
