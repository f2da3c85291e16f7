"""Label maps to channels and back: which value belongs where, what lies on top, and values that nobody expects."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from fedmed_transforms.labels.labels import ChannelsToLabels, ChannelsToLabelsd, LabelsToChannels, LabelsToChannelsd


def label_of(*values: float, dtype: torch.dtype = torch.float32) -> MetaTensor:
    affine = torch.diag(torch.tensor([2.0, 3.0, 4.0, 1.0], dtype=torch.float64))
    return MetaTensor(torch.tensor([[[values]]], dtype=dtype), affine=affine, meta={"filename_or_obj": "label.nii"})


def channels_of(label: torch.Tensor) -> Any:
    return np.asarray(label)[:, 0, 0].tolist()


def test_tumour_core_of_a_brain() -> None:
    transform = LabelsToChannels({"core": [1, 4], "whole": [1, 2, 4], "enhancing": [4]})
    found = transform(label_of(0, 1, 2, 4))
    assert transform.names == ["core", "whole", "enhancing"] and found.dtype == torch.float32
    assert channels_of(found) == [[0, 1, 0, 1], [0, 1, 1, 1], [0, 0, 0, 1]]


def test_disc_includes_its_cup() -> None:
    transform = LabelsToChannels([[1, 2], [2]])
    assert transform.names == ["0", "1"]
    assert channels_of(transform(label_of(0, 1, 2, 1))) == [[0, 1, 1, 1], [0, 0, 1, 0]]


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int64, torch.float32, torch.float64])
def test_types_of_files(dtype: torch.dtype) -> None:
    """300 - 256 = 44: a value that the type cannot hold must not be found."""
    found = LabelsToChannels([[44], [300]])(label_of(0, 44, 44, dtype=dtype))
    assert channels_of(found) == [[0, 1, 1], [0, 0, 0]]


def test_pictures_have_labels_too() -> None:
    found = LabelsToChannels([[255]])(torch.tensor([[[0, 255], [255, 0]]]))
    assert found.tolist() == [[[0, 1], [1, 0]]]


def test_instances_are_one_channel() -> None:
    transform = LabelsToChannels({"nuclei": "nonzero", "seventh": [7]})
    assert channels_of(transform(label_of(0, 7, 512, 1))) == [[0, 1, 1, 1], [0, 1, 0, 0]]
    with pytest.raises(ValueError, match=r"label\.nii: found the label values -1, 0\.5, expected \[0, 7\] and above"):
        transform(label_of(0.5, -1, 3))


def test_ignored_values_belong_to_no_channel() -> None:
    found = LabelsToChannels({"core": [1]}, ignored=[2, -1])(label_of(0, 1, 2, -1))
    assert channels_of(found) == [[0, 1, 0, 0]]


def test_unexpected_values_name_the_file_and_the_values() -> None:
    with pytest.raises(ValueError, match=r"^label\.nii: found the label values 2, 3, expected \[0, 1, 4\]$"):
        LabelsToChannels({"core": [1, 4]})(label_of(3, 0, 2, 1, 3))
    with pytest.raises(ValueError, match="found the label values nan, expected"):
        LabelsToChannels([[1]])(label_of(0, float("nan")))
    with pytest.raises(ValueError, match="2, 3, 4, 5, 6, 7, 8, 9, 10, 11 and 88 more, expected"):
        LabelsToChannels([[1]])(label_of(*range(100)))


def test_affine_and_metadata_stay() -> None:
    source = label_of(0, 1)
    found = LabelsToChannels([[1], [1]])(source)
    assert isinstance(found, MetaTensor) and found.meta["filename_or_obj"] == "label.nii"
    assert torch.equal(found.affine, source.affine)
    assert channels_of(source) == [[0, 1]]


@pytest.mark.parametrize("channels", [{}, [], [[]], [[1], []], {"core": "all"}])
def test_channels_without_values_are_refused(channels: Any) -> None:
    with pytest.raises(ValueError, match="channels: expected label values or 'nonzero'"):
        LabelsToChannels(channels)


@pytest.mark.parametrize("shape", [(2, 4, 4), (4, 4), (1, 2, 3, 4, 5)])
def test_other_shapes_are_refused_with_the_file(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"label\.nii: expected labels"):
        LabelsToChannels([[1]])(MetaTensor(torch.zeros(shape), meta={"filename_or_obj": "label.nii"}))


def test_dictionary_form_keeps_the_rest() -> None:
    found = LabelsToChannelsd("label", channels=[[1]], ignored=[2])({"label": label_of(1, 2), "image": 5})
    assert found["image"] == 5 and channels_of(found["label"]) == [[1, 0]]


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int64, torch.float32, torch.float16])
def test_a_cup_lies_over_its_disc(dtype: torch.dtype) -> None:
    disc, cup = [[0, 1, 1], [1, 1, 0]], [[0, 0, 1], [0, 1, 0]]
    found = ChannelsToLabels()(torch.tensor([disc, cup], dtype=dtype))
    assert found.dtype == torch.uint8 and found.tolist() == [[0, 1, 2], [1, 2, 0]]
    assert ChannelsToLabels()(torch.tensor([cup, disc], dtype=dtype)).tolist() == [[0, 2, 2], [2, 2, 0]]


def test_a_volume_keeps_its_channel_axis_and_its_place() -> None:
    masks = label_of(0, 1, 1)
    found = ChannelsToLabelsd("pred")({"pred": masks, "site": 3})
    assert found["site"] == 3 and found["pred"].shape == (1, 1, 1, 3)
    assert found["pred"].meta["filename_or_obj"] == "label.nii" and torch.equal(found["pred"].affine, masks.affine)


def test_labels_to_channels_and_back() -> None:
    labels = torch.randint(0, 4, (1, 5, 6, 7), generator=torch.Generator().manual_seed(0))
    assert torch.equal(ChannelsToLabels()(LabelsToChannels([[1], [2], [3]])(labels)), labels.to(torch.uint8))


@pytest.mark.parametrize("wrong", [0.5, -1.0, 2.0, float("nan")])
def test_masks_of_other_values_are_refused_with_the_file(wrong: float) -> None:
    with pytest.raises(ValueError, match=r"label\.nii: expected masks of 0 and 1, found other values"):
        ChannelsToLabels()(label_of(0, 1, wrong))


@pytest.mark.parametrize("shape", [(4, 4), (1, 2, 3, 4, 5), (0, 4, 4), (256, 4, 4)])
def test_masks_that_are_no_map_of_eight_bits_are_refused_with_the_file(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"label\.nii: expected masks .* of 1 to 255 channels"):
        ChannelsToLabels()(MetaTensor(torch.zeros(shape), meta={"filename_or_obj": "label.nii"}))


@pytest.mark.parametrize("values", [1, 1.0, [1.5], [], "some", None])
def test_what_is_no_list_of_whole_numbers_is_no_rule(values: Any) -> None:
    with pytest.raises(ValueError, match="channels: expected label values or 'nonzero' for each, found"):
        LabelsToChannels({"organ": values})


def test_values_that_are_no_numbers_are_named_once() -> None:
    with pytest.raises(ValueError, match=r"found the label values nan, expected \[0, 1\]"):
        LabelsToChannels({"organ": [1]})(torch.full((1, 3, 3), float("nan")))
