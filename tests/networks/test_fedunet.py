"""FedU-Net: MONAI's U-Net at the size of the logits, whatever the image's size."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from monai.data import MetaTensor
from monai.networks.nets import UNet
from torch import nn

from fedmed_networks import FedSAM, FedUNet


@pytest.mark.parametrize("classes", [1, 2])
@pytest.mark.parametrize("size", [4, 60, 64, 100, 144])
def test_logits_have_a_quarter_of_the_image_s_side(size: int, classes: int) -> None:
    network = FedUNet(classes, size)
    for batch in (1, 2):
        logits = network(torch.rand(batch, 3, size, size))
        assert logits.shape == (batch, classes, size // 4, size // 4) and logits.dtype == torch.float32


def test_at_sam_s_size() -> None:
    with torch.no_grad():
        assert FedUNet()(torch.rand(1, 3, 1024, 1024)).shape == (1, 1, 256, 256)


def test_the_answer_by_hand() -> None:
    """Means of 4 x 4 pixels, zeros to a multiple of 16, MONAI's U-Net, and the image's part of its answer."""
    network = FedUNet(2, 144).eval()
    unet = UNet(2, 3, 2, (16, 32, 64, 128, 256), (2, 2, 2, 2), num_res_units=2, norm="batch").eval()
    unet.load_state_dict({name.removeprefix("unet."): value for name, value in network.state_dict().items()})
    images = torch.rand(2, 3, 144, 144, generator=torch.Generator().manual_seed(0))
    padded = torch.zeros(2, 3, 48, 48)
    for row in range(36):
        for column in range(36):
            pixels = images[:, :, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4]
            padded[:, :, row, column] = pixels.mean(dim=(2, 3))
    with torch.no_grad():
        torch.testing.assert_close(network(images), unet(padded)[:, :, :36, :36], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("norm", "kind", "learnt"),
    [
        ("batch", nn.BatchNorm2d, True),
        ("instance", nn.InstanceNorm2d, False),
        (["instance", {"affine": True}], nn.InstanceNorm2d, True),
    ],
)
def test_normalisations(norm: Any, kind: type[nn.Module], learnt: bool) -> None:
    found = [module for module in FedUNet(1, 64, norm=norm).modules() if "Norm" in type(module).__name__]
    assert len(found) > 10 and all(type(module) is kind for module in found)
    assert all(any(True for _ in module.parameters()) == learnt for module in found)


def test_a_step_lowers_the_loss() -> None:
    torch.manual_seed(0)
    network, images = FedUNet(1, 64), torch.rand(3, 3, 64, 64)
    label = (images.mean(dim=1, keepdim=True)[:, :, ::4, ::4] > 0.5).float()
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    losses = []
    for _ in range(5):
        optimizer.zero_grad()
        loss = nn.functional.binary_cross_entropy_with_logits(network(images), label)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses == sorted(losses, reverse=True) and losses[-1] < losses[0]


def test_metadata_follow_and_half_precision_answers_in_full() -> None:
    image = MetaTensor(torch.rand(1, 3, 64, 64), meta={"filename_or_obj": "here.png"})
    logits = FedUNet(1, 64, "bfloat16").eval()(image)
    assert isinstance(logits, MetaTensor) and logits.meta["filename_or_obj"] == "here.png"
    assert logits.dtype == torch.float32


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"image_size": 66}, "image_size: expected a multiple of 4 pixels, found 66"),
        ({"image_size": 0}, "image_size: expected a multiple of 4 pixels, found 0"),
        ({"num_classes": 0}, "num_classes: found 0, expected a whole number of at least 1"),
        ({"precision": "float16"}, "precision: expected"),
        ({"norm": "bach"}, "norm: expected a normalisation of MONAI's networks, found 'bach'"),
        ({"norm": ["group", {"num_groups": 3}]}, "norm: expected a normalisation of MONAI's networks, found"),
        ({"norm": 3}, "norm: expected a normalisation of MONAI's networks, found 3"),
    ],
)
def test_a_wrong_setting_is_refused(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        FedUNet(**{"image_size": 64, **arguments})


def test_another_network_s_state_and_other_shapes_are_refused(small_sam: dict[str, Any]) -> None:
    network = FedUNet(1, 64)
    with pytest.raises(ValueError, match="expected the whole state of a FedUNet of image_size 64 with num_classes 1"):
        network.load_state_dict(FedSAM(1, small_sam, 64).state_dict())
    with pytest.raises(ValueError, match=r"image: expected shape \(B, 3, 64, 64\), found \(1, 3, 64, 32\)"):
        network(torch.rand(1, 3, 64, 32))


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:.*torch.jit", "ignore::torch.jit.TracerWarning")
def test_a_trace_agrees() -> None:
    network = FedUNet(2, 80).eval()
    images = torch.rand(2, 3, 80, 80, generator=torch.Generator().manual_seed(0))
    traced = torch.jit.trace(network, images[:1])
    with torch.no_grad():
        torch.testing.assert_close(traced(images), network(images), rtol=1e-5, atol=1e-5)
