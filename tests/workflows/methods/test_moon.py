"""MOON's term, computed by hand; whose features it compares; what it keeps."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from ignite.engine import Events
from monai.engines import SupervisedTrainer
from torch import nn

from fedmed_networks import FACMIC
from fedmed_workflows import FACMICLoss
from fedmed_workflows.exchange.trainable import trainable_parameters
from fedmed_workflows.methods.facmic import AdaptationInferer
from fedmed_workflows.methods.moon import MOON


def plane(*weight: float) -> nn.Sequential:
    """A network whose features of the number 1 are two given numbers."""
    network = nn.Sequential(nn.Linear(1, 2, bias=False), nn.Linear(2, 1, bias=False))
    with torch.no_grad():
        network[0].weight.copy_(torch.tensor(weight)[:, None])
    return network


def trainer(network: nn.Module, handler: MOON, rate: float = 0.0, steps: int = 1, **more: Any) -> SupervisedTrainer:
    return SupervisedTrainer(
        device="cpu", max_epochs=1, network=network, optimizer=torch.optim.SGD(network.parameters(), lr=rate),
        train_data_loader=[{"image": torch.ones(1, 1), "label": torch.zeros(1, 1)}] * steps,
        loss_function=lambda found, expected: (found * 0).sum(), train_handlers=[handler], decollate=False, **more,
    )  # fmt: skip


def term(own: tuple[float, float], received: tuple[float, float], previous: tuple[float, float] | None) -> float:
    """The term of a step of a network whose features are `own`."""
    network = plane(*own)
    handler = MOON(network, "0", mu=3.0, temperature=0.5)
    run = trainer(network, handler)
    state = {"previous": {} if previous is None else {"weight": torch.tensor(previous)[:, None]}}
    handler.load_state_dict(state)

    def compared_with_another(_: Any) -> None:
        handler._received = {"weight": torch.tensor(received)[:, None]}

    run.add_event_handler(Events.STARTED, compared_with_another)
    run.run()
    return float(run.state.output["loss"])


@pytest.mark.parametrize(
    ("own", "received", "previous", "cosines"),
    [
        ((1.0, 0.0), (2.0, 0.0), (0.0, 5.0), (1, 0)),
        ((3.0, 4.0), (4.0, 3.0), (-6.0, -8.0), (24 / 25, -1)),
        ((0.0, 1.0), (1.0, 0.0), (0.0, 2.0), (0, 1)),
        ((3.0, 4.0), (1.0, 0.0), None, (3 / 5, 3 / 5)),
    ],
)
def test_the_term_by_hand(own: Any, received: Any, previous: Any, cosines: tuple[float, float]) -> None:
    near, far = (math.exp(cosine / 0.5) for cosine in cosines)
    assert term(own, received, previous) == pytest.approx(-3 * math.log(near / (near + far)), rel=1e-5)


def test_in_a_site_s_first_round_it_has_no_gradient() -> None:
    network = plane(3.0, 4.0)
    run = trainer(network, MOON(network, "0"), rate=1.0, steps=3)
    run.run()
    assert network[0].weight.flatten().tolist() == pytest.approx([3, 4], abs=1e-6)
    assert float(run.state.output["loss"]) == pytest.approx(math.log(2))


def test_after_it_the_previous_network_is_the_one_that_training_ended_with() -> None:
    network = plane(3.0, 4.0)
    handler = MOON(network, "0")
    run = trainer(network, handler, rate=1.0)
    handler.load_state_dict({"previous": {"weight": torch.tensor([[0.0], [1.0]])}})
    run.run()
    kept = handler.state_dict()["previous"]["weight"]
    assert torch.equal(kept, network[0].weight) and kept.flatten().tolist() != [3, 4]
    with torch.no_grad():
        network[0].weight.zero_()
    assert kept.abs().sum() > 0


def test_a_compiled_network_is_trained_alike() -> None:
    ends = []
    for more in ({}, {"compile": True, "compile_kwargs": {"backend": "aot_eager"}}):
        network = plane(3.0, 4.0)
        handler = MOON(network, "0")
        run = trainer(network, handler, rate=1.0, steps=3, **more)
        handler.load_state_dict({"previous": {"weight": torch.tensor([[0.0], [1.0]])}})
        run.run()
        ends.append(network[0].weight.detach())
    assert torch.equal(ends[0], ends[1]) and ends[0].flatten().tolist() != [3, 4]


def test_features_of_an_image_are_averaged_over_its_positions() -> None:
    network = nn.Sequential(nn.Conv2d(1, 2, 1, bias=False))
    handler = MOON(network, "0", temperature=1.0)
    others = ([1.0, 0.0], [0.0, 1.0])
    handler._received, handler._previous = ({"weight": torch.tensor(other).view(2, 1, 1, 1)} for other in others)
    with torch.no_grad():
        network[0].weight.copy_(torch.tensor([1.0, 0.0]).view(2, 1, 1, 1))
    hooked = network[0].register_forward_hook(handler._notice)
    network(torch.tensor([[[[1.0, -5.0], [6.0, 2.0]]]]))
    hooked.remove()
    assert float(handler.term()) == pytest.approx(-math.log(math.e / (math.e + 1)))


def test_it_reads_the_attention_of_facmic_and_moves_no_statistics_of_its_own(small_clip: dict[str, Any]) -> None:
    """The target passes the attention too, without gradient; the networks compared with are in evaluation mode."""
    random = torch.Generator().manual_seed(0)
    batch = {"image": torch.randn(8, 16, generator=random), "label": torch.arange(8) % 2}
    target = torch.randn(8, 16, generator=random)

    def moved(mu: float | None) -> torch.Tensor:
        torch.manual_seed(0)
        network = FACMIC(["a", "b"], clip=small_clip)
        handlers = [] if mu is None else [MOON(network, "attention", mu)]
        SupervisedTrainer(
            device="cpu", max_epochs=1, network=network, train_data_loader=[batch] * 2, loss_function=FACMICLoss(),
            optimizer=torch.optim.SGD(trainable_parameters(network), lr=0.1), inferer=AdaptationInferer(),
            prepare_batch=lambda data, *_, **__: (data["image"], data["label"], (), {"target": target}),
            train_handlers=handlers, decollate=False,
        ).run()  # fmt: skip
        return torch.cat([value.flatten().float() for value in network.attention.state_dict().values()])

    assert torch.equal(moved(None), moved(0.0))
    assert not torch.isnan(moved(1.0)).any()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"submodule": "2"}, "submodule: Sequential has no '2', only .*'0', '1'"),
        ({"submodule": "1"}, "submodule '1' of Sequential: found nothing in it that trains"),
        ({"submodule": "0", "mu": -1.0}, "mu: found -1.0, expected a number of at least 0"),
        ({"submodule": "0", "temperature": 0.0}, "temperature: found 0.0, expected a number above 0"),
    ],
)
def test_what_cannot_be_is_refused(arguments: dict[str, Any], said: str) -> None:
    network = plane(1.0, 1.0)
    network[1].requires_grad_(False)
    with pytest.raises(ValueError, match=said):
        MOON(network, **arguments)


def test_a_module_that_a_step_does_not_pass_is_named() -> None:
    network = nn.ModuleDict({"used": nn.Linear(1, 1), "unused": nn.Linear(1, 1)})
    with pytest.raises(ValueError, match="found no pass of it with gradient in the step"):
        MOON(network, "unused").term()
