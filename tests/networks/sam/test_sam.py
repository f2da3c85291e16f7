"""Tests FedSAM and FedMSA alike: shapes, precision, checkpointing, exports, and the states they refuse."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from monai.data import MetaTensor
from monai.networks.utils import convert_to_onnx

from fedmed_networks import FedMSA, FedSAM
from fedmed_networks.sam.architecture import KEYS
from fedmed_networks.sam.foundation import PromptFreeSam

State = dict[str, torch.Tensor]
Build = Callable[..., PromptFreeSam]


@pytest.fixture(params=[FedSAM, FedMSA])
def build(request: pytest.FixtureRequest, small_sam: dict[str, Any], drawn: Callable[..., State]) -> Build:
    """Builds a small network whose every tensor is drawn."""

    def network(num_classes: int = 2, **settings: Any) -> PromptFreeSam:
        built = request.param(num_classes, **{"model_type": small_sam, "image_size": 64, **settings})
        built.load_state_dict(drawn(built))
        return built

    return network


@pytest.mark.parametrize("classes", [1, 2, 5])
@pytest.mark.parametrize("size", [64, 32, 112])
def test_shapes(build: Build, classes: int, size: int) -> None:
    network = build(classes, image_size=size)
    assert (network.num_classes, network.image_size) == (classes, size)
    for batch in (1, 3):
        logits = network(torch.rand(batch, 3, size, size))
        assert logits.shape == (batch, classes, size // 4, size // 4) and logits.dtype == torch.float32


def test_a_batch_answers_as_its_images_do(build: Build, images: torch.Tensor) -> None:
    network = build()
    with torch.no_grad():
        single = torch.cat([network(image[None]) for image in images])
        torch.testing.assert_close(network(images), single, rtol=1e-5, atol=1e-5)
    assert float((single[0] - single[1]).abs().max()) > 1e-3


@pytest.mark.parametrize("shape", [(2, 3, 64, 48), (2, 3, 128, 128), (2, 1, 64, 64), (3, 64, 64), (2, 3, 1, 64, 64)])
def test_images_of_another_shape_are_refused(build: Build, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=rf"expected shape \(B, 3, 64, 64\), found {re.escape(str(shape))}"):
        build()(torch.zeros(shape))


def test_metadata_pass_through(build: Build, images: torch.Tensor) -> None:
    network = build()
    logits = network(MetaTensor(images, meta={"filename_or_obj": "scan.nii.gz"}))
    assert isinstance(logits, MetaTensor) and logits.meta["filename_or_obj"] == "scan.nii.gz"
    assert torch.equal(logits.as_tensor(), network(images)) and type(network(images)) is torch.Tensor


def gradients(network: PromptFreeSam, images: torch.Tensor) -> State:
    network.train().zero_grad()
    network(images).square().mean().backward()
    return {name: value.grad for name, value in network.named_parameters() if value.grad is not None}


def test_checkpointing_changes_no_gradient_and_keeps_less(build: Build, images: torch.Tensor) -> None:
    plain, checkpointed = build(), build(checkpointing=True)
    assert torch.equal(plain(images), checkpointed(images))
    expected = gradients(plain, images)
    found = gradients(checkpointed, images)
    assert set(found) == set(expected)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-5, atol=1e-7)
    assert kept(checkpointed, images) < 0.5 * kept(plain, images)
    assert kept(checkpointed.eval(), images) == kept(plain.eval(), images)


def kept(network: PromptFreeSam, images: torch.Tensor) -> int:
    """Elements that the image encoder's backward pass keeps, those of checkpoints not counted."""
    sizes: list[int] = []

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        sizes.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        network.image_encoder(images)
    return sum(sizes)


def test_bfloat16(build: Build, images: torch.Tensor) -> None:
    plain, half = build(), build(precision="bfloat16")
    expected, found = plain(images), half(images)
    assert found.dtype == torch.float32 and not torch.equal(found, expected)
    scale = float(expected.abs().max())
    torch.testing.assert_close(found, expected, rtol=0, atol=0.05 * scale)
    assert all(value.dtype == torch.float32 for value in half.parameters())
    for name, gradient in gradients(half, images).items():
        assert gradient.dtype == torch.float32 and bool(torch.isfinite(gradient).all()), name
    one, other = (torch.cat([g.flatten() for g in gradients(net, images).values()]) for net in (plain, half))
    assert float(torch.cosine_similarity(one, other, dim=0)) > 0.98


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:.*torch.jit", "ignore::torch.jit.TracerWarning")
def test_a_trace_agrees(build: Build, images: torch.Tensor, tmp_path: Path) -> None:
    network = build().eval()
    torch.jit.save(torch.jit.trace(network, images[:1]), tmp_path / "model.ts")
    loaded = torch.jit.load(tmp_path / "model.ts")
    with torch.no_grad():
        torch.testing.assert_close(loaded(images), network(images), rtol=1e-5, atol=1e-5)


@pytest.mark.filterwarnings("ignore")
def test_onnx_agrees(build: Build, images: torch.Tensor, tmp_path: Path) -> None:
    network, path = build().eval(), tmp_path / "model.onnx"
    axes = {"image": {0: "batch"}, "pred": {0: "batch"}}
    convert_to_onnx(network, [images], ["image"], ["pred"], dynamic_axes=axes, filename=str(path))
    session = onnxruntime.InferenceSession(str(path))
    with torch.no_grad():
        for batch in (images, images[:2]):
            found = session.run(["pred"], {"image": batch.numpy()})[0]
            np.testing.assert_allclose(found, network(batch), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize(
    ("part", "named"),
    [
        (lambda name: "Adapter" in name or name.startswith("mask_decoder."), "image_encoder.blocks.0.attn.proj.bias"),
        (lambda name: not name.startswith("mask_decoder.seg1"), "mask_decoder.seg1.bias"),
        (lambda name: False, "image_encoder.blocks.0"),
    ],
    ids=["what trains", "without the classes", "nothing"],
)
def test_a_part_of_a_state_is_refused(build: Build, part: Callable[[str], bool], named: str, strict: bool) -> None:
    network = build()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    state = {name: value * 2 for name, value in before.items() if part(name)}
    kind = type(network).__name__
    with pytest.raises(ValueError, match=rf"whole state of a {kind}.*lacks \[.*{re.escape(named)}"):
        network.load_state_dict(state, strict=strict)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize(
    ("classes", "changes", "size", "said"),
    [
        (1, {}, 64, "num_classes 2.*lacks.*output_hypernetworks_mlps.1"),
        (3, {}, 64, r"mask_decoder.seg1.bias: found \(3,\), expected \(2,\)"),
        (2, {"width": 64}, 64, r"found \(64,\), expected \(32,\)"),
        (2, {"depth": 4}, 64, r"holds unknown \['image_encoder.blocks.3"),
        (2, {}, 128, r"image_size 64.*image_encoder.blocks.1.attn.rel_pos_h: found \(15, 8\), expected \(7, 8\)"),
    ],
)
def test_the_state_of_another_network_is_refused(
    build: Build, small_sam: dict[str, Any], classes: int, changes: dict[str, Any], size: int, said: str, strict: bool
) -> None:
    other = build(classes, model_type={**small_sam, **changes}, image_size=size)
    with pytest.raises(ValueError, match=said):
        build().load_state_dict(other.state_dict(), strict=strict)


def test_a_network_within_another_loads_too(build: Build) -> None:
    one, other = torch.nn.Sequential(build()), torch.nn.Sequential(build())
    state = {name: value + 1 for name, value in one.state_dict().items()}
    other.load_state_dict(state)
    assert all(torch.equal(value, state[name]) for name, value in other.state_dict().items())


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"num_classes": 0}, "num_classes: found 0, expected a whole number of at least 1"),
        ({"precision": "float16"}, "precision: expected 'float32' or 'bfloat16', found 'float16'"),
        ({"image_size": 72}, "image_size: expected a multiple of 16 pixels, found 72"),
        ({"image_size": 0}, "image_size: expected a multiple of 16 pixels, found 0"),
        ({"model_type": "vit_x"}, "model_type 'vit_x': expected one of .*'vit_b', 'vit_h', 'vit_l'"),
    ],
)
def test_settings_out_of_range_are_refused(build: Build, settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        build(**settings)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"heds": 2}, r"unknown keys \['heds'\], missing keys \[\]"),
        ({"neck": 0}, "neck: found 0, expected a whole number of at least 1"),
        ({"width": 32.0}, "width: found 32.0, expected a whole number of at least 1"),
        ({"width": 36, "heads": 8}, "width is a multiple of heads"),
        ({"neck": 20}, "neck is a multiple of 8"),
        ({"decoder_heads": 16}, "neck is a multiple of twice decoder_heads"),
        ({"patch_size": 8}, "patch_size is 16"),
        ({"global_blocks": [3]}, r"global_blocks: expected places below depth 3, found \[3\]"),
        ({"global_blocks": 1}, "global_blocks: expected places below depth 3, found 1"),
    ],
)
def test_mappings_that_describe_no_sam_are_refused(
    small_sam: dict[str, Any], changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        FedSAM(1, {**small_sam, **changes}, 64)


def test_a_mapping_needs_every_key(small_sam: dict[str, Any]) -> None:
    assert set(small_sam) == KEYS
    for key in KEYS:
        with pytest.raises(ValueError, match=rf"missing keys \['{key}'\]"):
            FedSAM(1, {name: value for name, value in small_sam.items() if name != key}, 64)
