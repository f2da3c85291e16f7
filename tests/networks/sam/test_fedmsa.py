"""FedMSA: SAM's own embeddings without adapters, its blocks by hand, and what trains."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from segment_anything.modeling import ImageEncoderViT
from segment_anything.modeling.image_encoder import Attention
from torch import nn

from fedmed_networks import FedMSA
from fedmed_networks.sam.fedmsa import Adapter
from fedmed_networks.sam.foundation import shared_sam

State = dict[str, torch.Tensor]


@pytest.mark.parametrize("padding", ["sam", "published"])
def test_what_fills_windows(small_sam: dict[str, Any], drawn: Callable[..., State], padding: str) -> None:
    """By hand, window by window; the golden numbers cannot tell, their norm1 has no bias."""
    network = FedMSA(1, small_sam, 64, window_padding=padding)
    network.load_state_dict(drawn(network))
    block = network.image_encoder.blocks[0]
    tokens = torch.randn(2, 4, 4, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        canvas = block.norm1.bias.expand(2, 6, 6, 32).clone() if padding == "published" else torch.zeros(2, 6, 6, 32)
        canvas[:, :4, :4] = block.norm1(tokens)
        for row in (0, 3):
            for column in (0, 3):
                window = canvas[:, row : row + 3, column : column + 3]
                canvas[:, row : row + 3, column : column + 3] = Attention.forward(block.attn, window)
        attended = canvas[:, :4, :4]
        middle = tokens + attended + block.Space_Adapter(attended)
        expected = middle + block.mlp(block.norm2(middle)) + 0.5 * block.MLP_Adapter(block.norm2(middle))
        torch.testing.assert_close(block(tokens), expected, rtol=1e-5, atol=1e-5)


LARGER = {"width": 64, "depth": 4, "heads": 4, "window_size": 5, "global_blocks": [1, 3]}


@pytest.mark.parametrize(
    ("changes", "size"), [({}, 64), (LARGER, 192), ({**LARGER, "window_size": 14}, 64)], ids=["4", "12 by 5", "4 by 14"]
)
def test_without_adapters_embeddings_are_those_of_segment_anything(
    small_sam: dict[str, Any], drawn: Callable[..., State], changes: dict[str, Any], size: int
) -> None:
    sizes = {**small_sam, **changes}
    network = FedMSA(1, sizes, image_size=size)
    network.load_state_dict(drawn(network))
    for module in network.modules():
        if isinstance(module, Adapter):
            for value in module.D_fc2.parameters():
                nn.init.zeros_(value)
    theirs = ImageEncoderViT(
        img_size=size, embed_dim=sizes["width"], depth=sizes["depth"], num_heads=sizes["heads"], out_chans=16,
        norm_layer=lambda width: nn.LayerNorm(width, eps=1e-6), use_rel_pos=True, window_size=sizes["window_size"],
        global_attn_indexes=sizes["global_blocks"],
    )  # fmt: skip
    theirs.load_state_dict(
        {name: value for name, value in network.image_encoder.state_dict().items() if "Adapter" not in name}
    )
    images = torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = theirs(images)
        torch.testing.assert_close(network.image_encoder(images), expected, rtol=1e-5, atol=2e-6)
    assert float(expected.std()) > 0.1


def test_new_adapters_change_nothing(small_sam: dict[str, Any], sam_file: Path, images: torch.Tensor) -> None:
    network = FedMSA(1, small_sam, 64, weights=sam_file)
    with torch.no_grad():
        expected = shared_sam(small_sam, 64, sam_file).image_encoder(images)
        torch.testing.assert_close(network.image_encoder(images), expected, rtol=1e-5, atol=2e-6)
    first = network.image_encoder.blocks[0].Space_Adapter.D_fc1.weight
    assert bool(first.any()) and first.shape == (8, 32)


def test_the_formula_of_a_block(small_sam: dict[str, Any], drawn: Callable[..., State]) -> None:
    network = FedMSA(1, small_sam, 64)
    network.load_state_dict(drawn(network))
    block = network.image_encoder.blocks[1]
    tokens = torch.randn(2, 4, 4, 32, generator=torch.Generator().manual_seed(0))

    def adapter(name: str, values: torch.Tensor) -> torch.Tensor:
        first, second = getattr(block, name).D_fc1, getattr(block, name).D_fc2
        hidden = values @ first.weight.t() + first.bias
        return (hidden * 0.5 * (1 + torch.erf(hidden / 2**0.5))) @ second.weight.t() + second.bias

    with torch.no_grad():
        attended = block.attn(block.norm1(tokens))
        middle = tokens + attended + adapter("Space_Adapter", attended)
        normalised = block.norm2(middle)
        expected = middle + block.mlp(normalised) + 0.5 * adapter("MLP_Adapter", normalised)
        torch.testing.assert_close(block(tokens), expected, rtol=1e-5, atol=1e-5)


def own_names(network: FedMSA) -> set[str]:
    return {name for name, value in network.named_parameters() if value.requires_grad}


def test_what_trains(small_sam: dict[str, Any]) -> None:
    names = own_names(FedMSA(1, small_sam, 64))
    assert {name.split(".")[0] for name in names} == {"image_encoder", "mask_decoder"}
    assert all("_Adapter." in name for name in names if name.startswith("image_encoder."))
    assert len([name for name in names if "_Adapter." in name]) == 3 * 2 * 4


def test_number_of_trained_parameters_of_vit_b() -> None:
    adapter = 768 * 192 + 192 + 192 * 768 + 768
    across = 3 * (256 * 128 + 128) + 128 * 256 + 256  # attention between tokens and image
    norms = 2 * 256
    block = 4 * (256 * 256 + 256) + 2 * across + (256 * 2048 + 2048) + (2048 * 256 + 256) + 4 * norms
    upscaling = (256 * 64 * 4 + 64) + 2 * 64 + (64 * 32 * 4 + 32)
    of_mask = 2 * (256 * 256 + 256) + 256 * 32 + 32
    decoder = 5 * 256 + 2 * block + across + norms + upscaling + of_mask
    network = FedMSA()
    trained = sum(value.numel() for value in network.parameters() if value.requires_grad)
    assert trained == 12 * 2 * adapter + decoder == 10_607_232
    assert network.image_size == 1024 and network.num_classes == 1


def test_adapters_come_from_torchs_random_numbers_and_the_decoder_from_the_foundation(
    small_sam: dict[str, Any],
) -> None:
    networks = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        networks.append(FedMSA(2, small_sam, 64))
    first, again, other = ({name: net.state_dict()[name] for name in own_names(net)} for net in networks)
    assert all(torch.equal(value, again[name]) for name, value in first.items())
    drawn_anew = {name for name, value in first.items() if not torch.equal(value, other[name])}
    layers = {f"image_encoder.blocks.{block}.{kind}_Adapter.D_fc1" for block in range(3) for kind in ("Space", "MLP")}
    assert drawn_anew == {f"{name}.{kind}" for name in {*layers, "mask_decoder.seg1"} for kind in ("weight", "bias")}


@pytest.mark.parametrize("padding", ["zero", "", None])
def test_an_unknown_padding_is_refused(small_sam: dict[str, Any], padding: Any) -> None:
    with pytest.raises(ValueError, match=f"window_padding: expected 'sam' or 'published', found {padding!r}"):
        FedMSA(1, small_sam, 64, window_padding=padding)
