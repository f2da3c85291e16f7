"""The shift of a site on what the bundles' preprocessings hand it: pictures, volumes, their labels."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose

from fedmed_transforms import AcquisitionShift, SiteShiftd
from fedmed_workflows.sites.datasets.fingerprint import is_random, transform_digest

SHIFT = {"contrast": 1.5, "bias_field": 0.2, "resolution": 0.5, "noise": 0.05}


def volume(values: torch.Tensor, *spacing: float) -> MetaTensor:
    return MetaTensor(values, affine=torch.diag(torch.tensor([*spacing, 1.0])), meta={"filename_or_obj": "scan"})


def test_stacks_of_pictures_are_shifted_as_they_are() -> None:
    pictures = torch.rand(3, 1, 12, 14)
    shifted = SiteShiftd("image", SHIFT, stacked=True)({"image": pictures, "label": 2})
    assert torch.equal(shifted["image"], AcquisitionShift(**SHIFT)(pictures)) and shifted["label"] == 2


@pytest.mark.parametrize(("spacing", "across"), [((1, 1, 5), 3), ((1, 5, 1), 2), ((5, 1, 1), 1), ((-5, 1, -1), 1)])
def test_volumes_are_shifted_slice_by_slice_across_their_widest_spacing(spacing: Any, across: int) -> None:
    values, label = torch.zeros(1, 9, 9, 9), torch.zeros(2, 9, 9, 9)
    values[0, 4, 4, 4] = label[1, 4, 4, 4] = 1
    data = {"image": volume(values, *spacing), "label": volume(label, *spacing)}
    style = {"resolution": 1 / 3, "label_style": {"dilation": 1}}
    shifted = SiteShiftd("image", style, label_key="label")(data)
    image, found = shifted["image"], shifted["label"]
    expected = torch.zeros(9, 9, 9)
    expected[tuple(slice(4, 5) if axis + 1 == across else slice(3, 6) for axis in range(3))] = 1
    assert torch.equal(found[1].as_tensor(), expected) and not found[0].any()
    assert image.shape == values.shape and {index[across].item() for index in image.nonzero()} == {4}
    middle = image.as_tensor().select(across, 4)[0]
    torch.testing.assert_close(middle, middle.flip(0), atol=1e-6, rtol=0)
    assert middle[4, 4] == pytest.approx(1 / 9, abs=1e-5)
    for shifted_one, given in ((image, data["image"]), (found, data["label"])):
        np.testing.assert_array_equal(shifted_one.affine, given.affine)
        assert shifted_one.meta["filename_or_obj"] == "scan"
    assert label.sum() == 1 and values.sum() == 1


def test_pictures_with_labels() -> None:
    image, label = torch.rand(3, 10, 12), torch.zeros(1, 10, 12)
    label[0, 5, 5] = 1
    shifted = SiteShiftd("image", {"label_style": {"dilation": 1}}, label_key="label")({"image": image, "label": label})
    assert shifted["label"].sum() == 9 and shifted["label"].shape == label.shape
    assert torch.equal(shifted["image"], image)


def test_features_can_be_kept_and_another_shift_has_others() -> None:
    shift = Compose([SiteShiftd("image", SHIFT, stacked=True)])
    digest = transform_digest(shift)
    shift({"image": torch.rand(1, 1, 8, 8)})
    assert not is_random(shift) and transform_digest(shift) == digest
    others = [{**SHIFT, name: value / 2} for name, value in SHIFT.items()] + [{**SHIFT, "seed": 1}, {}]
    digests = {transform_digest(Compose([SiteShiftd("image", other, stacked=True)])) for other in others}
    assert len(digests | {digest}) == len(others) + 1


@pytest.mark.parametrize(
    ("shift", "found"),
    [
        ({"gamma": 2}, "shift: found 'gamma', expected some of ['bias_field', 'contrast', 'noise', 'resolution', 'see"),
        ({"noise": "much"}, "shift: noise: found 'much', expected a number"),
        ({"noise": True}, "shift: noise: found True, expected a number"),
        ({"label_style": 3}, "shift: label_style: found 3, expected settings by name"),
        ({"label_style": {"erosion": 1}}, "shift: label_style: found 'erosion', expected some of ['dilation', 'smoo"),
        (1.5, "shift: found 1.5, expected settings by name"),
    ],
)  # fmt: skip
def test_shifts_that_say_nothing_are_refused(shift: Any, found: str) -> None:
    with pytest.raises(ValueError, match=re.escape(found)):
        SiteShiftd("image", shift, label_key="label")


def test_a_classification_has_no_labels_to_draw() -> None:
    with pytest.raises(ValueError, match="shift: found label_style, expected none, as these images have no labels"):
        SiteShiftd("image", {"label_style": {"dilation": 1}}, stacked=True)
