"""FedSAM: the whole network is its own, and all of it trains."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from fedmed_networks import FedMSA, FedSAM
from fedmed_networks.sam.foundation import shared_sam


def test_everything_trains(small_sam: dict[str, Any]) -> None:
    network = FedSAM(2, small_sam, 64)
    assert all(value.requires_grad for value in network.parameters())
    assert [name for name, _ in network.named_buffers()] == [
        "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"
    ]
    assert not any(value.requires_grad for value in shared_sam(small_sam, 64).parameters())


def test_nothing_is_shared(small_sam: dict[str, Any]) -> None:
    networks = [FedSAM(1, small_sam, 64), FedSAM(1, small_sam, 64), FedMSA(1, small_sam, 64)]
    pointers = [{value.data_ptr() for value in network.state_dict().values()} for network in networks]
    assert not (pointers[0] & pointers[1] or pointers[0] & pointers[2])
    with torch.no_grad():
        for value in networks[0].parameters():
            value.add_(1)
    start, other = FedSAM(1, small_sam, 64).state_dict(), networks[1].state_dict()
    assert all(torch.equal(value, other[name]) for name, value in start.items())


def test_a_step_lowers_the_loss(small_sam: dict[str, Any], images: torch.Tensor) -> None:
    network = FedSAM(1, small_sam, 64)
    label = (images.mean(dim=1, keepdim=True)[:, :, ::4, ::4] > 0.5).float()
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    losses = []
    for _ in range(5):
        optimizer.zero_grad()
        loss = torch.nn.functional.binary_cross_entropy_with_logits(network(images), label)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses == sorted(losses, reverse=True) and losses[-1] < losses[0]


@pytest.mark.parametrize("classes", [1, 2])
def test_number_of_parameters_of_vit_b(classes: int) -> None:
    block = 2 * 2 * 768 + (768 * 2304 + 2304) + (768 * 768 + 768) + (768 * 3072 + 3072) + (3072 * 768 + 768)
    positions = 2 * 64 * (8 * 27 + 4 * 127)
    encoder = (768 * 3 * 256 + 768) + 64 * 64 * 768 + 12 * block + positions
    encoder += 768 * 256 + 256 * 256 * 9 + 2 * 2 * 256
    of_mask = 2 * (256 * 256 + 256) + 256 * 32 + 32
    decoder = 3_506_304 + (0 if classes == 1 else 3 * of_mask + 4 * 2 + 2)  # one class: see FedMSA
    assert sum(value.numel() for value in FedSAM(classes).parameters()) == encoder + decoder
    assert encoder == 89_670_912
