"""Networks on a frozen CLIP: their logits by hand, and what they begin with."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from fedmed_networks import FACMIC, FedCLIP, LinearHeadCLIP, ZeroShotCLIP
from fedmed_networks.clip.fedclip import attention_without_normalization

CLASSES = ["no tumour", "glioma", "méningiome"]


@pytest.fixture
def pictures() -> torch.Tensor:
    return torch.randn(5, 3, 16, 16, generator=torch.Generator().manual_seed(1))


def unit(rows: Any) -> Any:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def drawn(network: torch.nn.Module) -> torch.nn.Module:
    """The network with random numbers in the place of all that trains."""
    random = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for value in network.parameters():
            if value.requires_grad:
                value.copy_(torch.randn(value.shape, generator=random))
    return network.eval()


@torch.no_grad()
def test_zero_shot_logits_are_scaled_cosines(small_clip: dict[str, Any], pictures: torch.Tensor) -> None:
    network = ZeroShotCLIP(CLASSES, clip=small_clip)
    features, prompts = network.encode(pictures).double().numpy(), network.prompts.double().numpy()
    np.testing.assert_allclose(network(pictures), float(network.scale) * unit(features) @ prompts.T, rtol=1e-4)
    assert not any(value.requires_grad for value in network.parameters())


@torch.no_grad()
def test_fedclip_by_hand(small_clip: dict[str, Any], pictures: torch.Tensor) -> None:
    network = drawn(FedCLIP(CLASSES, clip=small_clip))
    assert isinstance(network, FedCLIP)
    state = {name: value.double().numpy() for name, value in network.attention.state_dict().items()}
    features = network.encode(pictures).double().numpy()
    hidden = np.tanh(features @ state["0.weight"].T + state["0.bias"])
    exponents = np.exp(hidden @ state["2.weight"].T + state["2.bias"])
    adapted = unit(exponents / exponents.sum(axis=1, keepdims=True) * features)
    expected = float(network.scale) * adapted @ network.prompts.double().numpy().T
    np.testing.assert_allclose(network(pictures), expected, rtol=1e-3, atol=1e-3)


def test_fedclip_differs_from_facmic_in_its_attention_alone(small_clip: dict[str, Any]) -> None:
    names = [{name for name, _ in kind(CLASSES, clip=small_clip).named_parameters()} for kind in (FACMIC, FedCLIP)]
    assert names[0] ^ names[1] == {
        f"attention.{layer}.{kind}" for layer in (1, 2, 3) for kind in ("weight", "bias")
    }  # FACMIC's normalisation and its second layer behind it; FedCLIP's second layer
    assert sum(value.numel() for value in attention_without_normalization(512).parameters()) == 525_312


@torch.no_grad()
def test_linear_head_by_hand(small_clip: dict[str, Any]) -> None:
    network = LinearHeadCLIP(["a", "b"], clip=small_clip)
    network.prompts.copy_(torch.eye(2, 16))
    network.head.weight.copy_(torch.tensor([[0.0, 1, 0], [2, 0, 1]]) @ torch.eye(3, 16))
    network.head.bias.copy_(torch.tensor([0.5, -1]))
    network.alpha.copy_(torch.tensor([10, -2]))
    features = torch.tensor([[3.0, 4, 0], [0, 0, -2]]) @ torch.eye(3, 16)  # unit: (0.6, 0.8, 0), (0, 0, -1)
    expected = [[0.8 + 0.5 + 10 * 0.6, 1.2 - 1 - 2 * 0.8], [0.5, -1 - 1]]
    np.testing.assert_allclose(network.classify(features), expected, rtol=1e-5)


@torch.no_grad()
def test_a_new_linear_head_answers_as_zero_shot_clip(small_clip: dict[str, Any], pictures: torch.Tensor) -> None:
    head, zero_shot = LinearHeadCLIP(CLASSES, clip=small_clip), ZeroShotCLIP(CLASSES, clip=small_clip)
    np.testing.assert_allclose(head(pictures), zero_shot(pictures), rtol=1e-5)
    assert head.visual is zero_shot.visual
    assert sum(value.numel() for value in head.parameters() if value.requires_grad) == 3 * (16 + 2)


@pytest.mark.parametrize("kind", [ZeroShotCLIP, FedCLIP, LinearHeadCLIP])
def test_a_checkpoint_of_other_classes_is_refused(kind: Any, small_clip: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="its classes are .*'glioma'.*this network was made for .*'other'"):
        kind(["glioma", "other"], clip=small_clip).load_state_dict(kind(CLASSES[:2], clip=small_clip).state_dict())
