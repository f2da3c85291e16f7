"""Networks as TorchScript: bound to no device, and called as those that they were traced from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from monai.data import MetaTensor
from torch import nn

from fedmed_networks import FACMIC, FedMSA, FedSAM
from fedmed_networks.exported import TorchScriptNetwork

CLIP_SIDE, SAM_SIDE = 16, 64


@pytest.fixture(params=["facmic", "fedmsa", "fedsam"])
def network(request: pytest.FixtureRequest, small_clip: dict[str, Any], small_sam: dict[str, Any]) -> nn.Module:
    if request.param == "facmic":
        return FACMIC(["a", "b"], clip=small_clip).eval()
    return {"fedmsa": FedMSA, "fedsam": FedSAM}[request.param](2, small_sam, SAM_SIDE).eval()


def traced(network: nn.Module) -> tuple[Any, int]:
    side = CLIP_SIDE if isinstance(network, FACMIC) else SAM_SIDE
    with torch.no_grad():
        return torch.jit.trace(network, torch.rand(1, 3, side, side)), side


def test_a_traced_network_keeps_no_device(network: nn.Module) -> None:
    """A constant of the processor in its graph would meet the weights of a GPU there."""
    assert 'Device = prim::Constant[value="cpu"]' not in str(traced(network)[0].inlined_graph)


def test_it_is_called_as_the_network_it_was_traced_from(network: nn.Module, tmp_path: Path) -> None:
    script, side = traced(network)
    script.save(str(tmp_path / "model.ts"))
    exported = TorchScriptNetwork(tmp_path / "model.ts", ["a", "b"], side)
    assert not exported.training and not any(value.requires_grad for value in exported.parameters())
    picture = MetaTensor(torch.rand(3, 3, side, side), meta={"filename_or_obj": "a.png"})
    with torch.no_grad():
        expected, answer = network(picture), exported(picture)
    torch.testing.assert_close(answer.as_tensor(), torch.as_tensor(expected), rtol=0, atol=1e-4)
    assert answer.meta["filename_or_obj"] == "a.png" and type(exported(picture.as_tensor())) is torch.Tensor
    for wrong in (picture[0], picture[:, :1], picture[..., 1:]):
        with pytest.raises(ValueError, match=rf"model\.ts: image: expected shape \(B, 3, {side}, {side}\), found"):
            exported(wrong)


def test_it_runs_on_a_gpu(network: nn.Module, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    script, side = traced(network)
    script.save(str(tmp_path / "model.ts"))
    picture = torch.rand(2, 3, side, side)
    with torch.no_grad():
        expected = network(picture)
        gpu = request.getfixturevalue("gpu")  # tracing does not work on a pretended one
        answer = TorchScriptNetwork(tmp_path / "model.ts", ["a", "b"], side).to(gpu)(picture.to(gpu))
    assert answer.device == gpu
    torch.testing.assert_close(answer.cpu(), expected, rtol=0, atol=1e-4)
