"""A checkpoint of MobileSAM, name by name as its code has them, becomes the network with TinyViT here."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from fedmed_networks import FedSAM
from fedmed_networks.sam.foundation import shared_sam

State = dict[str, torch.Tensor]
STAGES, DEPTHS = range(4), (2, 2, 6, 2)
CONVOLUTIONS = ("conv1", "conv2", "conv3")


def modules() -> dict[str, str]:
    """Modules of timm's network in the image encoder by their published names."""
    pairs = {"patch_embed.seq.0": "patch_embed.conv1", "patch_embed.seq.2": "patch_embed.conv2", "neck": "neck"}
    for stage in STAGES:
        pairs |= {f"layers.{stage}.downsample.{name}": f"stages.{stage + 1}.downsample.{name}" for name in CONVOLUTIONS}
        parts = ("attn", "mlp", "local_conv") if stage else CONVOLUTIONS
        for place in range(DEPTHS[stage]):
            block = f"{stage}.blocks.{place}"
            pairs |= {f"layers.{block}.{part}": f"stages.{block}.{part}" for part in parts}
    return {name: own for name, own in pairs.items() if not name.startswith("layers.3.downsample")}


@pytest.fixture(scope="module")
def mobile_sam() -> State:
    """Random weights of a whole SAM as `mobile_sam.pt` names them."""
    random, state, own_names = torch.Generator().manual_seed(0), State(), modules().items()
    for own, value in shared_sam("tiny_vit", 1024).state_dict().items():
        name = own
        for published, module in own_names:
            prefix = f"image_encoder.{module}."
            if own.startswith(prefix):
                name = f"image_encoder.{published}.{own.removeprefix(prefix).replace('conv.weight', 'c.weight')}"
        drawn = torch.rand(value.shape, generator=random) if value.is_floating_point() else value + 7
        state[name] = drawn
    classifier = {"norm_head.weight": (320,), "head.weight": (1000, 320), "head.bias": (1000,)}
    return {**state, **{f"image_encoder.{name}": torch.zeros(shape) for name, shape in classifier.items()}}


def test_it_becomes_the_network(mobile_sam: State, tmp_path: Path) -> None:
    torch.save(mobile_sam, tmp_path / "mobile_sam.pt")
    state = FedSAM(1, "tiny_vit", 1024, weights=tmp_path / "mobile_sam.pt").state_dict()
    for published, own in modules().items():
        prefix = f"image_encoder.{published}."
        found = {name.removeprefix(prefix): value for name, value in mobile_sam.items() if name.startswith(prefix)}
        assert found, published
        for leaf, value in found.items():
            assert torch.equal(state[f"image_encoder.{own}.{leaf.replace('c.weight', 'conv.weight')}"], value)
    decoder = [name for name in state if name.startswith("mask_decoder.")]
    assert decoder and all(torch.equal(state[name], mobile_sam[name]) for name in decoder)


def test_another_tiny_vit_is_refused(mobile_sam: State, tmp_path: Path) -> None:
    larger = {name: value for name, value in mobile_sam.items() if "layers.2.blocks.5" not in name}
    torch.save(larger, tmp_path / "other.pt")
    with pytest.raises(ValueError, match=r"other\.pt: expected the weights of a SAM tiny_vit.*stages\.2\.blocks\.5"):
        FedSAM(1, "tiny_vit", 1024, weights=tmp_path / "other.pt")
