"""Tests SAM's input and output against segment_anything's own code, for the same pictures and logits."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer
from segment_anything.utils.transforms import ResizeLongestSide
from torch.nn import functional

from fedmed_transforms.preprocessing.sam import SamPreprocess, SamPreprocessd, scaled_size
from fedmed_transforms.preprocessing.sam_masks import SamLabels, SamLabelsd, SamPostprocess, SamPostprocessd

SIZE = 128

SIZES = [(64, 64), (128, 128), (200, 200), (100, 133), (133, 100), (300, 77), (31, 200), (127, 128)]
"""Smaller and larger than SAM's square, and of either orientation."""


@pytest.fixture(scope="module")
def sam() -> Sam:
    """segment_anything's SAM with 128-pixel pictures and one small layer."""
    encoder = ImageEncoderViT(img_size=SIZE, depth=1, embed_dim=16, num_heads=2, out_chans=16)
    prompts = PromptEncoder(16, (SIZE // 16, SIZE // 16), (SIZE, SIZE), mask_in_chans=4)
    transformer = TwoWayTransformer(depth=1, embedding_dim=16, num_heads=2, mlp_dim=16)
    return Sam(encoder, prompts, MaskDecoder(transformer_dim=16, transformer=transformer))


def pictures_of(rows: int, columns: int, channels: int = 3, number: int = 3) -> torch.Tensor:
    """Whole numbers from 0 to 255 that vary over eight pixels, as those of a photograph do."""
    random = torch.Generator().manual_seed(rows)
    coarse = torch.randint(0, 256, (number, channels, rows // 8 + 2, columns // 8 + 2), generator=random)
    return functional.interpolate(coarse.float(), (rows, columns), mode="bicubic").clamp(0, 255).round()


@pytest.mark.parametrize("size", SIZES)
def test_agrees_with_segment_anything(sam: Sam, size: tuple[int, int]) -> None:
    """apply_image_torch takes its size from the first two axes, so that it has to be given rows and columns there."""
    pictures = pictures_of(*size)
    target = ResizeLongestSide.get_preprocess_shape(*size, SIZE)
    scaled = functional.interpolate(pictures, target, mode="bilinear", align_corners=False, antialias=True)
    if size[0] == size[1]:  # of three pictures in three channels: a square, whatever the rows and columns
        torch.testing.assert_close(ResizeLongestSide(SIZE).apply_image_torch(pictures), scaled, atol=0, rtol=0)
    found = SamPreprocess(SIZE)(pictures / 255)
    assert found.shape == (3, 3, SIZE, SIZE)
    torch.testing.assert_close(found.as_tensor(), sam.preprocess(scaled), atol=1e-5, rtol=0)


@pytest.mark.parametrize("size", SIZES)
def test_differs_from_eight_bits_by_their_rounding(sam: Sam, size: tuple[int, int]) -> None:
    """apply_image scales through PIL, which rounds to 8 bits after each of the two axes.

    Measured: up to 1.0 of 255 levels, 0.34 on average; after normalisation up to 0.018.
    """
    pictures = pictures_of(*size)
    eight_bits = pictures.permute(0, 2, 3, 1).to(torch.uint8).numpy()
    scaled = np.stack([ResizeLongestSide(SIZE).apply_image(picture) for picture in eight_bits])
    expected = sam.preprocess(torch.as_tensor(scaled).permute(0, 3, 1, 2).float())
    apart = (SamPreprocess(SIZE)(pictures / 255).as_tensor() - expected).abs() * sam.pixel_std
    assert float(apart.max()) < 1.1 and float(apart.mean()) < 0.4


def test_fedfms_leaves_values_as_they_are() -> None:
    grey = torch.rand(2, 1, 64, 96)
    found = SamPreprocess(128, normalize=False)(grey).as_tensor()
    expected = functional.interpolate(grey, (85, 128), mode="bilinear", antialias=True)
    assert torch.equal(found[:, :, :85], expected.expand(-1, 3, -1, -1))
    assert not found[:, :, 85:].any()


def test_grey_is_the_same_in_three_channels() -> None:
    grey = torch.rand(2, 1, 50, 40)
    torch.testing.assert_close(SamPreprocess(64)(grey), SamPreprocess(64)(grey.repeat(1, 3, 1, 1)))


def test_black_and_white_by_hand() -> None:
    """A row of black and white pixels at its own size gives (0 - 123.675) / 58.395 and (255 - 103.53) / 57.375."""
    found = SamPreprocess(2)(torch.tensor([[[[0.0, 1.0]]]])).as_tensor()
    assert found[0, 0, 0, 0] == pytest.approx(-2.117904, abs=1e-5)
    assert found[0, 2, 0, 1] == pytest.approx(2.640000, abs=1e-5)
    assert found[0, :, 1].tolist() == [[0, 0]] * 3


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("low", [SIZE // 4, SIZE])
def test_logits_come_back_as_in_segment_anything(sam: Sam, size: tuple[int, int], low: int) -> None:
    logits = torch.randn(2, 3, low, low)
    expected = sam.postprocess_masks(logits, ResizeLongestSide.get_preprocess_shape(*size, SIZE), size)
    found = SamPostprocess(SIZE)(logits, size)
    assert found.shape == (2, 3, *size)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_sizes_are_rounded_as_in_segment_anything() -> None:
    for rows in range(40, 1100, 7):
        for columns in range(40, 1100, 13):
            expected = ResizeLongestSide.get_preprocess_shape(rows, columns, 1024)
            assert scaled_size((rows, columns), 1024) == expected
    assert scaled_size((1, 4000), 1024) == (1, 1024)


def test_labels_of_squares_are_their_nearest_pixels() -> None:
    labels = torch.randint(0, 5, (2, 3, 200, 200), dtype=torch.uint8)
    found = SamLabels(SIZE)(labels)
    assert found.dtype == torch.uint8
    assert torch.equal(found, functional.interpolate(labels, (32, 32), mode="nearest-exact"))
    assert torch.equal(SamLabels(200, label_size=200)(labels), labels)


def test_label_by_hand() -> None:
    """Four rows of eight, to four pixels a side: rows 1 and 3, columns 1, 3, 5, 7, and two rows of padding."""
    label = torch.arange(1, 33).view(1, 1, 4, 8)
    found = SamLabels(image_size=16)(label)[0, 0].tolist()
    assert found == [[10, 12, 14, 16], [26, 28, 30, 32], [0, 0, 0, 0], [0, 0, 0, 0]]


@pytest.mark.parametrize("size", [size for size in SIZES if min(size) > 31])  # 31 of 200 rows: five rows of logits
def test_labels_lie_where_the_pictures_do(size: tuple[int, int]) -> None:
    """A disc's label overlaps with its picture, and certain logits of the label give the disc back."""
    rows, columns = torch.meshgrid(*(torch.linspace(0, 1, side) for side in size), indexing="ij")
    disc = ((rows - 0.6) ** 2 + (columns - 0.45) ** 2 < 0.1).float()[None, None]
    seen = functional.avg_pool2d(SamPreprocess(SIZE, normalize=False)(disc).as_tensor()[:, :1], 4) > 0.5
    assert dice(SamLabels(SIZE)(disc) > 0.5, seen) > 0.93
    assert dice(SamPostprocess(SIZE)(20 * SamLabels(SIZE)(disc) - 10, size) > 0, disc > 0) > 0.93


def dice(one: torch.Tensor, other: torch.Tensor) -> float:
    return float(2 * (one & other).sum() / (one.sum() + other.sum()))


def test_size_and_metadata_make_the_way_there_and_back() -> None:
    image = MetaTensor(torch.rand(2, 1, 30, 20), meta={"filename_or_obj": "scan.nii"})
    data = {"image": image, "label": MetaTensor((image > 0.5).float(), meta=dict(image.meta)), "site": 1}
    found = SamLabelsd("label", image_size=64)(SamPreprocessd("image", image_size=64, normalize=False)(data))
    assert found["image"].meta["filename_or_obj"] == found["label"].meta["filename_or_obj"] == "scan.nii"
    assert found["image"].shape == (2, 3, 64, 64) and found["label"].shape == (2, 1, 16, 16)
    back = SamPostprocessd("logits", source_key="image", image_size=64)({**found, "logits": torch.rand(2, 1, 16, 16)})
    assert back["logits"].shape == (2, 1, 30, 20) and back["site"] == 1
    with pytest.raises(ValueError, match=r"scan\.nii: found no 'picture_size'"):
        SamPostprocessd("logits", source_key="image")({"image": image, "logits": torch.rand(2, 1, 16, 16)})


def test_other_shapes_are_refused_with_the_file() -> None:
    meta = {"filename_or_obj": "scan.nii"}
    for shape in ((16, 16), (2, 16, 16), (1, 2, 16, 16), (1, 1, 1, 16, 16)):
        with pytest.raises(ValueError, match=r"scan\.nii: expected pictures"):
            SamPreprocess(16)(MetaTensor(torch.zeros(shape), meta=meta))
    with pytest.raises(ValueError, match=r"scan\.nii: expected labels"):
        SamLabels(16)(MetaTensor(torch.zeros(16, 16), meta=meta))
    with pytest.raises(ValueError, match=r"scan\.nii: expected logits"):
        SamPostprocess(16)(MetaTensor(torch.zeros(1, 1, 4, 5), meta=meta), (16, 16))


def test_one_picture_is_a_stack_of_one() -> None:
    picture = torch.rand(1, 12, 16, generator=torch.Generator().manual_seed(0))
    assert torch.equal(SamPreprocess(16)(picture).as_tensor(), SamPreprocess(16)(picture[None])[0].as_tensor())
    label = (picture > 0.5).float()
    assert torch.equal(SamLabels(16)(label), SamLabels(16)(label[None])[0])


def test_sizes_must_be_positive() -> None:
    for make in (SamPreprocess, SamPostprocess, SamLabels):
        with pytest.raises(ValueError, match="image_size: expected a positive number"):
            make(0)
    with pytest.raises(ValueError, match="label_size: expected a positive number"):
        SamLabels(16, label_size=-1)
