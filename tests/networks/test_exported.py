"""Networks as TorchScript: bound to no device, and called as those that they were traced from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from monai.data import MetaTensor
from torch import nn

import fedmed_networks
from fedmed_networks import FedSAM, FedUNet, FineTunedCLIP
from fedmed_networks.exported import TorchScriptNetwork
from fedmed_networks.slice_network import SliceNetwork

CLIP_SIDE, SAM_SIDE = 16, 64

PARTS = ("Network", "Attention", "names", "digest")
NAMES = [*(name for name in dir(fedmed_networks) if not name.endswith(PARTS)), "TinyViT"]
"""Every network of the package that a bundle can train; and FedSAM with the encoder of TinyViT."""


@pytest.fixture(scope="module", params=NAMES)
def network(request: pytest.FixtureRequest, small_clip: dict[str, Any], small_sam: dict[str, Any]) -> nn.Module:
    if request.param in ("TinyViT", "FedUNet"):
        return (FedSAM(2, "tiny_vit", SAM_SIDE) if request.param == "TinyViT" else FedUNet(2, SAM_SIDE)).eval()
    kind = getattr(fedmed_networks, request.param)
    made = kind(2, small_sam, SAM_SIDE) if issubclass(kind, SliceNetwork) else kind(["a", "b"], clip=small_clip)
    return made.eval()  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def script(network: nn.Module) -> Any:
    """The traced network."""
    with torch.no_grad():
        return torch.jit.trace(network, torch.rand(1, 3, side(network), side(network)))


def side(network: nn.Module) -> int:
    """The side of the pictures that a network takes, in pixels."""
    return SAM_SIDE if isinstance(network, SliceNetwork) else CLIP_SIDE


def test_a_traced_network_keeps_no_device(network: nn.Module, script: Any) -> None:
    """A constant of the processor in its graph would meet the weights of a GPU there."""
    indices = 1 if isinstance(network, FineTunedCLIP) else 0  # open_clip's index of the last token may lie on the CPU
    assert str(script.inlined_graph).count('Device = prim::Constant[value="cpu"]') == indices


def test_it_is_called_as_the_network_it_was_traced_from(network: nn.Module, script: Any, tmp_path: Path) -> None:
    script.save(str(tmp_path / "model.ts"))
    pixels = side(network)
    exported = TorchScriptNetwork(tmp_path / "model.ts", ["a", "b"], pixels)
    assert not exported.training and not any(value.requires_grad for value in exported.parameters())
    picture = MetaTensor(torch.rand(3, 3, pixels, pixels), meta={"filename_or_obj": "a.png"})
    with torch.no_grad():
        expected, answer = network(picture), exported(picture)
    torch.testing.assert_close(answer.as_tensor(), torch.as_tensor(expected), rtol=0, atol=1e-4)
    assert answer.meta["filename_or_obj"] == "a.png" and type(exported(picture.as_tensor())) is torch.Tensor
    for wrong in (picture[0], picture[:, :1], picture[..., 1:]):
        with pytest.raises(ValueError, match=rf"model\.ts: image: expected shape \(B, 3, {pixels}, {pixels}\), found"):
            exported(wrong)


def test_it_runs_on_a_gpu(network: nn.Module, script: Any, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    script.save(str(tmp_path / "model.ts"))
    picture = torch.rand(2, 3, side(network), side(network))
    with torch.no_grad():
        expected = network(picture)
        gpu = request.getfixturevalue("gpu")
        exported = TorchScriptNetwork(tmp_path / "model.ts", ["a", "b"], side(network)).to(gpu)
        answer = exported(picture.to(gpu))
    assert answer.device == gpu
    torch.testing.assert_close(answer.cpu(), expected, rtol=0, atol=1e-4)
