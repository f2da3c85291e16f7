"""Tests CLIP's input against open_clip's own preprocessing of the same picture."""

from __future__ import annotations

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image

from fedmed_transforms import ClipPreprocess, ClipPreprocessd
from fedmed_transforms.preprocessing.clip import CLIP_MEAN, CLIP_STD


def picture_of(rows: int, columns: int, seed: int = 0) -> Image.Image:
    """Colours that vary over eight pixels, as those of a photograph do."""
    coarse = np.random.default_rng(seed).integers(0, 256, (rows // 8 + 2, columns // 8 + 2, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((columns, rows), Image.Resampling.BICUBIC)


def unit(picture: Image.Image) -> torch.Tensor:
    return torch.tensor(np.asarray(picture)).permute(2, 0, 1)[None] / 255


SIZES = [(224, 224), (300, 400), (400, 300), (301, 401), (97, 133), (640, 480), (64, 80), (333, 1000)]


@pytest.mark.parametrize(("rows", "columns"), SIZES)
def test_equals_open_clip_on_float_tensors(rows: int, columns: int) -> None:
    """open_clip's own resizing, crop and normalisation, with the overshoot cut off that 8 bits cannot hold."""
    pictures = unit(picture_of(rows, columns))
    resize, crop, *_, normalize = open_clip.image_transform(224, is_train=False).transforms
    expected = normalize(crop(resize(pictures)).clamp(0, 1))
    torch.testing.assert_close(ClipPreprocess(224)(pictures), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("rows", "columns"), SIZES)
def test_differs_from_open_clip_on_eight_bits_by_their_rounding(rows: int, columns: int) -> None:
    """Measured: 0.005 on average (open_clip rounds to 8 bits after its resizing); a pixel aside: 0.06 to 0.15."""
    picture = picture_of(rows, columns)
    expected = open_clip.image_transform(224, is_train=False)(picture)
    found = ClipPreprocess(224)(unit(picture))[0]
    assert found.shape == expected.shape == (3, 224, 224)
    assert float((found - expected).abs().mean()) < 0.01


def test_constants_are_those_of_open_clip() -> None:
    assert CLIP_MEAN == open_clip.OPENAI_DATASET_MEAN and CLIP_STD == open_clip.OPENAI_DATASET_STD


def test_picture_of_the_right_size_is_only_normalised() -> None:
    pictures = torch.rand(2, 3, 16, 16)
    expected = (pictures - torch.tensor(CLIP_MEAN).view(3, 1, 1)) / torch.tensor(CLIP_STD).view(3, 1, 1)
    torch.testing.assert_close(ClipPreprocess(16)(pictures), expected, atol=1e-5, rtol=1e-5)


def test_grey_is_the_same_in_three_channels() -> None:
    grey = torch.rand(2, 1, 20, 24)
    torch.testing.assert_close(ClipPreprocess(16)(grey), ClipPreprocess(16)(grey.repeat(1, 3, 1, 1)))


def test_crops_the_centre() -> None:
    pictures = torch.zeros(1, 1, 16, 48)
    pictures[..., 16:32] = 1
    assert ClipPreprocess(16, mean=[0, 0, 0], std=[1, 1, 1])(pictures).mean() > 0.99
    np.testing.assert_array_equal(
        ClipPreprocess(16)(pictures), ClipPreprocess(16)(pictures.transpose(2, 3)).transpose(2, 3)
    )


def test_overshoot_of_the_resizing_is_cut_off() -> None:
    edges = (torch.rand(1, 1, 9, 9) > 0.5).float()
    found = ClipPreprocess(32, mean=[0, 0, 0], std=[1, 1, 1])(edges)
    assert float(found.min()) == 0 and float(found.max()) == 1


@pytest.mark.parametrize("shape", [(3, 16, 16), (1, 2, 16, 16), (1, 1, 1, 16, 16)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="pictures: expected shape"):
        ClipPreprocess(16)(torch.zeros(shape))


def test_size_must_be_positive() -> None:
    with pytest.raises(ValueError, match="image_size"):
        ClipPreprocess(0)


def test_dictionary_form_keeps_the_rest() -> None:
    pictures = torch.rand(1, 3, 20, 24)
    found = ClipPreprocessd("image", image_size=16)({"image": pictures, "label": 2})
    torch.testing.assert_close(found["image"], ClipPreprocess(16)(pictures))
    assert found["label"] == 2
