"""FedMSA beside numbers of its published implementation: answers, loss, every gradient, the step of Adam."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn import functional

from fedmed_networks import FedMSA

State = dict[str, torch.Tensor]
UNUSED = ("Depth_Adapter.", "prompt_encoder.", "mask_decoder.iou_prediction_head.")
UNUSED_WITH_ONE_CLASS = (
    *(f"mask_decoder.output_hypernetworks_mlps.{place}." for place in (1, 2, 3)),
    "mask_decoder.seg1.",
)


def assert_near(found: torch.Tensor, expected: torch.Tensor, name: str = "", floor: float = 0.0) -> None:
    """To 1e-5 of the largest expected value; `floor` is what counts as rounding in any case."""
    atol = max(1e-5 * float(expected.abs().max()), floor)
    torch.testing.assert_close(found, expected, rtol=0, atol=atol, msg=lambda text: f"{name}: {text}")


@pytest.fixture(params=[1, 2], ids=["one class", "two classes"])
def published(request: pytest.FixtureRequest, small_sam: dict[str, Any], golden_sam: State) -> tuple[FedMSA, State]:
    """The network with the golden weights, and its golden numbers."""
    prefix = f"classes{request.param}/"
    numbers = {name.removeprefix(prefix): value for name, value in golden_sam.items() if name.startswith(prefix)}
    network = FedMSA(request.param, small_sam, image_size=64, window_padding="published")
    network.load_state_dict({name: numbers[f"state/{name}"] for name in network.state_dict()})
    return network, numbers


def golden_loss(network: FedMSA, numbers: State) -> torch.Tensor:
    return functional.binary_cross_entropy_with_logits(
        network(numbers["image"]), numbers["label"], pos_weight=torch.tensor(2.0)
    )


def test_golden_answers(published: tuple[FedMSA, State]) -> None:
    network, numbers = published
    with torch.no_grad():
        assert_near(network.image_encoder(numbers["image"]), numbers["image_embedding"])
        assert_near(network(numbers["image"]), numbers["logits"])
        assert_near(golden_loss(network, numbers), numbers["loss"])


def test_golden_gradients(published: tuple[FedMSA, State]) -> None:
    network, numbers = published
    golden_loss(network, numbers).backward()
    found = {f"grad/{name}": value.grad for name, value in network.named_parameters() if value.grad is not None}
    for name, gradient in found.items():
        # keys' biases shift all scores of a query alike: their gradients are zero but for rounding
        assert_near(gradient, numbers[name], name, floor=1e-10)
    others = {name: value for name, value in numbers.items() if name.startswith("grad/") and name not in found}
    assert not any(bool(value.any()) for value in others.values())
    assert all(name.removeprefix("grad/").startswith(UNUSED_WITH_ONE_CLASS) for name in others)


def test_golden_step_of_adam(published: tuple[FedMSA, State]) -> None:
    network, numbers = published
    optimizer = torch.optim.Adam([value for value in network.parameters() if value.requires_grad], lr=1e-3)
    golden_loss(network, numbers).backward()
    optimizer.step()
    with torch.no_grad():
        assert_near(network(numbers["image"]), numbers["logits_after_adam_step"])
    assert float((numbers["logits_after_adam_step"] - numbers["logits"]).abs().max()) > 1e-2


def test_the_golden_state_holds_ours_and_what_is_never_used(published: tuple[FedMSA, State]) -> None:
    network, numbers = published
    golden = {name.removeprefix("state/") for name in numbers if name.startswith("state/")}
    unused = (*UNUSED, *UNUSED_WITH_ONE_CLASS) if network.num_classes == 1 else UNUSED
    own = set(network.state_dict())
    assert own <= golden
    assert all(any(part in name for part in unused) for name in golden - own)
    assert {name for name in own if name.startswith("prompt_encoder.")} == {
        "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"
    }
